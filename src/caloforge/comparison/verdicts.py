"""Which model is best, observable by observable, and whether that is more than chance."""

from collections.abc import Mapping, Sequence
from math import hypot
from typing import NamedTuple

from caloforge.comparison.results import Contender
from caloforge.comparison.scores import Scored, Summary
from caloforge.tables import Row, Table

SIGNIFICANT = 2
"""Combined errors by which two distances differ more than by chance."""
_NOTE = (
    "By the Kolmogorov–Smirnov (KS) distance of every observable. The floor is that of independent full "
    f"simulation; a model reaches it unless it exceeds it by more than {SIGNIFICANT} combined errors. A "
    f"runner-up or baseline is worse where it exceeds the best model by more than {SIGNIFICANT}. Errors here "
    "are statistical for one seed, and standard deviations over several; what is decided counts both, in "
    "quadrature."
)


class _Placed(NamedTuple):
    """A contender and its distance."""

    name: str | None
    distance: Summary


_NOBODY = _Placed(None, Summary(None, None, None, ()))


def verdicts(contenders: Sequence[Contender], distances: Mapping[str, Scored]) -> Table:
    """The model with the smallest distance for every observable, beside floor, runner-up and baselines.

    A distance exceeds another one when their difference is larger than `SIGNIFICANT` times their errors,
    added in quadrature; the error of a model with several seeds is its statistical error and the spread over
    the seeds, in quadrature, too. Of equal distances the first in the configuration comes first.

    Parameters
    ----------
    contenders
        Models and baselines.
    distances
        Name of an observable to the distances of the contenders.

    Returns
    -------
    Table
        Without runner-up where there is a single model, and without baselines where there are none.
    """
    is_baseline = [each.is_baseline for each in contenders]
    columns = ["best model: name", "best model: KS distance", "floor: KS distance", "floor: reached"]
    if is_baseline.count(False) > 1:
        columns += ["runner-up: name", "runner-up: KS distance", "runner-up: is worse"]
    if any(is_baseline):
        columns += ["best baseline: name", "best baseline: KS distance", "best baseline: is worse"]
    rows = []
    for scored in distances.values():
        models, baselines = (
            _ranked(contenders, scored.summaries, is_baseline=kind) for kind in (False, True)
        )
        best, runner_up = models[:2]
        floor = _Placed(None, Summary(**scored.floor, spread=None, values=()))
        cells = {
            "best model: name": best.name,
            "best model: KS distance": best.distance.estimate,
            "floor: KS distance": floor.distance.estimate,
            "floor: reached": _as_text(_is_worse(best, floor), if_true="no", if_false="yes"),
        }
        for place, other in (("runner-up", runner_up), ("best baseline", baselines[0])):
            cells |= {
                f"{place}: name": other.name,
                f"{place}: KS distance": other.distance.estimate,
                f"{place}: is worse": _as_text(_is_worse(other, best), if_true="yes", if_false="no"),
            }
        rows.append(Row(scored.score.label, "1", [cells[column] for column in columns]))
    return Table("Which model is best", _NOTE, columns, rows)


def _ranked(
    contenders: Sequence[Contender], summaries: Sequence[Summary], *, is_baseline: bool
) -> list[_Placed]:
    """Those with a distance, the smallest first, and nobody on the places that are left."""
    placed = [
        _Placed(each.name, summary)
        for each, summary in zip(contenders, summaries, strict=True)
        if each.is_baseline == is_baseline and summary.value is not None
    ]
    return [*sorted(placed, key=lambda each: each.distance.value), _NOBODY, _NOBODY]


def _is_worse(one: _Placed, other: _Placed) -> bool | None:
    """Whether the first distance exceeds the second by more than chance; None where that is not known."""
    distances = one.distance, other.distance
    values = [distance.value for distance in distances]
    errors = [distance.combined_error for distance in distances]
    if None in (*values, *errors):
        return None
    return values[0] - values[1] > SIGNIFICANT * hypot(*errors)


def _as_text(known: bool | None, *, if_true: str, if_false: str) -> str | None:
    return {True: if_true, False: if_false, None: None}[known]
