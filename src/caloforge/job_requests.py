"""What a job asks a batch system for: memory and time, by the size of its input and the attempt.

A batch system kills a job that takes more than it asked for. The second attempt asks for twice as much, the
third and those after it for three times: a training comes back after every time limit, and must not grow with
each.
"""

import os
from collections.abc import Callable
from math import ceil
from typing import Any

_MOST = 3
_TABLE_COPIES = 4
"""Memory that a table of observables takes over its size on disk, where it is compressed float32."""
_MB_PER_MINUTE = 30
"""A third of what the slowest stage reads that was measured, the observables of collisions on one core."""

Request = Callable[..., int]


def memory_MB(base: int | Callable[[Any], int], *, table: str | None = None) -> Request:
    """Make the resource `mem_mb` of a rule, as a function of wildcards, input and attempt [MB].

    Parameters
    ----------
    base
        What the first attempt gets, or a function of the wildcards that says so [MB]. Showers are read in
        blocks by every stage, so that their number does not matter.
    table
        Name of the input that is held in memory as a whole, for which memory comes on top.
    """

    def request(wildcards: Any, input: Any, attempt: int) -> int:
        first = base(wildcards) if callable(base) else base
        return _grown(first + _TABLE_COPIES * _size_MB(input, table), attempt)

    return request


def minutes(base: int, *, showers: str | None = None) -> Request:
    """Make the resource `runtime` of a rule, as a function of wildcards, input and attempt [min].

    Parameters
    ----------
    base
        What the first attempt gets when there is little to read [min].
    showers
        Name of the input that is read, for which time comes on top.
    """

    def request(_: Any, input: Any, attempt: int) -> int:
        return _grown(base + _size_MB(input, showers) / _MB_PER_MINUTE, attempt)

    return request


def _grown(first: float, attempt: int) -> int:
    return ceil(first) * min(attempt, _MOST)


def _size_MB(inputs: Any, name: str | None) -> float:
    """Size on disk of an input, one file or several [MB]."""
    if name is None:
        return 0
    files = [inputs[name]] if isinstance(inputs[name], str) else inputs[name]
    # Snakemake waits for a file that is missing only when the error has its name as text, not as a Path.
    return sum(os.path.getsize(file) for file in files) / 1e6  # noqa: PTH202
