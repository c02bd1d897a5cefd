"""How far two samples cover each other: precision, recall, density and coverage."""

from collections.abc import Iterator

import numpy as np

NEIGHBOURS = 5
"""k of the neighbourhoods, as in the papers and in C. Krause et al., CaloChallenge 2022, arXiv:2410.21611."""

_ROWS_AT_A_TIME = 512


def coverage(reference: np.ndarray, sample: np.ndarray) -> dict[str, tuple[float, float]]:
    """Precision, recall, density and coverage of a sample.

    The neighbourhood of an event is the closed ball around it up to its `NEIGHBOURS`-th nearest neighbour
    in its own sample.

    - `precision`: share of the sample in the neighbourhood of any event of the reference; `recall`: share of
      the reference in the neighbourhood of any event of the sample (T. Kynkäänniemi et al., Improved
      Precision and Recall Metric for Assessing Generative Models, arXiv:1904.06991, equations 1 and 2).
    - `density`: mean over the sample of the number of neighbourhoods of the reference that hold an event,
      over k; `coverage`: share of the reference whose neighbourhood holds any event of the sample (M. F.
      Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models, arXiv:2002.09797, section
      3). For equally many events of one distribution they are about 1 and 1 - 1 / 2^k, in many dimensions,
      too.

    Events of both samples with the same primary are near each other for that reason; leave them out.

    Parameters
    ----------
    reference, sample
        Features of about the same scale, shapes (n, d) and (m, d), finite, of more than `NEIGHBOURS` events.
        Distances are Euclidean, by |x|² - 2 x·y + |y|² in float64.

    Returns
    -------
    dict
        Name to value and error, with the sizes of the neighbourhoods as they are: errors are up to a third
        too small, because these fluctuate, too. Those of shares are Bayesian ones for a uniform prior (T.
        Ullrich and Z. Xu, Treatment of Errors in Efficiency Calculations, arXiv:physics/0701199), above 0
        also for none and all. That of the density has the standard errors of the means over either sample,
        in quadrature. Memory holds the distances of 512 events at a time.
    """
    n, m = len(reference), len(sample)
    radii_reference, radii_sample = _squared_radii(reference), _squared_radii(sample)
    recalled = np.empty(n, bool)
    inside, around = np.empty(n, np.int64), np.zeros(m, np.int64)
    for rows, squared in _squared_distances(reference, sample):
        near = squared <= radii_reference[rows, None]
        inside[rows] = near.sum(axis=1)
        around += near.sum(axis=0)
        recalled[rows] = (squared <= radii_sample).any(axis=1)
    variance = around.var(ddof=1) / m + (n / m) ** 2 * inside.var(ddof=1) / n
    return {
        "precision": _share(around > 0),
        "recall": _share(recalled),
        "density": (float(around.mean() / NEIGHBOURS), float(np.sqrt(variance) / NEIGHBOURS)),
        "coverage": _share(inside > 0),
    }


def standardised(reference: np.ndarray, sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features of both samples minus the mean of the reference, over its standard deviation if it has one."""
    mean, deviation = reference.mean(axis=0), reference.std(axis=0)
    deviation[np.ptp(reference, axis=0) == 0] = 1
    return (reference - mean) / deviation, (sample - mean) / deviation


def _share(found: np.ndarray) -> tuple[float, float]:
    """Share of true values and its error."""
    n = len(found)
    expected = (np.count_nonzero(found) + 1) / (n + 2)
    return float(np.mean(found)), float(np.sqrt(expected * (1 - expected) / (n + 3)))


def _squared_radii(events: np.ndarray) -> np.ndarray:
    """Squared distance of each event to its `NEIGHBOURS`-th nearest neighbour, itself not counted: (n,)."""
    radii = np.empty(len(events))
    for rows, squared in _squared_distances(events, events):
        squared.partition(NEIGHBOURS, axis=1)
        radii[rows] = squared[:, NEIGHBOURS]
    return radii


def _squared_distances(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Some rows of the first sample and their squared distances to all of the second one, block by block."""
    squares = [np.einsum("ij,ij->i", events, events) for events in (first, second)]
    for start in range(0, len(first), _ROWS_AT_A_TIME):
        rows = slice(start, start + _ROWS_AT_A_TIME)
        squared = first[rows] @ (-2 * second.T)
        squared += squares[0][rows, None]
        squared += squares[1]
        yield rows, squared
