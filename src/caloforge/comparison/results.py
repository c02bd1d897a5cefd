"""What was tested on a data set, as the evaluation and the sampling left it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from caloforge.errors import CaloforgeError
from caloforge.figures.style import axis_label
from caloforge.tables import Estimate

DISTANCES = ("ks", "separation")


@dataclass(frozen=True)
class Entrant:
    """A run with one of its seeds, or a baseline, that was tested on a data set.

    Attributes
    ----------
    model
        Name of the model or of the baseline.
    directory
        With metrics.json and sample.json.
    seed
        Of the run; None for a baseline.
    trained_on
        Another data set, for a run that was applied to this one.
    """

    model: str
    directory: Path
    seed: int | None = None
    trained_on: str | None = None

    @property
    def files(self) -> tuple[Path, Path]:
        """Numbers of the evaluation, record of the sampling."""
        return self.directory / "metrics.json", self.directory / "sample.json"


class Compared(NamedTuple):
    """A number of the generated showers, and of independent full simulation in their place."""

    generated: Estimate
    floor: Estimate


class Result(NamedTuple):
    """What was measured of an `Entrant`.

    Attributes
    ----------
    seed
        Of the run; None for a baseline.
    label
        Of the run, for figures.
    reference_events
        Number of test showers or collisions.
    observable_labels
        Name of an observable to its text and unit: some differ in the unit alone.
    distances
        Name of one of `DISTANCES` to name of an observable to the distance.
    samples
        Name of a number of whole samples to the number.
    ms_per_shower
        Wall-clock time of the sampling [ms].
    hardware
        What it ran on, as text.
    """

    seed: int | None
    label: str
    reference_events: int
    observable_labels: Mapping[str, str]
    distances: Mapping[str, Mapping[str, Compared]]
    samples: Mapping[str, Compared]
    ms_per_shower: float
    hardware: str


class Contender(NamedTuple):
    """A model, or a baseline, with its results.

    Attributes
    ----------
    name
        The model and, where it is another one, the data set of its training.
    model, trained_on
        The two of them.
    is_baseline
        Whether nothing was trained.
    results
        One for each seed.
    """

    name: str
    model: str
    trained_on: str | None
    is_baseline: bool
    results: Sequence[Result]

    @property
    def seeds(self) -> list[int]:
        """Of the run; none for a baseline."""
        return [result.seed for result in self.results if result.seed is not None]


def read_contenders(entrants: Sequence[Entrant]) -> list[Contender]:
    """Read the results of everything that was tested on a data set.

    Parameters
    ----------
    entrants
        The seeds of a run one after the other.

    Raises
    ------
    CaloforgeError
        If a file is not what its stage writes, or not all were tested on the same showers.
    """
    contenders = []
    for (model, trained_on, is_baseline), members in groupby(
        entrants, key=lambda each: (each.model, each.trained_on, each.seed is None)
    ):
        name = f"{model} from {trained_on}" if trained_on else model
        results = [_read(member) for member in members]
        contenders.append(Contender(name, model, trained_on, is_baseline, results))
    _check_same_test(entrants, [result for contender in contenders for result in contender.results])
    return contenders


def _read(entrant: Entrant) -> Result:
    metrics_file, sample_file = entrant.files
    return Result(entrant.seed, **_parsed(metrics_file, _measured), **_parsed(sample_file, _sampled))


def _parsed(path: Path, parse: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CaloforgeError(f"{path}: not what its stage writes: {error!r}") from None


def _measured(metrics: Any) -> dict[str, Any]:
    observables = metrics["observables"]
    return {
        "label": metrics["label"],
        "reference_events": int(metrics["events"]["reference"]),
        "observable_labels": {
            name: axis_label(found["label"], found["unit"]) for name, found in observables.items()
        },
        "distances": {
            distance: {
                name: Compared(*(_estimate(found[kind][distance]) for kind in Compared._fields))
                for name, found in observables.items()
            }
            for distance in DISTANCES
        },
        "samples": {
            name: Compared(*(_estimate(found[kind]) for kind in Compared._fields))
            for name, found in metrics["samples"].items()
        },
    }


def _sampled(sample: Any) -> dict[str, Any]:
    threads = "1 thread" if sample["threads"] == 1 else f"{sample['threads']} threads"
    return {
        "ms_per_shower": float(sample["ms_per_shower"]),
        "hardware": f"{sample['device']}, {threads}, batches of {sample['batch_size']}",
    }


def _estimate(found: Mapping[str, Any]) -> Estimate:
    return {key: None if found[key] is None else float(found[key]) for key in ("value", "error")}


def _check_same_test(entrants: Sequence[Entrant], results: Sequence[Result]) -> None:
    expected = results[0]
    for each, result in zip(entrants, results, strict=True):
        for quantity, found, wanted in (
            ("test events", result.reference_events, expected.reference_events),
            ("observables", sorted(result.observable_labels), sorted(expected.observable_labels)),
        ):
            if found != wanted:
                raise CaloforgeError(
                    f"{each.files[0]}: {quantity} {found}, expected {wanted} as in {entrants[0].files[0]}"
                )
