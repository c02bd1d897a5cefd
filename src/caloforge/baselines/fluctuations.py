"""Quantities of showers that depend on the energy of the primary and fluctuate together."""

from typing import NamedTuple

import numpy as np
from scipy import optimize

_LEAST_LOG_SPREAD = 0.02
"""Standard deviation of ln(energy) below which nothing depends on it."""


class Fluctuations(NamedTuple):
    """Gaussian quantities of a shower of the energy E [GeV].

    Attributes
    ----------
    means
        Values at ln E = 0 and slopes in ln E: shape (2, k).
    variances
        Those that are divided by E and those that are added: shape (2, k).
    correlations
        Of the deviations, shape (k, k).
    """

    means: np.ndarray
    variances: np.ndarray
    correlations: np.ndarray

    def values(self, energy_GeV: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """The quantities (n, k) for energies [GeV] of shape (n,) and standard normal noise (n, k)."""
        values, vectors = np.linalg.eigh(self.correlations)
        correlated = noise @ (vectors * np.sqrt(np.maximum(values, 0))).T
        deviations = np.sqrt(_terms(energy_GeV) @ self.variances)
        return powers(energy_GeV) @ self.means + deviations * correlated


def powers(energy_GeV: np.ndarray) -> np.ndarray:
    """1 and ln E of energies [GeV]: shape (n, 2)."""
    return np.stack([np.ones_like(energy_GeV), np.log(energy_GeV)], axis=1)


def fitted_powers(energy_GeV: np.ndarray) -> np.ndarray:
    """`powers` of energies [GeV] that something is fitted to, with 0 for ln E where they hardly vary."""
    columns = powers(energy_GeV)
    columns[:, 1] *= columns[:, 1].std() > _LEAST_LOG_SPREAD
    return columns


def fit_fluctuations(energy_GeV: np.ndarray, values: np.ndarray) -> Fluctuations:
    """The fluctuations of quantities of showers.

    Means are straight lines in ln E by least squares. Variances, with a term that falls as 1 / E as that of a
    sampling calorimeter and a constant one, both >= 0, are fitted to the squares of the deviations of single
    showers with weights proportional to E.

    Parameters
    ----------
    energy_GeV
        Of n showers [GeV], shape (n,).
    values
        Shape (n, k).
    """
    columns = fitted_powers(energy_GeV)
    means, *_ = np.linalg.lstsq(columns, values)
    deviations = values - columns @ means
    terms = _terms(energy_GeV) * energy_GeV[:, None]
    variances = np.stack(
        [optimize.nnls(terms, squares * energy_GeV)[0] for squares in (deviations**2).T], axis=1
    )
    expected = np.sqrt(_terms(energy_GeV) @ variances)
    normalised = deviations / np.where(expected > 0, expected, 1)
    products = normalised.T @ normalised
    lengths = np.sqrt(np.diag(products))
    lengths[lengths == 0] = 1
    return Fluctuations(means, variances, products / np.outer(lengths, lengths))


def _terms(energy_GeV: np.ndarray) -> np.ndarray:
    """What variances consist of, 1 / E and 1: shape (n, 2)."""
    return np.stack([1 / energy_GeV, np.ones_like(energy_GeV)], axis=1)
