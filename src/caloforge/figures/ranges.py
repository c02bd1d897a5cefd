"""Mean and standard deviation of a quantity in ranges of another."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from caloforge.figures.comparison import Estimates


def mean_in_ranges(x: np.ndarray, values: np.ndarray, edges: Sequence[float]) -> Estimates:
    """Mean of the values per range of x and its standard error; NaN in ranges with fewer than two.

    Parameters
    ----------
    x, values
        Shape (n,); values that are not finite are left out.
    edges
        Increasing; a range holds its lower edge but not its upper one.
    """
    ranges = _ranges(x, values, edges)
    return Estimates(
        np.array([part.mean() if len(part) > 1 else np.nan for part in ranges]),
        np.array([part.std(ddof=1) / np.sqrt(len(part)) if len(part) > 1 else np.nan for part in ranges]),
        sum(map(len, ranges)),
    )


def deviation_in_ranges(x: np.ndarray, values: np.ndarray, edges: Sequence[float]) -> Estimates:
    """Standard deviation of the values per range of x; NaN in ranges with fewer than four or equal ones.

    The error follows from the variance of the sample variance, (m4 - s^4 (n - 3) / (n - 1)) / n with the
    fourth central moment m4 (Particle Data Group, Review of Particle Physics, "Statistics", section on
    estimators for mean and variance).

    Parameters
    ----------
    x, values, edges
        As for `mean_in_ranges`.
    """
    ranges = _ranges(x, values, edges)
    deviations = np.array([_deviation(part) for part in ranges])
    return Estimates(deviations[:, 0], deviations[:, 1], sum(map(len, ranges)))


def _deviation(values: np.ndarray) -> tuple[float, float]:
    n = len(values)
    if n < 4 or values.std() == 0:
        return np.nan, np.nan
    variance = values.var(ddof=1)
    fourth_moment = np.mean((values - values.mean()) ** 4)
    variance_error = np.sqrt(max(fourth_moment - variance**2 * (n - 3) / (n - 1), 0) / n)
    return np.sqrt(variance), variance_error / (2 * np.sqrt(variance))


def _ranges(x: np.ndarray, values: np.ndarray, edges: Sequence[float]) -> list[np.ndarray]:
    return [
        values[(low <= x) & (x < high) & np.isfinite(values)].astype(np.float64)
        for low, high in pairwise(edges)
    ]
