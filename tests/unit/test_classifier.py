"""Areas under ROC curves against scikit-learn and closed forms; showers that train do not test."""

import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from caloforge.metrics.classifier import Labelled, auc, cross_auc, cross_scores, halves, misidentified


class Memory(ClassifierMixin, BaseEstimator):
    """Says 1 of showers that it has learned from and 0 of all others."""

    def fit(self, features, labels):
        self.seen_ = set(features[:, 0])
        self.labels_ = labels
        return self

    def predict_proba(self, features):
        seen = np.array([value in self.seen_ for value in features[:, 0]], float)
        return np.stack([1 - seen, seen], axis=1)


def test_auc_against_scikit_learn_with_ties():
    rng = np.random.default_rng(1)
    for _ in range(20):
        labels = rng.random(150) < 0.3
        scores = rng.integers(0, 12, 150) + 3 * labels
        assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        assert auc(-scores, labels) == pytest.approx(1 - roc_auc_score(labels, scores), abs=1e-12)


def test_auc_by_hand():
    assert auc(np.array([3, 2, 2, 1]), np.array([True, True, False, False])) == 3.5 / 4
    assert auc(np.zeros(7), np.arange(7) < 3) == 0.5
    assert math.isnan(auc(np.arange(3.0), np.ones(3, bool)))
    assert math.isnan(auc(np.arange(3.0), np.zeros(3, bool)))


@pytest.mark.parametrize("distance", [0, 0.5, 2])
def test_auc_of_two_normal_distributions(distance):
    labels = np.arange(40_000) < 15_000
    scores = np.random.default_rng(2).normal(distance * labels, 1)
    assert auc(scores, labels) == pytest.approx(norm.cdf(distance / math.sqrt(2)), abs=4 * 0.003)


def test_halves_have_the_same_number_of_each_kind():
    labels = np.arange(101) % 3 == 0
    half = halves(labels, 5)
    for kind in (True, False):
        of_kind = half[labels == kind]
        assert abs(np.count_nonzero(of_kind == 0) - np.count_nonzero(of_kind == 1)) <= 1
    np.testing.assert_array_equal(half, halves(labels, 5))
    assert (half != halves(labels, 6)).any()


def test_no_shower_trains_and_tests():
    """Both samples hold the same events, in the only column of features."""
    events = np.arange(60.0)[:, None]
    labels = np.arange(60) % 4 == 0
    half = halves(labels, 1)
    sample = Labelled(events, labels, half)
    found = cross_scores(Memory(), {"a": sample, "b": sample, "c": sample}, ["a", "b"])
    assert list(found) == [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b"), ("c", "a"), ("c", "b")]
    for scores in found.values():
        np.testing.assert_array_equal(scores, np.zeros(60))
    turned = Labelled(events, labels, 1 - half)
    assert cross_scores(Memory(), {"a": sample, "b": turned}, ["b"])["a", "b"].all()


def two_kinds(distance, n, seed, labels=None):
    """Features with a normal distribution, of which the first tells the kinds apart."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.5 if labels is None else labels
    features = rng.normal(size=(n, 3))
    features[:, 0] += distance * labels
    return Labelled(features, labels, halves(labels, seed))


def test_kinds_that_differ_and_kinds_that_do_not():
    tree = DecisionTreeClassifier(max_depth=3, random_state=0)
    for distance, low, high in ((0, 0.4, 0.6), (2, 0.8, 0.95), (30, 1, 1)):
        sample = two_kinds(distance, 600, 1)
        scores = cross_scores(tree, {"full": sample}, ["full"])["full", "full"]
        assert low <= auc(scores, sample.labels) <= high


def test_kinds_that_are_exchanged_in_one_sample():
    full = two_kinds(2, 600, 1)
    generated = two_kinds(-2, 600, 2, full.labels)
    generated = generated._replace(features=generated.features + np.array([2, 0, 0]), half=full.half)
    tree = DecisionTreeClassifier(max_depth=3, random_state=0)
    samples = {"full": full, "generated": generated}
    found = {key: auc(scores, full.labels) for key, scores in cross_scores(tree, samples, [*samples]).items()}
    assert min(found["full", "full"], found["generated", "generated"]) > 0.8
    assert max(found["full", "generated"], found["generated", "full"]) < 0.2


def placements_variance(scores, labels):
    """Variance of an area under the ROC curve (E. R. DeLong et al., Biometrics 44 (1988) 837)."""
    first, second = scores[labels], scores[~labels]
    wins = (first[:, None] > second) + 0.5 * (first[:, None] == second)
    return wins.mean(axis=1).var(ddof=1) / len(first) + wins.mean(axis=0).var(ddof=1) / len(second)


def test_area_and_error_over_both_halves():
    rng = np.random.default_rng(3)
    labels = rng.random(800) < 0.4
    half = halves(labels, 1)
    scores = np.round(rng.normal(labels + 5 * half, 1), 1)  # scores of the two classifiers do not compare
    found = cross_auc(scores, labels, half, resamplings=500, seed=4)
    parts = [(scores[half == number], labels[half == number]) for number in (0, 1)]
    areas = [roc_auc_score(kinds, values) for values, kinds in parts]
    assert found["value"] == pytest.approx(np.mean(areas), abs=1e-12)
    assert abs(found["value"] - auc(scores, labels)) > 0.05
    expected = math.sqrt(sum(placements_variance(*part) for part in parts)) / 2
    assert found["error"] == pytest.approx(expected, rel=0.15)
    assert found == cross_auc(scores, labels, half, resamplings=500, seed=4)


def test_misidentified_share_by_hand():
    """Curves through (0, 0), (1/2, 0), (1/2, 1/2), (1, 1/2), (1, 1) and, in the other half, along y = 1."""
    labels = np.array([True, False, True, False] * 2)
    scores = np.array([4, 3, 2, 1, 1, 3, 2, 4])
    half = np.repeat([0, 1], 4)
    efficiency = np.array([0.25, 0.75])
    np.testing.assert_allclose(misidentified(scores, labels, half, efficiency), [0.5, 0.75])


def test_area_under_the_mean_curve_is_the_mean_area():
    rng = np.random.default_rng(5)
    labels = rng.random(500) < 0.5
    half = halves(labels, 2)
    scores = rng.integers(0, 40, 500) + 8 * labels
    efficiency = np.linspace(0, 1, 20_001)
    passed = misidentified(scores, labels, half, efficiency)
    area = cross_auc(scores, labels, half, resamplings=10, seed=1)["value"]
    assert 1 - np.trapezoid(passed, efficiency) == pytest.approx(area, abs=1e-3)
