"""The records of a results tree, and how results follow from one another."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from caloforge.errors import CaloforgeError

RESULTS = "results"
_PLACES = (f"{RESULTS}/**/*.json", "downloads/**/*.json")
_UNFINISHED = "work"
"""Folder of states and trials beside results, whose records are no results."""


class _Code(BaseModel):
    caloforge: str
    sources: str
    commit: str | None
    modified: bool | None


class _Content(BaseModel, extra="allow"):
    """What every record says, see `caloforge.provenance`; a stage adds more."""

    stage: str
    inputs: dict[str, str | None]
    outputs: dict[str, str]
    settings: dict[str, Any]
    seed: int | None
    code: _Code
    libraries: dict[str, str]
    started: str
    ended: str


@dataclass(frozen=True)
class Record:
    """What made a result.

    Attributes
    ----------
    path
        Of its file, seen from the working directory of the workflow, as all paths in it are.
    content
        What it says.
    """

    path: str
    content: _Content

    @property
    def place(self) -> tuple[str, ...]:
        """The folders below results/ that it is in, such as `ecal`, `cwgan`, `seed1`."""
        return Path(self.path).parts[1:-1]

    def get(self, key: str) -> Any:
        """What its stage added under this key; None if nothing."""
        return (self.content.model_extra or {}).get(key)


@dataclass(frozen=True)
class Tree:
    """Everything that a workflow made in a working directory, by its records.

    Attributes
    ----------
    root
        The working directory.
    records
        In the order of their paths.
    damaged
        Files that are called like a record and are no readable JSON, with the reason.
    """

    root: Path
    records: list[Record]
    damaged: dict[str, str] = field(default_factory=dict)

    @cached_property
    def makers(self) -> dict[str, Record]:
        """The record of each file: of those that its stage made, and of itself."""
        return {file: record for record in self.records for file in (record.path, *record.content.outputs)}

    def of(self, path: Path) -> list[Record]:
        """Records of a result: a file, or a folder with all that is in it.

        Raises
        ------
        CaloforgeError
            If no record says what made it.
        """
        wanted = path.resolve().relative_to(self.root).as_posix()
        found = [
            record
            for record in self.records
            if any(
                file == wanted or file.startswith(f"{wanted}/")
                for file in (record.path, *record.content.outputs)
            )
        ]
        if not found:
            reasons = [reason for file, reason in self.damaged.items() if file.startswith(wanted)]
            reason = f": {reasons[0]}" if reasons else ""
            raise CaloforgeError(
                f"{path}: found no record of what made it{reason}, expected a finished result"
            )
        return found

    def upstream(self, records: Iterable[Record]) -> list[Record]:
        """The records, and those of everything that their results follow from: first what comes first."""
        ordered: dict[str, Record] = {}

        def visit(record: Record) -> None:
            if record.path not in ordered:
                for file in record.content.inputs:
                    if file in self.makers and self.makers[file] is not record:
                        visit(self.makers[file])
                ordered[record.path] = record

        for record in records:
            visit(record)
        return list(ordered.values())


def sources(records: Iterable[Record]) -> dict[str, str | None]:
    """What the records read that no workflow makes, with its digest; None for what is on a server."""
    return {
        file: digest
        for record in records
        for file, digest in record.content.inputs.items()
        if not is_result(file)
    }


def is_result(file: str) -> bool:
    """Whether a file is made by the workflow: a result or a download."""
    return Path(file).parts[:1] in ((RESULTS,), ("downloads",))


def tree_with(path: Path) -> Tree:
    """The results tree that a result is in.

    Raises
    ------
    CaloforgeError
        If there is no such file or folder, or it is in no folder `results`.
    """
    if not path.exists():
        raise CaloforgeError(f"{path}: no such file or folder, expected a result")
    place = path.resolve()
    roots = [folder.parent for folder in (place, *place.parents) if folder.name == RESULTS]
    if not roots:
        raise CaloforgeError(f"{path}: is in no folder {RESULTS}, expected a result of the workflow")
    records, damaged = [], {}
    for file, content in _json_files(roots[0]):
        name = file.relative_to(roots[0]).as_posix()
        try:
            records.append(Record(name, _Content.model_validate(content())))
        except ValidationError:
            continue  # another JSON file, or a record of a version without what is needed
        except (ValueError, OSError) as error:
            damaged[name] = f"{name} cannot be read: {error}"
    return Tree(roots[0], records, damaged)


def _json_files(root: Path) -> Iterator[tuple[Path, Any]]:
    for pattern in _PLACES:
        for file in sorted(root.glob(pattern)):
            if file.is_file() and _UNFINISHED not in file.relative_to(root).parts[3:]:
                yield file, lambda file=file: json.loads(file.read_bytes())


def distinct(records: Iterable[Record], key: str) -> Mapping[str, list[Record]]:
    """Records by what they say under a key, as JSON."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        value = record.content.model_dump(mode="json")[key]
        groups.setdefault(json.dumps(value, sort_keys=True), []).append(record)
    return groups
