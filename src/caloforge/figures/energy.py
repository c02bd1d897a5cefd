"""Energy response and resolution in ranges of the incident energy."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from caloforge.figures.comparison import Estimates, profile


def response(
    reference: tuple[np.ndarray, np.ndarray],
    generated: tuple[np.ndarray, np.ndarray],
    edges_GeV: Sequence[float],
) -> Figure:
    """Mean of visible over incident energy against the incident energy.

    Parameters
    ----------
    reference, generated
        Incident energies [GeV] and visible over incident energy, each of shape (n,).
    edges_GeV
        Edges of the energy ranges [GeV].
    """
    return _against_energy(
        mean_response(*reference, edges_GeV),
        mean_response(*generated, edges_GeV),
        edges_GeV,
        label="Mean visible / incident energy",
    )


def resolution(
    reference: tuple[np.ndarray, np.ndarray],
    generated: tuple[np.ndarray, np.ndarray],
    edges_GeV: Sequence[float],
) -> Figure:
    """Relative spread of visible over incident energy against the incident energy.

    Parameters
    ----------
    reference, generated, edges_GeV
        As for `response`.
    """
    return _against_energy(
        relative_spread(*reference, edges_GeV),
        relative_spread(*generated, edges_GeV),
        edges_GeV,
        label="Resolution (standard deviation / mean)",
    )


def mean_response(energy_GeV: np.ndarray, ratio: np.ndarray, edges_GeV: Sequence[float]) -> Estimates:
    """Mean of `ratio` and its standard error per energy range; NaN in ranges with fewer than two showers."""
    ranges = _ranges(energy_GeV, ratio, edges_GeV)
    return Estimates(
        np.array([values.mean() if len(values) > 1 else np.nan for values in ranges]),
        np.array(
            [values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan for values in ranges]
        ),
        sum(map(len, ranges)),
    )


def relative_spread(energy_GeV: np.ndarray, ratio: np.ndarray, edges_GeV: Sequence[float]) -> Estimates:
    """Standard deviation over mean of `ratio` per energy range; NaN in ranges with fewer than four showers.

    The error follows from the variance of the sample variance, (m4 - s^4 (n - 3) / (n - 1)) / n with the
    fourth central moment m4 (Particle Data Group, Review of Particle Physics, "Statistics", section on
    estimators for mean and variance); the error of the mean is left out, being smaller by the resolution.
    """
    ranges = _ranges(energy_GeV, ratio, edges_GeV)
    spreads = np.array([_spread(values) for values in ranges])
    return Estimates(spreads[:, 0], spreads[:, 1], sum(map(len, ranges)))


def _spread(values: np.ndarray) -> tuple[float, float]:
    n = len(values)
    if n < 4 or values.std() == 0:
        return np.nan, np.nan
    mean, variance = values.mean(), values.var(ddof=1)
    fourth_moment = np.mean((values - mean) ** 4)
    variance_error = np.sqrt(max(fourth_moment - variance**2 * (n - 3) / (n - 1), 0) / n)
    deviation = np.sqrt(variance)
    return deviation / mean, variance_error / (2 * deviation) / mean


def _ranges(energy_GeV: np.ndarray, ratio: np.ndarray, edges_GeV: Sequence[float]) -> list[np.ndarray]:
    return [
        ratio[(low <= energy_GeV) & (energy_GeV < high) & np.isfinite(ratio)].astype(np.float64)
        for low, high in pairwise(edges_GeV)
    ]


def _against_energy(
    reference: Estimates, generated: Estimates, edges_GeV: Sequence[float], *, label: str
) -> Figure:
    return profile(
        reference,
        generated,
        np.asarray(edges_GeV, dtype=float),
        x_label="Incident energy",
        x_unit="GeV",
        label=label,
        unit="1",
        log_x=True,
    )
