"""ROOT trees with one entry per event and jagged lists of hit cells."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import awkward as ak
import numpy as np
import uproot
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, ValidationError
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

from caloforge.config.dataset import DatasetSettings, RootCells
from caloforge.errors import CaloforgeError
from caloforge.showers import Showers
from caloforge.units import unit_factor

BATCH_BYTES = 32 << 20
"""Largest size of the showers of a batch [bytes], however many events the settings allow."""


class Metadata(BaseModel):
    """What a simulation says of a file it wrote, as JSON text beside the tree; every key is optional."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    events: NonNegativeInt | None = None
    seed: int | None = None
    geant4: str | None = None
    physics: str | None = None
    cpu_s: NonNegativeFloat | None = None


@dataclass(frozen=True)
class SourceFile:
    """A ROOT file, the number of events in its tree, and its metadata (None if it has no such object)."""

    path: Path
    events: int
    metadata: Metadata | None


@dataclass(frozen=True)
class Batch:
    """Consecutive entries of a file, the first of which is entry `first_entry` of its tree."""

    source: SourceFile
    tree: str
    first_entry: int
    entries: "_Entries"

    @cached_property
    def showers(self) -> Showers:
        """The entries as showers; every hit and every scalar is checked when they are first asked for.

        Raises
        ------
        CaloforgeError
            Naming file, tree, branch, entry and event: lists disagree in length, a cell is outside the
            geometry or listed twice, or a number is not physical.
        """
        return self.entries.showers()

    def place(self, row: int) -> str:
        """Where a shower of the batch comes from, for messages."""
        event = self.showers.event[row]
        return f"{self.source.path}: tree {self.tree}, entry {self.first_entry + row} (event {event})"


def check_header(path: Path) -> None:
    """Refuse what is not a ROOT file or shorter than its header says.

    The header begins with the letters root, the version as four bytes, fBEGIN as four and fEND, the size of
    the file, as four or, from version 1000000 on, eight (ROOT reference guide, class TFile, "File header").

    Raises
    ------
    CaloforgeError
        Naming the file.
    """
    try:
        with path.open("rb") as file:
            header = file.read(20)
        size = path.stat().st_size
    except OSError as error:
        raise CaloforgeError(f"{path}: cannot be read: {error.strerror}") from None
    if header[:4] != b"root":
        raise CaloforgeError(f"{path}: not a ROOT file: begins with {header[:4]!r}, expected {b'root'!r}")
    large = int.from_bytes(header[4:8]) >= 1_000_000
    end = int.from_bytes(header[12:20] if large else header[12:16])
    if size < max(end, len(header)):
        raise CaloforgeError(f"{path}: truncated: {size} bytes found, {end} expected by its header")


def read(path: Path, settings: DatasetSettings) -> Iterator[Batch]:
    """Read a ROOT file in batches.

    Raises
    ------
    CaloforgeError
        Naming the file and, as far as they apply, tree and branch: the file is damaged, the tree or a
        branch is missing or of the wrong type, or the tree is empty or disagrees with the metadata.
    """
    first_entry = 0
    for source, arrays in _arrays(path, settings):
        entries = _Entries(f"{path}: tree {settings.source.tree}", first_entry, arrays, settings)
        yield Batch(source, settings.source.tree, first_entry, entries)
        first_entry += len(arrays)


def places(paths: list[Path], source: RootCells, number: int) -> list[str]:
    """Where in the files an event number stands, for messages."""
    found = []
    for path in paths:
        with _read_errors_in_one_line(path), uproot.open(path) as root:
            events = root[source.tree][source.event].array(library="np")
        found += [f"{path} entry {entry}" for entry in np.flatnonzero(events == number)]
    return found


@contextmanager
def _read_errors_in_one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except CaloforgeError:
        raise
    except Exception as error:  # a damaged file makes uproot raise anything, from any depth
        reason = " ".join(str(error).split())[:200]
        raise CaloforgeError(
            f"{path}: damaged, cannot be read as ROOT: {type(error).__name__}: {reason}"
        ) from error


