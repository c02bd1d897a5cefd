"""Entries of config.yaml that say why they are as they are."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

LONG = 90
"""Characters beyond which a mapping, or a list of texts, is not written into one line."""


@dataclass(frozen=True)
class Noted:
    """A value of an entry and where it is from; YAML shows the note as a comment."""

    value: Any
    note: str


def bare(value: Any) -> Any:
    """The same entry without notes."""
    match value:
        case Noted():
            return bare(value.value)
        case dict():
            return {key: bare(item) for key, item in value.items()}
        case list() | tuple():
            return [bare(item) for item in value]
        case _:
            return value


def yaml_text(name: str, entry: dict[str, Any]) -> str:
    """An entry below `datasets:` as YAML, its notes as comments."""
    return "\n".join(["datasets:", *_mapping({name: entry}, "  ")]) + "\n"


def _mapping(mapping: dict[str, Any], indent: str) -> Iterator[str]:
    for key, item in mapping.items():
        value, comment = _parted(item)
        start = f"{indent}{_flow(key)}:"
        if isinstance(value, dict) and not _is_short(value):
            yield start + comment
            yield from _mapping(value, indent + "  ")
        elif isinstance(value, list) and _is_block(value):
            yield start + comment
            for part in value:
                part_value, part_comment = _parted(part)
                yield f"{indent}  - {_flow(part_value)}{part_comment}"
        else:
            yield f"{start} {_flow(value)}{comment}"


def _parted(item: Any) -> tuple[Any, str]:
    """Value, and its comment with the space before it."""
    if isinstance(item, Noted):
        return item.value, " # " + " ".join(item.note.split())
    if isinstance(item, dict) and _is_short(item):
        notes = [f"{key}: {value.note}" for key, value in item.items() if isinstance(value, Noted)]
        return item, " # " + " ".join("; ".join(notes).split()) if notes else ""
    return item, ""


def _is_short(mapping: dict[str, Any]) -> bool:
    """Whether a mapping and its notes fit into one line: such as a column and its unit."""
    has_notes = any(isinstance(value, Noted) for value in mapping.values())
    nested = any(isinstance(bare(value), dict) or _holds_mappings(value) for value in mapping.values())
    return not nested and len(_flow(mapping)) <= LONG and (len(mapping) <= 2 or not has_notes)


def _holds_mappings(value: Any) -> bool:
    return isinstance(bare(value), list) and any(isinstance(part, dict) for part in bare(value))


def _is_block(values: list[Any]) -> bool:
    """Whether a list is written one item to a line: layers, and many file names."""
    is_text = all(isinstance(value, str) for value in values)
    return _holds_mappings(values) or (is_text and len(_flow(values)) > LONG)


def _flow(value: Any) -> str:
    """YAML of a value in one line."""
    text = yaml.dump(
        [bare(value)],
        Dumper=_Dumper,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=math.inf,
    )
    return text.strip()[1:-1]


class _Dumper(yaml.SafeDumper):
    """Writes text that is not printable, such as a line break in a file name, with escapes."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _text)
