"""Conditions as a network reads them off showers."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from caloforge.figures.comparison import Estimates, draw_estimates
from caloforge.figures.edges import linear_edges
from caloforge.figures.style import FULL_SIMULATION, GENERATED, axis_label, new_figure

BINS = 30
DEVIATIONS = 5
"""Histograms reach so many standard deviations of the full simulation to either side of its mean."""


def bias_and_resolution(
    bias: tuple[Estimates, Estimates],
    resolution: tuple[Estimates, Estimates],
    edges: np.ndarray,
    *,
    label: str,
    unit: str,
    log_x: bool,
) -> Figure:
    """Mean (top) and standard deviation (bottom) of reconstructed minus requested values.

    Parameters
    ----------
    bias, resolution
        Of full simulation and of generated showers, K values in `unit` each, one per range.
    edges
        Of the ranges of the requested value, shape (K + 1,).
    label, unit
        Of the value.
    log_x
        Logarithmic axis of the requested value.
    """
    figure = new_figure(5.2, 4.7)
    panels = figure.subplots(2, 1, sharex=True)
    for axes, pair, name in zip(panels, (bias, resolution), ("Bias", "Resolution"), strict=True):
        draw_estimates(axes, edges, *pair, log_x=log_x)
        axes.set_ylabel(axis_label(name, unit))
        axes.use_sticky_edges = False
        axes.margins(y=0.1)
    upper, lower = panels
    upper.axhline(0, color=FULL_SIMULATION, linestyle="--", linewidth=0.8)
    upper.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    lower.set_ylim(bottom=0)
    if log_x:
        lower.set_xscale("log")
        lower.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        lower.xaxis.set_major_formatter("{x:g}")
        lower.xaxis.set_minor_formatter(NullFormatter())
    lower.set_xlim(edges[0], edges[-1])
    lower.set_xlabel(axis_label(f"Requested {label}", unit))
    figure.align_ylabels()
    return figure


def energies(energies_GeV: Mapping[float, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Histograms of reconstructed energies, a panel for each requested energy.

    Parameters
    ----------
    energies_GeV
        Requested energy to the reconstructed ones of full simulation and of generated showers [GeV]; at least
        two showers each.
    """
    figure = new_figure(5.2, 0.4 + 2.3 * len(energies_GeV))
    panels = figure.subplots(len(energies_GeV), 1, squeeze=False)[:, 0]
    for axes, (requested_GeV, pair) in zip(panels, energies_GeV.items(), strict=True):
        _histograms(axes, *pair)
        axes.set_xlabel(axis_label(f"Reconstructed energy at {requested_GeV:g} GeV", "GeV"))
        axes.set_ylabel("Showers per bin")
    figure.align_ylabels()
    return figure


def _histograms(axes: Axes, full_GeV: np.ndarray, generated_GeV: np.ndarray) -> None:
    """Outlines on common bins, of which the outermost also hold the showers beyond them."""
    mean_GeV, reach_GeV = full_GeV.mean(), DEVIATIONS * full_GeV.std(ddof=1)
    edges_GeV = linear_edges(mean_GeV - reach_GeV, mean_GeV + reach_GeV, BINS)
    for name, colour, values_GeV in (
        ("Full simulation", FULL_SIMULATION, full_GeV),
        ("Generated", GENERATED, generated_GeV),
    ):
        counts = np.histogram(np.clip(values_GeV, edges_GeV[0], edges_GeV[-1]), edges_GeV)[0]
        label = f"{name}: mean {values_GeV.mean():#.4g} GeV, width {values_GeV.std(ddof=1):#.3g} GeV"
        axes.stairs(counts, edges_GeV, color=colour, label=label)
    axes.set_xlim(edges_GeV[0], edges_GeV[-1])
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
