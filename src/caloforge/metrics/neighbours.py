"""Nearest showers of another sample, and whether a generator repeats those that it was trained on."""

from collections.abc import Iterable

import numpy as np
from scipy import stats

CLOSE_QUANTILE = 0.01
"""Of the distances of independent showers: up to it, a shower is close to one of the training set."""

_QUERIES_AT_A_TIME = 256


def nearest(queries: np.ndarray, pool: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The nearest shower of a pool to each query by the Euclidean distance over all cells.

    Neighbours are found by |q - p|² = |q|² - 2 q·p + |p|² in float64: of showers whose squared distances
    differ by less than about 1e-12 of |q|² + |p|², any may be taken. The distance to the one taken comes from
    the difference of the two, and is exactly 0 for an equal shower.

    Parameters
    ----------
    queries
        Cells of n showers, shape (n, V).
    pool
        Cells of the showers that are searched, at least one, in blocks of shape (any, V). Memory holds one
        block and its distances to 256 queries at a time.

    Returns
    -------
    tuple of np.ndarray
        Distance to the nearest shower, float64, and its number in the pool, int64, shape (n,) each.
    """
    distance, index = np.full(len(queries), np.inf), np.full(len(queries), -1)
    first = 0
    for block in pool:
        block = block.astype(np.float64)
        squared = np.einsum("ij,ij->i", block, block)
        for start in range(0, len(queries), _QUERIES_AT_A_TIME):
            part = slice(start, start + _QUERIES_AT_A_TIME)
            some = queries[part].astype(np.float64)
            candidate = np.argmin(squared - 2 * some @ block.T, axis=1)
            found = np.linalg.norm(some - block[candidate], axis=1)
            index[part] = np.where(found < distance[part], first + candidate, index[part])
            distance[part] = np.minimum(found, distance[part])
        first += len(block)
    return distance, index


def memorisation(independent: np.ndarray, sample: np.ndarray) -> tuple[float, float, float]:
    """Whether showers are nearer to the training set than independent ones of the full simulation.

    Parameters
    ----------
    independent, sample
        Distances to the nearest training shower of showers that the generator has not seen and of those in
        question, shapes (n,) and (m,).

    Returns
    -------
    tuple of float
        Median distance of the sample over that of the independent showers, NaN where the latter is 0;
        Kolmogorov-Smirnov distance of both distributions; share of the sample not beyond the `CLOSE_QUANTILE`
        of the independent distances, which is about that quantile for more showers of the same kind.
    """
    median = np.median(independent)
    return (
        float(np.median(sample) / median) if median > 0 else np.nan,
        float(stats.ks_2samp(independent, sample, method="asymp").statistic),
        float(np.mean(sample <= np.quantile(independent, CLOSE_QUANTILE))),
    )
