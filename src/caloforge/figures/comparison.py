"""Full simulation against generated showers, with their ratio below."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from caloforge.figures.style import FULL_SIMULATION, GENERATED, axis_label, logarithmic_x, new_figure

SMALLEST_RATIO_RANGE, LARGEST_RATIO_RANGE = 0.1, 1.0
"""The ratio is drawn from 1 - range to 1 + range; arrows stand for points beyond."""


@dataclass(frozen=True)
class Estimates:
    """Numbers with their statistical errors, from n showers; NaN where there is none.

    Attributes
    ----------
    value, error
        Shape (K,), in the same unit.
    n
        Number of showers.
    """

    value: np.ndarray
    error: np.ndarray
    n: int


def distribution(
    reference: np.ndarray, generated: np.ndarray, edges: np.ndarray, *, label: str, unit: str, log: bool
) -> Figure:
    """Histograms of one observable as fractions of the showers, with Poisson errors.

    Parameters
    ----------
    reference, generated
        One value per shower, shape (n,) and (m,), in `unit`; NaN where undefined.
    edges
        Bin edges, shape (K + 1,). The first and the last bin take what lies beyond them too.
    label, unit
        Of the observable.
    log
        Logarithmic axis.
    """
    figure, upper, lower = _axes()
    full, fast = _fractions(reference, edges), _fractions(generated, edges)
    upper.stairs(full.value, edges, fill=True, color=FULL_SIMULATION, alpha=0.25)
    _compare(upper, lower, edges, full, fast, log_x=log)
    if log:
        logarithmic_x(upper, edges[0], edges[-1])
    upper.set_ylim(bottom=0)
    upper.set_ylabel("Fraction of showers per bin")
    lower.set_xlabel(axis_label(label, unit))
    upper.set_xlim(edges[0], edges[-1])
    return figure


def profile(
    reference: Estimates,
    generated: Estimates,
    x: np.ndarray,
    *,
    x_label: str,
    x_unit: str,
    label: str,
    unit: str,
    log_x: bool = False,
    log_y: bool = False,
) -> Figure:
    """A quantity against another, with its statistical errors.

    Parameters
    ----------
    reference, generated
        K values in `unit`.
    x
        K positions or K + 1 bin edges, in `x_unit`.
    x_label, x_unit, label, unit
        Of the axes.
    log_x, log_y
        Logarithmic axes.
    """
    figure, upper, lower = _axes()
    _compare(upper, lower, x, reference, generated, log_x=log_x)
    if log_x:
        upper.set_xscale("log")
    if log_y:
        values = np.concatenate([reference.value, generated.value])
        upper.set_yscale("log")
        upper.set_ylim(bottom=values[values > 0].min(initial=1) / 2)
    upper.set_ylabel(axis_label(label, unit))
    lower.set_xlabel(axis_label(x_label, x_unit))
    upper.set_xlim(x[0], x[-1])
    return figure


def _fractions(values: np.ndarray, edges: np.ndarray) -> Estimates:
    values = values[np.isfinite(values)].astype(np.float64)
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    n = len(values)
    return Estimates(counts / max(n, 1), np.sqrt(counts) / max(n, 1), n)


def _axes() -> tuple[Figure, Axes, Axes]:
    figure = new_figure(5.2, 4.7)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    figure.get_layout_engine().set(hspace=0, h_pad=0.02)
    figure.align_ylabels()
    return figure, upper, lower


def draw_estimates(
    axes: Axes, x: np.ndarray, reference: Estimates, generated: Estimates, *, log_x: bool
) -> None:
    """Full simulation as a line with a band, generated showers as points.

    Parameters
    ----------
    axes
        To draw on, with labels for a legend.
    x
        K positions or K + 1 bin edges.
    reference, generated
        K values in the same unit.
    log_x
        Whether the axis will be logarithmic: points are in the geometric middle of bins.
    """
    draw_line(axes, x, reference, FULL_SIMULATION, _legend("Full simulation", reference.n))
    draw_points(axes, x, generated, GENERATED, _legend("Generated", generated.n), log_x=log_x)


def draw_line(axes: Axes, x: np.ndarray, estimates: Estimates, colour: str, label: str) -> None:
    """A line with a band; `x` as for `draw_estimates`."""
    if _is_binned(x, estimates):
        axes.stairs(estimates.value, x, baseline=None, color=colour, label=label)
    else:
        axes.plot(x, estimates.value, color=colour, label=label)
    _band(axes, x, estimates.value - estimates.error, estimates.value + estimates.error, colour)


def draw_points(
    axes: Axes, x: np.ndarray, estimates: Estimates, colour: str, label: str | None = None, *, log_x: bool
) -> None:
    """Points with error bars; `x` and `log_x` as for `draw_estimates`."""
    axes.errorbar(
        _centres(x, estimates, log_x), estimates.value, estimates.error, fmt="o", color=colour, label=label
    )


def _compare(
    upper: Axes, lower: Axes, x: np.ndarray, reference: Estimates, generated: Estimates, *, log_x: bool
) -> None:
    draw_estimates(upper, x, reference, generated, log_x=log_x)
    legend_above(upper)
    draw_ratios(lower, x, reference, {GENERATED: generated}, log_x=log_x)
    lower.set_ylabel("Generated /\nfull sim.")


def legend_above(axes: Axes) -> None:
    """The legend on top of a panel, where it hides nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)


def draw_ratios(
    axes: Axes, x: np.ndarray, reference: Estimates, others: Mapping[str, Estimates], *, log_x: bool
) -> None:
    """Other samples over the full simulation, as points around a band.

    Parameters
    ----------
    axes, x, reference, log_x
        As for `draw_estimates`.
    others
        Colour to K values.
    """
    centres = _centres(x, reference, log_x)
    known = np.where(reference.value > 0, reference.value, np.nan)
    ratios = {
        colour: Estimates(other.value / known, other.error / known, other.n)
        for colour, other in others.items()
    }
    distances = np.concatenate([np.abs(ratio.value - 1) + ratio.error for ratio in ratios.values()])
    half = np.clip(1.2 * np.nanmax(distances, initial=0), SMALLEST_RATIO_RANGE, LARGEST_RATIO_RANGE)
    _band(axes, x, 1 - reference.error / known, 1 + reference.error / known, FULL_SIMULATION)
    axes.axhline(1, color=FULL_SIMULATION)
    for colour, ratio in ratios.items():
        draw_points(axes, x, ratio, colour, log_x=log_x)
        for beyond, edge, marker in (
            (ratio.value > 1 + half, 1 + half, "^"),
            (ratio.value < 1 - half, 1 - half, "v"),
        ):
            if beyond.any():
                axes.plot(centres[beyond], np.full(beyond.sum(), edge), marker, color=colour, clip_on=False)
    axes.set_ylim(1 - half, 1 + half)


def _is_binned(x: np.ndarray, estimates: Estimates) -> bool:
    return len(x) == len(estimates.value) + 1


def _centres(x: np.ndarray, estimates: Estimates, log_x: bool) -> np.ndarray:
    if not _is_binned(x, estimates):
        return x
    return np.sqrt(x[:-1] * x[1:]) if log_x else (x[:-1] + x[1:]) / 2


def _band(axes: Axes, x: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str) -> None:
    style = {"color": colour, "alpha": 0.4, "linewidth": 0}
    if len(x) == len(low) + 1:
        axes.stairs(high, x, baseline=low, fill=True, **style)
    else:
        axes.fill_between(x, low, high, **style)


def _legend(name: str, n: int) -> str:
    return f"{name} ({n:,} showers)"
