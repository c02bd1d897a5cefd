"""FPD and KPD against closed forms and loops; both know a difference from the chance in finite samples."""

import itertools

import numpy as np
import pytest

from caloforge.metrics.physics_distances import (
    extrapolated,
    fpd,
    fpd_batch_sizes,
    kpd,
    maximum_mean_discrepancy,
    scaled,
)


def with_largest(largest, n, k, seed):
    """Standard normal features, whose largest absolute values are all at a known one, far away."""
    events = np.random.default_rng(seed).normal(size=(n, k))
    events[0] = -largest
    return events


def shifted(samples, by):
    """Two samples, the second one moved."""
    return samples[0], samples[1] + by


def test_fpd_of_shifted_and_scaled_normal_distributions():
    """Over the features, (difference of means)² + (difference of standard deviations)², over the scale²."""
    rng = np.random.default_rng(1)
    k, n, largest = 30, 20_000, 20
    shift, width = rng.uniform(0, 0.4, k), rng.uniform(0.7, 1.3, k)
    reference = with_largest(largest, n, k, seed=2)
    sample = shift + width * rng.normal(size=(n, k))
    value, error = fpd(reference, sample, seed=3)
    expected = np.sum(shift**2 + (width - 1) ** 2) / largest**2
    assert value == pytest.approx(expected, abs=3 * error)
    assert 0 < error < 0.05 * expected


def test_fpd_of_rotated_normal_distributions():
    """Covariances that do not commute, with the distance of their exact moments by their eigenvalues."""
    rng = np.random.default_rng(4)
    n, largest = 20_000, 30
    first, second = (mixing @ mixing.T for mixing in rng.normal(size=(2, 3, 3)))
    reference, sample = (rng.multivariate_normal(np.zeros(3), cov, n) for cov in (first, second))
    reference[0] = largest
    value, error = fpd(reference, sample, seed=5)
    overlap = np.sqrt(np.linalg.eigvals(first @ second).real).sum()
    expected = (np.trace(first) + np.trace(second) - 2 * overlap) / largest**2
    assert value == pytest.approx(expected, abs=3 * error)


def test_fpd_does_not_depend_on_units():
    rng = np.random.default_rng(6)
    reference, sample = shifted(rng.normal(size=(2, 400, 3)), 0.3)
    units = np.array([1e-3, 1, 1e6])
    assert fpd(reference * units, sample * units, seed=7) == pytest.approx(
        fpd(reference, sample, seed=7), rel=1e-6
    )


def test_distances_of_one_distribution_are_compatible_with_zero():
    """The Fréchet distance of 500 events itself is far above its fluctuations."""
    found = {fpd: [], kpd: []}
    for seed in range(12):
        reference, sample = np.random.default_rng(seed).normal(size=(2, 500, 8))
        for distance, pulls in found.items():
            value, error = distance(reference, sample, seed=seed)
            pulls.append(value / error)
    for pulls in found.values():
        assert np.abs(pulls).max() < 4
        assert np.abs(np.mean(pulls)) < 1


def test_partners_with_the_same_primary_do_not_move_the_distances():
    """Half of every feature is the energy that both events of a pair have."""
    pulls = {fpd: [], kpd: []}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        energy = rng.normal(size=(400, 1))
        reference, sample = (3 * energy + rng.normal(size=(400, 4)) for _ in range(2))
        sample[:, 0] += 1.5
        for distance, found in pulls.items():
            paired, error = distance(reference, sample, seed=1)
            others, other_error = distance(reference, rng.permutation(sample), seed=1)
            found.append((paired - others) / np.hypot(error, other_error))
    for found in pulls.values():
        assert np.abs(np.mean(found)) < 1


def test_error_of_the_fpd_is_the_spread_over_samples():
    """Of 30 samples; the largest value, which is the scale, is about the same in all."""
    found = []
    for seed in range(30):
        reference, sample = np.random.default_rng(seed).uniform(-1, 1, size=(2, 200, 3))
        found.append(fpd(reference, sample + 0.2, seed=seed))
    values, errors = np.transpose(found)
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.4)


