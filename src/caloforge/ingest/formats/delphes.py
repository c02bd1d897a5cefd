"""Delphes trees as images of their towers, alone or paired with the full simulation of the same events."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from caloforge.config.dataset import DatasetSettings
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
from caloforge.ingest.pairing import Events, pair
from caloforge.ingest.root import (
    LIST,
    NUMBER,
    Tree,
    check_branches,
    check_header,
    find_tree,
    lists,
    open_root,
)
from caloforge.showers import Showers
from caloforge.units import unit_factor

BLOCK_SIZE = "4 MB"
"""Size of the towers of the full simulation that are read together, if their baskets are not larger."""
KEPT_BYTES = 64 << 20
"""Size of the towers of the full simulation that stay in memory for later events."""

check_file = check_header


def read(
    settings: DatasetSettings,
    files: Sequence[Path],
    paired: Sequence[Path] = (),
    own: range = EVERY_FILE,
) -> Iterator[Batch]:
    """Read Delphes trees in batches, in their order, each event with its partner of the full simulation.

    A pixel holds the sum of Eem + Ehad over the towers whose centre is in it. A tower with E above 0 that has
    neither Eem nor Ehad counts with E; the record tells how many. The lower edges of a pixel belong to it,
    the upper ones to the next; phi comes round, so that pi is -pi, and is refused beyond 2 pi. Towers outside
    the grid in eta are left out and counted. Delphes writes GeV and radians (J. de Favereau et al.,
    DELPHES 3, JHEP 02 (2014) 057).
    """
    source = settings.source
    full = _FullSimulation(settings, paired) if paired else None
    pairs = pair(_fast_events(settings, files), full.events, source.unmatched) if full else None
    branches = [source.event, *_tower_branches(settings)]
    before = 0
    for number, path in enumerate(files):
        with open_root(path) as root:
            tree, where = _find_tree(root, path, source.tree, [(name, LIST) for name in branches])
            file = SourceFile(path, tree.num_entries)
            first_entry = 0
            steps = tree.iterate(branches, step_size=batch_events(settings)) if number in own else ()
            for arrays in steps:
                images = _Images(settings, where, first_entry, arrays)
                if full and pairs:
                    index = before + first_entry
                    images.add_partners(full, pairs.partner[index : index + len(arrays)])
                    images.counted.update(pairs.counts if index == 0 else {})
                yield Batch(file, where, first_entry, images.showers, images.counts, images.kept)
                first_entry += len(arrays)
        before += file.events


def _find_tree(
    root: uproot.ReadOnlyDirectory, path: Path, name: str, branches: Sequence[tuple[str, str]]
) -> tuple[Tree, str]:
    """The tree, with these branches in it, and what messages call it."""
    tree, where = find_tree(root, path, name), f"{path}: tree {name}"
    check_branches(tree, where, branches)
    return tree, where


def _fast_events(settings: DatasetSettings, files: Sequence[Path]) -> Events:
    """The event numbers of Delphes."""
    source = settings.source
    numbers = {}
    for path in files:
        with open_root(path) as root:
            tree, where = _find_tree(root, path, source.tree, [(source.event, LIST)])
            entries = _entries(where, 0, tree[source.event].array(), source.event)
            numbers[where] = entries.event_numbers(source.event)
    return Events.of("fast", numbers)


def _entries(where: str, first_entry: int, objects: ak.Array, name: str) -> Entries:
    """Entries with the event numbers in `objects`: the one that Delphes writes per entry."""
    lengths, numbers = lists(objects)
    if (lengths != 1).any():
        row = int((lengths != 1).argmax())
        raise CaloforgeError(
            f"{where}, entry {first_entry + row}, branch {name}: {lengths[row]} numbers found, expected 1"
        )
    return Entries(where, first_entry, numbers)


class _Towers:
    """The lists that describe the towers of some entries, all of the same length in an entry."""

    def __init__(self, entries: Entries, arrays: ak.Array, branches: Sequence[str]) -> None:
        self._entries = entries
        self._columns = {}
        for branch in branches:
            lengths, self._columns[branch] = lists(arrays[branch])
            if branch == branches[0]:
                self.lengths = lengths
            different = lengths != self.lengths
            if different.any():
                row = int(different.argmax())
                expected = f"the {self.lengths[row]} of {branches[0]}"
                raise entries.error(row, branch, f"{lengths[row]} towers", expected)

    def __getitem__(self, branch: str) -> np.ndarray:
        return self._columns[branch]

    def row(self) -> np.ndarray:
        """Number of the entry of each tower, from 0."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def energy_MeV(self, branch: str, unit: str) -> np.ndarray:
        """Energy of each tower [MeV]: float32."""
        energy_MeV, bad = cell_energies_MeV(self[branch], unit_factor(unit, "MeV"))
        self.refuse(bad, branch, CELL_ENERGY)
        return energy_MeV

    def index(self, branch: str, limit: int) -> np.ndarray:
        """Index of each tower along an axis: int64, from 0 to below `limit`."""
        found = self[branch]
        fits = (found >= 0) & (found < limit) & (found == np.floor(found))
        self.refuse(~fits, branch, f"an index from 0 to {limit - 1}")
        return found.astype(np.int64)

    def refuse(self, bad: np.ndarray, branch: str, expected: str) -> None:
        """Raise about the first tower that is `bad`."""
        if bad.any():
            tower = int(bad.argmax())
            row = int(np.searchsorted(np.cumsum(self.lengths), tower, side="right"))
            raise self._entries.error(row, branch, self[branch][tower], expected)


