"""Fréchet distance of two samples, each taken for a multivariate normal distribution."""

import numpy as np
from scipy import linalg


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Fréchet distance |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)) of the means m and covariances S.

    The squared 2-Wasserstein distance of normal distributions (D. C. Dowson and B. V. Landau, The Fréchet
    Distance between Multivariate Normal Distributions, J. Multivar. Anal. 12 (1982) 450), which M. Heusel et
    al., GANs Trained by a Two Time-Scale Update Rule (2017), apply to features of images. Means and
    covariances of n events fluctuate, so that two samples of one distribution have a distance above 0, about
    in proportion to 1 / n.

    Parameters
    ----------
    first, second
        Features, shapes (n, features) and (m, features), finite.

    Returns
    -------
    Distance in the squared unit of the features; NaN if a sample has fewer than two events.
    """
    if min(len(first), len(second)) < 2:
        return np.nan
    means, covariances = zip(*map(_moments, (first, second)), strict=True)
    root = _root(covariances[0])
    product = linalg.eigvalsh(root @ covariances[1] @ root)  # the eigenvalues of S1 S2, of a symmetric matrix
    overlap = np.sqrt(np.maximum(product, 0)).sum()
    apart = np.sum((means[0] - means[1]) ** 2)
    return float(apart + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * overlap)


def principal_components(samples: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean of samples and the directions in which they vary most.

    Parameters
    ----------
    samples
        Shape (n, values), n >= 1.
    most
        Directions wanted, at most.

    Returns
    -------
    Mean, shape (values,), and orthonormal directions, the largest variance first, shape (k, values); k is
    `most` or, where there are fewer, the number of directions in which n samples can vary. float64.
    """
    mean = samples.mean(axis=0, dtype=np.float64)
    centred = samples - mean
    n = len(samples)
    k = min(most, n - 1, samples.shape[1])
    if k == 0:
        return mean, np.zeros((0, samples.shape[1]))
    variances, weights = linalg.eigh(centred @ centred.T, subset_by_index=(n - k, n - 1))
    varying = variances > 1e-12 * max(variances[-1], 0)
    directions = (centred.T @ weights[:, varying]) / np.sqrt(variances[varying])
    return mean, directions.T[::-1]


def _moments(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return samples.mean(axis=0, dtype=np.float64), np.atleast_2d(
        np.cov(samples, rowvar=False, dtype=np.float64)
    )


def _root(covariance: np.ndarray) -> np.ndarray:
    """Symmetric square root of a covariance matrix."""
    variances, directions = linalg.eigh(covariance)
    return (directions * np.sqrt(np.maximum(variances, 0))) @ directions.T
