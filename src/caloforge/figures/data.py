"""The numbers that a figure shows, in YAML files like those of HEPData.

The layout is that of data tables in a submission, https://hepdata-submission.readthedocs.io: independent
variables with values or bins, dependent variables with values, errors and qualifiers; `-` stands for what is
undefined.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import FillBetweenPolyCollection, LineCollection, PathCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from matplotlib.ticker import FixedLocator

_SIGNIFICANT_DIGITS = 7
_GUIDES = ("--", ":", "-.")
"""Styles of lines that lead the eye."""


def save_data(figure: Figure, path: Path, title: str, caption: str) -> None:
    """Write the tables of a figure as documents of a YAML file.

    Parameters
    ----------
    figure
        Laid out already.
    title, caption
        Of the figure, for name and description of the tables.
    """
    found = list(tables(figure))
    numbered = [
        {"name": title if len(found) == 1 else f"{title} ({number} of {len(found)})"}
        | {"description": ". ".join(filter(None, (panel, caption)))}
        | table
        for number, (panel, table) in enumerate(found, 1)
    ]
    path.write_text("".join(map(_document, numbered)), encoding="utf-8")


def _document(table: Mapping[str, Any]) -> str:
    """A table as a YAML document, without PyYAML, which takes four times as long for the numbers of a map."""
    lines = ["---", *(f"{key}: {_flow(table[key])}" for key in ("name", "description"))]
    for kind in ("independent_variables", "dependent_variables"):
        lines.append(f"{kind}:")
        for variable in table[kind]:
            about = [f"{key}: {_flow(value)}" for key, value in variable.items() if key != "values"]
            lines += [f"{mark} {text}" for mark, text in zip(chain("-", repeat(" ")), about, strict=False)]
            lines += ["  values:", *(f"  - {_flow(row)}" for row in variable["values"])]
    return "\n".join(lines) + "\n"


def _flow(content: Any) -> str:
    """Mappings, lists, texts and numbers in one line of YAML 1.1, whose numbers have a point."""
    if isinstance(content, dict):
        return "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in content.items()) + "}"
    if isinstance(content, list):
        return "[" + ", ".join(map(_flow, content)) + "]"
    text = json.dumps(content, ensure_ascii=False)
    return (
        text.replace("e", ".0e") if isinstance(content, float) and "e" in text and "." not in text else text
    )


def tables(figure: Figure) -> Iterator[tuple[str, dict[str, Any]]]:
    """Title of a panel and a table of its numbers; one for all curves at the same positions, one per map.

    Guides without a label (dashed lines, lines across a panel), circles, text and the legend are left out. A
    curve without a label has that of the same colour elsewhere in the figure. A band around a curve is its
    error.
    """
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>" and axes.get_visible()]
    curves = {axes: list(_curves(axes)) for axes in panels}
    names = _names_of_colours(curve for found in curves.values() for curve in found)
    for axes in panels:
        for artist in (*axes.collections, *axes.images):
            if isinstance(artist, QuadMesh | AxesImage) or _is_coloured_scatter(artist):
                yield axes.get_title(), _map(axes, artist, figure)
        named = [replace(curve, label=curve.label or names.get(curve.colour, "")) for curve in curves[axes]]
        for members in _at_same_positions(_with_bands(_distinct(named))):
            yield axes.get_title(), _table(axes, members)


@dataclass(frozen=True)
class _Curve:
    """Numbers along an axis.

    Attributes
    ----------
    along
        Axis of the positions, `x` or `y`.
    at
        Positions, shape (n,), or ends of bins, shape (n, 2).
    value
        Shape (n,); None for a band.
    low, high
        Ends of error bars or of a band, shape (n,); None where there are none.
    """

    label: str
    colour: str
    along: str
    at: np.ndarray
    value: np.ndarray | None
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def _curves(axes: Axes) -> Iterator[_Curve]:
    parts = {part for container in axes.containers for part in container.get_children()}
    found = [
        *map(_histogram, (patch for patch in axes.patches if isinstance(patch, StepPatch))),
        *(_line(axes, line) for line in axes.lines if line not in parts),
        *(_error_bars(axes, bars) for bars in axes.containers if isinstance(bars, ErrorbarContainer)),
        *(_bars(bars) for bars in axes.containers if isinstance(bars, BarContainer)),
        *(_scatter(dots) for dots in axes.collections if _is_plain_scatter(dots)),
        *(_band(band) for band in axes.collections if isinstance(band, FillBetweenPolyCollection)),
    ]
    return (curve for curve in found if curve and len(curve.at))


def _label(artist: Artist | BarContainer | ErrorbarContainer) -> str:
    label = str(artist.get_label() or "")
    return "" if label.startswith("_") else label


def _is_guide(axes: Axes, line: Line2D) -> bool:
    """Whether a line is dashed, goes across the panel, or stands for arrows at its edge."""
    in_data = line.get_transform() == axes.transData
    return line.get_linestyle() in _GUIDES or not in_data or not line.get_clip_on()


def _histogram(patch: StepPatch) -> _Curve:
    values, edges, baseline = patch.get_data()
    colour = to_hex(patch.get_facecolor() if patch.get_fill() else patch.get_edgecolor())
    along = "x" if patch.orientation == "vertical" else "y"
    bins = np.column_stack([edges[:-1], edges[1:]])
    if np.ndim(baseline):
        return _Curve(_label(patch), colour, along, bins, None, np.asarray(baseline), np.asarray(values))
    return _Curve(_label(patch), colour, along, bins, np.asarray(values, np.float64))


def _line(axes: Axes, line: Line2D) -> _Curve | None:
    """A line; None if it only leads the eye. A guide with a label shares its colour with no curve."""
    is_guide = _is_guide(axes, line)
    if is_guide and not _label(line):
        return None
    points = np.column_stack([line.get_xdata(orig=False), line.get_ydata(orig=False)]).astype(np.float64)
    if line.get_transform() != axes.transData:
        points = (line.get_transform() - axes.transData).transform(points)
    return _oriented(axes, _label(line), "" if is_guide else to_hex(line.get_color()), points)


def _oriented(axes: Axes, label: str, colour: str, points: np.ndarray, *ends: np.ndarray | None) -> _Curve:
    """A curve along the axis that has names, or along x.

    Parameters
    ----------
    points, ends
        x and y of the points, shape (n, 2), and of both ends of their error bars along y and along x, shape
        (n, 2, 2) each, None where there are none.
    """
    along_y = bool(_names(axes, "y"))
    at, value = points.T[::-1] if along_y else points.T
    bars = ends[along_y] if ends else None
    low, high = (None, None) if bars is None else bars[:, :, 0 if along_y else 1].T
    return _Curve(label, colour, "y" if along_y else "x", at, value, low, high)


def _error_bars(axes: Axes, bars: ErrorbarContainer) -> _Curve:
    line, _, collections = bars.lines
    segments = [
        np.array([path.vertices for path in bar.get_paths()]).reshape(-1, 2, 2) for bar in collections
    ]
    across, upright = (
        segments.pop(0) if bars.has_xerr else None,
        segments.pop(0) if bars.has_yerr else None,
    )
    known = upright if upright is not None else across
    points = known.mean(1) if line is None else line.get_xydata()
    colour = to_hex(_colour_of(collections) if line is None else line.get_color())
    return _oriented(axes, _label(bars), colour, points, upright, across)


def _colour_of(collections: Sequence[LineCollection]) -> Any:
    return collections[0].get_edgecolor()[0]


def _bars(bars: BarContainer) -> _Curve:
    """Bars from zero; others are the ends of a band."""
    boxes = np.array([bar.get_bbox().get_points() for bar in bars.patches]).reshape(-1, 2, 2)
    along, across = (0, 1) if bars.orientation == "vertical" else (1, 0)
    at, (low, high) = boxes[:, :, along], boxes[:, :, across].T
    colour = to_hex(bars.patches[0].get_facecolor()) if len(boxes) else ""
    band = _Curve(_label(bars), colour, "xy"[along], at, None, low, high)
    return band if low.any() else replace(band, value=high, low=None, high=None)


def _is_coloured_scatter(artist: Artist) -> bool:
    return isinstance(artist, PathCollection) and artist.get_array() is not None


def _is_plain_scatter(artist: Artist) -> bool:
    return isinstance(artist, PathCollection) and artist.get_array() is None


def _scatter(dots: PathCollection) -> _Curve:
    colours = dots.get_facecolor() if len(dots.get_facecolor()) else dots.get_edgecolor()
    points = np.ma.filled(dots.get_offsets().astype(np.float64), np.nan)
    return _oriented(dots.axes, _label(dots), to_hex(colours[0]), points)


def _band(band: FillBetweenPolyCollection) -> _Curve:
    """Of each polygon: a corner, the first curve forwards, a corner, the second curve backwards."""
    ends = []
    for path in band.get_paths():
        n = (len(path.vertices) - 3) // 2
        ends.append((path.vertices[1 : n + 1], path.vertices[n + 2 : 2 * n + 2][::-1]))
    first, second = (np.concatenate([np.empty((0, 2)), *side]) for side in zip(*ends, strict=True))
    along, across = (0, 1) if band.t_direction == "x" else (1, 0)
    colour = to_hex(band.get_facecolor()[0])
    values = np.sort([first[:, across], second[:, across]], axis=0)
    return _Curve(_label(band), colour, band.t_direction, first[:, along], None, *values)


def _names_of_colours(curves: Iterable[_Curve]) -> dict[str, str]:
    labels: dict[str, set[str]] = {}
    for curve in curves:
        if curve.label:
            labels.setdefault(curve.colour, set()).add(curve.label)
    return {colour: found.pop() for colour, found in labels.items() if len(found) == 1}


def _distinct(curves: Iterable[_Curve]) -> list[_Curve]:
    """Curves without those drawn a second time, as the outline of a filled histogram is."""
    kept: list[_Curve] = []
    for curve in curves:
        same = (other for other in kept if curve.value is not None and other.value is not None)
        if not any(_same_positions(curve, other) and _equal(curve.value, other.value) for other in same):
            kept.append(curve)
    return kept


def _with_bands(curves: Sequence[_Curve]) -> Iterator[_Curve]:
    """Curves, with the ends of a band of their colour around them as errors, and the other bands."""
    bands = [curve for curve in curves if curve.value is None]
    for curve in curves:
        if curve.value is None:
            continue
        for band in bands if curve.low is None else ():
            ends = _ends_at(curve, band)
            if ends is not None:
                bands.remove(band)
                curve = replace(curve, low=ends[0], high=ends[1])
                break
        yield curve
    yield from bands


def _ends_at(curve: _Curve, band: _Curve) -> np.ndarray | None:
    """Ends of a band at the positions of a curve, NaN in its gaps, shape (2, n); None if not around it."""
    if (band.colour, band.along, band.at.ndim) != (curve.colour, curve.along, curve.at.ndim):
        return None
    rows = {tuple(np.atleast_1d(at)): row for row, at in enumerate(curve.at)}
    found = [rows.get(tuple(np.atleast_1d(at))) for at in band.at]
    if None in found:
        return None
    ends = np.full((2, len(curve.at)), np.nan)
    ends[:, found] = band.low, band.high
    outside = (ends[0] > curve.value) | (ends[1] < curve.value)
    return None if outside.any() else ends


def _same_positions(curve: _Curve, other: _Curve) -> bool:
    return curve.along == other.along and curve.at.shape == other.at.shape and _equal(curve.at, other.at)


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(one, other, equal_nan=True)


def _at_same_positions(curves: Iterable[_Curve]) -> list[list[_Curve]]:
    groups: list[list[_Curve]] = []
    for curve in curves:
        group = next((group for group in groups if _same_positions(group[0], curve)), None)
        if group:
            group.append(curve)
        else:
            groups.append([curve])
    return groups


def _table(axes: Axes, curves: Sequence[_Curve]) -> dict[str, Any]:
    along, at = curves[0].along, curves[0].at
    across = "y" if along == "x" else "x"
    positions = {
        "header": _header(_axis_label(axes, along) or along),
        "values": _positions(at, _names(axes, along)),
    }
    header = _header(_axis_label(axes, across) or across)
    return {
        "independent_variables": [positions],
        "dependent_variables": [column for curve in curves for column in _columns(curve, header)],
    }


def _columns(curve: _Curve, header: dict[str, str]) -> Iterator[dict[str, Any]]:
    qualifiers = [{"name": "series", "value": curve.label}] if curve.label else []
    if curve.value is None:
        for end, values in (("lower", curve.low), ("upper", curve.high)):
            edge = {"name": "end of the band", "value": end}
            yield {"header": header, "qualifiers": [*qualifiers, edge], "values": _values(values)}
        return
    values = _values(curve.value)
    if curve.low is not None:
        errors = zip(_numbers(curve.value - curve.low), _numbers(curve.high - curve.value), strict=True)
        values = [value | _error(*error) for value, error in zip(values, errors, strict=True)]
    yield {"header": header, "qualifiers": qualifiers, "values": values}


def _error(minus: float | str, plus: float | str) -> dict[str, Any]:
    if "-" in (minus, plus):
        return {}
    error = {"symerror": plus} if minus == plus else {"asymerror": {"plus": plus, "minus": -minus}}
    return {"errors": [error]}


def _map(axes: Axes, artist: QuadMesh | AxesImage | PathCollection, figure: Figure) -> dict[str, Any]:
    if isinstance(artist, PathCollection):
        offsets = getattr(artist, "_offsets3d", None) or artist.get_offsets().T
        positions = [np.ma.filled(np.ma.asarray(column, np.float64), np.nan) for column in offsets]
    elif isinstance(artist, QuadMesh):
        positions = _mesh_positions(artist.get_coordinates())
    else:
        rows, columns = artist.get_array().shape[:2]
        left, right, bottom, top = artist.get_extent()
        ends = (bottom, top) if artist.origin == "lower" else (top, bottom)
        corners = np.meshgrid(np.linspace(left, right, columns + 1), np.linspace(*ends, rows + 1))
        positions = _mesh_positions(np.stack(corners, -1))
    values = np.ma.filled(np.ma.asarray(artist.get_array(), np.float64), np.nan).ravel()
    return {
        "independent_variables": [
            {"header": _header(_axis_label(axes, along) or along), "values": _positions(at)}
            for along, at in zip("xyz", positions, strict=False)
        ],
        "dependent_variables": [
            {"header": _header(_colour_label(artist, figure)), "qualifiers": [], "values": _values(values)}
        ],
    }


def _mesh_positions(corners: np.ndarray) -> list[np.ndarray]:
    """Bins along x and y of the cells of a grid, or their middles where they are askew.

    Parameters
    ----------
    corners
        Shape (M + 1, N + 1, 2).
    """
    x, y = corners[..., 0], corners[..., 1]
    if (x == x[:1]).all() and (y == y[:, :1]).all():
        rows, columns = len(y) - 1, x.shape[1] - 1
        x_bins = np.sort(np.column_stack([x[0, :-1], x[0, 1:]]))
        y_bins = np.sort(np.column_stack([y[:-1, 0], y[1:, 0]]))
        return [np.tile(x_bins, (rows, 1)), np.repeat(y_bins, columns, axis=0)]
    middles = (corners[:-1, :-1] + corners[:-1, 1:] + corners[1:, :-1] + corners[1:, 1:]) / 4
    return list(middles.reshape(-1, 2).T)


def _colour_label(artist: Any, figure: Figure) -> str:
    """Text of the colour scale of an artist, or of another one with the same scale."""
    if artist.colorbar is None:
        others = (other for axes in figure.axes for other in (*axes.collections, *axes.images))
        artist = next((other for other in others if other.norm is artist.norm and other.colorbar), artist)
    if artist.colorbar is None:
        return ""
    return artist.colorbar.ax.get_ylabel() or artist.colorbar.ax.get_xlabel()


def _axis_label(axes: Axes, along: str) -> str:
    """Label of an axis; where panels of a row or column share one text, that one."""
    own = getattr(axes, f"get_{along}label")()
    if own or axes.get_subplotspec() is None:
        return own
    side = "colspan" if along == "x" else "rowspan"
    place = getattr(axes.get_subplotspec(), side)
    in_line = (other for other in axes.figure.axes if other.get_subplotspec() is not None)
    labels = (
        getattr(other, f"get_{along}label")()
        for other in in_line
        if getattr(other.get_subplotspec(), side) == place
    )
    return next(filter(None, labels), "")


def _names(axes: Axes, along: str) -> dict[float, str]:
    """Positions of the ticks of an axis to their texts, if these are names rather than numbers."""
    axis = getattr(axes, f"{along}axis")
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return {}
    places = axis.get_majorticklocs()
    texts = axis.get_major_formatter().format_ticks(places)
    is_name = any(re.search(r"[^\W\d_]", text) and not text.startswith("$") for text in texts)
    return dict(zip(places.tolist(), texts, strict=True)) if is_name else {}


def _header(label: str) -> dict[str, str]:
    """Name and unit of a label `name [unit]`."""
    text = " ".join(label.split())
    found = re.fullmatch(r"(.+) \[(.+)\]", text)
    return {"name": found[1], "units": found[2]} if found else {"name": text}


def _positions(at: np.ndarray, names: dict[float, str] | None = None) -> list[dict[str, Any]]:
    if names:
        places, texts = np.array(list(names)), list(names.values())
        middles = at.mean(1) if at.ndim == 2 else at
        return [{"value": texts[np.abs(places - middle).argmin()]} for middle in middles]
    if at.ndim == 2:
        return [
            {"low": low, "high": high}
            for low, high in zip(_numbers(at[:, 0]), _numbers(at[:, 1]), strict=True)
        ]
    return _values(at)


def _values(values: np.ndarray) -> list[dict[str, Any]]:
    return [{"value": value} for value in _numbers(values)]


def _numbers(values: np.ndarray) -> list[float | str]:
    return [
        float(f"{value:.{_SIGNIFICANT_DIGITS}g}") if np.isfinite(value) else "-"
        for value in np.asarray(values, np.float64).tolist()
    ]
