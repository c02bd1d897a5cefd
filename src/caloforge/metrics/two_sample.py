"""Whether a classifier tells a sample from the full simulation, on showers that it has not learned from.

If both samples come from one distribution, no classifier does better than chance: the area under its ROC
curve is 0.5 (J. H. Friedman, On Multivariate Goodness-of-Fit and Two-Sample Testing, PHYSTAT 2003,
SLAC-PUB-10325; D. Lopez-Paz and M. Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017,
arXiv:1610.06545). C. Krause and D. Shih, CaloFlow, Phys. Rev. D 107 (2023) 113003, arXiv:2106.05285,
brought the test to showers; C. Krause et al., CaloChallenge 2022, arXiv:2410.21611, train on 60 % of the
showers, stop and calibrate on 20 % and test on 20 %. With five folds, so does this module, in turns.

All arrays have 2 n rows: n showers of the full simulation, then n showers of the other sample. Rows i and
n + i are a pair. Where a generator was asked for the very primaries of the full simulation, both are of one
primary and have to be in the same fold: a classifier that has learned the primary of one of them by heart
would take the other one, which it is tested on, for the wrong kind, and its area would be below 0.5.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata
from sklearn.isotonic import IsotonicRegression

from caloforge.metrics.bootstrap import finite
from caloforge.metrics.classifier import auc
from caloforge.seeds import derive_seed


class Fold(NamedTuple):
    """Numbers of the rows that train, that stop and calibrate, and that test.

    In each of them the rows of the full simulation come first, then their partners in the same order.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


Score = Callable[[np.ndarray], np.ndarray]
"""Features, shape (m, k), to the probability that each shower is not of the full simulation, shape (m,)."""
Fit = Callable[[np.ndarray, np.ndarray, Fold, int], Score]
"""Features, labels, fold and seed to a classifier that was trained without the rows of the test."""


class CrossValidated(NamedTuple):
    """Scores of all showers, each by the classifier that it neither trained nor calibrated.

    Attributes
    ----------
    folds, classifiers
        The folds and the classifier of each.
    raw, calibrated
        Probability that a shower is not of the full simulation, as the classifier says and after calibration,
        shape (2 n,).
    """

    folds: Sequence[Fold]
    classifiers: Sequence[Score]
    raw: np.ndarray
    calibrated: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """Whether a shower is not of the full simulation: bool, shape (2 n,)."""
        return kinds(len(self.raw))

    @property
    def parts(self) -> np.ndarray:
        """Number of the fold that tests each shower, shape (2 n,)."""
        parts = np.empty(len(self.raw), np.int64)
        for number, fold in enumerate(self.folds):
            parts[fold.test] = number
        return parts


def kinds(rows: int) -> np.ndarray:
    """Whether each row is not of the full simulation: bool, shape (rows,)."""
    return np.arange(rows) >= rows // 2


def paired_folds(pairs: int, number: int, seed: int) -> list[Fold]:
    """Deal pairs at random into parts: each tests once, and the next one stops and calibrates meanwhile.

    Parameters
    ----------
    pairs
        How many there are, at least `number`.
    number
        Of the parts, at least 3.
    seed
        Of the shuffling.
    """
    parts = np.array_split(np.random.default_rng(seed).permutation(pairs), number)

    def rows(*chosen: np.ndarray) -> np.ndarray:
        of_full = np.sort(np.concatenate(chosen))
        return np.concatenate([of_full, of_full + pairs])

    turns = (parts[turn:] + parts[:turn] for turn in range(number))
    return [Fold(rows(*others), rows(validation), rows(test)) for test, validation, *others in turns]


def cross_validated(fit: Fit, features: np.ndarray, folds: Sequence[Fold], seed: int) -> CrossValidated:
    """Train and calibrate a classifier for every fold, and score the showers of its test.

    Calibration is by isotonic regression (B. Zadrozny and C. Elkan, Transforming Classifier Scores into
    Accurate Multiclass Probability Estimates, KDD 2002) on the rows of the validation.

    Parameters
    ----------
    fit
        Trains a classifier.
    features
        What it sees of each shower, shape (2 n, k).
    folds
        Of `paired_folds`.
    seed
        Of the trainings.
    """
    labels = kinds(len(features))
    raw, calibrated = np.empty((2, len(features)))
    classifiers = []
    for number, fold in enumerate(folds):
        score = fit(features, labels, fold, derive_seed(seed, number))
        raw[fold.test] = score(features[fold.test])
        isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        isotonic.fit(score(features[fold.validation]), labels[fold.validation])
        calibrated[fold.test] = isotonic.predict(raw[fold.test])
        classifiers.append(score)
    return CrossValidated(folds, classifiers, raw, calibrated)


