"""Distances between distributions against closed forms and SciPy."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from caloforge.errors import CaloforgeError
from caloforge.metrics.distributions import DISTANCES, bin_edges, compare


def distances(reference, sample, *, log=False, bins=40, bootstrap=10, seed=1):
    return compare(
        np.asarray(reference), np.asarray(sample), log=log, bins=bins, bootstrap=bootstrap, seed=seed
    )


def values_of(result):
    return [result[name]["value"] for name in ("ks", "wasserstein", "separation")]


def separation_by_hand(reference, sample, edges):
    """1/2 Σ (p - q)² / (p + q), values outside moved into the first and last bin."""
    inside = np.nextafter(edges[-1], -np.inf)
    p, q = (np.histogram(np.clip(v, edges[0], inside), edges)[0] / len(v) for v in (reference, sample))
    return 0.5 * sum((a - b) ** 2 / (a + b) for a, b in zip(p, q, strict=True) if a + b)


def test_shifted_sample():
    result = distances(np.arange(10), np.arange(10) + 3)
    assert result["ks"]["value"] == pytest.approx(0.3)
    assert result["wasserstein"]["value"] == pytest.approx(3)


def test_identical_samples():
    values = np.random.default_rng(3).normal(size=500)
    result = distances(values, values[::-1])
    assert values_of(result) == [0, 0, 0]
    assert result["ks_p_value"] == 1


def test_disjoint_samples():
    result = distances([0, 1, 9, 10] * 50, [5] * 30)
    assert result["separation"]["value"] == 1
    assert result["ks"]["value"] == 0.5
    assert result["wasserstein"]["value"] == pytest.approx((5 + 4 + 4 + 5) / 4)


def test_separation_worked_by_hand():
    assert distances([0, 0, 0, 1], [0, 1, 1, 1])["separation"]["value"] == pytest.approx(0.25)


def test_value_on_an_edge_counts_in_the_upper_bin():
    result = distances([0, 0, 0, 1], [0.5, 0.5])
    assert result["separation"]["value"] == pytest.approx(0.5 * (0.75 + 0.75**2 / 1.25))


def test_values_outside_the_bins_count_in_the_outer_ones():
    result = distances(np.arange(10), [1000, 2000], bins=5)
    assert result["separation"]["value"] == pytest.approx(0.5 * (4 * 0.2 + 0.8**2 / 1.2))


@pytest.mark.parametrize("decimals", [1, 12], ids=["with ties", "without ties"])
@pytest.mark.parametrize("log", [False, True])
def test_values_and_errors_against_explicit_resamples(decimals, log):
    """The generator draws n positions of the reference, then m of the sample, for every resampling."""
    rng = np.random.default_rng(8)
    reference = rng.gamma(2, 1, 400).round(decimals) + 0.1
    sample = rng.gamma(2.3, 1, 300).round(decimals) + 0.1
    result = distances(reference, sample, log=log, bins=15, bootstrap=20, seed=11)
    edges = bin_edges(reference, log=log, bins=15)

    def by_scipy(a, b):
        return [
            stats.ks_2samp(a, b, method="asymp").statistic,
            stats.wasserstein_distance(a, b),
            separation_by_hand(a, b, edges),
        ]

    draws = np.random.default_rng(11)
    resampled = [
        by_scipy(reference[draws.integers(400, size=400)], sample[draws.integers(300, size=300)])
        for _ in range(20)
    ]
    assert values_of(result) == pytest.approx(by_scipy(reference, sample), rel=1e-10)
    errors = [result[name]["error"] for name in ("ks", "wasserstein", "separation")]
    assert errors == pytest.approx(np.std(resampled, axis=0, ddof=1), rel=1e-10)


def test_error_of_the_distance_of_shifted_gaussians():
    """W1 of a far shift is the difference of the means, whose variance is 2 sigma² / n."""
    rng = np.random.default_rng(4)
    result = distances(rng.normal(0, 3, 2000), rng.normal(30, 3, 2000), bootstrap=500)
    assert result["wasserstein"]["value"] == pytest.approx(30, abs=4 * 3 * math.sqrt(2 / 2000))
    assert result["wasserstein"]["error"] == pytest.approx(3 * math.sqrt(2 / 2000), rel=0.15)


def test_p_value_of_two_against_two():
    """Of the 6 orders of two and two values, 2 separate them."""
    assert distances([1, 2], [3, 4])["ks_p_value"] == pytest.approx(2 / 6)


def test_p_value_of_many():
    """Kolmogorov's series 2 Σ (-1)^(k-1) exp(-2 k² λ²), λ = D sqrt(n m / (n + m))."""
    rng = np.random.default_rng(2)
    result = distances(rng.normal(size=20000), rng.normal(size=20000) + 0.012)
    squared = result["ks"]["value"] ** 2 * 10000
    expected = 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * squared) for k in range(1, 50))
    assert 0.01 < expected < 0.9
    assert result["ks_p_value"] == pytest.approx(expected, rel=0.05)


