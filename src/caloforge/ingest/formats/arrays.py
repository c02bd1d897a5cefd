"""HDF5 and npz files with one array per quantity, events along the first axis."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.geometry import Geometry
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
from caloforge.ingest.hdf5 import Hdf5File, check_indices
from caloforge.ingest.npz import NpzFile, NpzMember
from caloforge.ingest.primaries import PrimaryColumns
from caloforge.showers import Showers
from caloforge.units import unit_factor

Array = h5py.Dataset | NpzMember | np.ndarray


def check_file(path: Path) -> None:
    if h5py.is_hdf5(path):
        check_indices(path)
    with _open(path):
        pass


def read(
    settings: DatasetSettings,
    files: Sequence[Path],
    paired: Sequence[Path] = (),
    own: range = EVERY_FILE,
) -> Iterator[Batch]:
    """Read HDF5 and npz files in batches."""
    parts, before = _parts(settings), 0
    for number, path in enumerate(files):
        with _open(path, settings.source.allow_pickle) as file:
            primaries = PrimaryColumns.of(settings, file.names, str(path), "key")
            arrays = {key: _find(file, key, path) for key in dict.fromkeys((*parts, *primaries.columns))}
            n = _check(arrays, parts, settings, path)
            for start in range(0, n if number in own else 0, batch_events(settings)):
                rows = slice(start, min(start + batch_events(settings), n))
                found = {key: _read(array, rows, key, path) for key, array in arrays.items()}
                events = _Events(str(path), start, before, found, parts, settings, primaries)
                yield Batch(SourceFile(path, n), str(path), start, events.showers)
        before += n


def _parts(settings: DatasetSettings) -> dict[str, Geometry]:
    """Keys of the cells, in the order of the layers, and the part of the geometry that each holds."""
    keys, geometry = settings.source.cells, settings.geometry
    if len(keys) == 1:
        return {keys[0]: geometry}
    if not len(keys) == len(set(keys)) == len(geometry.layers):
        raise CaloforgeError(
            f"source.cells: {', '.join(keys)} found, expected one key or a key for each of the "
            f"{len(geometry.layers)} layers of the geometry {geometry.name}"
        )
    layers = (Geometry(name=geometry.name, layers=(layer,)) for layer in geometry.layers)
    return dict(zip(keys, layers, strict=True))


@contextmanager
def _open(path: Path, allow_pickle: bool = False) -> Iterator[Hdf5File | NpzFile]:
    """Open a file for reading, HDF5 or npz by how it begins."""
    with _explained(path), path.open("rb") as stream:
        start = stream.read(8)
        if start.startswith(b"PK"):
            file = NpzFile(path, allow_pickle)
        elif h5py.is_hdf5(path):
            file = Hdf5File(path)
        else:
            raise CaloforgeError(f"{path}: neither HDF5 nor npz: begins with {start!r}")
    with file:
        yield file


@contextmanager
def _explained(place: Path | str) -> Iterator[None]:
    """Make whatever a library raises about a file one error that names the place."""
    try:
        yield
    except CaloforgeError:
        raise
    except Exception as error:  # damaged files make the libraries raise anything
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise CaloforgeError(f"{place}: cannot be read: {' '.join(reason.split())[:200]}") from error


def _find(file: Hdf5File | NpzFile, key: str, path: Path) -> Array:
    """The array `key`, of numbers, events along its first axis."""
    if key not in file.names:
        raise CaloforgeError(f"{path}: no key {key}{alternatives(key, file.names)}")
    with _explained(f"{path}, key {key}"):
        array = file[key]
        shape, dtype = array.shape, array.dtype
    if dtype.kind not in "iuf":
        raise CaloforgeError(f"{path}, key {key}: type {str(dtype)[:100]} found, expected numbers")
    if not shape:
        raise CaloforgeError(f"{path}, key {key}: a single number found, expected one or more per event")
    return array


def _read(array: Array, rows: slice, key: str, path: Path) -> np.ndarray:
    with _explained(f"{path}, key {key}, events {rows.start} to {rows.stop - 1}"):
        return np.asarray(array[rows])


def _check(
    arrays: Mapping[str, Array], parts: Mapping[str, Geometry], settings: DatasetSettings, path: Path
) -> int:
    """The number of events, which all arrays agree on; refuses other cells than those of the geometry."""
    lengths = {key: array.shape[0] for key, array in arrays.items()}
    n = Counter(lengths.values()).most_common(1)[0][0]
    agreed = next(key for key, length in lengths.items() if length == n)
    for key, array in arrays.items():
        place = f"{path}, key {key}"
        if lengths[key] != n:
            raise CaloforgeError(f"{place}: {lengths[key]} events found, expected the {n} of {agreed}")
        if key in parts:
            source = settings.source
            check_shape(
                array.shape[1:], source.axes, parts[key], source.sum_layers, place, source.extra_cells
            )
        elif len(array.shape) > 2:
            raise CaloforgeError(f"{place}: shape {array.shape} found, expected ({n},) or ({n}, components)")
    if n < 1:
        raise CaloforgeError(f"{path}, key {agreed}: {n} events found, expected at least 1")
    return n


@dataclass(frozen=True)
class _Events:
    """Consecutive events as they stand in a file; checked, they become showers."""

    where: str
    first: int
    before: int
    found: Mapping[str, np.ndarray]
    parts: Mapping[str, Geometry]
    settings: DatasetSettings
    primaries: PrimaryColumns

    def showers(self) -> Showers:
        n = len(next(iter(self.found.values())))
        entries = self.primaries.entries(self.found, n, self.where, self.first, self.before, "key")
        source = self.settings.source
        cells_MeV = [
            canonical(self._energies_MeV(key, entries), source.axes, part, source.sum_layers)
            for key, part in self.parts.items()
        ]
        return self.primaries.showers(entries, self.found, np.concatenate(cells_MeV, axis=1))

    def _energies_MeV(self, key: str, entries: Entries) -> np.ndarray:
        """The cells of a key [MeV], in the order of the file: float32, shape (n, cells)."""
        source, found = self.settings.source, self.found[key]
        cells = found.reshape(len(found), -1)
        cells = cells[:, : cells.shape[1] - source.extra_cells]
        cells = cells.astype(np.result_type(cells, np.float32), copy=False)
        factor = unit_factor(source.cell_energy_unit, "MeV") / source.stored_as
        energy_MeV, bad = cell_energies_MeV(cells, factor)
        if bad.any():
            row, cell = np.unravel_index(bad.argmax(), bad.shape)
            place = ", ".join(map(str, np.unravel_index(cell, found.shape[1:])))
            raise entries.error(int(row), key, f"{cells[row, cell]} in cell [{place}]", CELL_ENERGY)
        return energy_MeV
