"""Models and baselines beside each other: scores, distances of observables, fidelity against speed."""

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, product
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from caloforge.figures.edges import is_wide
from caloforge.figures.style import FULL_SIMULATION, GENERATED, MARKED, new_figure

COLUMNS = 3
"""Panels side by side."""
COLOURS = (GENERATED, MARKED, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Distinct for every colour vision, as those of `style`."""
MARKERS = "osD^vPX*<>"
MOST_TICKS = 4
"""Powers of ten on an axis."""
_KINDS = {False: ("Model", "o", GENERATED), True: ("Baseline", "s", MARKED)}
_DIRECTIONS = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)])
_DISTANCES = range(6, 100, 8)
"""From a point to its label [pt]."""
_FLOOR, _SEEDS = "Floor: independent full simulation", "Single seeds"
_BETTER = {"low": "smaller is better", "high": "larger is better", "floor": "best at the floor"}


class Points(NamedTuple):
    """A number of several contenders; NaN where there is none.

    Attributes
    ----------
    label, better
        What it is, and where good models are: "low", "high" or "floor".
    value, error
        Shape (contenders,).
    seeds
        Values of the single seeds of each contender, shape (any,).
    floor, floor_error
        The same of independent full simulation.
    """

    label: str
    better: Literal["low", "high", "floor"]
    value: np.ndarray
    error: np.ndarray
    seeds: Sequence[np.ndarray]
    floor: float
    floor_error: float


def scores(names: Sequence[str], is_baseline: Sequence[bool], panels: Sequence[Points]) -> Figure:
    """A panel for every score with a row for every contender, and the floor across.

    Parameters
    ----------
    names, is_baseline
        Of the contenders.
    panels
        The scores.
    """
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(1.6 + 2.2 * columns, 0.5 + rows * (0.9 + 0.24 * len(names)))
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, points in zip(grid.flat, panels, strict=False):
        _draw_floor(axes.axvline, axes.axvspan, points)
        for kind, numbers in _by_kind(is_baseline):
            label, marker, colour = _KINDS[kind]
            axes.errorbar(
                points.value[numbers],
                numbers,
                xerr=points.error[numbers],
                fmt=marker,
                color=colour,
                label=label,
            )
        for number, values in enumerate(points.seeds):
            if len(values) > 1:
                axes.plot(
                    values, np.full(len(values), number), ".", color="black", markersize=2, label=_SEEDS
                )
        set_scale(axes, "x", [points])
        axes.set_xlabel(points.label)
        axes.set_title(_BETTER[points.better], loc="right", size="small", style="italic")
        axes.grid(axis="y", linewidth=0.3)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    grid[0, 0].set_yticks(np.arange(len(names)), labels=[name.replace(" from ", "\nfrom ") for name in names])
    grid[0, 0].set_ylim(len(names) - 0.5, -0.5)
    handles = {
        text: handle
        for axes in grid.flat
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    return figure


def observables(
    names: Sequence[str], is_baseline: Sequence[bool], rows: Sequence[Points], label: str
) -> Figure:
    """A row for every observable, with a point for every contender and the floor as a band.

    Parameters
    ----------
    names, is_baseline
        Of the contenders.
    rows
        One for each observable.
    label
        Of what is shown of the observables.
    """
    figure = new_figure(7.5, 1.2 + 0.08 * len(names) + len(rows) * max(0.2, 0.12 + 0.03 * len(names)))
    axes = figure.subplots()
    y = np.arange(len(rows))
    floor, floor_error = (np.array([getattr(row, name) for row in rows]) for name in ("floor", "floor_error"))
    axes.barh(y, 2 * floor_error, 0.8, floor - floor_error, color=FULL_SIMULATION, alpha=0.25, linewidth=0)
    axes.errorbar(floor, y, yerr=0.4, fmt="none", color=FULL_SIMULATION, label=_FLOOR)
    shifts = np.linspace(-0.3, 0.3, len(names)) if len(names) > 1 else [0]
    styles = zip(names, is_baseline, shifts, cycle(COLOURS), cycle(MARKERS), strict=False)
    for number, (name, hollow, shift, colour, marker) in enumerate(styles):
        axes.errorbar(
            np.array([row.value[number] for row in rows]),
            y + shift,
            xerr=np.array([row.error[number] for row in rows]),
            fmt=marker,
            color=colour,
            fillstyle="none" if hollow else "full",
            linewidth=0.6,
            label=name,
        )
    set_scale(axes, "x", rows)
    axes.set_yticks(y, labels=[row.label for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(y[:-1] + 0.5, minor=True)
    axes.grid(axis="y", which="minor", linewidth=0.3)
    axes.tick_params(axis="y", which="both", length=0)
    axes.set_xlabel(label)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def fidelity_against_speed(
    names: Sequence[str],
    is_baseline: Sequence[bool],
    ms_per_shower: np.ndarray,
    points: Points,
    geant4_ms: float | None,
) -> Figure:
    """A score against the time per shower, with the floor and the CPU time of Geant4 across.

    Parameters
    ----------
    names, is_baseline
        Of the contenders.
    ms_per_shower
        Time that each of them takes [ms].
    points
        The score.
    geant4_ms
        CPU time per event [ms]; None where it is not known.
    """
    figure = new_figure(6, 4.4)
    axes = figure.subplots()
    _draw_floor(axes.axhline, axes.axhspan, points)
    if geant4_ms is not None:
        axes.axvline(geant4_ms, color=FULL_SIMULATION, linestyle="--", label="Geant4 (CPU time)")
    for kind, numbers in _by_kind(is_baseline):
        label, marker, colour = _KINDS[kind]
        axes.errorbar(
            ms_per_shower[numbers],
            points.value[numbers],
            points.error[numbers],
            fmt=marker,
            color=colour,
            label=label,
        )
    axes.set_xscale("log")
    set_scale(axes, "y", [points])
    axes.margins(0.12)
    axes.set_xlabel("Time per shower [ms]")
    axes.set_ylabel(f"{points.label} ({_BETTER[points.better]})")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, ncols=2)
    known = np.flatnonzero(np.isfinite(points.value))
    label_points(
        axes,
        [names[number] for number in known],
        ms_per_shower[known],
        points.value[known],
        np.nan_to_num(points.error[known]),
    )
    return figure


def _draw_floor(line: Callable, band: Callable, points: Points) -> None:
    """The floor across a panel, in the direction of `line` and `band`."""
    if np.isfinite(points.floor):
        line(points.floor, color=FULL_SIMULATION, label=_FLOOR)
        error = np.nan_to_num(points.floor_error)
        band(points.floor - error, points.floor + error, color=FULL_SIMULATION, alpha=0.25, linewidth=0)


def _by_kind(is_baseline: Sequence[bool]) -> Iterator[tuple[bool, np.ndarray]]:
    """Numbers of the models, then those of the baselines, where there are any."""
    for kind in (False, True):
        numbers = np.flatnonzero(np.asarray(is_baseline) == kind)
        if len(numbers):
            yield kind, numbers


def set_scale(axes: Axes, axis: Literal["x", "y"], shown: Sequence[Points]) -> None:
    """A logarithmic axis where values span decades, linear around zero where they come close to it.

    What is smaller than the error of the floor cannot be told from zero: decades below it are not shown.

    Parameters
    ----------
    axes, axis
        To scale.
    shown
        All that the axis shows.
    """
    values = np.concatenate([[points.floor, *points.value] for points in shown])
    low, high = np.nanmin(values), np.nanmax(values)
    resolution = np.nanmin([np.inf, *(points.floor_error for points in shown if points.floor_error > 0)])
    known_from = low if np.isinf(resolution) else max(low, resolution)
    set_one, ticks = getattr(axes, f"set_{axis}scale"), getattr(axes, f"{axis}axis")
    if not is_wide(known_from, high):
        ticks.set_major_locator(MaxNLocator(4))
        return
    if low >= known_from:
        set_one("log")
    else:
        set_one("symlog", linthresh=known_from, linscale=0.4)
    powers = 10.0 ** np.arange(np.floor(np.log10(known_from)), np.floor(np.log10(high)) + 1)
    if high < 1000 * known_from:
        powers = np.outer(powers, [1, 3]).ravel()
        ticks.set_major_formatter("{x:g}")
    powers = powers[(powers >= known_from) & (powers <= high)]
    zero = [0] if low < known_from else []
    ticks.set_major_locator(FixedLocator([*zero, *powers[:: -(-len(powers) // MOST_TICKS)]]))
    ticks.set_minor_locator(NullLocator())


def label_points(axes: Axes, labels: Sequence[str], x: np.ndarray, y: np.ndarray, error: np.ndarray) -> None:
    """Write a label beside every point, so that none covers another one, a point or its error bar.

    Parameters
    ----------
    axes
        With its final limits.
    labels, x, y, error
        One for each point; the error is that of y.
    """
    figure = axes.figure
    figure.draw_without_rendering()
    pixels = figure.dpi / 72
    at, low, high = (axes.transData.transform(np.column_stack([x, end])) for end in (y, y - error, y + error))
    taken = [Bbox([under - 4 * pixels, over + 4 * pixels]) for under, over in zip(low, high, strict=True)]
    for label, place, point in zip(labels, zip(x, y, strict=True), at, strict=True):
        text = axes.annotate(
            label,
            place,
            (0, 0),
            textcoords="offset points",
            size="small",
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 5},
        )
        size = Text.get_window_extent(text).size + 2 * pixels
        boxes = (
            _box(point + direction * (distance * pixels + size / 2), *size)
            for distance, direction in product(_DISTANCES, _DIRECTIONS)
        )
        box = next((box for box in boxes if _is_free(box, axes.bbox, taken)), _box(point, *size))
        text.set_position((box.min + pixels - point) / pixels)
        taken.append(box)


def _box(centre: np.ndarray, width: float, height: float) -> Bbox:
    return Bbox.from_bounds(centre[0] - width / 2, centre[1] - height / 2, width, height)


def _is_free(box: Bbox, frame: Bbox, taken: Sequence[Bbox]) -> bool:
    inside = (
        frame.containsx(box.x0)
        and frame.containsx(box.x1)
        and frame.containsy(box.y0)
        and frame.containsy(box.y1)
    )
    return inside and not box.count_overlaps(taken)
