"""Time that generation takes."""

from collections.abc import Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from caloforge.figures.style import FULL_SIMULATION, GENERATED, MARKED, new_figure

COLOURS = (GENERATED, MARKED, "#009E73", "#CC79A7")
"""Distinct for every colour vision, as those of `style`."""
MARKERS = "osD^"


class Line(NamedTuple):
    """Times of one device or of several that share the work.

    Attributes
    ----------
    label
        For the legend.
    batch_size
        Shape (n,).
    median_ms, low_ms, high_ms
        Time per shower [ms] and the ends of its spread, shape (n,).
    """

    label: str
    batch_size: np.ndarray
    median_ms: np.ndarray
    low_ms: np.ndarray
    high_ms: np.ndarray


def time_per_shower(lines: Sequence[Line], full_simulation_ms: float | None) -> Figure:
    """Time per shower against the batch size, both logarithmic, with a band for the spread.

    Parameters
    ----------
    lines
        One for each device.
    full_simulation_ms
        CPU time per event of Geant4 [ms], drawn across; None where it is not known.
    """
    figure = new_figure(5.2, 3.6)
    axes = figure.subplots()
    for line, colour, marker in zip(lines, cycle(COLOURS), cycle(MARKERS), strict=False):
        axes.plot(line.batch_size, line.median_ms, marker=marker, color=colour, label=line.label)
        axes.fill_between(line.batch_size, line.low_ms, line.high_ms, color=colour, alpha=0.25, linewidth=0)
    if full_simulation_ms is not None:
        axes.axhline(full_simulation_ms, linestyle="--", color=FULL_SIMULATION, label="Geant4 (CPU time)")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    sizes = np.unique(np.concatenate([line.batch_size for line in lines]))
    axes.set_xticks(sizes, labels=[str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("Batch size [showers]")
    axes.set_ylabel("Time per shower [ms]")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, ncols=2)
    return figure