def _arrays(path: Path, settings: DatasetSettings) -> Iterator[tuple[SourceFile, ak.Array]]:
    source = settings.source
    step = max(1, min(settings.chunk_events, BATCH_BYTES // (4 * settings.geometry.n_cells)))
    with _read_errors_in_one_line(path), uproot.open(path) as root:
        metadata = _metadata(root, path, source)
        tree = _tree(root, path, source)
        if metadata and metadata.events not in (None, tree.num_entries):
            raise CaloforgeError(
                f"{path}: tree {source.tree}: {tree.num_entries} events found, "
                f"{metadata.events} expected by the object {source.metadata}"
            )
        file = SourceFile(path, tree.num_entries, metadata)
        for arrays in tree.iterate(_branches(tree, path, settings), step_size=step):
            yield file, arrays


def _metadata(root: uproot.ReadOnlyDirectory, path: Path, source: RootCells) -> Metadata | None:
    if source.metadata is None or source.metadata not in root:
        return None
    try:
        return Metadata.model_validate_json(str(root[source.metadata]))
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise CaloforgeError(
            f"{path}: object {source.metadata}: {key + ': ' if key else ''}{problem['msg']}"
        ) from None


def _tree(root: uproot.ReadOnlyDirectory, path: Path, source: RootCells) -> uproot.TTree:
    if source.tree not in root:
        raise CaloforgeError(
            f"{path}: no tree {source.tree}{_alternatives(source.tree, root.keys(cycle=False))}"
        )
    tree = root[source.tree]
    if not isinstance(tree, uproot.TTree):
        raise CaloforgeError(f"{path}: {source.tree} is a {root.classname_of(source.tree)}, expected a TTree")
    if tree.num_entries == 0:
        raise CaloforgeError(f"{path}: tree {source.tree}: 0 events found, expected at least 1")
    return tree


def _branches(tree: uproot.TTree, path: Path, settings: DatasetSettings) -> list[str]:
    """Names of the branches to read, each found in the tree with the type it should have."""
    source, cells = settings.source, settings.source.cells
    if cells.layer is None and len(settings.geometry.layers) > 1:
        raise CaloforgeError(
            f"{path}: source.cells.layer is null, but the geometry {settings.geometry.name} has "
            f"{len(settings.geometry.layers)} layers: name the branch with the layer index"
        )
    numbers = [settings.source.incident_energy, *settings.conditions.values()]
    expected = [
        *((name, "one integer") for name in (source.event, cells.count) if name),
        *((number.branch, "one number") for number in numbers),
        *((name, "a list of integers") for name in (cells.layer, cells.x, cells.y) if name),
        (cells.energy, "a list of numbers"),
    ]
    for name, kind in expected:
        where = f"{path}: tree {source.tree}"
        if name not in tree:
            raise CaloforgeError(f"{where}: no branch {name}{_alternatives(name, tree.keys())}")
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


def _alternatives(name: str, present: list[str]) -> str:
    nearest = difflib.get_close_matches(name, present, n=1)
    return f", did you mean {nearest[0]}?" if nearest else f", found {', '.join(present) or 'nothing'}"


class _Entries:
    """The entries of one read; checked, they become showers."""

    def __init__(self, place: str, first_entry: int, arrays: ak.Array, settings: DatasetSettings) -> None:
        self.place, self.first_entry, self.arrays, self.settings = place, first_entry, arrays, settings
        self.event = self.arrays[settings.source.event].to_numpy()
        self.hits, _ = _lists(arrays[settings.source.cells.energy])

    def showers(self) -> Showers:
        source = self.settings.source
        event = self.event.astype(np.int64)
        self._refuse(event != self.event, source.event, self.event, "a signed 64-bit integer")
        energy = source.incident_energy
        incident_MeV = self._numbers(energy.branch, unit_factor(energy.unit, "MeV"))
        self._refuse(incident_MeV <= 0, energy.branch, incident_MeV, "an energy above 0 [MeV]")
        conditions = {
            name: self._numbers(condition.branch) for name, condition in self.settings.conditions.items()
        }
        return Showers(self._dense_MeV(), incident_MeV[:, None], conditions, event)

    def _numbers(self, branch: str, factor: float = 1) -> np.ndarray:
        """A scalar branch times `factor`, finite: float32, shape (n,)."""
        found = self.arrays[branch].to_numpy()
        with np.errstate(over="ignore"):
            values = (found.astype(np.float64) * factor).astype(np.float32)
        self._refuse(~np.isfinite(values), branch, found, "a finite number")
        return values

    def _dense_MeV(self) -> np.ndarray:
        """All cells of each entry [MeV]: float32, shape (n, V)."""
        source, n_cells = self.settings.source, self.settings.geometry.n_cells
        self._check_lengths()
        _, found = _lists(self.arrays[source.cells.energy])
        with np.errstate(over="ignore"):
            energy_MeV = (found * unit_factor(source.cell_energy_unit, "MeV")).astype(np.float32, copy=False)
        bad = ~((energy_MeV >= 0) & (energy_MeV < np.inf))
        if bad.any():
            hit = int(bad.argmax())
            raise self._hit_error(hit, source.cells.energy, found[hit], "a finite energy, not below 0")

        index = np.repeat(np.arange(len(self.hits)) * n_cells, self.hits) + self._cell()
        listed = np.zeros(len(self.hits) * n_cells, dtype=bool)
        listed[index] = True
        if np.count_nonzero(listed) < len(index):
            hit = int(np.setdiff1d(np.arange(len(index)), np.unique(index, return_index=True)[1])[0])
            cell = f"cell {index[hit] % n_cells} of the flattened shower twice"
            raise self._hit_error(hit, source.cells.x, cell, "every cell once at most")
        showers = np.zeros(len(listed), dtype=np.float32)
        showers[index] = energy_MeV
        return showers.reshape(len(self.hits), n_cells)

    def _check_lengths(self) -> None:
        cells = self.settings.source.cells
        lengths = {name: _lists(self.arrays[name])[0] for name in (cells.layer, cells.x, cells.y) if name}
        if cells.count:
            lengths[cells.count] = self.arrays[cells.count].to_numpy()
        for branch, found in lengths.items():
            different = found != self.hits
            if different.any():
                row = int(different.argmax())
                raise self._error(
                    row, branch, f"{found[row]} cells", f"the {self.hits[row]} of {cells.energy}"
                )

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

    def _refuse(self, bad: np.ndarray, branch: str, found: np.ndarray, expected: str) -> None:
        if bad.any():
            row = int(bad.argmax())
            raise self._error(row, branch, found[row], expected)

    def _hit_error(self, hit: int, branch: str, found: object, expected: str) -> CaloforgeError:
        return self._error(
            int(np.searchsorted(np.cumsum(self.hits), hit, side="right")), branch, found, expected
        )

    def _error(self, row: int, branch: str, found: object, expected: str) -> CaloforgeError:
        return CaloforgeError(
            f"{self.place}, entry {self.first_entry + row} (event {self.event[row]}), branch {branch}: "
            f"{found} found, expected {expected}"
        )


def _lists(jagged: ak.Array) -> tuple[np.ndarray, np.ndarray]:
    """Length of each list, and the numbers of all lists one after the other."""
    offsets = jagged.layout.offsets.data
    return np.diff(offsets), jagged.layout.content.data[offsets[0] : offsets[-1]]
