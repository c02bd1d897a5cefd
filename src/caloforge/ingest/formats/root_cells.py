"""ROOT trees with one entry per event and jagged lists of hit cells."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from caloforge.config.dataset import DatasetSettings
from caloforge.config.sources import RootCells
from caloforge.errors import CaloforgeError
from caloforge.ingest.batch import (
    CELL_ENERGY,
    EVERY_FILE,
    Batch,
    Entries,
    SourceFile,
    batch_events,
    cell_energies_MeV,
)
from caloforge.ingest.primaries import PrimaryColumns
from caloforge.ingest.root import (
    LIST,
    NUMBER,
    Tree,
    check_branches,
    check_header,
    check_primaries,
    find_tree,
    lists,
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
        with open_events(path, settings.source) as (root, tree, file):
            if number in own:
                yield from _batches(settings, root, tree, file, before)
        before += file.events


def _batches(
    settings: DatasetSettings, root: uproot.ReadOnlyDirectory, tree: Tree, file: SourceFile, before: int
) -> Iterator[Batch]:
    """Read a file in batches; `before` is the number of events in the files before it."""
    source, events = settings.source, batch_events(settings)
    where = f"{file.path}: tree {source.tree}"
    primaries = PrimaryColumns.of(settings, tree.keys(), where)
    check_primaries(tree, where, primaries)
    cells_tree, cells_where = _beside(tree, where, root, file.path, source)
    branches = _cell_branches(cells_tree, cells_where, settings)
    batches = zip(
        number_batches(tree, where, primaries.columns, events),
        cells_tree.iterate(branches, step_size=events),
        strict=True,
    )
    first_entry = 0
    for columns, arrays in batches:
        entries = primaries.entries(columns, len(arrays), where, first_entry, before, "branch")
        hits = _Hits(settings, arrays, replace(entries, where=cells_where))
        yield Batch(file, where, first_entry, partial(_showers, primaries, entries, columns, hits))
        first_entry += len(arrays)


def _beside(
    tree: Tree, where: str, root: uproot.ReadOnlyDirectory, path: Path | str, source: RootCells
) -> tuple[Tree, str]:
    """The tree with the lists of cells, entry by entry beside `tree` or itself, and where it is."""
    name = source.cells.tree
    if name is None:
        return tree, where
    beside = find_tree(root, path, name)
    if beside.num_entries != tree.num_entries:
        raise CaloforgeError(
            f"{path}: tree {name}: {beside.num_entries} events found, "
            f"expected the {tree.num_entries} of tree {source.tree}"
        )
    return beside, f"{path}: tree {name}"


def _cell_branches(tree: Tree, where: str, settings: DatasetSettings) -> list[str]:
    """Names of the branches about the cells, each found in the tree with the type it should have."""
    cells = settings.source.cells
    if cells.layer is None and len(settings.geometry.layers) > 1:
        raise CaloforgeError(
            f"{where}: source.cells.layer is null, but the geometry {settings.geometry.name} has "
            f"{len(settings.geometry.layers)} layers: name the branch with the layer index"
        )
    kinds = [(name, LIST) for name in (cells.layer, cells.x, cells.y, *cells.energy) if name]
    if cells.count:
        kinds.append((cells.count, NUMBER))
    check_branches(tree, where, kinds)
    return list(dict.fromkeys(name for name, _ in kinds))


def _showers(
    primaries: PrimaryColumns, entries: Entries, columns: Mapping[str, np.ndarray], hits: "_Hits"
) -> Showers:
    return primaries.showers(entries, columns, hits.dense_MeV())


class _Hits:
    """The lists of cells of some entries; checked, they become all cells."""

    def __init__(self, settings: DatasetSettings, arrays: ak.Array, entries: Entries) -> None:
        self.source, self.geometry = settings.source, settings.geometry
        self.arrays, self.entries = arrays, entries
        self.hits, _ = lists(arrays[self.source.cells.energy[0]])

    def dense_MeV(self) -> np.ndarray:
        """All cells of each entry [MeV]: float32, shape (n, V)."""
        n_cells = self.geometry.n_cells
        self._check_lengths()
        energy_MeV = self._energies_MeV()
        index = np.repeat(np.arange(len(self.hits)) * n_cells, self.hits) + self._cell()
        listed = np.zeros(len(self.hits) * n_cells, dtype=bool)
        listed[index] = True
        if np.count_nonzero(listed) < len(index):
            hit = int(np.setdiff1d(np.arange(len(index)), np.unique(index, return_index=True)[1])[0])
            cell = f"cell {index[hit] % n_cells} of the flattened shower twice"
            raise self._hit_error(hit, self.source.cells.x, cell, "every cell once at most")
        showers = np.zeros(len(listed), dtype=np.float32)
        showers[index] = energy_MeV
        return showers.reshape(len(self.hits), n_cells)

    def _energies_MeV(self) -> np.ndarray:
        """Energy of each hit, the sum of its branches [MeV]: float32."""
        factor = unit_factor(self.source.cell_energy_unit, "MeV")
        total_MeV = np.float32(0)
        for branch in self.source.cells.energy:
            _, found = lists(self.arrays[branch])
            energy_MeV, bad = cell_energies_MeV(found, factor)
            if bad.any():
                hit = int(bad.argmax())
                raise self._hit_error(hit, branch, found[hit], CELL_ENERGY)
            total_MeV = total_MeV + energy_MeV
        return total_MeV

    def _check_lengths(self) -> None:
        cells = self.source.cells
        names = (cells.layer, cells.x, cells.y, *cells.energy)
        lengths = {name: lists(self.arrays[name])[0] for name in names if name}
        if cells.count:
            lengths[cells.count] = self.arrays[cells.count].to_numpy()
        for branch, found in lengths.items():
            different = found != self.hits
            if different.any():
                row = int(different.argmax())
                expected = f"the {self.hits[row]} of {cells.energy[0]}"
                raise self.entries.error(row, branch, f"{found[row]} cells", expected)

    def _cell(self) -> np.ndarray:
        """Index of each hit in its flattened shower, inside the geometry."""
        cells = self.source.cells
        shapes = np.array([layer.shape for layer in self.geometry.layers], dtype=np.int32)
        start, (n_x, n_y) = 0, shapes[0]
        if cells.layer:
            layer = self._indices(cells.layer, len(shapes))
            if self.geometry.is_grid:
                start = layer * (n_x * n_y)
            else:
                start, (n_x, n_y) = self.geometry.offsets()[layer], shapes[layer].T
        return start + self._indices(cells.x, n_x) * n_y + self._indices(cells.y, n_y)

    def _indices(self, branch: str, limit: int | np.ndarray) -> np.ndarray:
        """The indices of all entries: int32, from 0 to below `limit`."""
        _, found = lists(self.arrays[branch])
        bad = (found < 0) | (found >= limit)
        if found.dtype.kind == "f":
            bad |= found != np.floor(found)
        if bad.any():
            hit = int(bad.argmax())
            last = np.broadcast_to(limit, found.shape)[hit] - 1
            raise self._hit_error(hit, branch, f"index {found[hit]}", f"one from 0 to {last}")
        return found.astype(np.int32)

    def _hit_error(self, hit: int, branch: str, found: object, expected: str) -> CaloforgeError:
        row = int(np.searchsorted(np.cumsum(self.hits), hit, side="right"))
        return self.entries.error(row, branch, found, expected)
