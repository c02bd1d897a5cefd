"""How alike single showers are: the structural similarity index."""

import numpy as np
from scipy.ndimage import gaussian_filter

SIGMA_CELLS, TRUNCATE = 1.5, 3.5
"""Of the Gaussian window, which reaches int(3.5 * 1.5 + 0.5) = 5 cells to each side."""
K1, K2 = 0.01, 0.03


def ssim(first: np.ndarray, second: np.ndarray, data_range: float) -> np.ndarray:
    """Structural similarity index of pairs of grids, with windows in x and y and z as the channel.

    (2 m1 m2 + C1) (2 s12 + C2) / ((m1² + m2² + C1) (s1² + s2² + C2)) with the local means m, variances s² and
    covariance s12 under a Gaussian window, C1 = (K1 L)² and C2 = (K2 L)² (Z. Wang et al., Image Quality
    Assessment: From Error Visibility to Structural Similarity, IEEE Trans. Image Process. 13 (2004) 600,
    equation 13, with the constants of its section III C), averaged over the windows that lie inside the image
    and over the layers.

    Parameters
    ----------
    first, second
        Showers, shape (n, layers, nx, ny), sides of at least 11 cells.
    data_range
        L, in the unit of the showers.

    Returns
    -------
    np.ndarray
        Shape (n,).
    """
    first, second = first.astype(np.float64), second.astype(np.float64)

    def local_mean(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, SIGMA_CELLS, truncate=TRUNCATE, axes=(2, 3))

    mean_1, mean_2 = local_mean(first), local_mean(second)
    variance_1 = local_mean(first * first) - mean_1 * mean_1
    variance_2 = local_mean(second * second) - mean_2 * mean_2
    covariance = local_mean(first * second) - mean_1 * mean_2
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    index = ((2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)) / (
        (mean_1**2 + mean_2**2 + c1) * (variance_1 + variance_2 + c2)
    )
    reach = int(TRUNCATE * SIGMA_CELLS + 0.5)
    return index[:, :, reach:-reach, reach:-reach].mean(axis=(1, 2, 3))
