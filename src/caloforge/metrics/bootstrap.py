"""Statistical errors of numbers that a whole sample has, by resampling its showers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def bootstrapped(
    measure: Callable[[Any, Any], Sequence[float]],
    names: Sequence[str],
    n: int,
    m: int,
    *,
    paired: bool,
    resamplings: int,
    seed: int,
) -> dict[str, dict[str, float | None]]:
    """Numbers that a reference and a sample give together, with bootstrap errors.

    Parameters
    ----------
    measure
        Takes rows of the reference and rows of the sample, each an index of the first axis of an array, and
        returns one number for each name.
    names
        Of the numbers.
    n, m
        Number of showers of the reference and of the sample.
    paired
        Whether row i has the same primary in both, so that the same rows are drawn of both; then n equals m.
    resamplings
        Each draws n rows of the reference and m of the sample, with replacement; the error is the standard
        deviation over the resamplings.
    seed
        Of the resamplings.

    Returns
    -------
    dict
        Name to `value` and `error`, None where not finite, and everywhere if either side has fewer than two
        showers.
    """
    if min(n, m) < 2:
        return {name: {"value": None, "error": None} for name in names}
    rng = np.random.default_rng(seed)
    values = measure(slice(None), slice(None))
    resampled = []
    for _ in range(resamplings):
        rows = rng.integers(n, size=n)
        resampled.append(measure(rows, rows if paired else rng.integers(m, size=m)))
    errors = np.std(resampled, axis=0, ddof=1)
    return {
        name: {"value": finite(value), "error": finite(error)}
        for name, value, error in zip(names, values, errors, strict=True)
    }


def finite(number: float) -> float | None:
    """The number, or None, which JSON has in place of NaN and infinity."""
    return float(number) if np.isfinite(number) else None
