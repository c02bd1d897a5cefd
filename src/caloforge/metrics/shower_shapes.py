"""How far apart mean showers are: profiles along the axes of a grid, their moments, and single cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PROFILE_UNIT = 1000
"""Profiles are in per mille of the mean visible energy of the full simulation."""

_LEAST_SHOWERS = 20
"""Showers of about one energy behind `shape_error`."""


@dataclass(frozen=True)
class Window:
    """Showers whose energy is close to a chosen one.

    Attributes
    ----------
    energy_GeV, half_width_GeV
        Centre and half width of the window.
    rows
        Row numbers of the showers in it, increasing.
    """

    energy_GeV: float
    half_width_GeV: float
    rows: np.ndarray


def energy_window(energy_GeV: np.ndarray, centre_GeV: float, half_width_GeV: float, least: int) -> Window:
    """Showers within `half_width_GeV` of an energy, or as many times as wide as `least` showers need.

    Parameters
    ----------
    energy_GeV
        Incident energies [GeV], shape (n,).
    centre_GeV, half_width_GeV
        The window asked for; its width is doubled until it holds `least` showers or all of them.
    """
    distance_GeV = np.abs(energy_GeV - centre_GeV)
    least = min(least, len(energy_GeV))
    while np.count_nonzero(distance_GeV <= half_width_GeV) < least:
        half_width_GeV *= 2
    return Window(centre_GeV, half_width_GeV, np.flatnonzero(distance_GeV <= half_width_GeV))


def profile_mse(reference: Sequence[np.ndarray], sample: Sequence[np.ndarray]) -> float:
    """Mean squared difference of the mean profiles along all axes, in per mille squared.

    F. Rehm et al. (2021), section on physics validation, quote such a number without its formula. Here, with
    p_a(k) the mean over the showers of the energy in slice k along axis a, in per mille of the mean visible
    energy of the reference, it is the mean of (p_a(k) - q_a(k))² over all axes and slices.

    Parameters
    ----------
    reference, sample
        Per axis the energy in each slice [any one unit], shapes (n, slices) and (m, slices).
    """
    total = reference[0].sum(axis=1, dtype=np.float64).mean()
    differences = [
        fast.mean(axis=0, dtype=np.float64) - full.mean(axis=0, dtype=np.float64)
        for full, fast in zip(reference, sample, strict=True)
    ]
    return float(np.mean((PROFILE_UNIT * np.concatenate(differences) / total) ** 2))


def profile_ks(reference: np.ndarray, sample: np.ndarray) -> float:
    """Largest difference of the cumulative mean profiles, each normalised to one.

    The Kolmogorov-Smirnov distance of two weighted histograms over the slices.

    Parameters
    ----------
    reference, sample
        Energy in each slice, shapes (n, slices) and (m, slices).
    """
    shares = [profile.mean(axis=0, dtype=np.float64) for profile in (reference, sample)]
    full, fast = (np.cumsum(share) / share.sum() if share.sum() > 0 else 0 * share for share in shares)
    return float(np.abs(full - fast).max())


def moment_error(reference: Sequence[np.ndarray], sample: Sequence[np.ndarray]) -> float:
    """Mean relative error of the first and second moments of the mean profiles, over all axes.

    Half of the validation metric of the GeantV group's public training code: |(m - m') / m| of the mean over
    the showers of the energy-weighted mean slice number and of its variance, averaged over axes and moments.
    Slices count from 1, so that no first moment is zero.

    Parameters
    ----------
    reference, sample
        Per axis the energy in each slice, shapes (n, slices) and (m, slices).
    """
    errors = []
    for full, fast in zip(reference, sample, strict=True):
        errors += [abs((m - g) / m) for m, g in zip(_mean_moments(full), _mean_moments(fast), strict=True)]
    return float(np.mean(errors))


def _mean_moments(profile: np.ndarray) -> tuple[float, float]:
    """Mean over the showers with energy of the mean slice number and of its variance."""
    profile = profile[profile.sum(axis=1) > 0].astype(np.float64)
    if not len(profile):
        return 0.0, 0.0
    share = profile / profile.sum(axis=1, keepdims=True)
    slices = np.arange(1, profile.shape[1] + 1)
    first = share @ slices
    return float(first.mean()), float((share @ slices**2 - first**2).mean())


def cell_response(reference: np.ndarray, sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each cell over the showers, generated over full simulation.

    Parameters
    ----------
    reference, sample
        Cell energies, shapes (n, cells) and (m, cells).

    Returns
    -------
    tuple of np.ndarray
        Ratio of means and ratio of standard deviations, shape (cells,); NaN where the reference has none.
    """
    moments = [
        (cells.mean(axis=0, dtype=np.float64), cells.std(axis=0, dtype=np.float64))
        for cells in (reference, sample)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        return tuple(np.where(full > 0, fast / full, np.nan) for full, fast in zip(*moments, strict=True))


def shape_error(
    reference: Sequence[np.ndarray], sample: Sequence[np.ndarray], energy_GeV: np.ndarray
) -> float:
    """Relative error of mean shower shapes, averaged over showers of about 100, 200, 300 and 400 GeV.

    The number by which the GeantV group's public code chooses the epoch of a training
    (https://github.com/svalleco/3Dgan, `metric` of analysis/TestingObjective.py): `moment_error` plus the
    mean over slices and then axes of |(p - q) / p| for the mean energies p and q in a slice. Slices in which
    the reference has no energy are left out. Ranges of ±5 GeV are widened until they hold `_LEAST_SHOWERS`.

    Parameters
    ----------
    reference, sample
        Per axis the energy in each slice [any one unit], shapes (n, slices), of showers of the same energies.
    energy_GeV
        Incident energies [GeV], shape (n,).
    """
    errors = []
    for centre_GeV in (100, 200, 300, 400):
        rows = energy_window(energy_GeV, centre_GeV, 5, _LEAST_SHOWERS).rows
        full, fast = ([profile[rows] for profile in profiles] for profiles in (reference, sample))
        errors.append(moment_error(full, fast) + _profile_error(full, fast))
    return float(np.mean(errors))


def _profile_error(reference: Sequence[np.ndarray], sample: Sequence[np.ndarray]) -> float:
    errors = []
    for full, fast in zip(reference, sample, strict=True):
        p, q = (profile.mean(axis=0, dtype=np.float64) for profile in (full, fast))
        errors.append(np.mean(np.abs(p - q)[p > 0] / p[p > 0]))
    return float(np.mean(errors))
