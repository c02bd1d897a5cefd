"""The canonical shower file (HDF5): its only reader and its only writer. docs/data.md describes the layout."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np
from pydantic import ValidationError

from caloforge.errors import CaloforgeError
from caloforge.geometry import Geometry

SCHEMA_VERSION = 1
CHUNK_BYTES = 1 << 20
"""Uncompressed size of a chunk of showers [bytes]; a chunk holds whole events."""


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
    """

    showers: np.ndarray
    incident_energies: np.ndarray
    conditions: Mapping[str, np.ndarray]
    event: np.ndarray

    def __len__(self) -> int:
        return len(self.event)

    def __getitem__(self, rows: np.ndarray | slice) -> "Showers":
        return Showers(
            self.showers[rows],
            self.incident_energies[rows],
            {name: values[rows] for name, values in self.conditions.items()},
            self.event[rows],
        )

    def condition_matrix(self) -> np.ndarray:
        """The conditions as columns, in the order of the file: float32, shape (n, number of conditions)."""
        return np.stack(list(self.conditions.values()), axis=1)


@dataclass
class ShowerWriter:
    """Append batches of showers to a new canonical file; the caller makes the write atomic.

    Parameters
    ----------
    path
        File to create.
    geometry
        Of the showers.
    units
        Condition name to unit, in the order that `condition_matrix` will have.
    attributes
        Further text attributes of the file, such as the digests of its sources.
    """

    path: Path
    geometry: Geometry
    units: Mapping[str, str]
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._file = h5py.File(self.path, "w")
        self._file.attrs.update(
            schema_version=SCHEMA_VERSION, geometry=self.geometry.model_dump_json(), **self.attributes
        )
        cells = self.geometry.n_cells
        self._create("showers", np.float32, cells, unit="MeV")
        self._create("incident_energies", np.float32, 1, unit="MeV")
        self._create("event", np.int64)
        group = self._file.create_group("conditions", track_order=True)
        for name, unit in self.units.items():
            self._create(f"{group.name}/{name}", np.float32, unit=unit)
        self.n = 0
        return self

    def append(self, batch: Showers) -> None:
        """Write `batch` behind what the file holds."""
        columns = {
            "showers": batch.showers,
            "incident_energies": batch.incident_energies,
            "event": batch.event,
            **{f"conditions/{name}": batch.conditions[name] for name in self.units},
        }
        end = self.n + len(batch)
        for name, values in columns.items():
            dataset = self._file[name]
            dataset.resize(end, axis=0)
            dataset[self.n : end] = values
        self.n = end

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _create(self, name: str, dtype: type, width: int | None = None, unit: str | None = None) -> None:
        row_bytes = np.dtype(dtype).itemsize * (width or 1)
        shape = (0,) if width is None else (0, width)
        dataset = self._file.create_dataset(
            name,
            shape=shape,
            maxshape=(None, *shape[1:]),
            chunks=(max(1, CHUNK_BYTES // row_bytes), *shape[1:]),
            dtype=dtype,
            compression="lzf",
            shuffle=True,
        )
        if unit:
            dataset.attrs["unit"] = unit


class ShowerFile:
    """Read a canonical shower file, in blocks.

    Attributes
    ----------
    path, geometry, n
        The file, its geometry, its number of showers.
    units
        Condition name to unit.

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
        rows = slice(start, self.n if stop is None else stop)
        try:
            return Showers(
                self._file["showers"][rows],
                self._file["incident_energies"][rows],
                {name: self._file["conditions"][name][rows] for name in self.units},
                self._file["event"][rows],
            )
        except OSError as error:
            raise CaloforgeError(f"{self.path}: showers {rows.start} to {rows.stop} cannot be read: {error}") from None

    def blocks(self, events: int) -> Iterator[Showers]:
        """Read the whole file in blocks of `events` showers; the last one may be shorter."""
        for start in range(0, self.n, events):
            yield self.read(start, min(start + events, self.n))

    def _validate(self) -> None:
        missing = [key for key in ("showers", "incident_energies", "conditions", "event") if key not in self._file]
        missing += [f"attribute {key}" for key in ("schema_version", "geometry") if key not in self._file.attrs]
        if missing:
            raise CaloforgeError(f"{self.path}: not a canonical shower file: no {', '.join(missing)}")
        version = self._file.attrs["schema_version"]
        if version != SCHEMA_VERSION:
            raise CaloforgeError(f"{self.path}: schema version {version} found, {SCHEMA_VERSION} expected")
        try:
            self.geometry = Geometry.model_validate_json(self._file.attrs["geometry"])
        except ValidationError as error:
            raise CaloforgeError(f"{self.path}: attribute geometry is not a geometry: {error}") from None
        self.units = {name: values.attrs["unit"] for name, values in self._file["conditions"].items()}
        self.n = len(self._file["event"])
        shapes = {
            "showers": (self.n, self.geometry.n_cells),
            "incident_energies": (self.n, 1),
            **{f"conditions/{name}": (self.n,) for name in self.units},
        }
        for name, expected in shapes.items():
            if self._file[name].shape != expected:
                raise CaloforgeError(f"{self.path}: {name} has shape {self._file[name].shape}, expected {expected}")
