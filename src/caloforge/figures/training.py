"""How trainings went."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from caloforge.figures.style import FULL_SIMULATION, GENERATED, MARKED, new_figure

LOGARITHMIC_FROM = 30
"""Ratio of the largest to the smallest positive value from which an axis is logarithmic."""


def losses(epoch: np.ndarray, values: Mapping[str, np.ndarray]) -> Figure:
    """Losses against the epoch, each on its own scale.

    Parameters
    ----------
    epoch
        Shape (n,).
    values
        Name of a loss to its values, shape (n,); NaN in epochs without it.
    """
    figure = new_figure(5.2, 1 + 1.1 * len(values))
    panels = figure.subplots(len(values), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, loss) in zip(panels, values.items(), strict=True):
        known = np.isfinite(loss)
        axes.plot(epoch[known], loss[known], ".-", color=FULL_SIMULATION)
        axes.set_ylabel(name.replace("_", "\n").capitalize())
        _choose_scale(axes, loss[known])
    panels[-1].set_xlabel("Epoch")
    figure.align_ylabels()
    return figure


def validation(epoch: np.ndarray, metric: np.ndarray) -> Figure:
    """The validation score (lower is better) against the epoch, with the best one marked.

    Parameters
    ----------
    epoch, metric
        Shape (n,), n > 0.
    """
    best = np.argmin(metric)
    figure = new_figure(5.2, 3)
    axes = figure.subplots()
    axes.plot(epoch, metric, ".-", color=FULL_SIMULATION)
    axes.plot(epoch[best], metric[best], "o", color=MARKED, label=f"Best: epoch {epoch[best]:.0f}")
    _choose_scale(axes, metric)
    axes.set_xlabel("Epoch")
    axes.set_ylabel("Validation score")
    axes.legend()
    return figure


def frechet(
    epoch: np.ndarray,
    generated: Mapping[str, np.ndarray],
    fast: Mapping[str, float | None],
    floor: Mapping[str, float | None],
) -> Figure:
    """Fréchet distances from the full simulation against the epoch.

    Parameters
    ----------
    epoch
        Shape (n,), n > 0.
    generated
        What is compared to the distance of generated events, shape (n,), NaN where undefined.
    fast, floor
        What is compared to the distance of the fast simulation and of independent events of the full one.
    """
    figure = new_figure(5.2, 0.8 + 2.2 * len(generated))
    panels = figure.subplots(len(generated), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, values) in zip(panels, generated.items(), strict=True):
        known = np.isfinite(values)
        shown = [*values[known]]
        for constant, colour, label in (
            (fast[name], MARKED, "Fast simulation"),
            (floor[name], FULL_SIMULATION, "Floor"),
        ):
            if constant is not None:
                axes.axhline(constant, color=colour, linestyle="--", label=label)
                shown.append(constant)
        axes.plot(epoch[known], values[known], ".-", color=GENERATED, label="Generated")
        _choose_scale(axes, np.array(shown))
        axes.set_ylabel(f"Fréchet distance\nof {name}")
    panels[0].legend()
    panels[-1].set_xlabel("Epoch")
    figure.align_ylabels()
    return figure


def _choose_scale(axes: Axes, values: np.ndarray) -> None:
    lowest = values.min(initial=np.inf)
    if lowest > 0 and values.max(initial=0) > LOGARITHMIC_FROM * lowest:
        axes.set_yscale("log")