@dataclass(frozen=True)
class _Hits:
    """Energies in the images of some events: image, pixel of the flattened image, energy [MeV]."""

    row: np.ndarray
    pixel: np.ndarray
    energy_MeV: np.ndarray


def _images_MeV(parts: Iterable[_Hits], n: int, n_cells: int) -> np.ndarray:
    """Images with the sum of the energies in each pixel [MeV]: float32, shape (n, V)."""
    images = np.zeros(n * n_cells, dtype=np.float32)
    for hits in parts:
        np.add.at(images, hits.row * n_cells + hits.pixel, hits.energy_MeV)
    return images.reshape(n, n_cells)


class _FastTowers:
    """The towers of some entries of Delphes, checked.

    Attributes
    ----------
    lengths
        Number of towers of each entry.
    row, eta, phi, energy_MeV
        Entry, from 0, position and energy of each tower.
    undivided
        Whether a tower counts with its E, because it has neither Eem nor Ehad.
    inside, pixel
        Whether a tower is in the grid, and where it is if so.
    """

    BRANCHES = ("Eta", "Phi", "E", "Eem", "Ehad")

    def __init__(self, settings: DatasetSettings, entries: Entries, arrays: ak.Array) -> None:
        (layer,) = settings.geometry.layers
        n_eta, n_phi = layer.shape
        names = _tower_branches(settings)
        towers = _Towers(entries, arrays, names)
        eta, phi, *energies = names
        towers.refuse(~np.isfinite(towers[eta]), eta, "a finite number")
        towers.refuse(~(np.abs(towers[phi]) <= 2 * np.pi), phi, "an angle from -pi to pi [rad]")
        total_MeV, ecal_MeV, hcal_MeV = (towers.energy_MeV(name, "GeV") for name in energies)
        self.lengths, self.row, self.eta, self.phi = towers.lengths, towers.row(), towers[eta], towers[phi]
        self.energy_MeV = ecal_MeV + hcal_MeV
        self.undivided = (self.energy_MeV == 0) & (total_MeV > 0)
        self.energy_MeV[self.undivided] = total_MeV[self.undivided]
        i = np.searchsorted(layer.edges(0), self.eta, side="right") - 1
        j = np.floor((self.phi.astype(np.float64) / (2 * np.pi) + 0.5) * n_phi).astype(np.int64) % n_phi
        self.inside = (i >= 0) & (i < n_eta)
        self.pixel = i * n_phi + j


