"""Linear correlations of high-level features, and how far those of two samples are apart."""

import numpy as np


def correlation_matrix(features: np.ndarray) -> np.ndarray:
    """Pearson's correlation coefficients of features.

    Parameters
    ----------
    features
        Shape (n, k), finite, n >= 1.

    Returns
    -------
    np.ndarray
        Shape (k, k); NaN in the rows and columns of features that do not vary.
    """
    centred = features - features.mean(axis=0)
    varies = np.ptp(features, axis=0) > 0
    centred /= np.where(varies, np.linalg.norm(centred, axis=0), np.nan)
    return centred.T @ centred


def correlation_distance(reference: np.ndarray, sample: np.ndarray) -> float:
    """Root mean square of the differences of the correlation coefficients of two samples.

    Over all pairs of different features that vary in both samples: the Frobenius norm of the difference of
    the matrices over √(k (k - 1)) for k such features. E. Buhmann et al., Getting High, Comput. Softw. Big
    Sci. 5 (2021) 13, arXiv:2005.05334, draw this difference for shower observables.

    Parameters
    ----------
    reference, sample
        Features, shapes (n, k) and (m, k), finite.

    Returns
    -------
    float
        From 0 to 2; NaN where fewer than two features vary in both samples.
    """
    differences = correlation_matrix(sample) - correlation_matrix(reference)
    pairs = differences[np.triu_indices(len(differences), 1)]
    defined = pairs[np.isfinite(pairs)]
    return float(np.sqrt(np.mean(defined**2))) if len(defined) else np.nan
