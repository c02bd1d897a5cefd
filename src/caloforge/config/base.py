"""The base of every settings class, and how problems with settings are told."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Immutable, refuses unknown keys; numbers may be written as text (YAML reads `1e-4` as text)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest which of the `known` names was meant by `name`, or list them all."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names)}"


def refusal(detail: Mapping[str, Any]) -> str:
    """What was found in place of a value and what was expected, from what pydantic says about it."""
    message = detail["msg"]
    if detail["type"] in ("misfit", "value_error"):
        return message.removeprefix("Value error, ")
    expected = re.sub(r"^\w+ should (be |have |match )?", "", message)
    return f"found {short(detail['input'])}, expected {expected}"


def short(value: Any) -> str:
    """A value as text for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
