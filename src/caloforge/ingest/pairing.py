"""Events of a fast simulation and of the full simulation of the same collisions, paired by their numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from caloforge.errors import CaloforgeError

NAMED_EVENTS = 5
"""Events without partner that a message names, at most, of each simulation."""


@dataclass(frozen=True)
class Events:
    """The events of one simulation, in the order of its files: 8 bytes each.

    Attributes
    ----------
    simulation
        Which one, for messages.
    where
        Each file, with the tree in it.
    first
        Index of the first event of each file, and the total: shape (files + 1,).
    number
        Event numbers, int64, shape (n,).
    """

    simulation: Literal["fast", "full"]
    where: tuple[str, ...]
    first: np.ndarray
    number: np.ndarray

    @classmethod
    def of(cls, simulation: Literal["fast", "full"], numbers: Mapping[str, np.ndarray]) -> Self:
        """The events of files whose event numbers these are, by file."""
        first = np.cumsum([0, *map(len, numbers.values())])
        return cls(simulation, tuple(numbers), first, np.concatenate(list(numbers.values())))

    def __len__(self) -> int:
        return len(self.number)

    def file(self, index: np.ndarray) -> np.ndarray:
        """Number of the file, from 0, of the events with these indices."""
        return np.searchsorted(self.first, index, side="right") - 1

    def place(self, index: int) -> str:
        """Where the event with this index is."""
        file = int(self.file(np.asarray(index)))
        return f"{self.where[file]}, entry {index - self.first[file]} (event {self.number[index]})"

    def order(self) -> np.ndarray:
        """Indices that sort the event numbers, int64, shape (n,).

        Raises
        ------
        CaloforgeError
            If a number occurs twice, naming both places.
        """
        order = np.argsort(self.number, kind="stable")
        ordered = self.number[order]
        again = np.flatnonzero(ordered[1:] == ordered[:-1])
        if len(again):
            places = " and ".join(self.place(order[row]) for row in (again[0], again[0] + 1))
            raise CaloforgeError(
                f"event number {ordered[again[0]]} occurs more than once, "
                f"expected unique numbers in the {self.simulation} simulation: {places}"
            )
        return order

    def described(self, indices: np.ndarray) -> str:
        """How many events these are and where the first of them are."""
        places = [self.place(index) for index in indices[:NAMED_EVENTS].tolist()]
        more = ["…"] if len(indices) > NAMED_EVENTS else []
        listed = f" ({'; '.join(places + more)})" if places else ""
        return f"{len(indices)} of {len(self)} events of the {self.simulation} simulation{listed}"


@dataclass(frozen=True)
class Pairs:
    """Which events belong together.

    Attributes
    ----------
    partner
        Index of the full event of each fast one, -1 where there is none: int64, shape (fast events,).
    counts
        Events of each simulation without partner, for the record.
    """

    partner: np.ndarray
    counts: Mapping[str, int]


def pair(fast: Events, full: Events, unmatched: Literal["refuse", "drop"]) -> Pairs:
    """Find the full event of each fast one, wherever it is.

    Raises
    ------
    CaloforgeError
        If an event number repeats in a simulation; if there are events without partner and `unmatched` is
        `refuse`; if there is no pair at all.
    """
    fast.order()
    order = full.order()
    nearest = order[np.searchsorted(full.number, fast.number, sorter=order).clip(max=len(full) - 1)]
    partner = np.where(full.number[nearest] == fast.number, nearest, -1)
    alone_fast = np.flatnonzero(partner < 0)
    is_alone = np.ones(len(full), dtype=bool)
    is_alone[partner[partner >= 0]] = False
    alone_full = np.flatnonzero(is_alone)
    if len(alone_fast) == len(fast) or (unmatched == "refuse" and len(alone_fast) + len(alone_full)):
        advice = "" if len(alone_fast) == len(fast) else ", or source.unmatched: drop to leave them out"
        raise CaloforgeError(
            f"{fast.described(alone_fast)} and {full.described(alone_full)} without partner found, "
            f"expected each event number in both{advice}"
        )
    return Pairs(
        partner,
        {
            "fast_events_without_full_simulation": len(alone_fast),
            "full_events_without_fast_simulation": len(alone_full),
        },
    )
