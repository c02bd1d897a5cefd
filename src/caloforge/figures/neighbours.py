"""Nearest neighbours: how far they are, and what they look like."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from caloforge.figures.edges import is_wide, logarithmic_edges
from caloforge.figures.style import FULL_SIMULATION, GENERATED, MARKED, new_figure
from caloforge.figures.views import draw_energies, side_by_side, small_multiples
from caloforge.geometry import Geometry

BINS = 40


def distances(samples: Mapping[str, np.ndarray], close: float) -> Figure:
    """Distributions of the distances to the nearest training shower.

    Parameters
    ----------
    samples
        Name to the distances, shape (any,), at least one each; three samples at most, the first one filled.
    close
        The distance up to which a shower counts as close to the training set.
    """
    figure = new_figure(5.2, 4)
    axes = figure.subplots()
    everything = np.concatenate([*samples.values()])
    low, high = everything.min(), everything.max()
    edges = logarithmic_edges(low, high, BINS)
    styles = (
        {"color": FULL_SIMULATION, "fill": True, "alpha": 0.35},
        {"color": MARKED},
        {"color": GENERATED},
    )
    for style, (name, values) in zip(styles, samples.items(), strict=False):
        shares = np.histogram(values, edges)[0] / len(values)
        axes.stairs(shares, edges, label=f"{name} ({len(values):,} showers)", **style)
    axes.axvline(close, color=FULL_SIMULATION, linestyle="--")
    if is_wide(low, high):
        axes.set_xscale("log")
    else:
        axes.locator_params(axis="x", nbins=5)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("Distance to the nearest training shower / incident energy")
    axes.set_ylabel("Fraction of showers per bin")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    return figure


def pairs(
    geometry: Geometry,
    reference_MeV: np.ndarray,
    nearest_MeV: np.ndarray,
    energies_GeV: Sequence[tuple[float, float]],
) -> Figure:
    """Fully simulated showers, each map of one above the same map of its nearest generated neighbour.

    Parameters
    ----------
    geometry
        Of rectangular cells or of rings.
    reference_MeV, nearest_MeV
        Energy per cell [MeV], shape (n, V).
    energies_GeV
        Incident energies of each pair [GeV].
    """
    titles = [f"{full:.3g} GeV,\nnearest {fast:.3g} GeV" for full, fast in energies_GeV]
    maps = [side_by_side(geometry, titles, showers) for showers in (reference_MeV, nearest_MeV)]
    rows = {}
    for name, full in maps[0].items():
        for kind, row in (("Full sim.", full), ("Nearest", maps[1][name])):
            rows["\n".join(filter(None, (name, kind)))] = row
    figure, grid = small_multiples(rows)
    draw_energies(figure, grid, rows, "Energy [MeV]")
    return figure
