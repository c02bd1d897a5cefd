"""Scores of models and baselines, over the seeds of each."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import hypot
from statistics import fmean, stdev
from typing import NamedTuple

from caloforge.comparison.results import Compared, Contender, Result
from caloforge.tables import Estimate

_NOTHING: Estimate = {"value": None, "error": None}
_UNKNOWN = Compared(_NOTHING, _NOTHING)


class Score(NamedTuple):
    """A number by which models are compared.

    Attributes
    ----------
    label
        Text of axes and columns.
    better
        Where good models are: "low", "high", or "floor" for at the floor.
    """

    label: str
    better: str


SCORES = {
    "mean_ks": Score("Mean KS distance", "low"),
    "mean_separation": Score("Mean separation power", "low"),
    "fpd": Score("FPD", "low"),
    "kpd": Score("KPD", "low"),
    "auc_trees": Score("AUC, trees on observables", "low"),
    "auc_mlp": Score("AUC, MLP on observables", "low"),
    "auc_cells_mlp": Score("AUC, MLP on cells", "low"),
    "auc_cells_cnn": Score("AUC, CNN on cells", "low"),
    "precision": Score("Precision", "high"),
    "recall": Score("Recall", "high"),
    "density": Score("Density", "floor"),
    "coverage": Score("Coverage", "high"),
    "correlation_distance": Score("Correlation distance", "low"),
    "neighbour_close_share": Score("Share close to training showers", "floor"),
}
"""By name: means over observables, and numbers of whole samples; all of them pure numbers."""
_MEANS = {"mean_ks": "ks", "mean_separation": "separation"}


class Summary(NamedTuple):
    """A number over the seeds of a run.

    Attributes
    ----------
    value
        Mean over the seeds.
    error
        Mean of the statistical errors of the seeds.
    spread
        Standard deviation over the seeds; None for fewer than two.
    values
        Of the seeds; None where undefined.
    """

    value: float | None
    error: float | None
    spread: float | None
    values: Sequence[float | None]

    @property
    def estimate(self) -> Estimate:
        """The mean and its spread, or the statistical error where there is none."""
        return {"value": self.value, "error": self.error if self.spread is None else self.spread}

    @property
    def combined_error(self) -> float | None:
        """Statistical error and spread, added in quadrature; None where neither is known."""
        known = [error for error in (self.error, self.spread) if error is not None]
        return hypot(*known) if known else None


def over_seeds(estimates: Sequence[Estimate]) -> Summary:
    """A number of each seed as one; seeds for which it is undefined are left out."""
    values = [estimate["value"] for estimate in estimates]
    defined = [value for value in values if value is not None]
    spread = stdev(defined) if len(defined) > 1 else None
    return Summary(**_mean(estimates), spread=spread, values=values)


def _mean(estimates: Sequence[Estimate]) -> Estimate:
    """Mean of the values that are defined, and mean of their errors."""
    defined = [estimate for estimate in estimates if estimate["value"] is not None]
    columns = {key: [estimate[key] for estimate in defined] for key in ("value", "error")}
    return {key: fmean(column) if column and None not in column else None for key, column in columns.items()}


class Scored(NamedTuple):
    """A number of all contenders.

    Attributes
    ----------
    score
        What it is.
    summaries
        One for each contender.
    floor
        The same of independent full simulation, as the first result that has it says.
    """

    score: Score
    summaries: Sequence[Summary]
    floor: Estimate


def scores_of(contenders: Sequence[Contender]) -> dict[str, Scored]:
    """The scores that at least one contender has, by name, in the order of `SCORES`.

    The error of a mean over observables is the mean of their errors. This is an upper limit: observables of
    the same showers fluctuate together, to a degree that the errors do not tell.
    """
    common = {mean: common_observables(contenders, distance) for mean, distance in _MEANS.items()}

    def find(name: str, result: Result) -> Compared:
        if name in _MEANS:
            numbers = [result.distances[_MEANS[name]][observable] for observable in common[name]]
            return Compared(
                _mean([each.generated for each in numbers]), _mean([each.floor for each in numbers])
            )
        return result.samples.get(name, _UNKNOWN)

    return _known({name: _scored(score, contenders, partial(find, name)) for name, score in SCORES.items()})


def distances_of(contenders: Sequence[Contender], distance: str) -> dict[str, Scored]:
    """A distance of every observable, by name, for which at least one contender has it.

    Parameters
    ----------
    contenders
        Models and baselines.
    distance
        One of `results.DISTANCES`.
    """

    def find(name: str, result: Result) -> Compared:
        return result.distances[distance][name]

    labels = contenders[0].results[0].observable_labels
    return _known(
        {
            name: _scored(Score(label, "low"), contenders, partial(find, name))
            for name, label in labels.items()
        }
    )


def common_observables(contenders: Sequence[Contender], distance: str) -> list[str]:
    """Observables whose distance is known of all results, so that means over them are comparable."""
    found = [result.distances[distance] for each in contenders for result in each.results]
    return [
        name
        for name in found[0]
        if all(None not in [number["value"] for number in of_result[name]] for of_result in found)
    ]


def _scored(score: Score, contenders: Sequence[Contender], find: Callable[[Result], Compared]) -> Scored:
    numbers = [[find(result) for result in each.results] for each in contenders]
    floors = (number.floor for of_seeds in numbers for number in of_seeds)
    return Scored(
        score,
        [over_seeds([number.generated for number in of_seeds]) for of_seeds in numbers],
        next((floor for floor in floors if floor["value"] is not None), _NOTHING),
    )


def _known(found: Mapping[str, Scored]) -> dict[str, Scored]:
    return {
        name: each
        for name, each in found.items()
        if any(summary.value is not None for summary in each.summaries)
    }
