import numpy as np
import pytest
from scipy import linalg

from caloforge.metrics.frechet import frechet_distance, principal_components
from caloforge.training.pairs import JET_FEATURES, FrechetDistances


def normal(mean, covariance, n: int, seed: int = 0) -> np.ndarray:
    """Samples whose mean and covariance are exactly these."""
    draws = np.random.default_rng(seed).normal(size=(n, len(mean)))
    draws -= draws.mean(axis=0)
    draws = draws @ np.linalg.inv(np.linalg.cholesky(np.cov(draws, rowvar=False))).T
    return draws @ np.linalg.cholesky(covariance).T + mean


def test_distance_of_independent_features_in_closed_form():
    """Sum over features of (difference of means)^2 + (difference of standard deviations)^2."""
    first = normal([1, 2, 3], np.diag([1, 4, 9]), 200)
    second = normal([1, 0, 6], np.diag([4, 4, 1]), 300, seed=1)
    assert frechet_distance(first, second) == pytest.approx(0 + 4 + 9 + 1 + 0 + 4, rel=1e-9)
    assert frechet_distance(second, first) == pytest.approx(18, rel=1e-9)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_distance_of_correlated_features_as_with_the_root_of_the_product():
    rng = np.random.default_rng(2)
    first, second = (
        rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4)) + rng.normal(size=4) for _ in range(2)
    )
    one, two = (np.cov(sample, rowvar=False) for sample in (first, second))
    expected = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    expected += np.trace(one + two - 2 * linalg.sqrtm(one @ two).real)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)


def test_features_that_do_not_vary_or_that_depend_on_others_are_no_trouble():
    first = normal([1, 2], np.diag([1, 4]), 200)
    wide = np.column_stack([first, first[:, 0], np.full(200, 7.0)])
    assert frechet_distance(wide, wide + np.array([0, 0, 0, 3])) == pytest.approx(9, rel=1e-6)


def test_one_feature_and_too_few_events():
    first = np.array([[0.0], [2.0]])
    assert frechet_distance(first, np.array([[1.0], [5.0]])) == pytest.approx(4 + 2, rel=1e-9)
    assert np.isnan(frechet_distance(first, first[:1]))


def test_principal_components_are_those_of_the_singular_value_decomposition():
    samples = np.random.default_rng(3).normal(size=(30, 50)) * np.linspace(1, 6, 50)
    mean, directions = principal_components(samples, 8)
    _, _, expected = np.linalg.svd(samples - samples.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(mean, samples.mean(axis=0))
    np.testing.assert_allclose(np.abs(np.sum(directions * expected[:8], axis=1)), 1, rtol=1e-9)
    np.testing.assert_allclose(directions @ directions.T, np.eye(8), atol=1e-9)


@pytest.mark.parametrize(("n", "values", "found"), [(5, 50, 4), (40, 3, 3), (1, 7, 0)])
def test_there_are_as_many_components_as_samples_can_vary_in(n, values, found):
    _, directions = principal_components(np.random.default_rng(4).normal(size=(n, values)), 8)
    assert directions.shape == (found, values)


def test_samples_are_compared_with_the_other_half_of_the_full_simulation():
    rng = np.random.default_rng(5)
    names = ("hit_cells", *JET_FEATURES)
    full, fast = (
        (rng.normal(shift, 3, (60, len(names))), rng.gamma(2, 500, (60, 6)) * (1 + shift))
        for shift in (0, 0.5)
    )
    full[0][7, 3] = fast[0][20, 5] = np.nan  # an event without a second jet in each sample
    constants = FrechetDistances(names, full, fast).constants

    spread = np.nanstd(np.delete(full[0], 7, axis=0)[:, 1:], axis=0)
    for name, sample in (("fast", fast), ("floor", full)):
        jets, pixels = [], []
        for own, other in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
            features = [found[0][part, 1:] / spread for found, part in ((sample, own), (full, other))]
            jets.append(frechet_distance(*(part[~np.isnan(part).any(axis=1)] for part in features)))
            pixels.append(frechet_distance(np.log1p(sample[1][own] / 1000), np.log1p(full[1][other] / 1000)))
        assert constants[name]["jets"] == pytest.approx(np.mean(jets), rel=1e-9)
        assert constants[name]["pixels"] == pytest.approx(np.mean(pixels), rel=1e-6)  # all six, but turned
        assert constants["fast"]["pixels"] > constants["floor"]["pixels"]


def test_without_jets_the_distance_of_jets_is_undefined():
    observables, cells = np.full((10, len(JET_FEATURES)), np.nan), np.random.default_rng(6).random((10, 4))
    found = FrechetDistances(JET_FEATURES, (observables, cells), (observables, 2 * cells))
    assert found.constants["fast"]["jets"] is None
    assert np.isnan(found(observables, cells)["jets"])
    assert found.constants["fast"]["pixels"] > 0
