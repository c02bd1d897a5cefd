"""How well a classifier tells two kinds of showers apart, on showers that it has not learned from."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata
from sklearn.base import ClassifierMixin, clone
from sklearn.metrics import roc_curve

from caloforge.metrics.bootstrap import bootstrapped


class Labelled(NamedTuple):
    """Showers of two kinds in two halves.

    Attributes
    ----------
    features
        What a classifier sees of each shower, shape (n, k).
    labels
        Whether a shower is of the first kind: bool, shape (n,).
    half
        0 or 1 for each shower, shape (n,); the same for showers of the same event in different samples.
    """

    features: np.ndarray
    labels: np.ndarray
    half: np.ndarray


def halves(labels: np.ndarray, seed: int) -> np.ndarray:
    """Put a random half of the showers of each kind into half 0 and the others into half 1: shape (n,)."""
    rng = np.random.default_rng(seed)
    half = np.empty(len(labels), np.int64)
    for kind in (True, False):
        rows = np.flatnonzero(labels == kind)
        half[rng.permutation(rows)] = np.arange(len(rows)) % 2
    return half


def cross_scores(
    classifier: ClassifierMixin, samples: Mapping[str, Labelled], tested: Sequence[str]
) -> dict[tuple[str, str], np.ndarray]:
    """Scores of every shower by classifiers that learned from one half of a sample, for the other half.

    Twofold cross-validation (T. Hastie, R. Tibshirani and J. Friedman, The Elements of Statistical Learning,
    section 7.10) with training and test on different samples, too.

    Parameters
    ----------
    classifier
        Of scikit-learn, of which untrained copies are trained.
    samples
        Name to showers; a classifier learns from each sample.
    tested
        Names of the samples that all classifiers are tested on.

    Returns
    -------
    dict
        Names of the sample learned from and of the one tested on, to the probability that each shower of the
        latter is of the first kind, shape (n,).
    """
    scores = {(trained, test): np.empty(len(samples[test].half)) for trained in samples for test in tested}
    for trained, sample in samples.items():
        for half in (0, 1):
            learned = sample.half == half
            trained_classifier = clone(classifier).fit(sample.features[learned], sample.labels[learned])
            for test in tested:
                others = samples[test].half != half
                probabilities = trained_classifier.predict_proba(samples[test].features[others])
                scores[trained, test][others] = probabilities[:, 1]
    return scores


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve: the probability that a shower of the first kind has the higher score.

    U / (n m) with the statistic U of H. B. Mann and D. R. Whitney (Ann. Math. Stat. 18 (1947) 50), from
    ranks, for n showers of the first kind and m of the second; equal scores count half.

    Parameters
    ----------
    scores
        Shape (n + m,).
    labels
        Whether a shower is of the first kind: bool, shape (n + m,).

    Returns
    -------
    float
        NaN without showers of either kind.
    """
    first = np.count_nonzero(labels)
    pairs = first * (len(labels) - first)
    if not pairs:
        return np.nan
    return float((rankdata(scores)[labels].sum() - first * (first + 1) / 2) / pairs)


def cross_auc(
    scores: np.ndarray, labels: np.ndarray, half: np.ndarray, *, resamplings: int, seed: int
) -> dict[str, float | None]:
    """Mean of the `auc` of both halves, with a bootstrap error.

    Showers of each kind are drawn with replacement. The classifiers stay, so the error says how well the
    showers of the test are known and nothing of the chance in training.

    Parameters
    ----------
    scores
        Of `cross_scores`, shape (n,).
    labels, half
        Of the showers that were tested, see `Labelled`.
    resamplings, seed
        See `metrics.bootstrap.bootstrapped`.

    Returns
    -------
    dict
        `value` and `error`, None where undefined.
    """
    first, second = np.flatnonzero(labels), np.flatnonzero(~labels)

    def area(rows: np.ndarray, other_rows: np.ndarray) -> list[float]:
        drawn = np.concatenate([first[rows], second[other_rows]])
        of_halves = (drawn[half[drawn] == number] for number in (0, 1))
        return [np.mean([auc(scores[chosen], labels[chosen]) for chosen in of_halves])]

    return bootstrapped(
        area, ["auc"], len(first), len(second), paired=False, resamplings=resamplings, seed=seed
    )["auc"]


def misidentified(
    scores: np.ndarray, labels: np.ndarray, part: np.ndarray, efficiency: np.ndarray
) -> np.ndarray:
    """Share of the second kind that passes where a share of the first kind does, averaged over the parts.

    An average of ROC curves as that of T. Fawcett, An introduction to ROC analysis, Pattern Recognit. Lett.
    27 (2006) 861, but at fixed efficiency; its area is the mean of theirs.

    Parameters
    ----------
    scores, labels
        As in `cross_auc`.
    part
        Number of the half or fold of each shower, shape (n,); at least one shower of each kind in each.
    efficiency
        Shares of the first kind, between 0 and 1, shape (K,).

    Returns
    -------
    np.ndarray
        Shape (K,).
    """
    curves = [roc_curve(labels[part == number], scores[part == number]) for number in np.unique(part)]
    return np.mean([np.interp(efficiency, passed, wrong) for wrong, passed, _ in curves], axis=0)
