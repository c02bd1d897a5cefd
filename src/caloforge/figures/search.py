"""How a search for hyper-parameters went."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from caloforge.figures.edges import is_wide
from caloforge.figures.style import FULL_SIMULATION, GENERATED, MARKED, new_figure

COLUMNS = 3
"""Panels side by side."""


class Objectives(NamedTuple):
    """What trials reached.

    Attributes
    ----------
    label
        Of the objective.
    value, error
        Shape (trials,); NaN for trials that were not completed, and for no error.
    better
        `np.minimum` or `np.maximum`.
    """

    label: str
    value: np.ndarray
    error: np.ndarray
    better: Callable

    @property
    def is_complete(self) -> np.ndarray:
        """Which trials were completed, shape (trials,)."""
        return np.isfinite(self.value)

    @property
    def best(self) -> int:
        """Number of the best trial."""
        return int((np.nanargmin if self.better is np.minimum else np.nanargmax)(self.value))


class Setting(NamedTuple):
    """What trials had for a setting.

    Attributes
    ----------
    label
        Of the setting.
    value
        Shape (trials,); the number of the choice where there are `choices`.
    choices
        Texts; empty for numbers.
    log
        Whether equally many trials were meant for every decade.
    """

    label: str
    value: np.ndarray
    choices: Sequence[str]
    log: bool


def history(objectives: Objectives) -> Figure:
    """The objective of every trial in their order, with the best one so far; ticks for trials without one."""
    number = np.arange(len(objectives.value))
    best = objectives.better.accumulate(
        np.where(objectives.is_complete, objectives.value, _worst(objectives))
    )
    figure = new_figure(5.2, 3.4)
    axes = figure.subplots()
    known = np.isfinite(best)
    axes.plot(number[known], best[known], drawstyle="steps-post", color=MARKED, label="Best so far")
    _draw_trials(axes, number, objectives)
    _scale(axes, objectives.value)
    axes.set_xlabel("Trial")
    axes.set_ylabel(objectives.label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure


def learning_curves(scores: Sequence[Mapping[int, float]], objectives: Objectives) -> Figure:
    """The validation score of every trial against the epoch.

    Parameters
    ----------
    scores
        Epoch to score of each trial.
    objectives
        Tell which trials were completed, and the best one.
    """
    figure = new_figure(5.2, 3.4)
    axes = figure.subplots()
    for number, curve in enumerate(scores):
        if not curve:
            continue
        if number == objectives.best:
            style = {"color": MARKED, "label": "Best trial", "zorder": 3}
        elif objectives.is_complete[number]:
            style = {"color": GENERATED, "label": "Completed"}
        else:
            style = {"color": FULL_SIMULATION, "label": "Ended early"}
        axes.plot([*curve], [*curve.values()], ".-", linewidth=0.8, **style)
    _scale(axes, np.array([score for curve in scores for score in curve.values()]))
    axes.set_xlabel("Epoch")
    axes.set_ylabel("Validation score")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    labelled = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    axes.legend(labelled.values(), labelled.keys())
    return figure


def importances(shares: Mapping[str, float]) -> Figure:
    """Bars for the share of each setting in the variance of the objective."""
    figure = new_figure(5.2, 0.9 + 0.3 * len(shares))
    axes = figure.subplots()
    places = np.arange(len(shares))
    axes.barh(places, [*shares.values()], color=GENERATED)
    axes.set_yticks(places, labels=[*shares])
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("Share of the variance of the objective")
    return figure


def slices(settings: Sequence[Setting], objectives: Objectives) -> Figure:
    """The objective against each setting; ticks for trials without one, a ring around the best."""
    columns = min(COLUMNS, len(settings))
    rows = -(-len(settings) // columns)
    figure = new_figure(0.8 + 2.4 * columns, 0.3 + 2.5 * rows)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, setting in zip(panels.flat, settings, strict=False):
        _draw_trials(axes, setting.value, objectives)
        best = objectives.best
        axes.plot(
            setting.value[best],
            objectives.value[best],
            "o",
            color=MARKED,
            fillstyle="none",
            markersize=9,
            label="Best trial",
        )
        if setting.choices:
            axes.set_xticks(range(len(setting.choices)), labels=setting.choices)
            axes.tick_params(axis="x", rotation=30)
            axes.set_xlim(-0.5, len(setting.choices) - 0.5)
        elif setting.log:
            axes.set_xscale("log")
        axes.set_xlabel(setting.label)
    _scale(panels[0, 0], objectives.value)
    for row in panels:
        row[0].set_ylabel(objectives.label)
    for axes in panels.flat[len(settings) :]:
        axes.set_visible(False)
    return figure


def _draw_trials(axes: Axes, at: np.ndarray, objectives: Objectives) -> None:
    known = objectives.is_complete
    axes.errorbar(
        at[known],
        objectives.value[known],
        np.nan_to_num(objectives.error[known]),
        fmt="o",
        color=GENERATED,
        label="Trial",
    )
    axes.plot(
        at[~known],
        np.full(np.count_nonzero(~known), 0.04),
        "|",
        color=FULL_SIMULATION,
        markersize=8,
        transform=axes.get_xaxis_transform(),
    )


def _worst(objectives: Objectives) -> float:
    return np.inf if objectives.better is np.minimum else -np.inf


def _scale(axes: Axes, values: np.ndarray) -> None:
    known = values[np.isfinite(values)]
    if len(known) and is_wide(known.min(), known.max()):
        axes.set_yscale("log")
