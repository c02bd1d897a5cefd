"""The canonical shower file (HDF5): its only reader and its only writer. See docs/data.md."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import h5py
import numpy as np
from isal import isal_zlib
from pydantic import ValidationError

from caloforge.errors import CaloforgeError
from caloforge.geometry import Geometry
from caloforge.hdf5 import create_hdf5

SCHEMA_VERSION = 1
CHUNK_BYTES = 1 << 20
"""Uncompressed size of a chunk of showers [bytes]; a chunk holds whole events."""
CHUNKS_AT_A_TIME = 16
"""Chunks of showers written together; a chunk of every other data set holds as many events."""
GZIP_LEVEL = 2
"""Of the ISA-L library, which writes what any gzip filter reads; docs/data.md compares the alternatives."""


@dataclass(frozen=True)
class Showers:
    """A batch of n showers over V cells.

    Attributes
    ----------
    showers
        Deposited energy per cell [MeV], float32, shape (n, V).
    incident_energies
        Energy of the primary [MeV], float32, shape (n, 1).
    conditions
        Condition name to float32 values of shape (n,), in the unit the file states.
    event
        Event number in the source, int64, shape (n,).
    reference
        Paired image of the fast simulation [MeV], float32, shape (n, V), or None.
    """

    showers: np.ndarray
    incident_energies: np.ndarray
    conditions: Mapping[str, np.ndarray]
    event: np.ndarray
    reference: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.event)

    def __getitem__(self, rows: np.ndarray | slice) -> "Showers":
        return Showers(
            self.showers[rows],
            self.incident_energies[rows],
            {name: values[rows] for name, values in self.conditions.items()},
            self.event[rows],
            None if self.reference is None else self.reference[rows],
        )


def read_out(energies_MeV: np.ndarray, readout_threshold_MeV: float) -> np.ndarray:
    """Cell energies as the electronics report them: 0 where at or below the readout threshold."""
    return np.where(energies_MeV > readout_threshold_MeV, energies_MeV, 0)


@dataclass
class ShowerWriter:
    """Append batches of showers to a new canonical file; the caller makes the write atomic.

    Batches are gathered and written in whole chunks, so that the bytes of the file depend on its showers
    alone and not on the batches they came in. A thread compresses full chunks while the next batch is made.

    Parameters
    ----------
    path
        File to create.
    geometry
        Of the showers.
    units
        Condition name to unit, in the order of the file.
    attributes
        Further text attributes of the file, such as the digests of its sources.
    paired
        Whether every shower has a reference image.
    """

    path: Path
    geometry: Geometry
    units: Mapping[str, str]
    attributes: Mapping[str, str] = field(default_factory=dict)
    paired: bool = False

    def __enter__(self) -> Self:
        self._chunk = max(1, CHUNK_BYTES // (4 * self.geometry.n_cells))
        self._rows = self._chunk * CHUNKS_AT_A_TIME
        self._datasets: dict[str, h5py.Dataset] = {}
        self._waiting: dict[str, np.ndarray] = {}
        self._images = ("showers", "reference") if self.paired else ("showers",)
        self._deflated: dict[str, list[Future[bytes]]] = {name: [] for name in self._images}
        with ExitStack() as stack:
            self._file = stack.enter_context(create_hdf5(self.path))
            self._thread = stack.enter_context(ThreadPoolExecutor(1))
            self._file.attrs.update(
                schema_version=SCHEMA_VERSION, geometry=self.geometry.model_dump_json(), **self.attributes
            )
            for name in self._images:
                self._create(name, np.float32, self.geometry.n_cells, unit="MeV")
            self._create("incident_energies", np.float32, 1, unit="MeV")
            self._create("event", np.int64)
            self._file.create_group("conditions", track_order=True)
            for name, unit in self.units.items():
                self._create(f"conditions/{name}", np.float32, unit=unit)
            self._open = stack.pop_all()
        self.n = 0
        return self

    def append(self, batch: Showers) -> None:
        """Put `batch` behind what the file holds."""
        columns = {
            **{name: getattr(batch, name) for name in self._images},
            "incident_energies": batch.incident_energies,
            "event": batch.event,
            **{f"conditions/{name}": batch.conditions[name] for name in self.units},
        }
        taken = 0
        while taken < len(batch):
            start = self.n % self._rows
            count = min(self._rows - start, len(batch) - taken)
            for name, values in columns.items():
                self._waiting[name][start : start + count] = values[taken : taken + count]
            taken += count
            self.n += count
            self._deflate((start + count) // self._chunk)
            if start + count == self._rows:
                self._write(self._rows)

    def append_file(self, path: Path) -> None:
        """Put all showers of another canonical file behind what the file holds, some chunks at a time."""
        with ShowerFile(path) as file:
            for block in file.blocks(self._rows):
                self.append(block)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:
            if kind is None and self.n % self._rows:
                self._write(self.n % self._rows)

    def _deflate(self, chunks: int) -> None:
        """Let the thread compress the waiting chunks of cells up to number `chunks`."""
        for name, deflated in self._deflated.items():
            for number in range(len(deflated), chunks):
                chunk = self._waiting[name][number * self._chunk : (number + 1) * self._chunk]
                deflated.append(self._thread.submit(_deflate, chunk))

    def _write(self, rows: int) -> None:
        """Write the first `rows` waiting events, the last that were appended."""
        for name in self._images:
            self._waiting[name][rows:] = 0
        self._deflate(-(-rows // self._chunk))
        start = self.n - rows
        for name, dataset in self._datasets.items():
            dataset.resize(self.n, axis=0)
            if name not in self._images:
                dataset[start:] = self._waiting[name][:rows]
        for name, deflated in self._deflated.items():
            for number, chunk in enumerate(deflated):
                place = (start + number * self._chunk, 0)
                self._datasets[name].id.write_direct_chunk(place, chunk.result())
            deflated.clear()

    def _create(self, name: str, dtype: type, width: int | None = None, unit: str | None = None) -> None:
        shape = () if width is None else (width,)
        dataset = self._file.create_dataset(
            name,
            shape=(0, *shape),
            maxshape=(None, *shape),
            chunks=(self._chunk if name in self._images else self._rows, *shape),
            dtype=dtype,
            compression="gzip",
            compression_opts=GZIP_LEVEL,
        )
        if unit:
            dataset.attrs["unit"] = unit
        self._datasets[name] = dataset
        self._waiting[name] = np.empty((self._rows, *shape), dtype)


def _deflate(chunk: np.ndarray) -> bytes:
    """Compress for the gzip filter of HDF5."""
    return isal_zlib.compress(chunk, GZIP_LEVEL)


class ShowerFile:
    """Read a canonical shower file, in blocks.

    Attributes
    ----------
    path, geometry, n
        The file, its geometry, its number of showers.
    units
        Condition name to unit.
    paired
        Whether every shower has a reference image.
    source
        What ingest made the file from (JSON: file name to SHA-256); empty for generated showers.

    Raises
    ------
    CaloforgeError
        If the file is missing, is not HDF5, lacks a data set or disagrees with itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self._file = h5py.File(self.path, "r")
        except FileNotFoundError:
            raise CaloforgeError(f"{path}: no such file, expected canonical showers (HDF5)") from None
        except OSError as error:
            raise CaloforgeError(f"{path}: not a readable HDF5 file: {error}") from None
        try:
            self._validate()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self.n

    def read(self, start: int = 0, stop: int | None = None) -> Showers:
        """Read the showers from `start` up to but not including `stop` (default: the end)."""
        images = ("showers", "reference") if self.paired else ("showers",)
        return self._read(slice(start, self.n if stop is None else stop), *images)

    def blocks(self, events: int) -> Iterator[Showers]:
        """Read the whole file in blocks of `events` showers; the last one may be shorter."""
        for start in range(0, self.n, events):
            yield self.read(start, min(start + events, self.n))

    def image_blocks(self, events: int, image: Literal["showers", "reference"]) -> Iterator[Showers]:
        """Read the whole file in blocks, of each shower one image alone: as `showers`, whichever it is.

        Raises
        ------
        CaloforgeError
            If there are no reference images.
        """
        if image == "reference" and not self.paired:
            raise CaloforgeError(f"{self.path}: no reference images found, expected one for every shower")
        for start in range(0, self.n, events):
            yield self._read(slice(start, min(start + events, self.n)), image)

    def event_blocks(self, events: int) -> Iterator[np.ndarray]:
        """Read the event numbers alone, in blocks of `events`: int64, shape (n,)."""
        for start in range(0, self.n, events):
            yield self._file["event"][start : start + events]

    def condition(self, name: str) -> np.ndarray:
        """Read one condition of every shower: float32, shape (N,).

        Raises
        ------
        CaloforgeError
            If the file has no such condition or it cannot be read.
        """
        if name not in self.units:
            found = ", ".join(self.units) or "none"
            raise CaloforgeError(f"{self.path}: no condition {name}, found {found}")
        try:
            return self._file["conditions"][name][:]
        except OSError as error:
            raise CaloforgeError(f"{self.path}: condition {name} cannot be read: {error}") from None

    def _read(self, rows: slice, *images: str) -> Showers:
        """Read some rows, with the first of `images` as showers and the second as reference."""
        try:
            showers, *reference = (self._file[image][rows] for image in images)
            return Showers(
                showers,
                self._file["incident_energies"][rows],
                {name: self._file["conditions"][name][rows] for name in self.units},
                self._file["event"][rows],
                *reference,
            )
        except OSError as error:
            raise CaloforgeError(
                f"{self.path}: showers {rows.start} to {rows.stop} cannot be read: {error}"
            ) from None

    def _validate(self) -> None:
        missing = [
            key for key in ("showers", "incident_energies", "conditions", "event") if key not in self._file
        ]
        missing += [
            f"attribute {key}" for key in ("schema_version", "geometry") if key not in self._file.attrs
        ]
        if missing:
            raise CaloforgeError(f"{self.path}: not a canonical shower file: no {', '.join(missing)}")
        version = self._file.attrs["schema_version"]
        if version != SCHEMA_VERSION:
            raise CaloforgeError(f"{self.path}: schema version {version} found, {SCHEMA_VERSION} expected")
        try:
            self.geometry = Geometry.model_validate_json(self._file.attrs["geometry"])
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(map(str, ("geometry", *problem["loc"])))
            raise CaloforgeError(f"{self.path}: attribute {key}: {problem['msg']}") from None
        for name, values in self._file["conditions"].items():
            if "unit" not in values.attrs:
                raise CaloforgeError(f"{self.path}: conditions/{name} has no attribute unit")
        self.units = {name: values.attrs["unit"] for name, values in self._file["conditions"].items()}
        self.source = self._file.attrs.get("source", "")
        self.n = len(self._file["event"])
        self.paired = "reference" in self._file
        shapes = {
            "showers": (self.n, self.geometry.n_cells),
            **({"reference": (self.n, self.geometry.n_cells)} if self.paired else {}),
            "incident_energies": (self.n, 1),
            **{f"conditions/{name}": (self.n,) for name in self.units},
        }
        for name, expected in shapes.items():
            if self._file[name].shape != expected:
                raise CaloforgeError(
                    f"{self.path}: {name} has shape {self._file[name].shape}, expected {expected}"
                )
