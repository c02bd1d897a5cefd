"""ROOT trees with one entry per event and jagged lists of hit cells."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import awkward as ak
import numpy as np
import uproot
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.ingest.batch import CELL_ENERGY, Batch, SourceFile, batch_events, cell_energies_MeV
from caloforge.ingest.columns import alternatives
from caloforge.ingest.primaries import PrimaryColumns
from caloforge.ingest.root import check_header, find_tree, open_root, read_metadata
from caloforge.showers import Showers
from caloforge.units import unit_factor

check_file = check_header


def read(settings: DatasetSettings, files: Sequence[Path], paired: Sequence[Path] = ()) -> Iterator[Batch]:
    """Read ROOT files in batches."""
    before = 0
    for path in files:
        with open_root(path) as root:
            metadata = read_metadata(root, path, settings.source.metadata)
            tree = find_tree(root, path, settings.source.tree)
            where = f"{path}: tree {settings.source.tree}"
            if metadata and metadata.events not in (None, tree.num_entries):
                raise CaloforgeError(
                    f"{where}: {tree.num_entries} events found, "
                    f"{metadata.events} expected by the object {settings.source.metadata}"
                )
            file = SourceFile(path, tree.num_entries, metadata)
            primaries = PrimaryColumns.of(settings, tree.keys(), where)
            branches = _branches(tree, where, settings, primaries)
            first_entry = 0
            for arrays in tree.iterate(branches, step_size=batch_events(settings)):
                hits = _Hits(where, first_entry, before, arrays, settings, primaries)
                yield Batch(file, where, first_entry, hits.showers)
                first_entry += len(arrays)
        before += first_entry


def _branches(
    tree: uproot.TTree, where: str, settings: DatasetSettings, primaries: PrimaryColumns
) -> list[str]:
    """Names of the branches to read, each found in the tree with the type it should have."""
    cells = settings.source.cells
    if cells.layer is None and len(settings.geometry.layers) > 1:
        raise CaloforgeError(
            f"{where}: source.cells.layer is null, but the geometry {settings.geometry.name} has "
            f"{len(settings.geometry.layers)} layers: name the branch with the layer index"
        )
    expected = [
        *((name, "one integer") for name in (cells.count, settings.source.event) if name),
        *((name, "one number") for name in primaries.columns if name != settings.source.event),
        *((name, "a list of integers") for name in (cells.layer, cells.x, cells.y) if name),
        *((name, "a list of numbers") for name in cells.energy),
    ]
    for name, kind in expected:
        if name not in tree:
            raise CaloforgeError(f"{where}: no branch {name}{alternatives(name, tree.keys())}")
        content = tree[name].interpretation
        jagged = isinstance(content, AsJagged)
        if jagged:
            content = content.content
        numeric = isinstance(content, AsDtype) and not content.inner_shape
        kinds = "iu" if "integer" in kind else "iuf"
        if not numeric or jagged != ("list" in kind) or content.to_dtype.kind not in kinds:
            raise CaloforgeError(
                f"{where}, branch {name}: type {tree[name].typename} found, expected {kind} per event"
            )
    return list(dict.fromkeys(name for name, _ in expected))


class _Hits:
    """The entries of one read; checked, they become showers."""

    def __init__(
        self,
        where: str,
        first_entry: int,
        before: int,
        arrays: ak.Array,
        settings: DatasetSettings,
        primaries: PrimaryColumns,
    ) -> None:
        self.arrays, self.settings, self.primaries = arrays, settings, primaries
        self.columns = {name: arrays[name].to_numpy() for name in primaries.columns}
        self.entries = primaries.entries(self.columns, len(arrays), where, first_entry, before, "branch")
        self.hits, _ = _lists(arrays[settings.source.cells.energy[0]])

    def showers(self) -> Showers:
        return self.primaries.showers(self.entries, self.columns, self._dense_MeV())

    def _dense_MeV(self) -> np.ndarray:
        """All cells of each entry [MeV]: float32, shape (n, V)."""
        n_cells = self.settings.geometry.n_cells
        self._check_lengths()
        energy_MeV = self._energies_MeV()
        index = np.repeat(np.arange(len(self.hits)) * n_cells, self.hits) + self._cell()
        listed = np.zeros(len(self.hits) * n_cells, dtype=bool)
        listed[index] = True
        if np.count_nonzero(listed) < len(index):
            hit = int(np.setdiff1d(np.arange(len(index)), np.unique(index, return_index=True)[1])[0])
            cell = f"cell {index[hit] % n_cells} of the flattened shower twice"
            raise self._hit_error(hit, self.settings.source.cells.x, cell, "every cell once at most")
        showers = np.zeros(len(listed), dtype=np.float32)
        showers[index] = energy_MeV
        return showers.reshape(len(self.hits), n_cells)

    def _energies_MeV(self) -> np.ndarray:
        """Energy of each hit, the sum of its branches [MeV]: float32."""
        source = self.settings.source
        factor = unit_factor(source.cell_energy_unit, "MeV")
        total_MeV = np.float32(0)
        for branch in source.cells.energy:
            _, found = _lists(self.arrays[branch])
            energy_MeV, bad = cell_energies_MeV(found, factor)
            if bad.any():
                hit = int(bad.argmax())
                raise self._hit_error(hit, branch, found[hit], CELL_ENERGY)
            total_MeV = total_MeV + energy_MeV
        return total_MeV

    def _check_lengths(self) -> None:
        cells = self.settings.source.cells
        names = (cells.layer, cells.x, cells.y, *cells.energy)
        lengths = {name: _lists(self.arrays[name])[0] for name in names if name}
        if cells.count:
            lengths[cells.count] = self.arrays[cells.count].to_numpy()
        for branch, found in lengths.items():
            different = found != self.hits
            if different.any():
                row = int(different.argmax())
                expected = f"the {self.hits[row]} of {cells.energy[0]}"
                raise self.entries.error(row, branch, f"{found[row]} cells", expected)

    def _cell(self) -> np.ndarray:
        """Index of each hit in its flattened shower, int64, inside the geometry."""
        cells, geometry = self.settings.source.cells, self.settings.geometry
        shapes = np.array([layer.shape for layer in geometry.layers])
        layer = (
            self._indices(cells.layer, len(shapes)) if cells.layer else np.zeros(self.hits.sum(), dtype=int)
        )
        n_x, n_y = shapes[layer].T if len(shapes) > 1 else shapes[0]
        return geometry.offsets()[layer] + self._indices(cells.x, n_x) * n_y + self._indices(cells.y, n_y)

    def _indices(self, branch: str, limit: int | np.ndarray) -> np.ndarray:
        """The indices of all entries: int64, from 0 to below `limit`."""
        _, found = _lists(self.arrays[branch])
        index = found.astype(np.int64)
        outside = (index < 0) | (index >= limit)
        if outside.any():
            hit = int(outside.argmax())
            last = np.broadcast_to(limit, index.shape)[hit] - 1
            raise self._hit_error(hit, branch, f"index {found[hit]}", f"one from 0 to {last}")
        return index

    def _hit_error(self, hit: int, branch: str, found: object, expected: str) -> CaloforgeError:
        row = int(np.searchsorted(np.cumsum(self.hits), hit, side="right"))
        return self.entries.error(row, branch, found, expected)


def _lists(jagged: ak.Array) -> tuple[np.ndarray, np.ndarray]:
    """Length of each list, and the numbers of all lists one after the other."""
    offsets = jagged.layout.offsets.data
    return np.diff(offsets), jagged.layout.content.data[offsets[0] : offsets[-1]]
