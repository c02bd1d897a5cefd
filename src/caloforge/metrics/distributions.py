"""Distances between two samples of one observable, with bootstrap errors."""

from typing import Any

import numpy as np
from scipy.stats import ks_2samp

from caloforge.errors import CaloforgeError

DISTANCES = ("ks", "wasserstein", "separation")

_EXACT_P_VALUE_EVENTS = 1000


def compare(
    reference: np.ndarray, sample: np.ndarray, *, log: bool, bins: int, bootstrap: int, seed: int
) -> dict[str, Any]:
    """Distances between a sample and a reference, with bootstrap errors.

    - `ks`: Kolmogorov-Smirnov statistic, the largest difference of the cumulative distributions P and Q.
      `ks_p_value` is its two-sided p-value: exact up to 1000 values per sample, asymptotic beyond
      (`scipy.stats.ks_2samp`); conservative where values repeat.
    - `wasserstein`: Wasserstein-1 distance, the integral of |P(x) - Q(x)| over x, in the unit of the
      observable (A. Ramdas et al., On Wasserstein two-sample testing, Entropy 19 (2017) 47).
    - `separation`: separation power 1/2 Σ (p - q)² / (p + q) over the bins of unit-sum histograms
      (A. Hoecker et al., TMVA users guide, arXiv:physics/0703039; C. Krause et al., CaloChallenge 2022,
      arXiv:2410.21611), in `bin_edges` of the reference; what lies outside counts in the first or last bin.

    Parameters
    ----------
    reference, sample
        Values, shapes (n,) and (m,); those that are not finite are left out.
    log, bins
        Binning, see `bin_edges`.
    bootstrap
        Number of resamplings, at least 2. Each draws n values from the reference and m from the sample, with
        replacement; the error of a distance is its standard deviation over the resamplings.
    seed
        Of the resamplings.

    Returns
    -------
    dict
        `ks`, `wasserstein` and `separation` with `value` and `error` each, and `ks_p_value`. All are None if
        either sample has fewer than two finite values, or the axis is logarithmic and the reference has no
        positive one.
    """
    reference, sample = (np.asarray(values, np.float64) for values in (reference, sample))
    reference, sample = reference[np.isfinite(reference)], sample[np.isfinite(sample)]
    if min(len(reference), len(sample)) < 2 or not has_bins(reference, log=log):
        return {name: {"value": None, "error": None} for name in DISTANCES} | {"ks_p_value": None}

    values, position = np.unique(np.concatenate([reference, sample]), return_inverse=True)
    positions = position[: len(reference)], position[len(reference) :]
    inner_edges = bin_edges(reference, log=log, bins=bins)[1:-1]
    borders = np.concatenate([[0], np.searchsorted(values, inner_edges), [len(values)]])
    rng = np.random.default_rng(seed)

    def resample(position: np.ndarray) -> np.ndarray:
        return position[rng.integers(len(position), size=len(position))]

    measured = _distances(values, borders, *positions)
    resampled = [_distances(values, borders, *map(resample, positions)) for _ in range(bootstrap)]
    method = "exact" if max(len(reference), len(sample)) <= _EXACT_P_VALUE_EVENTS else "asymp"
    return {
        name: {"value": float(value), "error": float(error)}
        for name, value, error in zip(DISTANCES, measured, np.std(resampled, axis=0, ddof=1), strict=True)
    } | {"ks_p_value": float(ks_2samp(reference, sample, method=method).pvalue)}


def separation_power(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Separation power, see `compare`, of unit-sum histograms along their last axis."""
    return 0.5 * np.divide((p - q) ** 2, p + q, out=np.zeros_like(p), where=p + q != 0).sum(axis=-1)


def bin_edges(reference: np.ndarray, *, log: bool, bins: int) -> np.ndarray:
    """Edges of the histogram of an observable, between the quantiles 0.5 % and 99.5 % of the reference.

    Bins have equal width, in log10 for a logarithmic axis. The width is a multiple of the smallest gap
    between two values, and edges lie half a gap beside a value: so each bin of an observable on a lattice,
    such as the number of hit cells, holds equally many lattice points; there may then be fewer bins.

    Parameters
    ----------
    reference
        Values, shape (n,); those that are not finite, or not positive on a logarithmic axis, are left out.
    log
        Whether the axis is logarithmic.
    bins
        Number of bins, at most; at least 3.

    Returns
    -------
    numpy.ndarray
        Increasing edges, shape (number of bins + 1,).

    Raises
    ------
    CaloforgeError
        If no value is left.
    """
    values = _on_axis(reference, log)
    if not len(values):
        raise CaloforgeError(
            f"no bins: none of the {len(reference)} reference values is {'positive' if log else 'finite'}"
        )
    if log:
        values = np.log10(values)
    low = np.quantile(values, 0.005, method="lower")
    high = np.quantile(values, 0.995, method="higher")
    gap = np.diff(np.unique(values)).min(initial=np.inf)
    gap = 1.0 if np.isinf(gap) else max(gap, 1e-9 * max(high - low, abs(high)))
    if low == high:
        low, high = low - gap, high + gap
    points = round((high - low) / gap) + 1
    points_per_bin = -(-points // bins)
    number = -(-points // points_per_bin)
    edges = low + gap * (points_per_bin * np.arange(number + 1) - 0.5)
    return 10**edges if log else edges


def has_bins(reference: np.ndarray, *, log: bool) -> bool:
    """Whether `bin_edges` finds a value to place edges by."""
    return len(_on_axis(reference, log)) > 0


def _on_axis(values: np.ndarray, log: bool) -> np.ndarray:
    values = np.asarray(values, np.float64)
    return values[np.isfinite(values) & ((values > 0) | (not log))]


def _distances(
    values: np.ndarray, borders: np.ndarray, reference: np.ndarray, sample: np.ndarray
) -> tuple[float, float, float]:
    """KS statistic, Wasserstein-1 distance and separation power of two samples of `values`.

    The samples are given as positions in the increasing `values`, the histogram as the position where each
    bin starts and the end.
    """
    cumulative = [
        np.append(0, np.cumsum(np.bincount(positions, minlength=len(values)))) / len(positions)
        for positions in (reference, sample)
    ]
    difference = np.abs(cumulative[0] - cumulative[1])
    p, q = (np.diff(shares[borders]) for shares in cumulative)
    return difference.max(), difference[1:-1] @ np.diff(values), float(separation_power(p, q))