def area(scored: CrossValidated) -> dict[str, float | None]:
    """Mean over the folds of the area under the ROC curve, with an error that has the chance in training.

    Calibration keeps the order of the scores, so that areas are of the raw ones. The squared error is
    v / K + (n_test / n_train) s² for K folds. The mean v of `area_and_variance` over the folds is the chance
    in the tested showers. The variance s² of the areas of the folds times the ratio of the numbers of showers
    that test and train is for what folds share: showers that train one classifier test another (C. Nadeau
    and Y. Bengio, Inference for the Generalization Error, Mach. Learn. 52 (2003) 239, section 3, whose
    (1 / K + n_test / n_train) s² has the spread of a few folds in its first term, too).

    Returns
    -------
    dict
        `value` and `error`, None where undefined.
    """
    areas, variances = zip(
        *(area_and_variance(*scored.raw[fold.test].reshape(2, -1)) for fold in scored.folds), strict=True
    )
    tested, trained = (len(rows) for rows in (scored.folds[0].test, scored.folds[0].train))
    variance = np.mean(variances) / len(areas) + tested / trained * np.var(areas, ddof=1)
    return {"value": finite(np.mean(areas)), "error": finite(np.sqrt(variance))}


def area_and_variance(full: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve of pairs of showers, and its variance.

    With the shares a_i of showers of the full simulation below shower i of the other sample and b_i of
    showers of the other sample above shower i of the full simulation, the area is the mean of a_i and its
    variance that of a_i + b_i over the number of pairs: the estimate of E. R. DeLong, D. M. DeLong and
    D. L. Clarke-Pearson, Biometrics 44 (1988) 837, for pairs (N. A. Obuchowski, Nonparametric Analysis of
    Clustered ROC Curve Data, Biometrics 53 (1997) 567). Equal scores count half.

    Parameters
    ----------
    full, other
        Scores, shape (n,) each, n >= 2; those with the same index belong together.
    """
    ranks = rankdata(np.concatenate([full, other])).reshape(2, -1)
    below, above = (ranks - np.stack([rankdata(full), rankdata(other)])) / len(full)
    placed = above + 1 - below
    return float(above.mean()), float(placed.var(ddof=1) / len(placed))


def importance(scored: CrossValidated, features: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """By how much the area falls when the values of one feature are shuffled among the tested showers.

    L. Breiman, Random Forests, Mach. Learn. 45 (2001) 5, section 10, with areas in place of shares of wrong
    answers. Features that say the same share their importance.

    Parameters
    ----------
    scored
        By classifiers that have seen `features`.
    features
        Shape (2 n, k).
    seed
        Of the shuffling.

    Returns
    -------
    tuple of np.ndarray
        Mean over the folds and its standard error by their spread, shape (k,).
    """
    rng = np.random.default_rng(seed)
    falls = np.empty((len(scored.folds), features.shape[1]))
    for fall, fold, score in zip(falls, scored.folds, scored.classifiers, strict=True):
        tested, labels = features[fold.test], scored.labels[fold.test]
        unshuffled = auc(scored.raw[fold.test], labels)
        for column in range(features.shape[1]):
            shuffled = tested.copy()
            rng.shuffle(shuffled[:, column])
            fall[column] = unshuffled - auc(score(shuffled), labels)
    return falls.mean(axis=0), falls.std(axis=0, ddof=1) / np.sqrt(len(falls))


def reliability(
    probabilities: np.ndarray, labels: np.ndarray, ranges: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of showers that are not of the full simulation against the probability that they were given.

    In ranges of equal width (M. H. DeGroot and S. E. Fienberg, The Statistician 32 (1983) 12). The error is
    the standard deviation of the share given the counts, which is not 0 for shares of 0 or 1 (T. Ullrich and
    Z. Xu, arXiv:physics/0701199).

    Parameters
    ----------
    probabilities
        Between 0 and 1, shape (m,).
    labels
        Whether a shower is not of the full simulation: bool, shape (m,).
    ranges
        How many.

    Returns
    -------
    tuple of np.ndarray
        Mean probability, share that is not of the full simulation and its error, for each range with showers.
    """
    number = np.minimum((probabilities * ranges).astype(np.int64), ranges - 1)
    n, total, others = (
        np.bincount(number, weights, ranges) for weights in (None, probabilities, labels.astype(np.float64))
    )
    filled = n > 0
    n, total, others = n[filled], total[filled], others[filled]
    error = np.sqrt((others + 1) * (n - others + 1) / (n + 3)) / (n + 2)
    return total / n, others / n, error
