"""What files are, and what config.yaml should say about them."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from caloforge.errors import CaloforgeError
from caloforge.inspection import collisions, generic, own, published
from caloforge.inspection.contents import Contents, describe
from caloforge.inspection.entry import yaml_text
from caloforge.inspection.guess import Guess, Recogniser, data_set_name
from caloforge.inspection.numbers import Numbers, measure

__all__ = ["Inspected", "inspect"]

LAYOUTS: tuple[Recogniser, ...] = (
    own.results,
    own.showers,
    own.described_trees,
    collisions.delphes,
    collisions.calotowers,
    collisions.histograms,
    published.calogan_arrays,
    published.calogan_tree,
    published.clic_fixed,
    published.clic_variable,
    published.lhcb_arrays,
    published.lhcb_tree,
    published.par04_arrays,
    published.par04_trees,
    published.calochallenge,
    generic.hit_lists,
    generic.numbered_branches,
    generic.vector_branch,
    generic.arrays,
)
"""The first that recognises files counts: from the most specific to the most general."""

SHARED = (
    "dataset",
    "particle",
    "face_mm",
    "stacks",
    "units",
    "schema_version",
    "geometry",
    "condition_units",
)
"""Facts that are the same in all files of a data set."""


@dataclass(frozen=True)
class Inspected:
    """Files that make up a data set.

    Attributes
    ----------
    name
        For the data set.
    contents
        Of each file.
    layout
        What they are, in words.
    entry
        For config.yaml, with notes; None if ingest does not read such files.
    numbers
        Of their first events as ingest reads them; None if it could not.
    remarks
        What a user should know.
    """

    name: str
    contents: tuple[Contents, ...]
    layout: str
    entry: dict[str, Any] | None
    numbers: Numbers | None
    remarks: tuple[str, ...]

    @property
    def yaml(self) -> str:
        """The entry as YAML, ready for config.yaml.

        Raises
        ------
        CaloforgeError
            If there is none.
        """
        if self.entry is None:
            remarks = "".join(f": {remark}" for remark in self.remarks[:1])
            raise CaloforgeError(f"{self.contents[0].path}: {self.layout}: no entry for config.yaml{remarks}")
        return yaml_text(self.name, self.entry)


def inspect(paths: Iterable[Path]) -> list[Inspected]:
    """Find out what files are; files of the same structure count as one data set.

    Raises
    ------
    CaloforgeError
        If a file cannot be read or is of no known kind.
    """
    contents = [describe(path) for path in _each_once(paths)]
    groups: dict[str, list[Contents]] = {}
    for found in contents:
        groups.setdefault(_structure(found), []).append(found)
    guessed = _paired([(tuple(group), _recognise(group)) for group in groups.values()])
    inspected: dict[str, Inspected] = {}
    for group, guess in guessed:
        entry, numbers, remarks = measure(guess.entry) if guess.entry else (None, None, ())
        name = _new_name(data_set_name(guess.files or [found.path for found in group]), inspected)
        inspected[name] = Inspected(name, group, guess.layout, entry, numbers, (*guess.remarks, *remarks))
    return list(inspected.values())


def _new_name(name: str, taken: Container[str]) -> str:
    """The name, with a number behind it if it is taken."""
    numbered = (f"{name}_{number}" for number in count(2))
    return next(other for other in chain((name,), numbered) if other not in taken)


def _each_once(paths: Iterable[Path]) -> list[Path]:
    return list({path.resolve(): path for path in paths}.values())


def _structure(contents: Contents) -> str:
    """Equal for files of one data set: trees, columns with their types, metadata of them all."""
    tables = [(table.name, list(table.columns.items())) for table in contents.tables.values()]
    facts = {key: value for key, value in contents.facts.items() if key in SHARED}
    return repr((contents.container, tables, facts))


def _recognise(group: Sequence[Contents]) -> Guess:
    for recogniser in LAYOUTS:
        guess = recogniser(group)
        if guess:
            return guess
    return Guess("unknown layout", remarks=("no column or array looks like the cells of a calorimeter",))


def _paired(
    guessed: list[tuple[tuple[Contents, ...], Guess]],
) -> list[tuple[tuple[Contents, ...], Guess]]:
    """Delphes and the towers of a full simulation become one data set, if there is one of each."""
    fast = [item for item in guessed if item[1].layout == collisions.DELPHES]
    full = [item for item in guessed if item[1].layout == collisions.TOWER_LISTS]
    if not (len(fast) == len(full) == 1):
        return guessed
    pair = collisions.paired(fast[0][1], full[0][1])
    rest = [item for item in guessed if item not in (*fast, *full)]
    return [((*fast[0][0], *full[0][0]), pair), *rest]
