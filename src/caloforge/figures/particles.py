"""How well classifiers tell two particle types apart."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from caloforge.figures.style import FULL_SIMULATION, GENERATED, new_figure


class RocCurve(NamedTuple):
    """A classifier that was trained on one sample and tested on one.

    Attributes
    ----------
    trained_on_generated, tested_on_generated
        Whether on generated showers; else on the full simulation.
    misidentified
        Share of the second type that passes at each efficiency for the first, shape (K,).
    auc, error
        Area under the curve of the efficiency against the misidentified share.
    """

    trained_on_generated: bool
    tested_on_generated: bool
    misidentified: np.ndarray
    auc: float
    error: float


def roc_curves(
    efficiency: np.ndarray, curves: Mapping[str, Sequence[RocCurve]], particles: tuple[str, str]
) -> Figure:
    """Misidentification of one particle type against the efficiency for another, a panel per classifier.

    Parameters
    ----------
    efficiency
        For the first type, shape (K,).
    curves
        What a classifier looks at, to its curves.
    particles
        Names of the first and of the second type.
    """
    first, second = particles
    figure = new_figure(4.6 * len(curves), 5.2)
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axes, (looks_at, of_samples) in zip(panels, curves.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=FULL_SIMULATION, linestyle=":", linewidth=0.8)
        for curve in of_samples:
            axes.plot(
                efficiency,
                curve.misidentified,
                color=GENERATED if curve.trained_on_generated else FULL_SIMULATION,
                linestyle="--" if curve.tested_on_generated else "-",
                label=f"{_sample(curve.trained_on_generated)} → {_sample(curve.tested_on_generated)}: "
                f"{curve.auc:.3f} ± {curve.error:.3f}",
            )
        axes.legend(
            title=f"By {looks_at}, trained on → tested on: AUC",
            loc="lower left",
            bbox_to_anchor=(0, 1),
            borderaxespad=0.2,
            alignment="left",
        )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel(f"Efficiency for {first}")
    panels[0].set_ylabel(f"Share of {second} taken for {first}")
    return figure


def _sample(generated: bool) -> str:
    return "generated" if generated else "full simulation"
