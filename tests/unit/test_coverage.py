"""Precision, recall, density and coverage against loops and by hand; noise and collapse are told apart."""

import math

import numpy as np
import pytest

from caloforge.metrics.coverage import NEIGHBOURS, coverage, standardised


def by_loops(reference, sample):
    """The definitions, event by event."""
    n, m = len(reference), len(sample)

    def radius(events, i):
        return sorted(math.dist(events[i], other) for j, other in enumerate(events) if j != i)[NEIGHBOURS - 1]

    def near(i, j):
        return math.dist(reference[i], sample[j]) <= radii[i]

    radii = [radius(reference, i) for i in range(n)]
    sample_radii = [radius(sample, j) for j in range(m)]
    recalled = [
        any(math.dist(reference[i], sample[j]) <= sample_radii[j] for j in range(m)) for i in range(n)
    ]
    return {
        "precision": sum(any(near(i, j) for i in range(n)) for j in range(m)) / m,
        "recall": sum(recalled) / n,
        "density": sum(near(i, j) for i in range(n) for j in range(m)) / (NEIGHBOURS * m),
        "coverage": sum(any(near(i, j) for j in range(m)) for i in range(n)) / n,
    }


def values(reference, sample):
    return {name: value for name, (value, _) in coverage(reference, sample).items()}


@pytest.mark.parametrize(("shift", "width"), [(0, 1), (1, 1), (0, 0.3), (0, 3)])
def test_against_loops(shift, width):
    rng = np.random.default_rng(1)
    reference, sample = rng.normal(size=(60, 3)), shift + width * rng.normal(size=(45, 3))
    assert values(reference, sample) == pytest.approx(by_loops(reference, sample), rel=1e-12)


def test_more_events_than_are_compared_at_a_time():
    """Against the whole matrix of distances."""
    rng = np.random.default_rng(2)
    reference, sample = rng.normal(size=(700, 4)), rng.normal(size=(600, 4))
    distances = np.linalg.norm(reference[:, None] - sample, axis=2)
    radii = []
    for events in (reference, sample):
        own = np.sort(np.linalg.norm(events[:, None] - events, axis=2), axis=1)
        radii.append(own[:, NEIGHBOURS])
    near = distances <= radii[0][:, None]
    assert values(reference, sample) == pytest.approx(
        {
            "precision": near.any(axis=0).mean(),
            "recall": (distances <= radii[1]).any(axis=1).mean(),
            "density": near.sum() / (NEIGHBOURS * 600),
            "coverage": near.any(axis=1).mean(),
        },
        rel=1e-12,
    )


def test_by_hand():
    """Events at 0, 1, …, 11 on a line, and all of the sample at 2.

    Neighbourhoods of the reference reach 5, 4, 3, 3, … 3, 4, 5; those of the first six hold the event at 2.
    Those of the sample have no extent and hold the event at 2 alone.
    """
    assert values(np.arange(12.0)[:, None], np.full((8, 1), 2.0)) == {
        "precision": 1,
        "recall": pytest.approx(1 / 12),
        "density": pytest.approx(6 / NEIGHBOURS),
        "coverage": pytest.approx(6 / 12),
    }


def test_shares_that_are_none_or_all_have_an_error():
    """(n + 1) / ((n + 2)² (n + 3)) is the variance of a beta distribution of 1 and n + 1."""
    reference = np.random.default_rng(3).normal(size=(50, 2))
    found = coverage(reference, reference + 100)
    for name in ("precision", "recall", "coverage"):
        assert found[name] == (0, pytest.approx(math.sqrt(51 / (52**2 * 53))))
    assert found["density"] == (0, 0)


def test_errors_are_about_the_spread_over_samples():
    """That neighbourhoods fluctuate is left out."""
    found = {}
    for seed in range(40):
        reference, sample = np.random.default_rng(seed).normal(size=(2, 300, 3))
        for name, number in coverage(reference, sample + 0.5).items():
            found.setdefault(name, []).append(number)
    for numbers in found.values():
        measured, errors = np.transpose(numbers)
        assert 0.5 < np.mean(errors) / np.std(measured, ddof=1) < 1.5


@pytest.mark.parametrize("features", [2, 20])
def test_samples_of_one_distribution(features):
    """Density 1 and coverage 1 - 2^-5, whatever the number of features."""
    reference, sample = np.random.default_rng(4).normal(size=(2, 2000, features))
    found = coverage(reference, sample)
    assert found["density"][0] == pytest.approx(1, abs=4 * found["density"][1])
    assert found["coverage"][0] == pytest.approx(1 - 2**-5, abs=0.015)


def test_collapse_has_precision_and_no_recall_and_noise_the_reverse():
    rng = np.random.default_rng(6)
    reference = rng.normal(size=(500, 4))
    collapsed = np.resize(0.3 * rng.normal(size=(10, 4)), (500, 4)) + 1e-3 * rng.normal(size=(500, 4))
    found = values(reference, collapsed)
    assert found["precision"] > 0.95
    assert found["recall"] < 0.05
    assert found["coverage"] < 0.3
    found = values(reference, 6 * rng.normal(size=(500, 4)))
    assert found["precision"] < 0.2
    assert found["recall"] > 0.95
    assert found["density"] < 0.2


def test_features_in_standard_deviations_of_the_reference():
    reference = np.array([[1.0, 5, 2], [3, 5, 4]])
    expected = [[2, 1, -4]]
    np.testing.assert_allclose(standardised(reference, np.array([[4.0, 6, -1]]))[1], expected)
    np.testing.assert_allclose(standardised(reference, reference)[0], [[-1, 0, -1], [1, 0, 1]])
