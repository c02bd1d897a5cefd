"""Pictures of generated showers beside fully simulated ones."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from caloforge.evaluation.observables import Observables
from caloforge.figures import showers, views
from caloforge.figures.album import Drawn
from caloforge.showers import ShowerFile, Showers, read_out


def shower_figures(
    full: Observables, sample: Observables, reference_showers: Path, generated_showers: Path, displays: int
) -> Iterator[Drawn]:
    """Single showers for the same primaries, and the average shower.

    Parameters
    ----------
    full, sample
        Observables of the full simulation and of generated showers.
    reference_showers, generated_showers
        The showers themselves.
    displays
        Number of single showers.
    """
    rows = spread_over_energies(full.incident_energy_GeV, displays)
    reference, generated = (
        read_rows(path, rows, full.readout_threshold_MeV) for path in (reference_showers, generated_showers)
    )
    draw = _of_images if full.geometry.is_image else _of_stacks
    yield from draw(full, sample, reference, generated)


def _of_images(
    full: Observables, sample: Observables, reference: Showers, generated: Showers
) -> Iterator[Drawn]:
    (layer,) = full.geometry.layers
    px, py, pz = (reference.conditions[name] for name in ("px", "py", "pz"))
    yield Drawn(
        "matched_showers.svg",
        "Showers",
        "Single showers",
        "Full simulation (top) and generated (bottom) for the same primaries. Above, the energy of the "
        "primary and its angle to the normal of the face. White cells are empty.",
        showers.matched_showers(
            reference.showers,
            generated.showers,
            reference.incident_energies[:, 0] / 1000,
            np.degrees(np.arctan2(np.hypot(px, py), pz)),
            layer,
        ),
    )
    yield Drawn(
        "average_image.svg",
        "Showers",
        "Average shower",
        _average_caption(full, sample),
        showers.average_image(full.mean_shower_MeV, sample.mean_shower_MeV, layer),
    )


def _of_stacks(
    full: Observables, sample: Observables, reference: Showers, generated: Showers
) -> Iterator[Drawn]:
    geometry = full.geometry
    summed = " Energies are summed along the third axis." if views.is_projected(geometry) else ""
    for number, energy_MeV in enumerate(reference.incident_energies[:, 0]):
        yield Drawn(
            f"single_shower_{number}.svg",
            "Showers",
            f"Single showers of {energy_MeV / 1000:.3g} GeV",
            f"Full simulation (top) and generated (bottom) for the same primary.{summed} White cells are "
            "empty.",
            views.matched_shower(
                geometry, reference.showers[number], generated.showers[number], energy_MeV / 1000
            ),
        )
    if views.is_projected(geometry):
        middle = len(reference) // 2
        yield Drawn(
            "shower_in_space.svg",
            "Showers",
            "Single showers in space",
            "Cells above the readout threshold of one of the showers above and of the one generated for the "
            "same primary.",
            views.in_space(
                geometry,
                reference.showers[middle],
                generated.showers[middle],
                reference.incident_energies[middle, 0] / 1000,
            ),
        )
    yield Drawn(
        "average_shower.svg",
        "Showers",
        "Average shower",
        _average_caption(full, sample) + summed,
        views.average_shower(geometry, full.mean_shower_MeV, sample.mean_shower_MeV),
    )


def _average_caption(full: Observables, sample: Observables) -> str:
    return (
        f"Mean of {len(full):,} fully simulated and of {len(sample):,} generated showers, and the ratio of "
        "the means."
    )


def spread_over_energies(energy_GeV: np.ndarray, n: int) -> np.ndarray:
    """Rows of at most n different showers, evenly spread over the logarithm of the energy, rising.

    Parameters
    ----------
    energy_GeV
        Energies of the primaries [GeV], shape (N,).
    n
        Showers wanted.
    """
    log_energy = np.log(energy_GeV)
    low, high = log_energy.min(), log_energy.max()
    targets = low + (np.arange(n) + 0.5) / n * (high - low)
    rows = np.unique([np.argmin(np.abs(log_energy - target)) for target in targets])
    return rows[np.argsort(energy_GeV[rows])]


def read_rows(path: Path, rows: np.ndarray, readout_threshold_MeV: float) -> Showers:
    """A few showers of a file after the readout threshold, in the order of `rows`."""
    with ShowerFile(path) as file:
        batches = [file.read(row, row + 1) for row in rows]
    return Showers(
        read_out(np.concatenate([batch.showers for batch in batches]), readout_threshold_MeV),
        np.concatenate([batch.incident_energies for batch in batches]),
        {
            name: np.concatenate([batch.conditions[name] for batch in batches])
            for name in batches[0].conditions
        },
        np.concatenate([batch.event for batch in batches]),
    )
