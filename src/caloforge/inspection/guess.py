"""What the files of a data set may be, and what recognisers of layouts share."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.inspection.contents import Contents, Table, list_lengths, read_lists
from caloforge.inspection.entry import Noted

EVENTS = 5000
"""Events of a file that guesses of its geometry are made from."""
LARGEST_INDEX = 10_000
"""No axis of a calorimeter has more cells."""


@dataclass(frozen=True)
class Guess:
    """What files of the same structure are.

    Attributes
    ----------
    layout
        In words.
    entry
        For config.yaml, with notes on where its values are from; None if ingest does not read such files.
    remarks
        What a user should know besides.
    """

    layout: str
    entry: dict[str, Any] | None = None
    remarks: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        """The source files of the entry, without those they are paired with."""
        return [Path(file) for file in self.entry["source"]["files"]] if self.entry else []


Recogniser = Callable[[Sequence[Contents]], Guess | None]


def entry(
    group: Sequence[Contents],
    source: dict[str, Any],
    geometry: Any,
    conditions: dict[str, Any] | None = None,
    title: str = "",
) -> dict[str, Any]:
    """An entry of config.yaml; what the numbers of the files tell is filled in later."""
    kind, *rest = source.items()
    files = {"files": [str(contents.path) for contents in group]}
    return {
        "title": title or data_set_name([contents.path for contents in group]).replace("_", " "),
        "source": dict([kind]) | files | dict(rest),
        "geometry": geometry,
        "conditions": conditions or {},
        "readout_threshold_MeV": Noted(1.0, "guessed, nothing tells"),
    }


def stack(layers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Layers as an entry lists them: equal ones behind each other become one that repeats."""
    listed: list[dict[str, Any]] = []
    for layer in layers:
        last = {key: value for key, value in listed[-1].items() if key != "repeat"} if listed else None
        if last == layer:
            listed[-1]["repeat"] = listed[-1].get("repeat", 1) + 1
        else:
            listed.append(dict(layer))
    return listed


def _stem(path: Path) -> str:
    return path.name.removesuffix(path.suffix)


def data_set_name(paths: Sequence[Path]) -> str:
    """A name for a data set of these files, such as an entry of config.yaml may have."""
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*map(_stem, paths), strict=False))
    common = "".join(letters[0] for letters in alike)
    words = re.sub(r"[_\-. ]*\d*$", "", common) if re.search("[A-Za-z]", common) else ""
    name = re.sub(r"\W+", "_", words, flags=re.ASCII).strip("_").lower()
    return name if re.match("[a-z]", name) and name != "report" else f"data_{name}".rstrip("_")


def largest_index(group: Sequence[Contents], tree: str, branch: str) -> int:
    """The largest number below `LARGEST_INDEX` in a branch of lists, in the first events of each file."""
    found = read_lists([contents.path for contents in group], tree, [branch], EVENTS)[branch]
    largest = max((int(np.max(values)) for values in found if len(values)), default=0)
    return min(max(largest, 0), LARGEST_INDEX - 1)


def vector_length(contents: Contents, tree: Table, branch: str) -> int | None:
    """Numbers per event of a fixed array, or of a vector that has the same length in all events."""
    column = tree.columns[branch]
    if column.kind not in ("i", "u", "f"):
        return None
    if not column.is_list:
        return math.prod(column.shape) if column.shape else None
    lengths = list_lengths(contents.path, tree.name, branch, EVENTS)
    return lengths.pop() * math.prod(column.shape) if len(lengths) == 1 else None


def tree_with(contents: Contents, *branches: str) -> Table | None:
    """A tree of a ROOT file that has all these branches."""
    if contents.container != "ROOT":
        return None
    return next((table for table in contents.tables.values() if table.has(*branches)), None)


def rounded(value: float) -> float | int:
    """Without the noise of binary fractions."""
    value = round(value, 6)
    return int(value) if value == int(value) else value
