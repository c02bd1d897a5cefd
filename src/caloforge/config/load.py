"""Turn a configuration as YAML gave it into settings, or into one message that says what is wrong."""

import json
import re
from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from caloforge.config.project import Config, nearest
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
            path = _path_in(config, detail["loc"])
            problems.setdefault(".".join(map(str, path)), []).append(_problem(path, detail))
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


def _path_in(config: Mapping[str, Any], location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The part of a pydantic location that the user wrote or should have written."""
    value: Any = config
    for depth, key in enumerate(location):
        if isinstance(value, Mapping) and key != "[key]":
            value = value.get(key)
        elif isinstance(value, list | tuple) and isinstance(key, int):
            value = value[key] if key < len(value) else None
        else:
            return location[:depth]
    return location


def _problem(path: tuple[int | str, ...], detail: Mapping[str, Any]) -> str:
    message = detail["msg"]
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key, {nearest(str(path[-1]), _settings_at(path[:-1]).model_fields)}"
        case "missing":
            return "found nothing, expected a value"
        case "misfit" | "value_error":
            return message.removeprefix("Value error, ")
        case _:
            expected = re.sub(r"^\w+ should (be |have |match )?", "", message)
            return f"found {_short(detail['input'])}, expected {expected}"


def _joined(texts: list[str]) -> str:
    """One text for what every member of a union says about the same value."""
    start = texts[0].partition(", expected ")[0] + ", expected "
    if len(texts) > 1 and all(text.startswith(start) for text in texts):
        return start + " or ".join(dict.fromkeys(text.removeprefix(start) for text in texts))
    return "; ".join(dict.fromkeys(texts))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _settings_at(path: tuple[int | str, ...]) -> type[BaseModel]:
    """The settings class that describes the keys below `path`."""
    kind: Any = Config
    for key in path:
        kind = kind.model_fields[key].annotation if _is_settings(kind) else _element(kind)
        if get_origin(kind) in (Union, UnionType):
            kind = next(member for member in get_args(kind) if member is not type(None))
    return kind


def _is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _element(container: Any) -> Any:
    """Type of the values of a dict[str, X] or a tuple[X, ...]."""
    return get_args(container)[1 if get_origin(container) is dict else 0]
