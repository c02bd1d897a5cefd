"""Pictures of showers: the average one, and single ones side by side."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure

from caloforge.figures.style import new_figure
from caloforge.geometry import CartesianLayer

DECADES = 5
"""Range of a colour scale, from the highest energy down."""


def average_image(reference_MeV: np.ndarray, generated_MeV: np.ndarray, layer: CartesianLayer) -> Figure:
    """Mean energy per cell of full simulation and generated showers, and their ratio.

    Parameters
    ----------
    reference_MeV, generated_MeV
        Mean energy per cell [MeV], shape (V,).
    layer
        Of the cells.
    """
    figure = new_figure(9, 3.1)
    full, fast, ratio = figure.subplots(1, 3, sharex=True, sharey=True)
    norm = _energy_norm(np.stack([reference_MeV, generated_MeV]))
    for axes, image, title in ((full, reference_MeV, "Full simulation"), (fast, generated_MeV, "Generated")):
        drawn = _draw(axes, image, layer, norm, "viridis")
        axes.set_title(title)
    figure.colorbar(drawn, ax=[full, fast], label="Mean energy per cell [MeV]")

    known = (reference_MeV > 0) & (generated_MeV > 0)
    quotient = np.divide(generated_MeV, reference_MeV, out=np.full_like(reference_MeV, np.nan), where=known)
    drawn = _draw(ratio, quotient, layer, LogNorm(1 / 3, 3), "PuOr")
    ratio.set_title("Ratio")
    ticks = [1 / 3, 1 / 2, 1, 2, 3]
    colorbar = figure.colorbar(
        drawn, ax=ratio, label="Generated / full simulation", extend="both", ticks=ticks
    )
    colorbar.ax.set_yticklabels(["1/3", "1/2", "1", "2", "3"])
    colorbar.ax.minorticks_off()
    full.set_ylabel("y [mm]")
    for axes in (full, fast, ratio):
        axes.set_xlabel("x [mm]")
    return figure


def matched_showers(
    reference_MeV: np.ndarray,
    generated_MeV: np.ndarray,
    energies_GeV: np.ndarray,
    angles_deg: np.ndarray,
    layer: CartesianLayer,
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
    norm = _energy_norm(np.stack([reference_MeV, generated_MeV]))
    for column in range(n):
        _draw(grid[0, column], reference_MeV[column], layer, norm, "viridis")
        drawn = _draw(grid[1, column], generated_MeV[column], layer, norm, "viridis")
        grid[0, column].set_title(f"{energies_GeV[column]:.3g} GeV, {angles_deg[column]:.0f}°")
        grid[1, column].set_xlabel("x [mm]")
    grid[0, 0].set_ylabel("Full simulation\ny [mm]")
    grid[1, 0].set_ylabel("Generated\ny [mm]")
    figure.colorbar(drawn, ax=grid, label="Energy per cell [MeV]")
    return figure


def _energy_norm(energies_MeV: np.ndarray) -> LogNorm:
    highest = energies_MeV.max()
    return LogNorm(energies_MeV[energies_MeV >= highest / 10**DECADES].min(), highest)


def _draw(
    axes: Axes, image: np.ndarray, layer: CartesianLayer, norm: Normalize, colours: str | Colormap
) -> QuadMesh:
    x_mm, y_mm = (
        (np.arange(n + 1) - n / 2) * size for n, size in zip(layer.shape, layer.cell_size_mm, strict=True)
    )
    axes.set_aspect("equal")
    return axes.pcolormesh(x_mm, y_mm, image.reshape(layer.shape).T, norm=norm, cmap=colours, rasterized=True)
