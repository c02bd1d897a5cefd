"""The first events of files as ingest reads them, and what they tell about an entry."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.ingest.batch import Batch
from caloforge.ingest.checks import Survey
from caloforge.ingest.formats import find_format
from caloforge.inspection.entry import Noted, bare
from caloforge.units import unit_factor

EVENTS = 4000
CELLS = 1 << 23
"""Largest number of events and of their cells that are looked at."""
FILES = 50
"""Files that are looked into, at most."""
PLAUSIBLE = (1e-3, 1.0)
"""Visible fraction of the incident energy that a unit is guessed from."""
HIGHEST_ENERGY_GEV = 5000.0
"""Above it the median of incident energies looks like MeV."""
EVENTS_FOR_AXES = 200
"""Events from which on the axis check tells something."""
LOW_SHARE = 0.1
"""Share of the cells with energy that a guessed readout threshold cuts."""
OWN_THRESHOLD = 5
"""Where the cell at that share has less than so many times the lowest, the source has a threshold."""


@dataclass(frozen=True)
class Numbers:
    """What the first events say.

    Attributes
    ----------
    events
        Number of events read.
    incident_energy_GeV
        Lowest and highest; None for collisions.
    visible_fraction
        1 %, 50 % and 99 % quantiles of the sum of the cells over the incident energy; None for collisions.
    cells_MeV
        Lowest, median and highest energy of the cells with energy; None if no cell has any.
    zero_cells
        Fraction of the cells without energy.
    empty_events
        Number of events without energy.
    conditions
        Name to lowest, highest and unit.
    counts
        What the format counts while it reads.
    """

    events: int
    incident_energy_GeV: tuple[float, float] | None
    visible_fraction: tuple[float, float, float] | None
    cells_MeV: tuple[float, float, float] | None
    zero_cells: float
    empty_events: int
    conditions: Mapping[str, tuple[float, float, str]]
    counts: Mapping[str, float]


def measure(entry: dict[str, Any]) -> tuple[dict[str, Any] | None, Numbers | None, list[str]]:
    """Read the first events of the files of an entry as ingest does, and correct its guesses.

    Returns
    -------
    tuple
        The entry with units, conditions, axis check and readout threshold as the events suggest, None if it
        describes no data set; numbers of the events, None if they cannot be read; and remarks.
    """
    remarks: list[str] = []
    try:
        _settings(entry)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        return None, None, [f"no data set can be like this: {key}: {problem['msg']}"]
    try:
        batches = _read(_settings(entry))
        corrected = _with_units(entry, batches, remarks)
        if bare(corrected) != bare(entry):
            entry, batches = corrected, _read(_settings(corrected))
    except CaloforgeError as error:
        return entry, None, [*remarks, f"ingest cannot read this yet: {error}"]
    entry = _without_constants(entry, batches, remarks)
    entry = _with_threshold(entry, batches)
    _note_repeated_events(entry, batches, remarks)
    problem = _problem(_settings(entry), batches)
    if problem:
        remarks.append(f"ingest would refuse this: {problem}")
    else:
        entry = _with_axis_check(entry, batches, remarks)
    numbers = _numbers(_settings(entry), batches)
    if not entry["conditions"] and bare(entry["source"]).get("incident_energy"):
        entry = entry | {"conditions": {"energy": entry["source"]["incident_energy"]}}
    return entry, numbers, remarks


def _settings(entry: dict[str, Any]) -> DatasetSettings:
    return DatasetSettings.model_validate(bare(entry))


def _read(settings: DatasetSettings) -> list[Batch]:
    """A batch of events of each file; of the first one alone where events of two simulations are paired."""
    source = settings.source
    files, full = ([Path(file) for file in files] for files in (source.files, source.paired_files))
    parts = [files] if full else [[file] for file in files[:FILES]]
    events = max(1, min(EVENTS, CELLS // settings.geometry.n_cells) // len(parts))
    settings = settings.model_copy(update={"chunk_events": events})
    source_format = find_format(source.format)
    batches = []
    for part in parts:
        for file in (*part, *full):
            source_format.check_file(file)
        with closing(source_format.read(settings, part, full)) as found:
            batch = next(found, None)
            if batch is None or not len(batch.showers):  # converted while the file is open
                raise CaloforgeError(f"{part[0]}: 0 events found, expected at least 1")
            batches.append(batch)
    return batches


def _with_units(entry: dict[str, Any], batches: Sequence[Batch], remarks: list[str]) -> dict[str, Any]:
    """Other units of the energies where the declared ones make no sense."""
    source = entry["source"]
    if not _settings(entry).has_primaries:
        return entry
    incident_MeV, visible_MeV = _energies_MeV(batches)
    energy = bare(source["incident_energy"])
    if _is_guess(source["incident_energy"]) and np.median(incident_MeV) > 1000 * HIGHEST_ENERGY_GEV:
        note = f"guessed: up to {incident_MeV.max() / 1000:.3g} in the file"
        source = source | {"incident_energy": {"column": energy["column"], "unit": Noted("MeV", note)}}
        incident_MeV = incident_MeV / unit_factor(energy["unit"], "MeV")
    if not visible_MeV.any():
        return entry | {"source": source}
    unit, fraction = bare(source["cell_energy_unit"]), _median_fraction(visible_MeV, incident_MeV)
    low, high = PLAUSIBLE if _is_guess(source["cell_energy_unit"]) else _settings(entry).visible_fraction
    if not low <= fraction <= high:
        for other in ("eV", "keV", "MeV", "GeV", "TeV"):
            corrected = fraction * unit_factor(other, unit)
            if PLAUSIBLE[0] < corrected < PLAUSIBLE[1]:
                reason = f"{corrected:.2g} of the incident energy is visible then, in {unit} {fraction:.2g}"
                remarks.append(f"cell energies look like {other}, not {unit}: {reason}")
                source = source | {"cell_energy_unit": Noted(other, f"guessed: {reason}")}
    return entry | {"source": source}


def _is_guess(value: Any) -> bool:
    """Whether a value, or one inside of it, is noted as a guess."""
    if isinstance(value, Noted):
        return value.note.startswith("guessed") or _is_guess(value.value)
    return isinstance(value, dict) and any(map(_is_guess, value.values()))


def _without_constants(entry: dict[str, Any], batches: Sequence[Batch], remarks: list[str]) -> dict[str, Any]:
    """Conditions that differ from event to event; of a momentum along the beam the energy tells all."""
    found = {
        name: np.concatenate([batch.showers.conditions[name] for batch in batches])
        for name in entry["conditions"]
    }
    if sum(len(batch.showers) for batch in batches) < 2:
        return entry
    constant = [name for name, values in found.items() if np.ptp(values) == 0]
    if {"px", "py"} <= set(constant) and "pz" in found and "pz" not in constant:
        constant.append("pz")
        remarks.append("primaries fly along z: the energy tells their momentum, px, py and pz are left out")
    elif constant:
        values = ", ".join(f"{name} ({found[name][0]:g})" for name in constant)
        remarks.append(f"the same in all events read, and left out of the conditions: {values}")
    kept = {name: column for name, column in entry["conditions"].items() if name not in constant}
    for name in ("theta", "phi"):
        if name in kept and _is_guess(kept[name]) and np.abs(found[name]).max() > 2 * math.pi:
            kept[name] = kept[name] | {"unit": Noted("deg", "guessed: beyond 2 pi")}
    return entry | {"conditions": kept}


def _with_threshold(entry: dict[str, Any], batches: Sequence[Batch]) -> dict[str, Any]:
    """A readout threshold that cuts few of the cells, or none where the source has a threshold itself."""
    cells_MeV = _hit_cells_MeV(batches)
    if not (_is_guess(entry["readout_threshold_MeV"]) and len(cells_MeV)):
        return entry
    lowest, low = float(cells_MeV.min()), float(np.quantile(cells_MeV, LOW_SHARE))
    if low < OWN_THRESHOLD * lowest:
        note = f"guessed: half of the lowest cell energy, {lowest:.3g} MeV"
        return entry | {"readout_threshold_MeV": Noted(float(f"{lowest / 2:.1g}"), note)}
    note = f"guessed: {LOW_SHARE:.0%} of the cells with energy are below; say what your readout does"
    return entry | {"readout_threshold_MeV": Noted(float(f"{low:.1g}"), note)}


def _with_axis_check(entry: dict[str, Any], batches: Sequence[Batch], remarks: list[str]) -> dict[str, Any]:
    """An axis check where the showers pass it."""
    settings = _settings(entry)
    momentum = {"px", "py", "pz"} <= entry["conditions"].keys() and settings.geometry.kind == "cartesian"
    if not momentum or sum(len(batch.showers) for batch in batches) < EVENTS_FOR_AXES:
        return entry
    ahead = {name: value for name, value in entry.items() if name != "readout_threshold_MeV"}
    checked = ahead | {
        "axis_check": Noted({"x": ["px", "pz"], "y": ["py", "pz"]}, "the events read pass it"),
        "readout_threshold_MeV": entry["readout_threshold_MeV"],
    }
    problem = _problem(_settings(checked), batches)
    if problem:
        remarks.append(f"no axis_check: {problem}")
    return entry if problem else checked


def _problem(settings: DatasetSettings, batches: Sequence[Batch]) -> str | None:
    """What ingest would refuse about the showers."""
    survey = Survey(settings)
    try:
        for batch in batches:
            survey.add(batch)
        survey.check("of these files")
    except CaloforgeError as error:
        return str(error)
    return None


def _note_repeated_events(entry: dict[str, Any], batches: Sequence[Batch], remarks: list[str]) -> None:
    if bare(entry["source"].get("event")) is None:
        return
    events, counts = np.unique(np.concatenate([batch.showers.event for batch in batches]), return_counts=True)
    if (counts > 1).any():
        remarks.append(
            f"event number {events[counts > 1][0]} occurs more than once, which ingest refuses: "
            f"inspect the files of one data set at a time"
        )


def _numbers(settings: DatasetSettings, batches: Sequence[Batch]) -> Numbers:
    incident_MeV, visible_MeV = _energies_MeV(batches)
    cells_MeV = _hit_cells_MeV(batches)
    n_cells = len(visible_MeV) * settings.geometry.n_cells
    counts: Counter[str] = Counter()
    for batch in batches:
        counts.update(batch.counts())
    incident = fraction = None
    if settings.has_primaries:
        incident = float(incident_MeV.min() / 1000), float(incident_MeV.max() / 1000)
        fraction = tuple(np.quantile(visible_MeV / incident_MeV, (0.01, 0.5, 0.99)).tolist())
    conditions = {}
    for name, column in settings.conditions.items():
        values = np.concatenate([batch.showers.conditions[name] for batch in batches])
        conditions[name] = float(values.min()), float(values.max()), column.unit
    return Numbers(
        len(visible_MeV),
        incident,
        fraction,
        tuple(np.quantile(cells_MeV, (0, 0.5, 1)).tolist()) if len(cells_MeV) else None,
        1 - len(cells_MeV) / n_cells,
        int(np.count_nonzero(visible_MeV == 0)),
        conditions,
        dict(counts),
    )


def _energies_MeV(batches: Sequence[Batch]) -> tuple[np.ndarray, np.ndarray]:
    """Incident and visible energy of each event [MeV]: shape (n,)."""
    incident = np.concatenate([batch.showers.incident_energies[:, 0] for batch in batches])
    visible = np.concatenate([batch.showers.showers.sum(axis=1, dtype=np.float64) for batch in batches])
    return incident.astype(np.float64), visible


def _median_fraction(visible_MeV: np.ndarray, incident_MeV: np.ndarray) -> float:
    hit = visible_MeV > 0
    return float(np.median(visible_MeV[hit] / incident_MeV[hit]))


def _hit_cells_MeV(batches: Sequence[Batch]) -> np.ndarray:
    """Energies of all cells with energy [MeV]."""
    return np.concatenate([batch.showers.showers[batch.showers.showers > 0] for batch in batches])
