"""ROOT trees that hold every cell of an event, as a vector or one branch per cell."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.ingest.axes import canonical, check_shape
from caloforge.ingest.batch import (
    CELL_ENERGY,
    EVERY_FILE,
    Batch,
    Entries,
    SourceFile,
    batch_events,
    cell_energies_MeV,
)
from caloforge.ingest.columns import alternatives
from caloforge.ingest.primaries import PrimaryColumns
from caloforge.ingest.root import (
    NUMBER,
    NUMBERS,
    Tree,
    check_branches,
    check_header,
    check_primaries,
    number_batches,
    open_events,
)
from caloforge.showers import Showers
from caloforge.units import unit_factor

check_file = check_header


def read(
    settings: DatasetSettings,
    files: Sequence[Path | str],
    paired: Sequence[Path | str] = (),
    own: range = EVERY_FILE,
) -> Iterator[Batch]:
    """Read ROOT files in batches."""
    before = 0
    for number, path in enumerate(files):
        with open_events(path, settings.source) as (_, tree, file):
            if number in own:
                yield from _batches(settings, tree, file, before)
        before += file.events


def _batches(settings: DatasetSettings, tree: Tree, file: SourceFile, before: int) -> Iterator[Batch]:
    """Read a file in batches; `before` is the number of events in the files before it."""
    where = f"{file.path}: tree {settings.source.tree}"
    primaries = PrimaryColumns.of(settings, tree.keys(), where)
    check_primaries(tree, where, primaries)
    cells = _cell_branches(tree, where, settings.source.cells)
    names = dict.fromkeys((*primaries.columns, *cells))
    first_entry = 0
    for columns in number_batches(tree, where, tuple(names), batch_events(settings)):
        n = len(columns[cells[0]])
        entries = primaries.entries(columns, n, where, first_entry, before, "branch")
        convert = partial(_showers, settings, primaries, entries, columns, cells)
        yield Batch(file, where, first_entry, convert)
        first_entry += n


def _cell_branches(tree: Tree, where: str, cells: str) -> tuple[str, ...]:
    """The branch called `cells`, or those that match it as a pattern in the order of their numbers."""
    if "*" not in cells:
        check_branches(tree, where, [(cells, NUMBERS)])
        return (cells,)
    start, end = cells.split("*", maxsplit=1)
    pattern = re.compile(rf"{re.escape(start)}(\d+){re.escape(end)}")
    numbered = sorted((int(match[1]), match[0]) for match in map(pattern.fullmatch, tree.keys()) if match)
    if not numbered:
        raise CaloforgeError(f"{where}: no branch {cells}{alternatives(cells, tree.keys())}")
    first, last = numbered[0][0], numbered[-1][0]
    if [number for number, _ in numbered] != list(range(first, last + 1)):
        raise CaloforgeError(
            f"{where}: {len(numbered)} branches {cells} with numbers from {first} to {last} found, "
            f"expected every number once"
        )
    names = tuple(name for _, name in numbered)
    check_branches(tree, where, ((name, NUMBER) for name in names))
    return names


def _showers(
    settings: DatasetSettings,
    primaries: PrimaryColumns,
    entries: Entries,
    columns: Mapping[str, np.ndarray],
    cells: tuple[str, ...],
) -> Showers:
    """The entries whose branches `cells` hold all cells."""
    source, geometry = settings.source, settings.geometry
    found = np.stack([columns[name] for name in cells], axis=1) if "*" in source.cells else columns[cells[0]]
    place = f"{entries.where}, branch {source.cells}"
    check_shape(found.shape[1:] or (1,), source.axes, geometry, source.sum_layers, place, source.extra_cells)
    flat = found.reshape(len(found), -1)
    flat = flat[:, : flat.shape[1] - source.extra_cells]
    cells_MeV, bad = cell_energies_MeV(flat, unit_factor(source.cell_energy_unit, "MeV"))
    if bad.any():
        row, cell = divmod(int(bad.argmax()), bad.shape[1])
        name = cells[cell] if "*" in source.cells else f"{source.cells}[{cell}]"
        raise entries.error(row, name, flat[row, cell], CELL_ENERGY)
    return primaries.showers(entries, columns, canonical(cells_MeV, source.axes, geometry, source.sum_layers))
