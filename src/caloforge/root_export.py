"""Canonical showers as ROOT files with the trees and branches of the source they were learned from."""

import re
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from caloforge.atomic import atomic_path
from caloforge.config.dataset import DatasetSettings
from caloforge.config.sources import RootArrays, RootCells
from caloforge.errors import CaloforgeError
from caloforge.ingest.axes import canonical
from caloforge.ingest.batch import batch_events
from caloforge.provenance import recorded
from caloforge.showers import ShowerFile, Showers
from caloforge.units import unit_factor

SUMMED_ENERGY = "cell_energy"
"""Branch of the energies of the cells where the source has several that add up."""


def write_root(showers: Path, settings: DatasetSettings, output: Path, record: Path) -> None:
    """Write canonical showers to a ROOT file of TTrees that code for the source can read.

    Trees, branches and units are those of the source for the formats `root_cells` and `root_arrays`, and the
    defaults of `root_cells` for all others, with these rules:

    - The event number is always written, as `event` where the source has none. The energy of the primary is
      not written where the source has none.
    - A number that the source has as a formula or as the component of a vector goes to a branch called like
      the condition, or `energy` for the energy of the primary.
    - `root_cells`: cells without energy are not listed. Generated showers do not tell several energy branches
      apart: `cell_energy` is their sum. Lists are C arrays; their counter is `ncell` if the source has none.
    - `root_arrays`: a vector is a C array; branches of single cells count from 0. Layers that ingest adds up
      stay added up, and extra cells are 0.
    - Energies are float in MeV and double in other units, so that ingest finds the very same numbers again.
    - Reference images and metadata are not written.

    ROOT files hold the time when they were made and a random identifier, so their bytes differ every time.

    Parameters
    ----------
    showers
        Canonical file.
    settings
        Of its data set.
    output
        ROOT file to write.
    record
        Record of the stage to write (JSON).

    Raises
    ------
    CaloforgeError
        If the showers have another geometry or other conditions than the data set, or if two quantities would
        have the same branch.
    """
    with (
        recorded(
            record,
            stage="export_root",
            inputs=[showers],
            outputs=[output],
            settings=settings.model_dump(mode="json"),
        ) as facts,
        ShowerFile(showers) as file,
        atomic_path(output) as partial,
    ):
        _check(file, settings)
        written = _as_root(settings)
        with uproot.recreate(partial) as root:
            trees = {
                name: root.mktree(
                    name,
                    {branch: ak.type(ak.Array(values)).content for branch, values in branches.items()},
                    counter_name=lambda name: name.removesuffix("[]"),
                    field_name=lambda _, branch: branch,
                )
                for name, branches in _trees(file.read(0, 0), written).items()
            }
            for block in file.blocks(batch_events(settings)):
                for name, branches in _trees(block, written).items():
                    trees[name].extend(branches)
        facts["events"] = len(file)


def _check(file: ShowerFile, settings: DatasetSettings) -> None:
    if file.geometry != settings.geometry:
        raise CaloforgeError(
            f"{file.path}: geometry {file.geometry.name} found, expected that of the data set, "
            f"{settings.geometry.name}"
        )
    expected = {name: column.unit for name, column in settings.conditions.items()}
    if file.units != expected:
        found, wanted = (
            ", ".join(f"{name} [{unit}]" for name, unit in units.items()) or "none"
            for units in (file.units, expected)
        )
        raise CaloforgeError(f"{file.path}: conditions {found} found, expected {wanted}")


def _as_root(settings: DatasetSettings) -> DatasetSettings:
    """The same data set as if its source were a ROOT file."""
    if isinstance(settings.source, RootCells | RootArrays):
        return settings
    source = RootCells(format="root_cells", files=("none",))
    if not settings.has_primaries:
        source = source.model_copy(update={"incident_energy": None})
    conditions = {
        name: column.model_copy(update={"column": name}) for name, column in settings.conditions.items()
    }
    return settings.model_copy(update={"source": source, "conditions": conditions})


