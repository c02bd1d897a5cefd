"""Turn a configuration as YAML gave it into settings, or into one message that says what is wrong."""

import json
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from caloforge.config.base import nearest, refusal, short
from caloforge.config.project import Config
from caloforge.errors import CaloforgeError


def validate(config: Mapping[str, Any]) -> Config:
    """Check a configuration and fill in its defaults.

    Raises
    ------
    CaloforgeError
        One line per problem: key path, what was found, what was expected.
    """
    try:
        return Config.model_validate(dict(config))
    except ValidationError as error:
        problems: dict[str, list[str]] = {}
        for detail in _causes(error):
            path = _path_in(config, detail)
            problems.setdefault(".".join(map(str, path)), []).append(_problem(config, path, detail))
        lines = (f"  {path}: {_joined(texts)}" for path, texts in problems.items())
        raise CaloforgeError("the configuration is not valid:\n" + "\n".join(lines)) from None


def plain(settings: BaseModel) -> dict[str, Any]:
    """Settings as plain data with sorted keys: equal settings have equal text, however they were written."""
    return json.loads(json.dumps(settings.model_dump(mode="json"), sort_keys=True))


def _causes(error: ValidationError) -> list[Mapping[str, Any]]:
    """The problems, without lists that are too short only because an item of theirs is refused."""
    details = error.errors(include_url=False)
    return [
        detail
        for detail in details
        if detail["type"] != "too_short"
        or all(other is detail or other["loc"][: len(detail["loc"])] != detail["loc"] for other in details)
    ]


def _path_in(config: Mapping[str, Any], detail: Mapping[str, Any]) -> tuple[int | str, ...]:
    """Keys that lead to a problem, as the user wrote or should have written them.

    The location that pydantic gives also has the names of union members, which no mapping holds.
    """
    value: Any = config
    path: list[int | str] = []
    for depth, key in enumerate(detail["loc"]):
        is_missing = detail["type"] == "missing" and depth == len(detail["loc"]) - 1
        if isinstance(value, Mapping) and (key in value or is_missing):
            value = value.get(key)
        elif isinstance(value, list | tuple) and isinstance(key, int):
            value = value[key] if key < len(value) else None
        else:
            continue
        path.append(key)
    return tuple(path)


def _problem(config: Mapping[str, Any], path: tuple[int | str, ...], detail: Mapping[str, Any]) -> str:
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key, {nearest(str(path[-1]), _settings_at(config, path[:-1]).model_fields)}"
        case "union_tag_invalid":
            found = short(detail["ctx"]["tag"])
            return f"found {found}, expected one of {detail['ctx']['expected_tags']}"
        case "union_tag_not_found":
            return f"found no {detail['ctx']['discriminator']}, expected one"
        case "missing":
            return "found nothing, expected a value"
        case _:
            return refusal(detail)


def _joined(texts: list[str]) -> str:
    """One text for what every member of a union says about the same value."""
    start = texts[0].partition(", expected ")[0] + ", expected "
    if len(texts) > 1 and all(text.startswith(start) for text in texts):
        return start + " or ".join(dict.fromkeys(text.removeprefix(start) for text in texts))
    return "; ".join(dict.fromkeys(texts))


def _settings_at(config: Mapping[str, Any], path: tuple[int | str, ...]) -> type[BaseModel]:
    """The settings class that describes the keys below `path`."""
    kind, value = Config, config
    for key in path:
        value = value[key]
        kind = kind.model_fields[key].annotation if _is_settings(kind) else _element(kind)
        kind = max(_members(kind), key=lambda member: _likeness(member, value))
    return kind


def _members(kind: Any) -> list[Any]:
    """The types that make up a type: several for a union, else one."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [member for part in get_args(kind) for member in _members(part)]
    return [kind]


def _likeness(kind: Any, value: Any) -> int:
    """Number of keys of `value` that settings of this kind have, those that name the kind counting most."""
    if not (_is_settings(kind) and isinstance(value, Mapping)):
        return 0
    return sum(
        100 * (value[name] in get_args(field.annotation)) if get_origin(field.annotation) is Literal else 1
        for name, field in kind.model_fields.items()
        if name in value
    )


def _is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _element(container: Any) -> Any:
    """Type of the values of a dict[str, X] or a tuple[X, ...]."""
    return get_args(container)[1 if get_origin(container) is dict else 0]
