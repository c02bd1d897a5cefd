"""Showers in stacks of layers as small multiples: layer by layer, or seen along or around axes."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Path3DCollection

from caloforge.figures.layers import AXIS_LABELS, draw_layer, energy_norm, stack
from caloforge.figures.showers import RATIO_COLOURS, RATIO_RANGE, quotient, ratio_colorbar
from caloforge.figures.style import new_figure
from caloforge.geometry import CylindricalLayer, Geometry

MOST_LAYERS = 8
"""Side by side. Deeper stacks are seen along or around axes or, where layers differ, thinned out."""
_PANEL_INCHES, _SMALL_PANEL_INCHES = 2.2, 1.4
_MOST_LARGE_COLUMNS = 4
_OUTLINE = "#b0b0b0"
"""Colour around the outermost ring of a layer."""
_SMALLEST_POINT, _LARGEST_POINT = 4, 60
"""Areas of the points of a shower in space."""


class View(NamedTuple):
    """One map of a shower.

    `image` has the shape (cells along the horizontal axis, cells along the vertical axis). That of `rings` is
    drawn as they are and has no axes: its shape is (cells along alpha, cells along r).
    """

    title: str
    image: np.ndarray
    x_edges: np.ndarray
    y_edges: np.ndarray
    x_label: str
    y_label: str
    is_to_scale: bool = True
    rings: CylindricalLayer | None = None


def is_projected(geometry: Geometry) -> bool:
    """Whether showers are seen along or around axes, and not layer by layer."""
    return geometry.is_grid and len(geometry.layers) > MOST_LAYERS


def explanation(geometry: Geometry) -> str:
    """What a caption has to say about the maps of a shower, a sentence with a space before it, or nothing."""
    if geometry.kind == "cylindrical":
        summed = "energies are summed over all layers and over the angle" if is_projected(geometry) else ""
        return f" Rings are drawn equally wide{summed and '; '}{summed}."
    return " Energies are summed along the third axis." if is_projected(geometry) else ""


def views(geometry: Geometry, cells: np.ndarray) -> list[View]:
    """The maps of one shower.

    Parameters
    ----------
    geometry
        Of rectangular cells or of rings.
    cells
        Energy of each cell, shape (V,).
    """
    if geometry.kind == "cylindrical":
        return _around_axis(geometry, cells) if is_projected(geometry) else _rings(geometry, cells)
    return _projections(geometry, cells) if is_projected(geometry) else _layers(geometry, cells)


def _rings(geometry: Geometry, cells: np.ndarray) -> list[View]:
    return [_of_rings(*panel) for panel in stack(geometry, cells, MOST_LAYERS)]


def _of_rings(title: str, layer: CylindricalLayer, cells: np.ndarray) -> View:
    title = f"{title}\nr < {layer.r_edges_mm[-1]:g} mm".strip()
    return View(title, cells.reshape(layer.shape), layer.edges(0), layer.edges(1), "", "", rings=layer)


def _around_axis(geometry: Geometry, cells: np.ndarray) -> list[View]:
    layer = geometry.layers[0]
    image = cells.reshape(len(geometry.layers), *layer.shape)
    depth, depth_label, _ = _depth(geometry)
    r_label, _ = AXIS_LABELS["cylindrical"]
    return [
        _of_rings("Along z", layer, image.sum(axis=0)),
        View("Around z", image.sum(axis=1), depth, layer.edges(1), depth_label, r_label, is_to_scale=False),
    ]


def _layers(geometry: Geometry, cells: np.ndarray) -> list[View]:
    return [
        View(
            panel.title,
            panel.cells.reshape(panel.layer.shape),
            panel.layer.edges(0),
            panel.layer.edges(1),
            *AXIS_LABELS["cartesian"],
        )
        for panel in stack(geometry, cells, MOST_LAYERS)
    ]


def _projections(geometry: Geometry, cells: np.ndarray) -> list[View]:
    layer = geometry.layers[0]
    image = cells.reshape(len(geometry.layers), *layer.shape)
    depth, depth_label, is_to_scale = _depth(geometry)
    x_mm, y_mm = layer.edges(0), layer.edges(1)
    x_label, y_label = AXIS_LABELS["cartesian"]
    return [
        View("Along z", image.sum(axis=0), x_mm, y_mm, x_label, y_label),
        View("Along y", image.sum(axis=2), depth, x_mm, depth_label, x_label, is_to_scale),
        View("Along x", image.sum(axis=1), depth, y_mm, depth_label, y_label, is_to_scale),
    ]


def side_by_side(
    geometry: Geometry, titles: Sequence[str], showers: Sequence[np.ndarray]
) -> dict[str, list[View]]:
    """The maps of several showers: what is seen, such as a layer, to one map per shower with its title.

    Parameters
    ----------
    geometry
        Of rectangular cells or of rings.
    titles, showers
        Of each shower: a text, and the energy of each cell, shape (V,).
    """
    of_showers = [views(geometry, cells) for cells in showers]
    return {
        row[0].title: [view._replace(title=title) for title, view in zip(titles, row, strict=True)]
        for row in zip(*of_showers, strict=True)
    }


def matched_shower(
    geometry: Geometry, reference_MeV: np.ndarray, generated_MeV: np.ndarray, energy_GeV: float
) -> Figure:
    """A shower of the full simulation, and below it the one generated for the same primary.

    Parameters
    ----------
    geometry
        Of the cells.
    reference_MeV, generated_MeV
        Energy per cell [MeV], shape (V,).
    energy_GeV
        Energy of the primary [GeV].
    """
    title = f"{energy_GeV:.3g} GeV"
    rows = {
        f"Full simulation\n{title}": views(geometry, reference_MeV),
        f"Generated\n{title}": views(geometry, generated_MeV),
    }
    figure, grid = small_multiples(rows)
    draw_energies(figure, grid, rows, "Energy [MeV]")
    return figure


def average_shower(geometry: Geometry, reference_MeV: np.ndarray, generated_MeV: np.ndarray) -> Figure:
    """The mean shower of the full simulation, the mean generated one and their ratio, one below the other.

    Parameters
    ----------
    geometry
        Of the cells.
    reference_MeV, generated_MeV
        Mean energy per cell [MeV], shape (V,).
    """
    rows = {"Full simulation": views(geometry, reference_MeV), "Generated": views(geometry, generated_MeV)}
    ratio = [
        full._replace(image=quotient(full.image, fast.image))
        for full, fast in zip(*rows.values(), strict=True)
    ]
    figure, grid = small_multiples(rows | {"Ratio": ratio})
    draw_energies(figure, grid[:2], rows, "Mean energy [MeV]")
    norm = LogNorm(*RATIO_RANGE)
    for axes, view in zip(grid[2], ratio, strict=True):
        drawn = draw(axes, view, norm, RATIO_COLOURS)
    ratio_colorbar(figure, drawn, grid[2].tolist(), "Generated /\nfull simulation")
    return figure


def in_space(
    geometry: Geometry, reference_MeV: np.ndarray, generated_MeV: np.ndarray, energy_GeV: float
) -> Figure:
    """The cells of a shower of the full simulation and of the generated one beside it, in three dimensions.

    Parameters
    ----------
    geometry
        A stack of equal layers.
    reference_MeV, generated_MeV
        Energy per cell [MeV], zero where it is not shown, shape (V,).
    energy_GeV
        Energy of the primary [GeV].
    """
    figure = new_figure(9.5, 4.2)
    norm = energy_norm(np.stack([reference_MeV, generated_MeV]))
    panels = [figure.add_subplot(1, 2, number, projection="3d") for number in (1, 2)]
    for axes, cells, name in zip(
        panels, (reference_MeV, generated_MeV), ("Full simulation", "Generated"), strict=True
    ):
        drawn = _scatter(axes, geometry, cells, norm)
        axes.set_title(f"{name}, {energy_GeV:.3g} GeV")
    figure.colorbar(drawn, ax=panels, label="Energy per cell [MeV]", shrink=0.8, pad=0.08)
    return figure


def _scatter(axes: Axes3D, geometry: Geometry, cells_MeV: np.ndarray, norm: LogNorm) -> Path3DCollection:
    """A point per cell with energy, larger and brighter for more of it."""
    layer = geometry.layers[0]
    depth, depth_label, _ = _depth(geometry)
    shape = (len(geometry.layers), *layer.shape)
    hit = np.nonzero(cells_MeV.reshape(shape) >= norm.vmin)
    hit_MeV = cells_MeV[np.ravel_multi_index(hit, shape)]
    middles = [(edges[:-1] + edges[1:]) / 2 for edges in (depth, layer.edges(0), layer.edges(1))]
    z, *across = (positions[index] for positions, index in zip(middles, hit, strict=True))
    if layer.kind == "cylindrical":
        alpha, r_mm = across
        x_mm, y_mm = r_mm * np.cos(alpha), r_mm * np.sin(alpha)
        limits_mm = [np.array([-1, 1]) * layer.r_edges_mm[-1]] * 2
    else:
        x_mm, y_mm = across
        limits_mm = [layer.edges(axis)[[0, -1]] for axis in (0, 1)]
    drawn = axes.scatter(
        z,
        x_mm,
        y_mm,
        c=hit_MeV,
        s=_SMALLEST_POINT + _LARGEST_POINT * norm(hit_MeV) ** 2,
        norm=norm,
        cmap="viridis",
        alpha=0.6,
        linewidths=0,
        rasterized=True,
    )
    axes.set(
        xlim=depth[[0, -1]],
        ylim=limits_mm[0],
        zlim=limits_mm[1],
        xlabel=depth_label,
        ylabel=AXIS_LABELS["cartesian"][0],
        zlabel=AXIS_LABELS["cartesian"][1],
    )
    axes.locator_params(nbins=4)
    axes.set_box_aspect((1.3, 1, 1), zoom=0.9)
    axes.view_init(elev=20, azim=-65)
    return drawn


def _depth(geometry: Geometry) -> tuple[np.ndarray, str, bool]:
    """Edges of the layers along the depth, the label of such an axis and whether it is in mm."""
    depth_mm = geometry.depth_edges_mm()
    if depth_mm is None:
        return np.arange(len(geometry.layers) + 1) - 0.5, "Layer", False
    return depth_mm, "Depth [mm]", True


def small_multiples(rows: Mapping[str, Sequence[View]]) -> tuple[Figure, np.ndarray]:
    """A figure and its axes, shape (rows, views), with their titles and labels.

    Maps of the same quantities have the same axes: layers of different size are to scale.
    """
    columns = next(iter(rows.values()))
    is_small = len(rows) > 1 and len(columns) > _MOST_LARGE_COLUMNS
    inches, size = (_SMALL_PANEL_INCHES, "small") if is_small else (_PANEL_INCHES, None)
    figure = new_figure(inches * max(len(columns), 2) + 1.6, inches * len(rows) + 0.4)
    figure.set_layout_engine("compressed")
    kinds = {(view.x_label, view.y_label, view.rings) for row in rows.values() for view in row}
    share = "all" if len(kinds) == 1 else "none"
    grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex=share, sharey=share)
    for row, (name, row_views) in zip(grid, rows.items(), strict=True):
        for number, (axes, view) in enumerate(zip(row, row_views, strict=True)):
            repeats = number > 0 and view.y_label == row_views[number - 1].y_label
            axes.set_ylabel("" if repeats else view.y_label)
        row[0].set_ylabel("\n".join(filter(None, (name, row_views[0].y_label))), size=size)
    for top, bottom, first, last in zip(grid[0], grid[-1], columns, row_views, strict=True):
        top.set_title(first.title, size=size)
        bottom.set_xlabel(last.x_label, size=size)
    return figure, grid


def draw_energies(figure: Figure, grid: np.ndarray, rows: Mapping[str, Sequence[View]], label: str) -> None:
    """Draw maps of energies on one logarithmic colour scale.

    Parameters
    ----------
    figure, grid
        What `small_multiples` made for `rows` and more, the axes of `rows` alone.
    rows, label
        The maps, and the text of the colour scale.
    """
    norm = energy_norm(np.concatenate([view.image.ravel() for row in rows.values() for view in row]))
    for axes_row, row in zip(grid, rows.values(), strict=True):
        for axes, view in zip(axes_row, row, strict=True):
            drawn = draw(axes, view, norm)
    figure.colorbar(drawn, ax=grid.ravel().tolist(), label=label)


def draw(axes: Axes, view: View, norm: Normalize, colours: str | Colormap = "viridis") -> QuadMesh:
    """Draw one map."""
    if view.rings:
        drawn = draw_layer(axes, view.image, view.rings, norm, colours)
        outermost = np.abs(drawn.get_coordinates()).max()
        axes.add_patch(Circle((0, 0), outermost, fill=False, color=_OUTLINE, clip_on=False))
        axes.set_xticks([])
        axes.set_frame_on(False)
        return drawn
    if view.is_to_scale:
        axes.set_aspect("equal")
    return axes.pcolormesh(view.x_edges, view.y_edges, view.image.T, norm=norm, cmap=colours, rasterized=True)
