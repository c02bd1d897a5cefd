"""Pictures of showers: the average one, and single ones side by side."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from caloforge.figures.layers import AXIS_LABELS, draw_layer, energy_norm
from caloforge.figures.style import new_figure
from caloforge.geometry import Layer

RATIO_RANGE, RATIO_COLOURS = (1 / 3, 3), "PuOr"


def average_image(
    reference_MeV: np.ndarray, other_MeV: np.ndarray, layer: Layer, *, other: str = "Generated"
) -> Figure:
    """Mean energy per cell of the full simulation and of other showers, and their ratio.

    Parameters
    ----------
    reference_MeV, other_MeV
        Mean energy per cell [MeV], shape (V,).
    layer
        Of the cells.
    other
        What the other showers are.
    """
    figure = new_figure(9, 3.1)
    left, middle, right = figure.subplots(1, 3, sharex=True, sharey=True)
    norm = energy_norm(np.stack([reference_MeV, other_MeV]))
    for axes, image, title in ((left, reference_MeV, "Full simulation"), (middle, other_MeV, other)):
        drawn = draw_layer(axes, image, layer, norm)
        axes.set_title(title)
    figure.colorbar(drawn, ax=[left, middle], label="Mean energy per cell [MeV]")

    drawn = draw_layer(right, quotient(reference_MeV, other_MeV), layer, LogNorm(*RATIO_RANGE), RATIO_COLOURS)
    right.set_title("Ratio")
    ratio_colorbar(figure, drawn, right, f"{other} / full simulation")
    x_label, y_label = AXIS_LABELS[layer.kind]
    left.set_ylabel(y_label)
    for axes in (left, middle, right):
        axes.set_xlabel(x_label)
    return figure


def quotient(reference_MeV: np.ndarray, other_MeV: np.ndarray) -> np.ndarray:
    """`other_MeV` over `reference_MeV`, NaN where either is not above zero."""
    known = (reference_MeV > 0) & (other_MeV > 0)
    return np.divide(other_MeV, reference_MeV, out=np.full_like(reference_MeV, np.nan), where=known)


def ratio_colorbar(figure: Figure, drawn: QuadMesh, axes: Axes | Sequence[Axes], label: str) -> None:
    """The colour scale of a map over `RATIO_RANGE` in `RATIO_COLOURS`."""
    ticks = [1 / 3, 1 / 2, 1, 2, 3]
    colorbar = figure.colorbar(drawn, ax=axes, label=label, extend="both", ticks=ticks)
    colorbar.ax.set_yticklabels(["1/3", "1/2", "1", "2", "3"])
    colorbar.ax.minorticks_off()


def matched_showers(
    reference_MeV: np.ndarray,
    generated_MeV: np.ndarray,
    energies_GeV: np.ndarray,
    angles_deg: np.ndarray,
    layer: Layer,
) -> Figure:
    """Single showers of the full simulation, and below each the one generated for the same primary.

    Parameters
    ----------
    reference_MeV, generated_MeV
        Energy per cell [MeV], shape (n, V).
    energies_GeV, angles_deg
        Energy [GeV] and angle to the normal of the face [degree] of each primary, shape (n,).
    layer
        Of the cells.
    """
    n = len(reference_MeV)
    figure = new_figure(2.1 * n + 1.2, 4.6)
    grid = figure.subplots(2, n, sharex=True, sharey=True, squeeze=False)
    norm = energy_norm(np.stack([reference_MeV, generated_MeV]))
    x_label, y_label = AXIS_LABELS[layer.kind]
    for column in range(n):
        draw_layer(grid[0, column], reference_MeV[column], layer, norm)
        drawn = draw_layer(grid[1, column], generated_MeV[column], layer, norm)
        grid[0, column].set_title(f"{energies_GeV[column]:.3g} GeV, {angles_deg[column]:.0f}°")
        grid[1, column].set_xlabel(x_label)
    grid[0, 0].set_ylabel(f"Full simulation\n{y_label}")
    grid[1, 0].set_ylabel(f"Generated\n{y_label}")
    figure.colorbar(drawn, ax=grid, label="Energy per cell [MeV]")
    return figure
