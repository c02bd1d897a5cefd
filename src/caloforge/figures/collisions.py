"""Collisions in the full, the fast and the generated simulation: distributions, events, matched jets."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from caloforge.figures.comparison import Estimates, draw_line, draw_points, draw_ratios, legend_above
from caloforge.figures.layers import AXIS_LABELS, draw_layer, energy_norm
from caloforge.figures.showers import RATIO_COLOURS, RATIO_RANGE, quotient, ratio_colorbar
from caloforge.figures.style import FULL_SIMULATION, GENERATED, MARKED, axis_label, logarithmic_x, new_figure
from caloforge.geometry import EtaPhiLayer


class Simulations(NamedTuple):
    """Something about each of three samples of the same events."""

    full: Any
    fast: Any
    generated: Any


NAMES = Simulations("Full simulation", "Fast simulation", "Generated")
_JET_STYLES = ("-", "--")
"""Of the circles around the first and the second jet."""


class Panel(NamedTuple):
    """A quantity in three simulations.

    Attributes
    ----------
    x
        Bin edges, shape (K + 1,).
    values
        Estimates of each simulation, K values.
    legend, note
        A text for each simulation, and one below them.
    x_label, y_label
        Of the axes, with units.
    log_x
        Whether the axis is logarithmic.
    """

    x: np.ndarray
    values: Simulations
    legend: Simulations
    note: str
    x_label: str
    y_label: str
    log_x: bool


def distributions(panels: Sequence[Panel]) -> Figure:
    """The three simulations in panels side by side, and below the ratios of both others to the full one."""
    figure = new_figure(4.6 * len(panels) + 0.6, 5.1)
    uppers, lowers = figure.subplots(2, len(panels), sharex="col", height_ratios=(3, 1), squeeze=False)
    figure.get_layout_engine().set(hspace=0, h_pad=0.02)
    for upper, lower, panel in zip(uppers, lowers, panels, strict=True):
        _draw(upper, panel)
        draw_ratios(
            lower,
            panel.x,
            panel.values.full,
            {MARKED: panel.values.fast, GENERATED: panel.values.generated},
            log_x=panel.log_x,
        )
        lower.set_xlabel(panel.x_label)
    uppers[0].set_ylabel(panels[0].y_label)
    lowers[0].set_ylabel("Ratio to\nfull sim.")
    figure.align_ylabels()
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    full, fast, generated = panel.values
    axes.stairs(full.value, panel.x, fill=True, color=FULL_SIMULATION, alpha=0.25)
    draw_line(axes, panel.x, full, FULL_SIMULATION, panel.legend.full)
    draw_line(axes, panel.x, fast, MARKED, panel.legend.fast)
    draw_points(axes, panel.x, generated, GENERATED, panel.legend.generated, log_x=panel.log_x)
    if panel.note:
        axes.errorbar([], [], linestyle="none", label=panel.note)
    if panel.log_x:
        logarithmic_x(axes, panel.x[0], panel.x[-1])
    axes.set_xlim(panel.x[0], panel.x[-1])
    axes.set_ylim(bottom=0)
    legend_above(axes)


def event(images_GeV: Simulations, jets: Simulations, layer: EtaPhiLayer, radius: float) -> Figure:
    """One event in each simulation, with circles around its jets.

    Parameters
    ----------
    images_GeV
        Energy per tower [GeV], shape (V,), of each simulation.
    jets
        pT [GeV], η and φ of the two leading jets of each simulation, shape (2, 3); NaN where there is none.
    layer
        Of the towers.
    radius
        Of the circles, in η and φ.
    """
    figure = new_figure(9.6, 3.6)
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    norm = energy_norm(np.stack(images_GeV))
    for axes, name, image, found in zip(panels, NAMES, images_GeV, jets, strict=True):
        drawn = draw_layer(axes, image, layer, norm)
        for jet, style in zip(found, _JET_STYLES, strict=True):
            _circle(axes, *jet[1:], radius, style)
        momenta = ", ".join(f"{pt_GeV:.0f} GeV" for pt_GeV, _, _ in found if np.isfinite(pt_GeV))
        axes.set_title(f"{name}\n{f'jets: {momenta}' if momenta else 'no jets'}")
    _show_coordinates(panels, layer)
    figure.colorbar(drawn, ax=panels.tolist(), label="Energy per tower [GeV]")
    return figure


def _circle(axes: Axes, eta: float, phi: float, radius: float, style: str) -> None:
    """A circle in η and φ, which goes on at the other end of φ; nothing where a coordinate is NaN."""
    if np.isnan(eta) or np.isnan(phi):
        return
    for turn in (-2 * np.pi, 0, 2 * np.pi):
        axes.add_patch(Circle((eta, phi + turn), radius, fill=False, edgecolor=GENERATED, linestyle=style))


def _show_coordinates(panels: Sequence[Axes], layer: EtaPhiLayer) -> None:
    x_label, y_label = AXIS_LABELS[layer.kind]
    for axes in panels:
        axes.set_aspect("equal")
        axes.set_xlim(*layer.edges(0)[[0, -1]])
        axes.set_ylim(*layer.edges(1)[[0, -1]])
        axes.set_xlabel(x_label)
    panels[0].set_ylabel(y_label)


def average_images(means_GeV: Simulations, layer: EtaPhiLayer) -> Figure:
    """The mean image of each simulation, and below the ratios of both others to the full one.

    Parameters
    ----------
    means_GeV
        Mean energy per tower [GeV], shape (V,), of each simulation.
    layer
        Of the towers.
    """
    figure = new_figure(9.6, 6.4)
    upper, lower = figure.subplots(2, 3, sharex=True, sharey=True)
    norm = energy_norm(np.stack(means_GeV))
    for axes, name, mean_GeV in zip(upper, NAMES, means_GeV, strict=True):
        drawn = draw_layer(axes, mean_GeV, layer, norm)
        axes.set_title(name)
    figure.colorbar(drawn, ax=upper.tolist(), label="Mean energy per tower [GeV]")
    lower[0].remove()
    upper[0].tick_params(labelbottom=True)
    lower[1].tick_params(labelleft=True)
    for axes, name, mean_GeV in zip(lower[1:], NAMES[1:], means_GeV[1:], strict=True):
        ratio = quotient(means_GeV.full, mean_GeV)
        drawn = draw_layer(axes, ratio, layer, LogNorm(*RATIO_RANGE), RATIO_COLOURS)
        axes.set_title(f"{name}\nover full simulation")
    ratio_colorbar(figure, drawn, lower[1:].tolist(), "Ratio to full simulation")
    _show_coordinates(upper, layer)
    _show_coordinates(lower[1:], layer)
    return figure


def matched_jets(edges_GeV: np.ndarray, quantities: Mapping[str, tuple[Estimates, Estimates]]) -> Figure:
    """What becomes of jets of the full simulation in the two others, against their pT.

    Parameters
    ----------
    edges_GeV
        Edges of the ranges of pT, above zero [GeV], shape (K + 1,).
    quantities
        Label to K values of the fast and of the generated simulation.
    """
    figure = new_figure(5.2, 0.8 + 1.9 * len(quantities))
    panels = figure.subplots(len(quantities), 1, sharex=True)
    for axes, (label, (fast, generated)) in zip(panels, quantities.items(), strict=True):
        draw_points(axes, edges_GeV, fast, MARKED, NAMES.fast, log_x=True)
        draw_points(axes, edges_GeV, generated, GENERATED, NAMES.generated, log_x=True)
        axes.set_ylabel(label)
    legend_above(panels[0])
    logarithmic_x(axes, edges_GeV[0], edges_GeV[-1])
    axes.set_xlim(edges_GeV[0], edges_GeV[-1])
    axes.set_xlabel(axis_label("pT of the jet in the full simulation", "GeV"))
    figure.align_ylabels()
    return figure
