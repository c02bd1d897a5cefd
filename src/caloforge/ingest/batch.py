"""Consecutive events of a source file, checked while they become showers."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, ValidationError

from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.showers import Showers

BATCH_BYTES = 32 << 20
"""Largest size of the showers of a batch [bytes], however many events the settings allow."""
EVERY_FILE = range(sys.maxsize)
"""Indices of all files of a source."""
LARGEST_CELL_MEV = 1e9
"""No cell of any detector holds a PeV."""


class Metadata(BaseModel):
    """What a simulation says of a file it wrote, as JSON text beside the tree; every key is optional."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    events: NonNegativeInt | None = None
    seed: int | None = None
    geant4: str | None = None
    physics: str | None = None
    cpu_s: NonNegativeFloat | None = None

    @classmethod
    def of(cls, text: str, where: str) -> "Metadata":
        """Parse JSON text; `where` it stands, for messages.

        Raises
        ------
        CaloforgeError
            If it is no JSON or a key has the wrong type.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(map(str, problem["loc"]))
            raise CaloforgeError(f"{where}: {key + ': ' if key else ''}{problem['msg']}") from None


@dataclass(frozen=True)
class SourceFile:
    """A source file (a path or a URL), its number of events, and its metadata (None if it has none)."""

    path: Path | str
    events: int
    metadata: Metadata | None = None


@dataclass(frozen=True)
class Batch:
    """Consecutive entries of a file, the first of which is its entry `first_entry`.

    Attributes
    ----------
    where
        File and tree, for messages.
    convert
        Makes showers of the entries and checks every number of them; called once, when they are first asked
        for, so that another thread may read the next batch meanwhile.
    counts
        What a format counts while it reads and a record should say, such as towers outside the grid; called
        after `convert`.
    kept
        Which of the entries became showers, counted from the first, where not all did.
    """

    source: SourceFile
    where: str
    first_entry: int
    convert: Callable[[], Showers]
    counts: Callable[[], Mapping[str, float]] = dict
    kept: np.ndarray | None = None

    @cached_property
    def showers(self) -> Showers:
        """The entries as showers.

        Raises
        ------
        CaloforgeError
            Naming file, branch or key, entry and event: something in them is not physical.
        """
        return self.convert()

    def place(self, row: int) -> str:
        """Where a shower of the batch comes from, for messages."""
        entry = self.first_entry + (row if self.kept is None else self.kept[row])
        return f"{self.where}, entry {entry} (event {self.showers.event[row]})"


def batch_events(settings: DatasetSettings) -> int:
    """Number of events to read at a time."""
    n_cells = settings.geometry.n_cells * (getattr(settings.source, "sum_layers", 0) or 1)
    return max(1, min(settings.chunk_events, BATCH_BYTES // (4 * n_cells)))


@dataclass(frozen=True)
class Entries:
    """Numbers of consecutive entries as they stand in a file, to be checked before they are used.

    Attributes
    ----------
    where
        File and tree.
    first_entry
        Number of the first one.
    event
        Event numbers as the file gives them, shape (n,).
    noun
        What the file calls a column: branch, field or key.
    """

    where: str
    first_entry: int
    event: np.ndarray
    noun: str = "branch"

    def event_numbers(self, name: str) -> np.ndarray:
        """The event numbers as int64, shape (n,); `name` is their column."""
        with np.errstate(invalid="ignore"):
            event = self.event.astype(np.int64)
        self.refuse(event != self.event, name, self.event, "a signed 64-bit integer")
        return event

    def numbers(self, name: str, found: np.ndarray, factor: float = 1) -> np.ndarray:
        """`found` times `factor`, finite: float32, the same shape (n,)."""
        with np.errstate(over="ignore"):
            values = (found.astype(np.float64) * factor).astype(np.float32)
        self.refuse(~np.isfinite(values), name, found, "a finite number")
        return values

    def incident_MeV(self, name: str, found: np.ndarray, factor: float) -> np.ndarray:
        """Energies of the primaries [MeV], above 0: float32, shape (n, 1)."""
        energy_MeV = self.numbers(name, found, factor)
        self.refuse(energy_MeV <= 0, name, energy_MeV, "an energy above 0 [MeV]")
        return energy_MeV[:, None]

    def refuse(self, bad: np.ndarray, name: str, found: np.ndarray, expected: str) -> None:
        """Raise about the first entry that is `bad`; `bad` and `found` have shape (n,)."""
        if bad.any():
            row = int(bad.argmax())
            raise self.error(row, name, found[row], expected)

    def error(self, row: int, name: str, found: object, expected: str) -> CaloforgeError:
        """What to raise about row `row` of column `name`."""
        return CaloforgeError(
            f"{self.where}, entry {self.first_entry + row} (event {self.event[row]}), {self.noun} {name}: "
            f"{found} found, expected {expected}"
        )


def cell_energies_MeV(found: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Cell energies times `factor` [MeV], float32, and which of them no detector can hold; any shape."""
    with np.errstate(over="ignore", invalid="ignore"):
        energy_MeV = (found * factor).astype(np.float32, copy=False)
        return energy_MeV, ~((energy_MeV >= 0) & (energy_MeV < LARGEST_CELL_MEV))


CELL_ENERGY = f"a finite energy, not below 0 and below {LARGEST_CELL_MEV:.0e} MeV"
"""What a cell energy has to be, for messages."""
