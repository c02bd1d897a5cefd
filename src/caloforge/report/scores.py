"""Overview matrices: one score of all models on all data sets."""

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Any, NamedTuple

STEPS = 5
"""Colours from a score at its floor, 0, to the one that is furthest from it, `STEPS - 1`."""


class Cell(NamedTuple):
    """A score of a model on a data set.

    Attributes
    ----------
    runs
        Its seeds, in order; of a baseline the baseline.
    number
        `value` and `error`: mean and standard deviation over several seeds, or value and statistical error;
        None where there is none.
    step
        Of the colour; None without a value or a floor.
    """

    runs: Sequence[Any]
    number: Mapping[str, float | None]
    step: int | None


class Matrix(NamedTuple):
    """A score of all models on all data sets.

    Attributes
    ----------
    name, label, unit
        Of the score.
    columns
        Headings: models and baselines; `model from data set` where a model was applied to another data set.
    rows
        Data set of the test to its floor, `value` and `error`, and its cells, None for what was not run.
    """

    name: str
    label: str
    unit: str
    columns: Sequence[str]
    rows: Mapping[str, tuple[Mapping[str, float | None], Sequence[Cell | None]]]


class _Score(NamedTuple):
    label: str
    unit: str
    generated: Mapping[str, float | None]
    floor: Mapping[str, float | None]


def matrices(results: Sequence[Mapping[str, Any]]) -> list[Matrix]:
    """A matrix for each score: the mean separation power, then numbers of whole samples.

    Numbers of whole samples that only one of several data sets has are left out.
    """
    scores = [(result["run"], _scores(result)) for result in results]
    datasets = list(dict.fromkeys(run.tested_on for run, _ in scores))
    columns = list(dict.fromkeys(_column(run) for run, _ in scores))
    tested: dict[str, set[str]] = {}
    for run, found in scores:
        for name in found:
            tested.setdefault(name, set()).add(run.tested_on)
    return [
        _matrix(name, scores, datasets, columns)
        for name, known in tested.items()
        if len(known) > 1 or len(datasets) == 1
    ]


def _scores(result: Mapping[str, Any]) -> dict[str, _Score]:
    mean = _Score(
        "Mean separation power",
        "1",
        *({"value": result[key], "error": None} for key in ("mean_separation", "mean_floor")),
    )
    samples = result["metrics"].get("samples", {})
    return {"mean_separation": mean} | {
        name: _Score(number["label"], number["unit"], number["generated"], number["floor"])
        for name, number in samples.items()
    }


def _column(run: Any) -> str:
    return f"{run.model} from {run.dataset}" if run.applied_to else run.model


def _matrix(
    name: str,
    scores: Sequence[tuple[Any, Mapping[str, _Score]]],
    datasets: Sequence[str],
    columns: Sequence[str],
) -> Matrix:
    absent = _Score("", "", {"value": None, "error": None}, {"value": None, "error": None})
    cells: dict[tuple[str, str], list[tuple[Any, _Score]]] = {}
    for run, found in scores:
        cells.setdefault((run.tested_on, _column(run)), []).append((run, found.get(name, absent)))
    numbers = {place: _over_seeds(score.generated for _, score in seeds) for place, seeds in cells.items()}
    floors = {
        dataset: _mean_floor(
            score.floor for (row, _), seeds in cells.items() if row == dataset for _, score in seeds
        )
        for dataset in datasets
    }
    distances = {
        (dataset, column): abs(number["value"] - floors[dataset]["value"])
        for (dataset, column), number in numbers.items()
        if number["value"] is not None and floors[dataset]["value"] is not None
    }
    steps = _steps(distances)
    rows = {
        dataset: (
            floors[dataset],
            [
                Cell([run for run, _ in cells[place]], numbers[place], steps.get(place))
                if place in cells
                else None
                for place in ((dataset, column) for column in columns)
            ],
        )
        for dataset in datasets
    }
    shown = next(found[name] for _, found in scores if name in found)
    return Matrix(name, shown.label, shown.unit, columns, rows)


def _over_seeds(numbers: Iterable[Mapping[str, float | None]]) -> Mapping[str, float | None]:
    known = [number for number in numbers if number["value"] is not None]
    if len(known) < 2:
        return known[0] if known else {"value": None, "error": None}
    values = [number["value"] for number in known]
    return {"value": fmean(values), "error": stdev(values)}


def _mean_floor(numbers: Iterable[Mapping[str, float | None]]) -> Mapping[str, float | None]:
    """Mean of the floors of all results of a data set, which differ little, with their mean error."""
    known = [number for number in numbers if number["value"] is not None]
    errors = [number["error"] for number in known if number["error"] is not None]
    return {
        "value": fmean(number["value"] for number in known) if known else None,
        "error": fmean(errors) if errors else None,
    }


def _steps(distances: Mapping[Any, float]) -> dict[Any, int]:
    """Colours by the root of the distance to the floor, which tells small ones apart, over the largest."""
    largest = max(distances.values(), default=0.0) or 1.0
    return {
        place: min(int(STEPS * sqrt(distance / largest)), STEPS - 1) for place, distance in distances.items()
    }
