"""Showers in a regular grid of cells: shapes at several energies, cells in the core, similarity."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from caloforge.figures.comparison import Estimates
from caloforge.figures.edges import linear_edges
from caloforge.figures.style import FULL_SIMULATION, GENERATED, MARKED, axis_label, new_figure

BINS = 25
LEAST_RANGE = 1e-6
"""Numbers closer than that are drawn as equal."""
MARKERS = "osD^v"


def longitudinal_shapes(
    shapes: Mapping[str, tuple[Estimates, Estimates]], edges: np.ndarray, *, x_label: str, x_unit: str
) -> Figure:
    """Mean energy per layer at several energies.

    Parameters
    ----------
    shapes
        Energy of the primaries to full simulation and generated showers, K values in MeV each.
    edges
        Of the layers, in `x_unit`, shape (K + 1,).
    x_label, x_unit
        Of the depth.
    """
    figure = new_figure(5.2, 4)
    axes = figure.subplots()
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(shapes)))
    centres = (edges[:-1] + edges[1:]) / 2
    for colour, marker, (name, (full, fast)) in zip(colours, cycle(MARKERS), shapes.items(), strict=False):
        axes.stairs(full.value, edges, baseline=None, color=colour)
        axes.stairs(
            full.value + full.error,
            edges,
            baseline=full.value - full.error,
            fill=True,
            color=colour,
            alpha=0.3,
            linewidth=0,
        )
        label = f"{name} ({full.n:,} and {fast.n:,} showers)"
        axes.errorbar(centres, fast.value, fast.error, fmt=marker, color=colour, label=label)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(axis_label(x_label, x_unit))
    axes.set_ylabel(axis_label("Mean energy per layer", "MeV"))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    return figure


def core_response(ratios: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Histograms over cells of the ratio of mean energies (left) and of standard deviations (right).

    Parameters
    ----------
    ratios
        Name of a sample to both ratios to the full simulation, shape (cells,); NaN where undefined.
    """
    figure = new_figure(8, 3.4)
    panels = figure.subplots(1, 2)
    for number, (axes, quantity) in enumerate(
        zip(panels, ("Mean energy", "Standard deviation of the energy"), strict=True)
    ):
        known = {name: pair[number][np.isfinite(pair[number])] for name, pair in ratios.items()}
        named = {f"{name}: mean {values.mean():.3f}": values for name, values in known.items()}
        _histograms(axes, named, (GENERATED, FULL_SIMULATION))
        axes.axvline(1, color=FULL_SIMULATION, linestyle="--")
        axes.set_xlabel(f"{quantity} of a cell,\nratio to full simulation")
        axes.set_ylabel("Cells per bin")
    return figure


def similarity(similarities: Mapping[str, np.ndarray]) -> Figure:
    """Histograms of the structural similarity of pairs.

    Parameters
    ----------
    similarities
        Kind of pair to the values, shape (pairs,), at least two pairs; at most three kinds.
    """
    figure = new_figure(5.2, 3.8)
    axes = figure.subplots()
    named = {}
    for name, values in similarities.items():
        error = values.std(ddof=1) / np.sqrt(len(values))
        named[f"{name}: mean {values.mean():.4f} ± {error:.4f}"] = values
    _histograms(axes, named, (FULL_SIMULATION, GENERATED, MARKED))
    axes.set_xlabel("Structural similarity (SSIM)")
    axes.set_ylabel("Pairs per bin")
    return figure


def _histograms(axes: Axes, samples: Mapping[str, np.ndarray], colours: Sequence[str]) -> None:
    """Outlines on common bins."""
    everything = np.concatenate([*samples.values()])
    low, high = everything.min(), everything.max()
    edges = linear_edges(low, high, BINS) if high - low > LEAST_RANGE else linear_edges(low, low, BINS)
    for colour, (name, values) in zip(colours, samples.items(), strict=True):
        axes.stairs(np.histogram(values, edges)[0], edges, color=colour, label=name)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
