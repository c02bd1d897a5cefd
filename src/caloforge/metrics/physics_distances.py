"""Distances of two samples in their high-level features: Fréchet and kernel physics distance, FPD and KPD.

R. Kansal et al., Evaluating generative models in high energy physics, Phys. Rev. D 107 (2023) 076017,
arXiv:2211.10295, with the numbers of draws and of events of their public code
(https://github.com/jet-net/JetNet) and of C. Krause et al., CaloChallenge 2022, arXiv:2410.21611. Both
distances are means over batches that are drawn from the samples. Here

- an event is drawn at most once for a batch. The public code draws with replacement, which adds the bias of
  the finite samples to both distances: about slope / n to the FPD;
- a batch has at most half of the events. The spread of a number over random halves of a sample is its
  standard error (the jackknife that leaves out half of the events: J. Shao and C. F. J. Wu, Ann. Stat. 17
  (1989) 1176). With the 100,000 events of the CaloChallenge, batches have the published sizes;
- rows are drawn together, and those of the same number are not compared with each other, because they may
  have the same primary. Generated showers are then not near the full simulation just for their primaries.
"""

import numpy as np
from scipy.stats import linregress

from caloforge.metrics.frechet import frechet_distance

LARGEST_FPD_BATCH, FPD_SIZES, FPD_DRAWS = 50_000, 10, 20
"""Events of the largest batch at most, numbers of batch sizes and of batches of each size."""
SIZE_RANGE = 5
"""Events of the largest over those of the smallest batch."""
LARGEST_KPD_BATCH, KPD_DRAWS = 5_000, 10

_ROWS_AT_A_TIME = 1_000


def fpd_batch_sizes(n: int) -> np.ndarray:
    """Events of the batches behind an FPD of two samples of n: `FPD_SIZES`, evenly spaced in their inverse.

    From half of the events, or `LARGEST_FPD_BATCH` where that is less, to a `SIZE_RANGE`-th of it.
    """
    largest = min(LARGEST_FPD_BATCH, n // 2)
    return np.rint(largest / np.linspace(SIZE_RANGE, 1, FPD_SIZES)).astype(np.int64)


def fpd(reference: np.ndarray, sample: np.ndarray, *, seed: int) -> tuple[float, float]:
    """Fréchet physics distance, extrapolated to infinitely many events.

    The Fréchet distance of `scaled` features is taken for `FPD_DRAWS` pairs of batches of each size N of
    `fpd_batch_sizes`. The fluctuations of N events add about a multiple of 1 / N (M. J. Chong and D. Forsyth,
    Effectively Unbiased FID and Inception Score, arXiv:1911.07023); a straight line through the means against
    1 / N, neither of whose coefficients is negative, has the distance as its intercept.

    Parameters
    ----------
    reference, sample
        Features, shape (n, k) each, finite. The smallest batch should have more than k events.
    seed
        Of the draws.

    Returns
    -------
    tuple of float
        Distance, and its error: the standard deviation over the largest batches. The published error, that of
        the intercept of the fit, leaves out that all batches are of the same events, and is several times too
        small where the distance is not 0.
    """
    reference, sample = scaled(reference, sample)
    sizes = fpd_batch_sizes(len(reference))
    rng = np.random.default_rng(seed)
    distances = np.empty((len(sizes), FPD_DRAWS))
    for index in np.ndindex(distances.shape):
        rows = rng.choice(len(reference), sizes[index[0]], replace=False, shuffle=False)
        distances[index] = frechet_distance(reference[rows], sample[rows])
    return extrapolated(sizes, distances.mean(axis=1)), float(np.std(distances[-1], ddof=1))


def extrapolated(sizes: np.ndarray, distances: np.ndarray) -> float:
    """Intercept of the straight line through distances, not negative, against 1 / sizes.

    Least squares with an intercept and a slope that are not negative.
    """
    line = linregress(1 / sizes, distances)
    return float(np.mean(distances) if line.slope < 0 else max(line.intercept, 0))


def kpd(reference: np.ndarray, sample: np.ndarray, *, seed: int) -> tuple[float, float]:
    """Kernel physics distance: the median of `maximum_mean_discrepancy` of `scaled` features over batches.

    `KPD_DRAWS` pairs of batches of half of the events, `LARGEST_KPD_BATCH` at most.

    Parameters
    ----------
    reference, sample
        Features, shape (n, k) each, finite.
    seed
        Of the draws.

    Returns
    -------
    tuple of float
        Distance, and its error: half of the range of the batches between the quantiles 16 % and 84 %.
    """
    reference, sample = scaled(reference, sample)
    rng = np.random.default_rng(seed)
    batch = min(LARGEST_KPD_BATCH, len(reference) // 2)
    distances = []
    for _ in range(KPD_DRAWS):
        rows = rng.choice(len(reference), batch, replace=False, shuffle=False)
        distances.append(maximum_mean_discrepancy(reference[rows], sample[rows]))
    low, median, high = np.percentile(distances, (16, 50, 84))
    return float(median), float((high - low) / 2)


def maximum_mean_discrepancy(first: np.ndarray, second: np.ndarray) -> float:
    """Squared maximum mean discrepancy for the kernel k(x, y) = (x · y / d + 1)⁴ of d features.

    The unbiased estimate of A. Gretton et al., A Kernel Two-Sample Test, J. Mach. Learn. Res. 13 (2012) 723,
    equation 4: Σ k(x_i, x_j) + k(y_i, y_j) - 2 k(x_i, y_j) over all i ≠ j, over n (n - 1). It
    can be negative.

    Parameters
    ----------
    first, second
        Features, shape (n, d) each, n >= 2. Memory holds the kernel of 1,000 rows at a time.
    """
    total = _kernel_sum(first, first) + _kernel_sum(second, second) - 2 * _kernel_sum(first, second)
    return total / (len(first) * (len(first) - 1))


def _kernel_sum(first: np.ndarray, second: np.ndarray) -> float:
    """Sum of the kernel over all pairs of different row numbers."""
    total = 0.0
    for start in range(0, len(first), _ROWS_AT_A_TIME):
        rows = first[start : start + _ROWS_AT_A_TIME]
        kernel = np.square(np.square(rows @ second.T / first.shape[1] + 1))
        total += kernel.sum() - kernel.trace(start)
    return float(total)


def scaled(reference: np.ndarray, sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features of both samples over the largest absolute value in the reference, where it is not 0."""
    largest = np.abs(reference).max(axis=0)
    largest[largest == 0] = 1
    return reference / largest, sample / largest
