"""What is not any more as it was when results were made."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from caloforge.provenance import code_version, file_digest, library_versions
from caloforge.reproduction.records import Record, Tree, is_result

_SHORT = 12
"""Hexadecimal digits of a digest or commit that are shown."""


@dataclass(frozen=True)
class Difference:
    """Something that was recorded, what it is now, and by which records.

    A difference that does not matter is one that making the result anew removes.
    """

    what: str
    recorded: str
    now: str
    records: Sequence[str]
    matters: bool = True


def differences(tree: Tree, wanted: Iterable[Record], chain: Sequence[Record]) -> list[Difference]:
    """Code, libraries and files that differ.

    Parameters
    ----------
    tree
        Where the results are.
    wanted
        Records of the results in question.
    chain
        These, and the records of everything that they follow from.
    """
    return [*_code(chain), *_libraries(chain), *_files(tree, {record.path for record in wanted}, chain)]


def _code(chain: Sequence[Record]) -> Iterator[Difference]:
    now = code_version()
    by_code: dict[tuple[str, str], list[str]] = {}
    for record in chain:
        code = record.content.code
        by_code.setdefault((code.sources, code_text(**code.model_dump())), []).append(record.path)
    for (digest, text), records in by_code.items():
        if digest != now["sources"]:
            yield Difference("code", text, code_text(**now), records)


def code_text(caloforge: str, sources: str, commit: str | None, modified: bool | None) -> str:
    """A version of the code, as short as it can be told."""
    if not commit:
        return f"caloforge {caloforge}, sources {sources[:_SHORT]}"
    changed = f" with changes, sources {sources[:_SHORT]}" if modified else ""
    return f"caloforge {caloforge}, commit {commit[:_SHORT]}{changed}"


def _libraries(chain: Sequence[Record]) -> Iterator[Difference]:
    now = library_versions()
    found: dict[tuple[str, str], list[str]] = {}
    for record in chain:
        for library, version in record.content.libraries.items():
            if version != now.get(library):
                found.setdefault((library, version), []).append(record.path)
    for (library, version), records in sorted(found.items()):
        yield Difference(library, version, now.get(library, "none"), records)


def _files(tree: Tree, wanted: set[str], chain: Sequence[Record]) -> Iterator[Difference]:
    recorded: dict[str, dict[str, list[str]]] = {}
    for record in chain:
        for file, digest in (record.content.inputs | record.content.outputs).items():
            if digest:
                recorded.setdefault(file, {}).setdefault(digest, []).append(record.path)
    for file, by_digest in recorded.items():
        records = [path for paths in by_digest.values() for path in paths]
        if is_result(file) and file not in tree.makers:
            reason = tree.damaged.get(_record_beside(tree, file), "no record says what made it")
            yield Difference(file, "a record", reason, records)
        path = tree.root / file
        if not path.exists():
            maker = tree.makers.get(file)
            matters = not is_result(file) or (maker is not None and maker.path in wanted)
            yield Difference(file, _short(*by_digest), "no such file", records, matters)
            continue
        now = file_digest(path)
        for digest, paths in by_digest.items():
            if digest != now:
                yield Difference(file, _short(digest), _short(now), paths)


def _record_beside(tree: Tree, file: str) -> str:
    """A damaged record in the folder of a file, which may be the one that is missed."""
    folder = str(Path(file).parent)
    return next((path for path in tree.damaged if str(Path(path).parent) == folder), "")


def _short(*digests: str) -> str:
    return " or ".join(f"sha256 {digest[:_SHORT]}" for digest in digests)
