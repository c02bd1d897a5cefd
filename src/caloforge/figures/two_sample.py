"""Classifiers of generated showers and full simulation: what they can tell, and by what."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from caloforge.figures.style import FULL_SIMULATION, GENERATED, new_figure
from caloforge.figures.views import draw_energies, side_by_side, small_multiples
from caloforge.geometry import Geometry

COLOURS = (GENERATED, "#0072B2", "#009E73", "#CC79A7")
"""Of the classifiers: distinct for every colour vision (M. Okabe, K. Ito, Color Universal Design, 2008)."""


class Curve(NamedTuple):
    """The ROC curve of a classifier.

    Attributes
    ----------
    misidentified
        Share of the full simulation that passes, for shares of the generated showers, shape (K,).
    area
        Under the curve: `value` and `error`.
    """

    misidentified: np.ndarray
    area: Mapping[str, float]


class Calibration(NamedTuple):
    """What became of showers that were given about the same probability of being generated.

    Attributes
    ----------
    predicted
        Mean probability, shape (any,).
    observed, error
        Share of generated showers and its error.
    """

    predicted: np.ndarray
    observed: np.ndarray
    error: np.ndarray


def roc_curves(kept: np.ndarray, curves: Mapping[str, tuple[Curve, Curve]]) -> Figure:
    """ROC curves of classifiers, with those of their floors.

    Parameters
    ----------
    kept
        Shares of the generated showers, shape (K,).
    curves
        Name of a classifier to its curve and that of its floor; four at most.
    """
    figure = new_figure(6, 6.4)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FULL_SIMULATION, linestyle=":", linewidth=0.8)
    dashed = {"color": FULL_SIMULATION, "linestyle": "--", "linewidth": 0.6, "alpha": 0.7}
    entries = {}
    for colour, (name, (generated, floor)) in zip(COLOURS, curves.items(), strict=False):
        axes.plot(kept, floor.misidentified, label=f"{_sentence(name)}, floor", **dashed)
        (line,) = axes.plot(kept, generated.misidentified, color=colour, label=_sentence(name))
        entries[f"{_sentence(name)}: {_measured(generated)} (floor {_measured(floor)})"] = line
    axes.legend(
        entries.values(),
        entries.keys(),
        title="Area under the curve",
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        alignment="left",
    )
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xlabel("Share of generated that passes")
    axes.set_ylabel("Share of full simulation that passes")
    return figure


def _measured(curve: Curve) -> str:
    return f"{curve.area['value']:.3f} ± {curve.area['error']:.3f}"


def _sentence(name: str) -> str:
    return name[0].upper() + name[1:]


def calibration(classifiers: Mapping[str, tuple[Calibration, Calibration]]) -> Figure:
    """Observed shares against predicted probabilities, a panel per classifier.

    Parameters
    ----------
    classifiers
        Name of a classifier to what its probabilities mean before and after calibration.
    """
    rows = -(-len(classifiers) // 2)
    figure = new_figure(6.8, 3.1 * rows + 0.6)
    grid = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(classifiers) :]:
        axes.remove()
    for axes, (name, (raw, calibrated)) in zip(grid.flat, classifiers.items(), strict=False):
        axes.plot([0, 1], [0, 1], color=FULL_SIMULATION, linestyle=":", linewidth=0.8)
        for found, label, style in (
            (raw, "Before calibration", {"color": FULL_SIMULATION, "markerfacecolor": "white"}),
            (calibrated, "After", {"color": GENERATED}),
        ):
            axes.errorbar(found.predicted, found.observed, found.error, fmt="o", label=label, **style)
        axes.set_title(_sentence(name), fontsize="medium")
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2)
    figure.supxlabel("Probability of being generated", fontsize="medium")
    figure.supylabel("Share of generated", fontsize="medium")
    return figure


def importances(labels: Sequence[str], falls: np.ndarray, errors: np.ndarray) -> Figure:
    """Importance of features, the first one on top.

    Parameters
    ----------
    labels
        Of the features.
    falls, errors
        Importance and its error, shape (number of features,).
    """
    figure = new_figure(7, 0.25 * len(labels) + 0.8)
    axes = figure.subplots()
    places = np.arange(len(labels))
    axes.errorbar(falls, places, xerr=errors, fmt="o", color=GENERATED)
    axes.axvline(0, color=FULL_SIMULATION, linestyle=":", linewidth=0.8)
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", which="both", length=0)
    axes.invert_yaxis()
    axes.set_ylabel("Observable")
    axes.set_xlabel("Fall of the area under the ROC curve")
    return figure


def surest(
    geometry: Geometry, energies_GeV: np.ndarray, samples: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> Figure:
    """Pairs of showers of the same primaries, each map of one above the same map of the other.

    Parameters
    ----------
    geometry
        Of rectangular cells or of rings.
    energies_GeV
        Incident energies [GeV], shape (n,).
    samples
        Name to energy per cell [MeV], shape (n, V), and scores, shape (n,).
    """
    scores = zip(*(of_sample for _, of_sample in samples.values()), strict=True)
    titles = [
        f"{energy_GeV:.3g} GeV\n" + ", ".join(f"{score:.3f}" for score in of_pair)
        for energy_GeV, of_pair in zip(energies_GeV, scores, strict=True)
    ]
    maps = {name: side_by_side(geometry, titles, showers) for name, (showers, _) in samples.items()}
    first = next(iter(maps.values()))
    rows = {
        "\n".join(filter(None, (seen, name))): of_sample[seen]
        for seen in first
        for name, of_sample in maps.items()
    }
    figure, grid = small_multiples(rows)
    draw_energies(figure, grid, rows, "Energy [MeV]")
    return figure