def _trees(block: Showers, settings: DatasetSettings) -> dict[str, dict[str, np.ndarray | ak.Array]]:
    """Contents of the branches of each tree: one number, array or list of hit cells per event.

    Lists of cells are records under the name of their counter with brackets; each field is a branch.
    """
    source = settings.source
    primaries = _primaries(block, settings)
    if isinstance(source, RootArrays):
        cells, tree = _arrays(block, settings), source.tree
        names = [*cells]
    else:
        hits, tree = _hits(block, settings), source.cells.tree or source.tree
        counter = source.cells.count or "ncell"
        cells, names = {f"{counter}[]": hits}, [counter, *hits.fields]
    if tree != source.tree:
        return {source.tree: primaries, tree: cells}
    for name in names:
        if name in primaries:
            raise CaloforgeError(f"tree {tree}: branch {name} found twice, expected another name")
    return {tree: primaries | cells}


def _primaries(block: Showers, settings: DatasetSettings) -> dict[str, np.ndarray]:
    """Event number, energy of the primary and conditions, each under its branch."""
    source = settings.source
    numbers = [("event", source.event or "event", block.event)]
    if source.incident_energy:
        energy = _in_unit(block.incident_energies[:, 0], source.incident_energy.unit)
        numbers.append(("energy", source.incident_energy.column, energy))
    numbers += [(name, column.column, block.conditions[name]) for name, column in settings.conditions.items()]
    branches: dict[str, np.ndarray] = {}
    columns: dict[str, str] = {}
    for name, column, values in numbers:
        branch = column if re.fullmatch(r"[A-Za-z_][\w.]*", column) else name
        if columns.setdefault(branch, column) != column:
            raise CaloforgeError(
                f"branch {branch}: both {columns[branch]} and {column} found, expected different names"
            )
        branches[branch] = values
    return branches


def _hits(block: Showers, settings: DatasetSettings) -> ak.Array:
    """The cells with energy of each event: records of indices and energy."""
    cells, geometry = settings.source.cells, settings.geometry
    event, cell = np.nonzero(block.showers)
    energy_MeV = block.showers[event, cell]
    offsets = geometry.offsets()
    layer = np.searchsorted(offsets, cell, side="right") - 1
    shapes = np.array([layer.shape for layer in geometry.layers])
    x, y = np.divmod(cell - offsets[layer], shapes[layer, 1])
    n_x, n_y = shapes.max(axis=0)
    branches = {cells.layer: _small(layer, len(shapes))} if cells.layer else {}
    branches |= {cells.x: _small(x, n_x), cells.y: _small(y, n_y)}
    energy = cells.energy[0] if len(cells.energy) == 1 else SUMMED_ENERGY
    branches[energy] = _in_unit(energy_MeV, settings.source.cell_energy_unit)
    return ak.unflatten(ak.zip(branches), np.bincount(event, minlength=len(block)))


def _small(index: np.ndarray, limit: int) -> np.ndarray:
    """Indices from 0 to below `limit` as the smallest unsigned integers that hold them."""
    return index.astype(np.min_scalar_type(limit - 1))


def _arrays(block: Showers, settings: DatasetSettings) -> dict[str, np.ndarray]:
    """All cells of each event in the order of the source: one branch with a vector, or one for each cell."""
    source, geometry = settings.source, settings.geometry
    energy = _in_unit(block.showers, source.cell_energy_unit)
    order = canonical(np.arange(geometry.n_cells)[None], source.axes, geometry)[0]
    cells = np.zeros((len(block), geometry.n_cells + source.extra_cells), energy.dtype)
    cells[:, order] = energy
    if "*" not in source.cells:
        return {source.cells: cells}
    return {source.cells.replace("*", str(number), 1): cells[:, number] for number in range(cells.shape[1])}


def _in_unit(energy_MeV: np.ndarray, unit: str) -> np.ndarray:
    """Energies in `unit`: float32 for MeV, else float64, which turns back into the same float32."""
    return energy_MeV if unit == "MeV" else energy_MeV.astype(np.float64) * unit_factor("MeV", unit)
