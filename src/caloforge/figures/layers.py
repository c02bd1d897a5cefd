"""The cells of calorimeter layers of every kind, as coloured maps."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure

from caloforge.figures.style import new_figure
from caloforge.geometry import CylindricalLayer, Geometry, Layer

DECADES = 5
"""Range of a colour scale of energies, from the highest one down."""
MOST_LAYERS = 25
"""Of a stack, on one figure; of a deeper one every second, third, … layer is drawn."""
AXIS_LABELS = {"cartesian": ("x [mm]", "y [mm]"), "eta_phi": ("η", "φ [rad]"), "cylindrical": ("r [mm]", "")}
"""Labels of the axes on which a layer of each kind is drawn."""
_RINGS_LOOK_ROUND = 90
"""Corners of a ring."""
_RING_TICKS = 4


class Panel(NamedTuple):
    """One map: a title, a layer, and one number for each of its cells, shape (layer.n_cells,)."""

    title: str
    layer: Layer
    cells: np.ndarray


def draw_layer(
    axes: Axes,
    cells: np.ndarray,
    layer: Layer,
    norm: Normalize,
    colours: str | Colormap = "viridis",
    ring_ticks: int = _RING_TICKS,
) -> QuadMesh:
    """Draw the cells of a layer where they are; the caller labels the axes with `AXIS_LABELS`.

    Rings of a cylindrical layer are drawn equally wide, because real ones grow from millimetres to metres;
    ticks give their radii. The angle alpha counts from the right, anticlockwise.

    Parameters
    ----------
    cells
        One number per cell, in the order of the canonical file, shape (layer.n_cells,).
    ring_ticks
        Number of radii that ticks give, about.
    """
    image = cells.reshape(layer.shape).T
    style = {"norm": norm, "cmap": colours, "rasterized": True}
    if layer.kind == "cylindrical":
        return _draw_rings(axes, image, layer, style, ring_ticks)
    if layer.kind == "cartesian":
        axes.set_aspect("equal")
    return axes.pcolormesh(layer.edges(0), layer.edges(1), image, **style)


def _draw_rings(axes: Axes, image: np.ndarray, layer: CylindricalLayer, style: dict, ticks: int) -> QuadMesh:
    r_mm = layer.edges(1)
    ring = np.arange(len(r_mm)) + (r_mm[0] > 0)
    pieces = -(-_RINGS_LOOK_ROUND // layer.n_alpha)
    alpha = np.linspace(-np.pi, np.pi, layer.n_alpha * pieces + 1)
    axes.set_aspect("equal")
    shown = range(len(image), 0, -len(image) // ticks)
    labels = [f"{r_mm[number]:g}" for number in shown]
    axes.set_xticks([*-ring[shown], *ring[shown]], labels * 2)
    axes.set_yticks([])
    return axes.pcolormesh(
        ring[:, None] * np.cos(alpha),
        ring[:, None] * np.sin(alpha),
        np.repeat(image, pieces, axis=1),
        **style,
    )


def energy_norm(energies_MeV: np.ndarray) -> LogNorm:
    """A logarithmic colour scale from the highest energy down, over one decade at least."""
    highest = energies_MeV.max() or 1.0
    shown = energies_MeV[energies_MeV >= highest / 10**DECADES]
    return LogNorm(min(shown.min(initial=highest), highest / 10), highest)


def stack(geometry: Geometry, cells: np.ndarray, most: int = MOST_LAYERS) -> list[Panel]:
    """One panel per layer, of stacks of more than `most` layers every second, third, … of them.

    Parameters
    ----------
    cells
        One number per cell of the calorimeter, shape (V,).
    """
    offsets = geometry.offsets()
    step = -(-len(geometry.layers) // most)
    panels = []
    for number in range(0, len(geometry.layers), step):
        layer = geometry.layers[number]
        title = f"Layer {number}" if len(geometry.layers) > 1 else ""
        if layer.label:
            title = f"{title} ({layer.label})".strip()
        panels.append(Panel(title, layer, cells[offsets[number] : offsets[number + 1]]))
    return panels


def maps(panels: Sequence[Panel], norm: Normalize, label: str) -> Figure:
    """Small multiples on one colour scale.

    Parameters
    ----------
    panels
        At least one.
    norm, label
        Of the colour scale.
    """
    n_columns = len(panels) if len(panels) <= 3 else int(np.ceil(np.sqrt(len(panels))))
    n_rows = -(-len(panels) // n_columns)
    cells = [panel.layer.model_dump(exclude={"label", "thickness_mm"}) for panel in panels]
    same = all(other == cells[0] for other in cells)
    width, height = (2.9, 2.5) if n_rows == 1 else (8.4 / n_columns, 8.4 / n_columns)
    figure = new_figure(width * n_columns + 1, height * n_rows + 0.5)
    figure.set_layout_engine("compressed")
    grid = figure.subplots(n_rows, n_columns, sharex=same, sharey=same, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for number, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        ring_ticks = _RING_TICKS if n_rows == 1 else 1
        drawn = draw_layer(axes, panel.cells, panel.layer, norm, ring_ticks=ring_ticks)
        axes.set_title(panel.title)
        x_label, y_label = AXIS_LABELS[panel.layer.kind]
        is_lowest = number + n_columns >= len(panels)
        if is_lowest or not same:
            axes.set_xlabel(x_label)
            axes.tick_params(labelbottom=True)
        if number % n_columns == 0 or not same:
            axes.set_ylabel(y_label)
    figure.colorbar(drawn, ax=grid.flat[: len(panels)].tolist(), label=label)
    return figure
