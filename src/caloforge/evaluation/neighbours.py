"""Nearest neighbours: whether a generator repeats its training set, and what it makes of test showers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.config.stages import EvaluationSettings
from caloforge.evaluation.observables import Observables
from caloforge.evaluation.pictures import read_rows, spread_over_energies
from caloforge.evaluation.samples import Samples, chosen_showers, measured, random_rows
from caloforge.figures import neighbours, views
from caloforge.figures.album import Drawn
from caloforge.metrics.neighbours import CLOSE_QUANTILE, memorisation, nearest
from caloforge.showers import ShowerFile

PAIRS = 7
"""Showers drawn beside their nearest neighbour, as many as L. de Oliveira et al. draw."""

_LABELS = {
    "neighbour_median_ratio": (
        "Median distance to the nearest training shower over that of test showers",
        "1",
    ),
    "neighbour_ks": ("Kolmogorov–Smirnov distance of the distances to the nearest training shower", "1"),
    "neighbour_close_share": (
        "Share of showers as close to a training shower as "
        f"the closest {100 * CLOSE_QUANTILE:g} % of test showers",
        "1",
    ),
}


def compare(
    settings: EvaluationSettings,
    full: Observables,
    *,
    reference: Path,
    generated: Path,
    training: Path,
    validation: Path,
) -> tuple[dict[str, Any], list[Drawn]]:
    """Numbers on memorisation, and the figures of nearest neighbours.

    A shower is the vector of its cells after the readout threshold and the distance is the Euclidean one, as
    in L. de Oliveira, M. Paganini and B. Nachman, Controlling Physical Attributes in GAN-Accelerated
    Simulation of Electromagnetic Calorimeters (2017), arXiv:1711.08813, section 6.2. Pairs are drawn for
    cells in MeV, as there. For the numbers, cells are divided by the incident energy: else distances would
    grow with it, and the close showers would be those of the lowest energies.

    Distances of generated showers to the nearest training shower are compared with those of test showers,
    which the generator has not seen; the floor has validation showers in place of generated ones. A generator
    that repeats training showers comes closer to them than test showers do. One whose showers fluctuate too
    little does so too, but hardly reaches the distance of copies, zero.

    Parameters
    ----------
    settings
        Of the evaluation.
    full
        Observables of the full simulation.
    reference, generated, training, validation
        Showers of the test set, those generated for the same primaries, those of the training set and those
        of the validation set.

    Returns
    -------
    tuple
        Entries of metrics.json by name, and figures. Memory holds the queries of one sample, a block of the
        pool and the distances.
    """
    most = settings.neighbours
    primaries = random_rows(settings.seed, "neighbour queries", len(full), most.queries)
    with ShowerFile(training) as file:
        pool = random_rows(settings.seed, "neighbour pool", len(file), most.pool)
    with ShowerFile(validation) as file:
        independent = random_rows(settings.seed, "neighbour floor", len(file), most.queries)
    distances = Samples(
        *(
            nearest(np.concatenate([*_shares(path, rows, full)]), _shares(training, pool, full))[0]
            for path, rows in ((reference, primaries), (generated, primaries), (validation, independent))
        )
    )
    counts = (
        f"{len(distances.generated):,} generated, {len(distances.full):,} test and "
        f"{len(distances.independent):,} validation showers, {len(pool):,} training showers"
    )
    numbers = measured(
        settings,
        Samples(*([values] for values in distances)),
        lambda test, sample: memorisation(test[0], sample[0]),
        _LABELS,
        note=counts,
    )
    return numbers, [_distances(distances, counts), _pairs(settings, full, reference, generated)]


def _distances(distances: Samples, counts: str) -> Drawn:
    return Drawn(
        "neighbour_distances.svg",
        "Nearest neighbours",
        "Distances to the nearest training shower",
        f"√Σ (a − b)² over the cells a and b of two showers, each over its incident energy; {counts}. Left "
        f"of the line are the closest {100 * CLOSE_QUANTILE:g} % of the test showers, and would be copies of "
        "training showers.",
        neighbours.distances(
            {
                "Test": distances.full,
                "Validation": distances.independent,
                "Generated": distances.generated,
            },
            float(np.quantile(distances.full, CLOSE_QUANTILE)),
        ),
    )


def _pairs(settings: EvaluationSettings, full: Observables, reference: Path, generated: Path) -> Drawn:
    pool = random_rows(settings.seed, "neighbour pictures", len(full), settings.neighbours.pool)
    threshold_MeV = full.readout_threshold_MeV
    queries = read_rows(reference, spread_over_energies(full.incident_energy_GeV, PAIRS), threshold_MeV)
    _, found = nearest(queries.showers, (block.showers for block in chosen_showers(generated, pool, full)))
    neighbour = read_rows(generated, pool[found], threshold_MeV)
    energies_GeV = [batch.incident_energies[:, 0] / 1000 for batch in (queries, neighbour)]
    return Drawn(
        "neighbour_pairs.svg",
        "Nearest neighbours",
        "Nearest generated neighbours",
        f"Showers of the full simulation and below each the nearest of {len(pool):,} generated showers, by "
        "√Σ (a − b)² over the cells a and b. Above, their incident energies."
        f"{views.explanation(full.geometry)} White cells are empty.",
        neighbours.pairs(
            full.geometry,
            queries.showers,
            neighbour.showers,
            list(zip(*energies_GeV, strict=True)),
        ),
    )


def _shares(path: Path, rows: np.ndarray, full: Observables) -> Iterator[np.ndarray]:
    """Cells over the incident energy of the showers that `chosen_showers` reads, shape (any, V)."""
    return (block.showers / block.incident_energies for block in chosen_showers(path, rows, full))