def test_batches_are_those_of_the_calochallenge_for_its_samples():
    """Ten sizes from 10,000 to 50,000, evenly spaced in 1 / N; in proportion for smaller samples."""
    expected = [1 / (1e-4 + step * (2e-5 - 1e-4) / 9) for step in range(10)]
    np.testing.assert_allclose(fpd_batch_sizes(100_000), expected, atol=0.5)
    np.testing.assert_array_equal(fpd_batch_sizes(10**6), fpd_batch_sizes(100_000))
    assert fpd_batch_sizes(1000)[[0, -1]].tolist() == [100, 500]


def test_extrapolation_removes_a_bias_in_proportion_to_1_over_n():
    sizes = np.array([10, 20, 40, 80])
    assert extrapolated(sizes, 0.7 + 3 / sizes) == pytest.approx(0.7, rel=1e-12)
    assert extrapolated(sizes, 3 / sizes) == pytest.approx(0, abs=1e-12)


def test_extrapolation_has_neither_negative_distance_nor_negative_slope():
    sizes = np.array([10, 20, 40, 80])
    assert extrapolated(sizes, 30 / sizes**2) == 0
    assert extrapolated(sizes, np.array([1.0, 2.0, 3.0, 6.0])) == pytest.approx(3)


def test_maximum_mean_discrepancy_against_loops():
    rng = np.random.default_rng(8)
    first, second = shifted(rng.normal(size=(2, 12, 3)), 0.5)

    def kernel(x, y):
        return (sum(a * b for a, b in zip(x, y, strict=True)) / 3 + 1) ** 4

    pairs = list(itertools.permutations(range(12), 2))
    expected = sum(
        kernel(first[i], first[j]) + kernel(second[i], second[j]) - 2 * kernel(first[i], second[j])
        for i, j in pairs
    ) / len(pairs)
    assert maximum_mean_discrepancy(first, second) == pytest.approx(expected, rel=1e-9)


def test_maximum_mean_discrepancy_of_more_rows_than_are_held_at_a_time():
    rng = np.random.default_rng(9)
    first, second = shifted(rng.normal(size=(2, 2300, 2)), 0.2)

    def kernel(x, y):
        return (x @ y.T / 2 + 1) ** 4

    whole = kernel(first, first) + kernel(second, second) - 2 * kernel(first, second)
    expected = (whole.sum() - np.trace(whole)) / (2300 * 2299)
    assert maximum_mean_discrepancy(first, second) == pytest.approx(expected, rel=1e-8)


def test_kpd_of_a_shifted_normal_distribution():
    """For one feature, (x y + 1)⁴ has MMD² = Σ over powers p of binomial(4, p) (E x^p - E y^p)²."""
    shift, largest, n = 0.6, 5, 3_000
    reference = with_largest(largest, n, 1, seed=10)
    sample = shift + np.random.default_rng(11).normal(size=(n, 1))
    moments = [(1, 0, 1, 0, 3), (1, shift, 1 + shift**2, 3 * shift + shift**3, 3 + 6 * shift**2 + shift**4)]
    expected = sum(
        weight * ((moments[1][power] - moments[0][power]) / largest**power) ** 2
        for power, weight in enumerate((1, 4, 6, 4, 1))
    )
    value, error = kpd(reference, sample, seed=12)
    assert value == pytest.approx(expected, abs=4 * error)
    assert 0 < error < 0.1 * expected


def test_features_are_divided_by_the_largest_of_the_reference():
    reference, sample = scaled(np.array([[1.0, 0, -8], [-2, 0, 4]]), np.array([[4.0, 3, 2], [1, 0, 2]]))
    np.testing.assert_array_equal(reference, [[0.5, 0, -1], [-1, 0, 0.5]])
    np.testing.assert_array_equal(sample, [[2, 3, 0.25], [0.5, 0, 0.25]])


def test_distances_as_those_of_jetnet():
    """Distributions that are far apart: draws with replacement then hardly matter."""
    evaluation = pytest.importorskip("jetnet.evaluation")
    rng = np.random.default_rng(13)
    reference, sample = shifted(rng.normal(size=(2, 20_000, 6)), 1)
    value, error = evaluation.fpd(reference, sample, min_samples=2_000, max_samples=10_000)
    own, own_error = fpd(reference, sample, seed=14)
    assert own == pytest.approx(value, abs=3 * np.hypot(error, own_error), rel=0.02)
    value, error = evaluation.kpd(reference, sample)
    own, own_error = kpd(reference, sample, seed=15)
    assert own == pytest.approx(value, abs=3 * np.hypot(error, own_error))
