"""Pictures of generated showers and collisions beside simulated ones."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from caloforge.errors import CaloforgeError
from caloforge.evaluation.matched_jets import leading_jets
from caloforge.evaluation.observables import Observables
from caloforge.figures import collisions, showers, views
from caloforge.figures.album import Drawn
from caloforge.figures.collisions import Simulations
from caloforge.geometry import Geometry
from caloforge.showers import ShowerFile, Showers, read_out


def single_showers(
    full: Observables, reference_showers: Path, generated_showers: Path, displays: int
) -> Iterator[Drawn]:
    """Single showers of the full simulation beside those generated for the same primaries.

    Parameters
    ----------
    full
        Observables of the full simulation.
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
    yield from draw(full.geometry, reference, generated)


def average_shower(full: Observables, sample: Observables) -> Drawn:
    """The average shower of the full simulation and of generated showers."""
    geometry, means_MeV = full.geometry, (full.mean_shower_MeV, sample.mean_shower_MeV)
    if geometry.is_image:
        explanation, figure = "", showers.average_image(*means_MeV, geometry.layers[0])
    else:
        explanation, figure = views.explanation(geometry), views.average_shower(geometry, *means_MeV)
    return Drawn(
        "average_shower.svg",
        "Showers",
        "Average shower",
        f"Mean of {len(full):,} fully simulated and of {len(sample):,} generated showers, and the ratio of "
        f"the means.{explanation}",
        figure,
    )


def _of_images(geometry: Geometry, reference: Showers, generated: Showers) -> Iterator[Drawn]:
    (layer,) = geometry.layers
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


def _of_stacks(geometry: Geometry, reference: Showers, generated: Showers) -> Iterator[Drawn]:
    explanation = views.explanation(geometry)
    for number, energy_MeV in enumerate(reference.incident_energies[:, 0]):
        yield Drawn(
            f"single_shower_{number}.svg",
            "Showers",
            f"Single showers of {energy_MeV / 1000:.3g} GeV",
            "Full simulation (top) and generated (bottom) for the same primary."
            f"{explanation} White cells are empty.",
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


def event_figures(
    samples: Simulations, reference_showers: Path, generated_showers: Path, displays: int, radius: float
) -> Iterator[Drawn]:
    """Single collisions in the full, the fast and the generated simulation, and the average images.

    Parameters
    ----------
    samples
        Observables of the same events in each simulation.
    reference_showers, generated_showers
        The images themselves; the former holds those of the fast simulation, too.
    displays
        Number of single collisions, spread over the pT of the leading jet.
    radius
        Of the jets.

    Raises
    ------
    CaloforgeError
        If there are no images of the fast simulation.
    """
    (layer,) = samples.full.geometry.layers
    yield from _single_events(samples, reference_showers, generated_showers, displays, radius)
    yield Drawn(
        "average_images.svg",
        "Events",
        "Average images",
        f"Means of the same {len(samples.full):,} events in each simulation; ratios to the full one.",
        collisions.average_images(Simulations(*(sample.mean_shower_MeV / 1000 for sample in samples)), layer),
    )


def _single_events(
    samples: Simulations, reference_showers: Path, generated_showers: Path, displays: int, radius: float
) -> Iterator[Drawn]:
    (layer,) = samples.full.geometry.layers
    pt_GeV = leading_jets(samples.full).pt_GeV[:, 0]
    with_jets = np.flatnonzero(np.isfinite(pt_GeV))
    if not len(with_jets):
        return
    rows = with_jets[spread_over_energies(pt_GeV[with_jets], displays)]
    full, generated = (
        read_rows(path, rows, samples.full.readout_threshold_MeV)
        for path in (reference_showers, generated_showers)
    )
    if full.reference is None:
        raise CaloforgeError(f"{reference_showers}: no images of the fast simulation found, expected pairs")
    images_MeV = Simulations(full.showers, full.reference, generated.showers)
    jets = Simulations(*(np.stack(leading_jets(sample), axis=2)[rows] for sample in samples))
    for number, row in enumerate(rows):
        yield Drawn(
            f"event_{number}.svg",
            "Events",
            f"Event with a jet of {pt_GeV[row]:.0f} GeV",
            f"Event {samples.full.event[row]} in the full, the fast and the generated simulation. Circles "
            "have the radius of the jets, that of the second jet is dashed. White towers are empty.",
            collisions.event(
                Simulations(*(images[number] / 1000 for images in images_MeV)),
                Simulations(*(found[number] for found in jets)),
                layer,
                radius,
            ),
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
        None
        if batches[0].reference is None
        else read_out(np.concatenate([batch.reference for batch in batches]), readout_threshold_MeV),
    )
