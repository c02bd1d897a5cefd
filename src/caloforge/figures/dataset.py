"""What a data set holds: energies, conditions, hits."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from caloforge.figures.edges import is_wide
from caloforge.figures.style import FULL_SIMULATION, MARKED, axis_label, logarithmic_x, new_figure
from caloforge.geometry import Geometry

MOST_BINS = 40
FULL, FAST = "Full simulation", "Fast simulation"
"""Names of the two simulations of paired data sets."""
_COLOURS = {FULL: FULL_SIMULATION, FAST: MARKED}


class Histogram(NamedTuple):
    """Entries per bin, shape (K,); bin edges, shape (K + 1,), in `unit`."""

    counts: np.ndarray
    edges: np.ndarray
    unit: str


def energy_spectrum(n: np.ndarray, edges_GeV: np.ndarray, *, label: str, events: str) -> Figure:
    """Number of events per GeV, so that a uniform spectrum is flat whatever the bins are.

    Parameters
    ----------
    n
        Events per range of energy, shape (K,), not all zero.
    edges_GeV
        Edges of the ranges, shape (K + 1,).
    label, events
        What energy, and what is counted.
    """
    figure, axes = _single()
    width_GeV = np.diff(edges_GeV)
    density = n / width_GeV
    axes.stairs(density, edges_GeV, fill=True, color=FULL_SIMULATION, alpha=0.25)
    axes.stairs(density, edges_GeV, color=FULL_SIMULATION)
    axes.errorbar(_centres(edges_GeV), density, np.sqrt(n) / width_GeV, fmt="none", color=FULL_SIMULATION)
    _show_energies(axes, edges_GeV, label)
    lowest, highest = density[n > 0].min(), density.max()
    if is_wide(lowest, highest):
        axes.set_yscale("log")
        axes.set_ylim(lowest / 3, highest * 3)
    else:
        axes.set_ylim(0, 1.4 * highest)
    axes.set_ylabel(f"{events.capitalize()} per GeV")
    return figure


def response(
    mean: np.ndarray,
    spread: np.ndarray,
    n: np.ndarray,
    edges_GeV: np.ndarray,
    *,
    label: str,
    energy_label: str,
) -> Figure:
    """A ratio of energies against energy: its mean with error, and one standard deviation around it.

    Parameters
    ----------
    mean, spread, n
        Mean, standard deviation and number of events per range of energy, shape (K,). Ranges with fewer than
        two events are left out.
    edges_GeV
        Edges of the ranges [GeV], shape (K + 1,).
    label, energy_label
        Of the ratio and of the energy.
    """
    figure, axes = _single()
    known = n > 1
    mean, spread, error = (
        np.where(known, values, np.nan) for values in (mean, spread, spread / np.sqrt(np.maximum(n, 1)))
    )
    axes.stairs(
        mean + spread,
        edges_GeV,
        baseline=mean - spread,
        fill=True,
        color=FULL_SIMULATION,
        alpha=0.25,
        linewidth=0,
        label="± standard deviation",
    )
    axes.errorbar(
        _centres(edges_GeV), mean, error, fmt="o", color=FULL_SIMULATION, label="Mean with its error"
    )
    _show_energies(axes, edges_GeV, energy_label)
    axes.set_ylabel(label)
    axes.legend()
    return figure


def distributions(histograms: Mapping[str, Histogram]) -> Figure:
    """Small multiples of the distributions of some quantities.

    Parameters
    ----------
    histograms
        By the name of the quantity, at least one.
    """
    n_columns = min(len(histograms), 2)
    n_rows = -(-len(histograms) // n_columns)
    figure = new_figure(5.2, 2.1 * n_rows + 0.6)
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for axes in grid.flat[len(histograms) :]:
        axes.remove()
    for axes, (name, histogram) in zip(grid.flat, histograms.items(), strict=False):
        axes.stairs(histogram.counts, histogram.edges, fill=True, color=FULL_SIMULATION, alpha=0.25)
        axes.stairs(histogram.counts, histogram.edges, color=FULL_SIMULATION)
        axes.set_xlim(histogram.edges[0], histogram.edges[-1])
        axes.set_ylim(bottom=0)
        axes.set_xlabel(axis_label(name, histogram.unit))
    for axes in grid[:, 0]:
        axes.set_ylabel("Showers per bin")
    return figure


def occupancy(showers: Mapping[str, np.ndarray], *, events: str) -> Figure:
    """How many cells a shower hits, as a share of all cells.

    Parameters
    ----------
    showers
        Name of a simulation to the number of its showers with 0, 1, … V hit cells, shape (V + 1,).
    events
        What a shower is called.
    """
    figure, axes = _single()
    hit = np.flatnonzero(sum(showers.values()))
    width = 1 + np.ptp(hit) // MOST_BINS
    edges = np.arange(hit[0], hit[-1] + width + 1, width) - 0.5
    for name, counts in showers.items():
        n_cells = len(counts) - 1
        per_bin, _ = np.histogram(np.arange(n_cells + 1), edges, weights=counts)
        axes.stairs(per_bin, 100 * edges / n_cells, label=name, color=_COLOURS[name])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(axis_label("Cells above the readout threshold", "%"))
    axes.set_ylabel(f"{events.capitalize()} per bin")
    if len(showers) > 1:
        axes.legend()
    return figure


def cell_energies(
    spectra: Mapping[str, np.ndarray],
    edges_MeV: np.ndarray,
    n: int,
    *,
    readout_threshold_MeV: float,
    events: str,
) -> Figure:
    """Spectrum of the energies of single cells on logarithmic axes, with the readout threshold marked.

    Parameters
    ----------
    spectra
        Name of a simulation to its cells per range of energy, shape (K,).
    edges_MeV
        Edges of the ranges, equal in the logarithm [MeV], shape (K + 1,).
    n
        Number of events.
    readout_threshold_MeV
        Where to mark it [MeV].
    events
        What an event is called.
    """
    figure, axes = _single()
    filled = np.flatnonzero(sum(spectra.values()))
    first, last = (filled[0], filled[-1]) if len(filled) else (0, 0)
    for name, counts in spectra.items():
        axes.stairs(
            counts[first : last + 1] / n,
            edges_MeV[first : last + 2],
            label=name if len(spectra) > 1 else None,
            color=_COLOURS[name],
        )
    axes.axvline(readout_threshold_MeV, color=FULL_SIMULATION, linestyle="--", label="Readout threshold")
    axes.set_xscale("log")
    if len(filled):
        axes.set_yscale("log")
    axes.set_xlabel(axis_label("Energy of a cell", "MeV"))
    axes.set_ylabel(f"Cells per {events.removesuffix('s')} and bin")
    axes.legend()
    return figure


def longitudinal_profile(
    energy_MeV: np.ndarray,
    n: np.ndarray,
    edges_GeV: np.ndarray,
    geometry: Geometry,
    *,
    energy_label: str,
    events: str,
) -> Figure:
    """Share of the visible energy per depth, in ranges of the incident energy.

    The depth is in radiation lengths, millimetres or layers, whichever the geometry tells first.

    Parameters
    ----------
    energy_MeV
        Energy of all showers of a range in a layer [MeV], shape (K, layers). Ranges without any are left
        out; one at least has some.
    n
        Number of showers per range, shape (K,).
    edges_GeV
        Edges of the ranges [GeV], shape (K + 1,).
    geometry
        Of the layers.
    energy_label, events
        What the ranges are of, and what is counted.
    """
    figure, axes = _single()
    depth, depth_unit = geometry.depth_axis()
    unit = depth_unit.replace("X0", "X₀")
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(n)))
    for number, (low, high) in enumerate(pairwise(edges_GeV)):
        total_MeV = energy_MeV[number].sum()
        if total_MeV:
            share = energy_MeV[number] / total_MeV / np.diff(depth)
            name = f"{low:.3g} to {high:.3g} GeV ({n[number]:,} {events})"
            axes.stairs(share, depth, color=colours[number], label=name)
    axes.set_xlim(depth[0], depth[-1])
    axes.set_ylim(0, 1.5 * axes.get_ylim()[1])
    axes.set_xlabel("Layer" if unit == "layer" else f"Depth [{unit}]")
    axes.set_ylabel(f"Share of the visible energy per {unit}")
    axes.legend(title=energy_label)
    return figure


def _single() -> tuple[Figure, Axes]:
    figure = new_figure(5.2, 3.4)
    return figure, figure.subplots()


def _is_logarithmic(edges: np.ndarray) -> bool:
    return not np.isclose(edges[1] - edges[0], edges[-1] - edges[-2])


def _centres(edges: np.ndarray) -> np.ndarray:
    low, high = edges[:-1], edges[1:]
    return np.sqrt(low * high) if _is_logarithmic(edges) else (low + high) / 2


def _show_energies(axes: Axes, edges_GeV: np.ndarray, label: str) -> None:
    """Label the x axis, logarithmic if the bins are."""
    if _is_logarithmic(edges_GeV):
        logarithmic_x(axes, edges_GeV[0], edges_GeV[-1])
    axes.set_xlim(edges_GeV[0], edges_GeV[-1])
    axes.set_xlabel(axis_label(label, "GeV"))
