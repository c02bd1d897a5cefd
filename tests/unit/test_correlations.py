"""Correlations of features and how far they are apart, against NumPy's and by hand; and their picture."""

import math

import numpy as np
import pytest

from caloforge.config.stages import FigureSettings
from caloforge.figures.correlations import MOST_NAMES, correlation_matrices
from caloforge.figures.style import figure_style
from caloforge.metrics.correlations import correlation_distance, correlation_matrix


def test_matrix_as_that_of_numpy():
    rng = np.random.default_rng(1)
    features = 1e3 + rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4))
    np.testing.assert_allclose(correlation_matrix(features), np.corrcoef(features, rowvar=False), atol=1e-9)


def test_features_that_do_not_vary_have_no_correlations():
    features = np.column_stack([[1.0, 2, 4], [0.1, 0.1, 0.1], [3.0, 2, 0]])
    found = correlation_matrix(features)
    assert np.isnan(found[1]).all()
    assert np.isnan(found[:, 1]).all()
    np.testing.assert_allclose(found[::2, ::2], [[1, -1], [-1, 1]])


def test_distance_by_hand():
    """Three features, all pairs uncorrelated, against coefficients of 1, 0 and 0."""
    x, y, z = np.array([[1.0, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    reference = np.column_stack([x, y, z])
    assert correlation_distance(reference, np.column_stack([x, x, y])) == pytest.approx(math.sqrt(1 / 3))
    assert correlation_distance(reference, 7 - 2 * reference) == pytest.approx(0, abs=1e-15)
    assert correlation_distance(np.column_stack([x, x]), np.column_stack([x, -x])) == pytest.approx(2)


def test_a_feature_that_does_not_vary_in_one_sample_is_left_out():
    x, y, z = np.array([[1.0, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    reference, sample = np.column_stack([x, y, z]), np.column_stack([x, x, np.full(4, 0.3)])
    assert correlation_distance(reference, sample) == pytest.approx(1)
    assert correlation_distance(sample, reference) == pytest.approx(1)
    assert math.isnan(correlation_distance(reference, np.column_stack([x, np.ones((4, 2))])))


def test_distance_is_the_frobenius_norm_over_the_pairs():
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(2, 30, 5))
    difference = np.corrcoef(first, rowvar=False) - np.corrcoef(second, rowvar=False)
    expected = np.linalg.norm(difference) / math.sqrt(5 * 4)
    assert correlation_distance(first, second) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("k", [3, MOST_NAMES + 1])
def test_picture(k):
    """Full simulation above, generated below the diagonal, the difference beside; names of few features."""
    rng = np.random.default_rng(3)
    full, generated = (np.corrcoef(rng.normal(size=(k, 9))) for _ in range(2))
    generated[1] = generated[:, 1] = np.nan
    names = [f"feature_{number}_mm" for number in range(k)]
    with figure_style(FigureSettings()):
        figure = correlation_matrices(names, full, generated)
        figure.canvas.draw()
    both, difference = (panel.collections[0].get_array().filled(np.nan) for panel in figure.axes[:2])
    assert both[0, 2] == full[0, 2]
    assert both[2, 0] == generated[2, 0]
    assert both[0, 1] == full[0, 1]
    assert np.isnan(both[1, 0])
    assert np.isnan(both[2, 2])
    np.testing.assert_array_equal(difference, generated - full)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert (labels == names) == (k <= MOST_NAMES)
    assert figure.axes[0].get_ylim() == (k, 0)


def test_picture_of_nothing_that_varies():
    with figure_style(FigureSettings()):
        figure = correlation_matrices(["a"], np.full((1, 1), np.nan), np.full((1, 1), np.nan))
        figure.canvas.draw()
    assert len(figure.axes) == 4
