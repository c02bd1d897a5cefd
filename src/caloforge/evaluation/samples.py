"""The three samples of an evaluation: the showers they are made of, and numbers that they have together."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from caloforge.config.stages import EvaluationSettings
from caloforge.errors import CaloforgeError
from caloforge.evaluation.observables import Observables
from caloforge.metrics.bootstrap import bootstrapped
from caloforge.metrics.shower_shapes import Window, energy_window
from caloforge.seeds import derive_seed
from caloforge.showers import ShowerFile, Showers, read_out

BLOCK_CELLS = 1 << 22
"""Cells held in memory at a time."""
_BLOCK_EVENTS = 1 << 20
_ROUNDING = 1e-6
"""Relative, of energies that were stored as float32 logarithms."""


class Samples(NamedTuple):
    """The three samples, or something about each of them."""

    full: Any
    generated: Any
    independent: Any


def random_rows(seed: int, purpose: str, n: int, most: int) -> np.ndarray:
    """At most `most` of n rows, chosen at random for a purpose, increasing."""
    rng = np.random.default_rng(derive_seed(seed, purpose))
    return np.sort(rng.choice(n, min(n, most), replace=False))


def chosen_showers(path: Path, rows: np.ndarray, full: Observables) -> Iterator[Showers]:
    """Some showers of a file after the readout threshold, in blocks.

    Parameters
    ----------
    path
        Canonical shower file.
    rows
        Row numbers of the showers, increasing.
    full
        Observables of the full simulation, for its geometry and readout threshold.

    Raises
    ------
    CaloforgeError
        If the showers are of another calorimeter or cannot be read.
    """
    with ShowerFile(path) as file:
        if file.geometry != full.geometry:
            raise CaloforgeError(f"{path}: another geometry found, expected that of {full.path}")
        step = max(1, BLOCK_CELLS // file.geometry.n_cells)
        for start in range(0, len(file), step):
            first, last = np.searchsorted(rows, (start, start + step))
            if last > first:
                block = file.read(start, min(start + step, len(file)))[rows[first:last] - start]
                yield replace(block, showers=read_out(block.showers, full.readout_threshold_MeV))


def check_showers(path: Path, observables: Observables) -> None:
    """Make sure that a file holds the very showers that observables were made from.

    Raises
    ------
    CaloforgeError
        If it does not, or cannot be read.
    """
    with ShowerFile(path) as file:
        if len(file) != len(observables):
            raise CaloforgeError(
                f"{path}: holds {len(file)} showers, expected {len(observables)} as {observables.path}"
            )
        start = 0
        for events in file.event_blocks(_BLOCK_EVENTS):
            if not np.array_equal(events, observables.event[start : start + len(events)]):
                raise CaloforgeError(f"{path}: its events are not those of {observables.path}")
            start += len(events)


def windows_around(energies_GeV: Samples, centre_GeV: float, half_width_GeV: float, least: int) -> Samples:
    """Showers of each sample around an energy, in the window that the full simulation needs.

    Parameters
    ----------
    energies_GeV
        Energies of the primaries of each sample [GeV], shape (n,).
    centre_GeV, half_width_GeV, least
        See `metrics.shower_shapes.energy_window`.
    """
    window = energy_window(energies_GeV.full, centre_GeV, half_width_GeV, least)
    width_GeV = window.half_width_GeV
    return Samples(
        *(
            Window(centre_GeV, width_GeV, np.flatnonzero(np.abs(energy_GeV - centre_GeV) <= width_GeV))
            for energy_GeV in energies_GeV
        )
    )


def windows_at(
    energies_GeV: Samples, centres_GeV: Iterable[float], half_width_GeV: float, least: int
) -> list[Samples]:
    """`windows_around` each of several energies; those beyond the full simulation are left out."""
    low_GeV = energies_GeV.full.min() * (1 - _ROUNDING)
    high_GeV = energies_GeV.full.max() * (1 + _ROUNDING)
    return [
        windows_around(energies_GeV, centre_GeV, half_width_GeV, least)
        for centre_GeV in centres_GeV
        if low_GeV <= centre_GeV <= high_GeV
    ]


def measured(
    settings: EvaluationSettings,
    data: Samples,
    measure: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], Sequence[float]],
    labels: Mapping[str, tuple[str, str]],
    *,
    note: str,
) -> dict[str, Any]:
    """Numbers of the generated sample and, as their floor, of the independent one, with bootstrap errors.

    Parameters
    ----------
    settings
        Resamplings and their seed.
    data
        Arrays of each sample, one row per shower; rows of the full and of the generated sample have the same
        primaries and are drawn together.
    measure
        Takes the arrays of the full simulation and of another sample; one number for each label.
    labels
        Name of a number to label and unit.
    note
        On all of them.

    Returns
    -------
    dict
        Name to label, unit, `generated` and `floor` with value and error each (None where undefined), note.
    """

    def compared(other: Sequence[np.ndarray], kind: str) -> dict[str, Any]:
        return bootstrapped(
            lambda rows, other_rows: measure(
                [values[rows] for values in data.full], [values[other_rows] for values in other]
            ),
            list(labels),
            len(data.full[0]),
            len(other[0]),
            paired=kind == "generated",
            resamplings=settings.bootstrap,
            seed=derive_seed(settings.seed, *labels, kind),
        )

    generated, floor = compared(data.generated, "generated"), compared(data.independent, "floor")
    return {
        name: {"label": label, "unit": unit, "generated": generated[name], "floor": floor[name], "note": note}
        for name, (label, unit) in labels.items()
    }


def energy_range(window: Window) -> str:
    """The window as text, `100 ± 5 GeV`."""
    return f"{window.energy_GeV:g} ± {window.half_width_GeV:g} GeV"


def counted_note(energies: str, samples: Iterable[Sized]) -> str:
    """What a number counts: energies and showers, given anything of each sample that has their length."""
    full, generated, independent = (f"{len(sample):,}" for sample in samples)
    return f"{energies}; {full} fully simulated, {generated} generated, {independent} independent showers"
