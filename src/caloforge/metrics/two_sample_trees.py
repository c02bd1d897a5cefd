"""A classifier of a two-sample test: boosted trees."""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from caloforge.metrics.two_sample import Fold, Score

TREES, UNIMPROVED_TREES = 200, 10


def fit_trees(features: np.ndarray, labels: np.ndarray, fold: Fold, seed: int) -> Score:
    """Train boosted trees (scikit-learn), until the validation has not improved for some trees.

    Parameters and result as for `two_sample.Fit`.
    """
    trees = HistGradientBoostingClassifier(
        max_iter=TREES,
        early_stopping=True,
        n_iter_no_change=UNIMPROVED_TREES,
        random_state=seed % 2**32,
    ).fit(
        features[fold.train],
        labels[fold.train],
        X_val=features[fold.validation],
        y_val=labels[fold.validation],
    )
    return lambda shown: trees.predict_proba(shown)[:, 1]
