"""The χ² distance against SciPy, a loop and a case worked by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from caloforge.metrics.chi_squared import bin_numbers, chi_squared

RNG = np.random.default_rng(5)
EDGES = np.array([-1.0, -0.25, 0.0, 0.5, 1.0])


def distance(reference, sample, edges=EDGES):
    return chi_squared(bin_numbers(reference, edges), bin_numbers(sample, edges), len(edges) - 1)


def by_loop(reference, sample, edges=EDGES):
    total = 0
    for number, (low, high) in enumerate(pairwise(edges)):
        low = -math.inf if number == 0 else low
        high = math.inf if number == len(edges) - 2 else high
        a = sum(1 for value in reference if low <= value < high)
        b = sum(1 for value in sample if low <= value < high) * len(reference) / len(sample)
        total += (a - b) ** 2 / (a + b) if a + b else 0
    return total


def test_a_case_worked_by_hand():
    """Counts 3, 1 and 1, 3, the last bin empty: 4 / 4 + 4 / 4."""
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    reference, sample = np.array([0.5, 0.5, 0.5, 1.5]), np.array([0.5, 1.5, 1.5, 1.0])
    assert distance(reference, sample, edges) == 2


def test_samples_of_one_size_have_the_statistic_of_a_contingency_table():
    reference, sample = RNG.normal(0, 0.5, 500), RNG.normal(0.1, 0.6, 500)
    counts = [np.histogram(values.clip(EDGES[0], EDGES[-1]), EDGES)[0] for values in (reference, sample)]
    expected = stats.chi2_contingency(counts, correction=False).statistic
    assert distance(reference, sample) == pytest.approx(expected)
    assert distance(sample, reference) == pytest.approx(expected)


def test_undefined_values_and_other_sizes_against_a_loop():
    reference, sample = RNG.normal(0, 1, 300), RNG.normal(0.2, 1, 120)
    reference[::7], sample[::3] = np.nan, np.nan
    reference[1], sample[1] = EDGES[0], EDGES[-1]
    assert distance(reference, sample) == pytest.approx(by_loop(reference, sample))


def test_the_same_values_have_no_distance():
    values = RNG.normal(0, 1, 100)
    assert distance(values, values) == 0
    assert distance(np.repeat(values, 2), values) == 0


def test_entries_that_one_sample_lacks_count():
    """Half of the events of a bin are missing: (100 - 50)^2 / 150."""
    sample = np.full(100, 0.1)
    sample[:50] = np.nan
    assert distance(np.full(100, 0.1), sample) == pytest.approx(2500 / 150)


@pytest.mark.parametrize("m", [2000, 500])
def test_independent_samples_are_as_far_apart_as_there_are_bins(m):
    """Mean of a χ² distribution with K - 1 degrees of freedom, scaled, within five errors."""
    n, edges, pairs = 2000, np.linspace(0, 1, 21), 100
    found = [distance(RNG.random(n), RNG.random(m), edges) for _ in range(pairs)]
    scale = (1 + n / m) / 2
    assert np.mean(found) == pytest.approx(19 * scale, abs=5 * scale * np.sqrt(2 * 19 / pairs))
