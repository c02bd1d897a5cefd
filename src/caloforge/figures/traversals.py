"""Mean showers while one condition is stepped."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from caloforge.figures.views import draw, draw_energies, side_by_side, small_multiples
from caloforge.geometry import Geometry

DIFFERENCE_COLOURS, DIFFERENCE_DECADES = "RdBu_r", 2
"""Red is more energy and blue less; logarithmic from so many decades below that of the largest difference."""


def steps(geometry: Geometry, titles: Sequence[str], means_MeV: np.ndarray) -> Figure:
    """The mean shower of every step, from left to right.

    Parameters
    ----------
    geometry
        Of rectangular cells.
    titles, means_MeV
        Of each step: a text, and the mean energy per cell [MeV], shape (steps, V).
    """
    rows = side_by_side(geometry, titles, means_MeV)
    figure, grid = small_multiples(rows)
    draw_energies(figure, grid, rows, "Mean energy [MeV]")
    return figure


def differences(geometry: Geometry, titles: Sequence[str], means_MeV: np.ndarray) -> Figure:
    """The mean shower of every step less that of the step in the middle; parameters as for `steps`."""
    rows = side_by_side(geometry, titles, means_MeV - means_MeV[len(means_MeV) // 2])
    figure, grid = small_multiples(rows)
    largest = max(np.abs(view.image).max() for row in rows.values() for view in row) or 1.0
    linear = 10 ** (np.floor(np.log10(largest)) - DIFFERENCE_DECADES)
    norm = SymLogNorm(linear, vmin=-largest, vmax=largest)
    for axes_row, row in zip(grid, rows.values(), strict=True):
        for axes, view in zip(axes_row, row, strict=True):
            drawn = draw(axes, view, norm, DIFFERENCE_COLOURS)
    figure.colorbar(drawn, ax=grid.ravel().tolist(), label="Difference [MeV]")
    return figure
