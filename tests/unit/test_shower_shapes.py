import numpy as np
import pytest

from caloforge.metrics.shower_shapes import (
    cell_response,
    energy_window,
    moment_error,
    profile_ks,
    profile_mse,
    shape_error,
)

RNG = np.random.default_rng(11)
SHAPE = (4, 5, 6)


def profiles(grid: np.ndarray) -> list[np.ndarray]:
    """Energy per slice along each axis, by loops."""
    found = []
    for axis in (1, 2, 3):
        rows = np.zeros((len(grid), grid.shape[axis]))
        for index in np.ndindex(grid.shape):
            rows[index[0], index[axis]] += grid[index]
        found.append(rows)
    return found


def grids(n: int) -> np.ndarray:
    return RNG.exponential(size=(n, *SHAPE)) * (RNG.random((n, *SHAPE)) < 0.5)


def test_profile_mse_is_the_mean_over_axes_and_slices():
    full, fast = grids(7), grids(9)
    unit = 1000 / np.mean([shower.sum() for shower in full])
    squares = []
    for p, q in zip(profiles(full), profiles(fast), strict=True):
        for k in range(p.shape[1]):
            squares.append((unit * (sum(p[:, k]) / 7 - sum(q[:, k]) / 9)) ** 2)
    assert profile_mse(profiles(full), profiles(fast)) == pytest.approx(sum(squares) / 15)
    assert profile_mse(profiles(full), profiles(full[::-1])) == pytest.approx(0, abs=1e-18)


def test_profile_ks_of_a_shifted_profile():
    full, fast = np.array([[0, 2.0, 0, 0]]), np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 2.0]])
    # shares 0 1 0 0 against 0 1/4 1/4 1/2: cumulative 0 1 1 1 against 0 1/4 1/2 1
    assert profile_ks(full, fast) == pytest.approx(0.75)
    assert profile_ks(full, 0 * full) == pytest.approx(1)


def test_moment_error_by_hand():
    full, fast = [np.array([[1.0, 1.0, 0, 0]])], [np.array([[0, 0, 1.0, 1.0]])]
    # mean slice 1.5 and 3.5, variance 1/4 each
    assert moment_error(full, fast) == pytest.approx((2 / 1.5 + 0) / 2)


def test_moments_are_those_of_single_showers():
    full, fast = grids(20), grids(30)
    errors = []
    for p, q in zip(profiles(full), profiles(fast), strict=True):
        moments = []
        for rows in (p, q):
            mean = [np.average(np.arange(1, len(row) + 1), weights=row) for row in rows]
            spread = [
                np.average((np.arange(1, len(row) + 1) - m) ** 2, weights=row)
                for row, m in zip(rows, mean, strict=True)
            ]
            moments.append((np.mean(mean), np.mean(spread)))
        errors += [abs(1 - moments[1][k] / moments[0][k]) for k in (0, 1)]
    assert moment_error(profiles(full), profiles(fast)) == pytest.approx(np.mean(errors))


def test_cell_response_is_undefined_where_the_reference_is_empty():
    full, fast = np.array([[1, 0, 2.0], [3, 0, 2.0]]), np.array([[1, 5, 1.0], [1, 5, 3.0]])
    mean, spread = cell_response(full, fast)
    np.testing.assert_allclose(mean, [0.5, np.nan, 1])
    np.testing.assert_allclose(spread, [0, np.nan, np.nan])


def test_windows_widen_until_they_hold_enough():
    energy_GeV = np.array([240, 247, 249, 250.5, 258, 300])
    window = energy_window(energy_GeV, 250, 2, least=2)
    assert (window.half_width_GeV, window.rows.tolist()) == (2, [2, 3])
    window = energy_window(energy_GeV, 250, 2, least=4)
    assert (window.half_width_GeV, window.rows.tolist()) == (8, [1, 2, 3, 4])
    assert len(energy_window(energy_GeV, 250, 2, least=100).rows) == 6


def test_shape_error_is_the_mean_over_windows_of_both_errors():
    """Showers of 100, 200, 300 and 400 GeV; those of 200 twice as bright; an empty slice does not count."""
    energy_GeV = np.repeat([100.0, 200.0, 300.0, 400.0], 20)
    full = np.zeros((80, 3))
    full[:, :2] = [1, 3]
    fast = full.copy()
    fast[20:40] *= 2
    fast[40:60] = [3, 1, 5]
    # 300 GeV: mean slices 7/4 and 20/9, variances 3/16 and 68/81, profiles |1 - 3| / 1 and |3 - 1| / 3
    moments = ((20 / 9 - 7 / 4) / (7 / 4) + (68 / 81 - 3 / 16) / (3 / 16)) / 2
    expected = (0 + 1 + moments + (2 + 2 / 3) / 2 + 0) / 4
    assert shape_error([full], [fast], energy_GeV) == pytest.approx(expected)
    assert shape_error([full], [0 * full], energy_GeV) == pytest.approx(2)
