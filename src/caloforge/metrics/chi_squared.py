"""The χ² distance between histograms of event counts."""

import numpy as np

BINS = 50
"""Of each histogram, at most; see `metrics.distributions.bin_edges`."""


def bin_numbers(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The bin of each value; the outermost bins also take what lies beyond them.

    Parameters
    ----------
    values
        One per event, shape (n,); NaN where undefined.
    edges
        Increasing bin edges, shape (K + 1,).

    Returns
    -------
    np.ndarray
        Int64 from 0 to K - 1, shape (n,); K, which is no bin, where the value is not finite.
    """
    return np.where(np.isfinite(values), np.searchsorted(edges[1:-1], values, side="right"), len(edges) - 1)


def event_counts(events: np.ndarray, bins: int) -> np.ndarray:
    """Number of events in each bin, int64, shape (bins,), from the bin of each as `bin_numbers` gives it."""
    return np.bincount(events, minlength=bins + 1)[:bins]


def chi_squared(reference: np.ndarray, sample: np.ndarray, bins: int) -> float:
    """χ² distance Σ (a - b')² / (a + b') of two histograms of the same observable.

    a and b are the events of the reference and of the sample in a bin, n and m those of each in all,
    b' = b n / m, and the sum runs over the bins with a + b > 0. Samples of the same size count as they are.
    n and m are events, not entries: an observable that is undefined for more events of one sample has fewer
    entries there, which counts.

    E. Simsek et al., CALPAGAN: Calorimetry for Particles using GANs, tables 1 and 2, quote "χ² distances" of
    samples of 5,000 events without their formula and bins. This is, for samples of the same size, the χ²
    statistic of two histograms of counts (N. D. Gagunashvili, Comparison of weighted and unweighted
    histograms, arXiv:physics/0605123). Two independent samples of one distribution are about as far apart as
    there are filled bins, (1 + n / m) / 2 times as far if m is not n, and two of the same events nearer.
    Between different distributions it grows with the number of events: only values of samples of one size in
    the same bins compare.

    Parameters
    ----------
    reference, sample
        Bin of each event as `bin_numbers` gives it, shapes (n,) and (m,).
    bins
        Number of bins K.
    """
    a = event_counts(reference, bins)
    b = event_counts(sample, bins) * (len(reference) / len(sample))
    filled = a + b > 0
    return float(np.sum((a - b)[filled] ** 2 / (a + b)[filled]))