def _tower_branches(settings: DatasetSettings) -> list[str]:
    return [f"{settings.source.towers}.{name}" for name in _FastTowers.BRANCHES]


def read_towers(settings: DatasetSettings, files: Sequence[Path]) -> Iterator[tuple[np.ndarray, ak.Array]]:
    """Read the towers of Delphes themselves, in batches, in the order of the files.

    Energies are those that `read` gives the pixels; towers outside the grid are left out.

    Yields
    ------
    tuple
        Event numbers, int64 of shape (n,), and the towers, `n * var * {eta, phi, energy_MeV}`.
    """
    source = settings.source
    branches = [source.event, *_tower_branches(settings)]
    for path in files:
        with open_root(path) as root:
            tree, where = _find_tree(root, path, source.tree, [(name, LIST) for name in branches])
            first_entry = 0
            for arrays in tree.iterate(branches, step_size=batch_events(settings)):
                entries = _entries(where, first_entry, arrays[source.event], source.event)
                towers = _FastTowers(settings, entries, arrays)
                inside = towers.inside
                columns = {"eta": towers.eta, "phi": towers.phi, "energy_MeV": towers.energy_MeV}
                counts = np.bincount(towers.row[inside], minlength=len(arrays))
                kept = ak.zip({name: column[inside] for name, column in columns.items()})
                yield entries.event_numbers(source.event), ak.unflatten(kept, counts)
                first_entry += len(arrays)