def test_values_that_are_not_finite_are_left_out():
    rng = np.random.default_rng(6)
    reference, sample = rng.normal(size=50), rng.normal(size=40)
    assert distances([np.nan, *reference, np.inf], [*sample, np.nan]) == distances(reference, sample)


@pytest.mark.parametrize(("reference", "sample"), [([1.0, np.nan], [1.0, 2.0]), ([1.0, 2.0], [])])
def test_too_few_values_give_none(reference, sample):
    result = distances(reference, sample)
    assert result["ks_p_value"] is None
    assert all(result[name] == {"value": None, "error": None} for name in ("ks", "wasserstein", "separation"))


def test_result_is_json_and_depends_on_the_seed_alone():
    rng = np.random.default_rng(7)
    reference, sample = rng.normal(size=(2, 300)).astype(np.float32)
    results = [json.dumps(distances(reference, sample, seed=seed)) for seed in (1, 1, 2)]
    assert results[0] == results[1] != results[2]


def test_edges_of_a_continuous_observable():
    values = np.random.default_rng(9).normal(5, 2, 10_000)
    edges = bin_edges(values, log=False, bins=40)
    assert len(edges) == 41
    np.testing.assert_allclose(np.diff(edges), np.diff(edges)[0])
    assert edges[[0, -1]] == pytest.approx(np.sort(values)[[49, 9950]], abs=1e-3)


def test_edges_on_a_logarithmic_axis():
    values = np.random.default_rng(9).lognormal(5, 1, 10_000)
    edges = bin_edges(np.append(values, [0, -1]), log=True, bins=30)
    assert len(edges) == 31
    np.testing.assert_allclose(edges[1:] / edges[:-1], edges[1] / edges[0])
    assert edges[[0, -1]] == pytest.approx(np.sort(values)[[49, 9950]], rel=1e-3)


@pytest.mark.parametrize("bins", [5, 17, 40, 500])
@pytest.mark.parametrize("cells", [1, 900])
def test_every_bin_holds_as_many_lattice_points(bins, cells):
    counts = np.random.default_rng(10).poisson(60, 5000)
    edges = bin_edges((counts / cells).astype(np.float32), log=False, bins=bins)
    lattice = np.arange(-600, 1000) / cells
    points = np.histogram(lattice, edges)[0]
    assert len(set(points)) == 1
    assert len(points) <= bins
    assert len(points) * points[0] < np.ptp(np.quantile(counts, [0.005, 0.995])) + 1 + points[0]
    distance_to_lattice = np.abs(edges * cells - np.round(edges * cells))
    np.testing.assert_allclose(distance_to_lattice, 0.5, atol=0.02)


def test_edges_around_a_constant():
    edges = bin_edges(np.full(20, 4.0), log=False, bins=40)
    np.testing.assert_allclose(edges, [2.5, 3.5, 4.5, 5.5])
    assert distances([4.0] * 20, [7.0] * 20)["separation"]["value"] == 1


@pytest.mark.parametrize(("values", "log"), [([0.0, -1.0], True), ([np.nan], False), ([], False)])
def test_no_edges_without_values(values, log):
    with pytest.raises(CaloforgeError, match="reference values is"):
        bin_edges(np.array(values), log=log, bins=40)


def test_no_distances_where_a_logarithmic_axis_has_no_place():
    """All of the reference at zero, as the energy in a layer that is never hit."""
    found = compare(np.zeros(20), np.ones(20), log=True, bins=5, bootstrap=10, seed=1)
    assert found["ks_p_value"] is None
    assert all(found[name] == {"value": None, "error": None} for name in DISTANCES)
    assert compare(np.zeros(20), np.ones(20), log=False, bins=5, bootstrap=10, seed=1)["ks"]["value"] == 1
