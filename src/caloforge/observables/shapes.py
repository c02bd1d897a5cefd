"""Parts of shower shapes that the observables of several geometries are made of."""

import numpy as np


def mean_and_deviation(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted means and standard deviations, row by row.

    Parameters
    ----------
    values
        Shape (K,) or (n, K).
    weights
        Not negative, shape (n, K).

    Returns
    -------
    tuple
        Both of shape (n,), in the unit of `values`; NaN in rows without weight. A row with all its weight at
        one value has the deviation 0.
    """
    total = weights.sum(axis=1, keepdims=True)
    shares = weights / np.where(total > 0, total, np.nan)
    mean = (shares * values).sum(axis=1, keepdims=True)
    return mean[:, 0], np.sqrt((shares * (values - mean) ** 2).sum(axis=1))


def two_hottest_MeV(energy_MeV: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The highest and the second highest energy of each row [MeV], both (n,), of cells of shape (n, V)."""
    rest_MeV = energy_MeV.copy()
    hottest = np.argmax(rest_MeV, axis=1)[:, None]
    hottest_MeV = np.take_along_axis(rest_MeV, hottest, axis=1)[:, 0]
    np.put_along_axis(rest_MeV, hottest, 0, axis=1)
    return hottest_MeV, rest_MeV.max(axis=1)


def ring_sums_MeV(
    radius_mm: np.ndarray, hit_MeV: np.ndarray, shower: np.ndarray, n: int, edges_mm: np.ndarray
) -> np.ndarray:
    """Energy of each of n showers between consecutive edges, the lower one included.

    Parameters
    ----------
    radius_mm, hit_MeV, shower
        Distance [mm], energy [MeV] and shower (0 to n - 1) of each hit, shape (hits,).
    n
        Number of showers.
    edges_mm
        Increasing edges [mm], from 0; hits beyond the last one are left out.

    Returns
    -------
    numpy.ndarray
        Energies [MeV], shape (n, edges - 1).
    """
    rings = len(edges_mm) - 1
    ring = np.searchsorted(edges_mm, radius_mm, side="right") - 1
    inside = ring < rings
    return histograms(shower[inside], ring[inside], n, rings, hit_MeV[inside])


def histograms(
    shower: np.ndarray, bin_: np.ndarray, n: int, bins: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """How often each of n showers has each bin, or the sum of the weights there: shape (n, bins).

    Parameters
    ----------
    shower, bin_, weights
        Of each hit, shape (hits,): 0 to n - 1, 0 to bins - 1, and any number or None for 1.
    """
    return np.bincount(shower * bins + bin_, weights=weights, minlength=n * bins).reshape(n, bins)