class _Images:
    """The entries of one read of Delphes; checked, they become images."""

    def __init__(self, settings: DatasetSettings, where: str, first_entry: int, arrays: ak.Array) -> None:
        self._settings, self._arrays = settings, arrays
        self._entries = _entries(where, first_entry, arrays[settings.source.event], settings.source.event)
        self._partners: list[_Hits] | None = None
        self.kept: np.ndarray | None = None
        self.counted: Counter[str] = Counter()

    def add_partners(self, full: "_FullSimulation", indices: np.ndarray) -> None:
        """Fetch the full simulation of the entries: the events with these indices, -1 for none."""
        if (indices < 0).any():
            self.kept = np.flatnonzero(indices >= 0)
        self._partners = full.hits(indices[indices >= 0])

    def counts(self) -> Mapping[str, float]:
        return self.counted

    def showers(self) -> Showers:
        kept = slice(None) if self.kept is None else self.kept
        event = self._entries.event_numbers(self._settings.source.event)[kept]
        images = self._fast_MeV()[kept]
        incident_MeV = images.sum(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
        if self._partners is None:
            return Showers(images, incident_MeV, {}, event)
        full = _images_MeV(self._partners, len(event), self._settings.geometry.n_cells)
        return Showers(full, incident_MeV, {}, event, reference=images)

    def _fast_MeV(self) -> np.ndarray:
        """The image of each entry [MeV]: float32, shape (n, V)."""
        towers = _FastTowers(self._settings, self._entries, self._arrays)
        row, inside, energy_MeV = towers.row, towers.inside, towers.energy_MeV
        known = np.ones(len(row), dtype=bool) if self.kept is None else np.isin(row, self.kept)
        outside = known & ~inside
        self.counted["towers_outside_grid"] = int(np.count_nonzero(outside))
        self.counted["energy_outside_grid_GeV"] = float(energy_MeV[outside].sum(dtype=np.float64)) / 1000
        self.counted["towers_without_Eem_and_Ehad"] = int(np.count_nonzero(known & towers.undivided))
        hits = _Hits(row[inside], towers.pixel[inside], energy_MeV[inside])
        return _images_MeV([hits], len(towers.lengths), self._settings.geometry.n_cells)


@dataclass(frozen=True)
class _Block:
    """Towers of consecutive events of the full simulation: those of event k from first[k] to first[k + 1]."""

    first: np.ndarray
    pixel: np.ndarray
    energy_MeV: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.first.nbytes + self.pixel.nbytes + self.energy_MeV.nbytes

    def hits(self, rows: np.ndarray, events: np.ndarray) -> _Hits:
        """The towers of `events`, counted from the first, for the images `rows`."""
        lengths = np.diff(self.first)[events]
        gaps = self.first[events] - (np.cumsum(lengths) - lengths)
        tower = np.repeat(gaps, lengths) + np.arange(lengths.sum())
        return _Hits(np.repeat(rows, lengths), self.pixel[tower], self.energy_MeV[tower])


class _FullSimulation:
    """Events of the full simulation in any order, read in blocks of which those used last stay in memory.

    Attributes
    ----------
    events
        Their numbers.
    """

    def __init__(self, settings: DatasetSettings, files: Sequence[Path]) -> None:
        self._source, self._layer = settings.source.full_simulation, settings.geometry.layers[0]
        source = self._source
        self._lists = [*source.energy, source.eta, source.phi]
        self._branches = [(source.event, NUMBER), *((name, LIST) for name in self._lists)]
        self._spans: list[tuple[Path, int, int]] = []
        numbers = {}
        for path in files:
            with open_root(path) as root:
                tree, where = _find_tree(root, path, source.tree, self._branches)
                entries = Entries(where, 0, tree[source.event].array().to_numpy())
                numbers[where] = entries.event_numbers(source.event)
                self._spans += [(path, *span) for span in self._split(tree)]
        self.events = Events.of("full", numbers)
        self._first = np.cumsum([0, *(stop - start for _, start, stop in self._spans)])
        self._blocks: dict[int, _Block] = {}

    def hits(self, indices: np.ndarray) -> list[_Hits]:
        """The towers of the events with these indices, as images in this order."""
        block = np.searchsorted(self._first, indices, side="right") - 1
        parts = []
        for number in np.unique(block).tolist():
            rows = np.flatnonzero(block == number)
            parts.append(self._block(number).hits(rows, indices[rows] - self._first[number]))
        return parts

    def _split(self, tree: Tree) -> Iterator[tuple[int, int]]:
        """First entry and end of each block: whole baskets, so that none is read twice."""
        least = max(1, tree.num_entries_for(BLOCK_SIZE, self._lists))
        baskets = (
            tree[self._lists[0]].entry_offsets
            if isinstance(tree, uproot.TTree)
            else range(tree.num_entries + 1)
        )
        start = 0
        for stop in baskets:
            if stop - start >= least or stop == tree.num_entries:
                yield start, stop
                start = stop

    def _block(self, number: int) -> _Block:
        block = self._blocks.pop(number, None) or self._read(*self._spans[number])
        self._blocks[number] = block
        while len(self._blocks) > 1 and sum(kept.nbytes for kept in self._blocks.values()) > KEPT_BYTES:
            del self._blocks[next(iter(self._blocks))]
        return block

    def _read(self, path: Path, start: int, stop: int) -> _Block:
        source, (n_eta, n_phi) = self._source, self._layer.shape
        with open_root(path) as root:
            tree, where = _find_tree(root, path, source.tree, self._branches)
            arrays = tree.arrays([source.event, *self._lists], entry_start=start, entry_stop=stop)
        entries = Entries(where, start, arrays[source.event].to_numpy())
        towers = _Towers(entries, arrays, self._lists)
        energies = (towers.energy_MeV(branch, source.cell_energy_unit) for branch in source.energy)
        pixel = towers.index(source.eta, n_eta) * n_phi + towers.index(source.phi, n_phi)
        return _Block(np.cumsum([0, *towers.lengths]), pixel.astype(np.int32), sum(energies))
