"""The comparison stage: all models and baselines that were tested on one data set, beside each other."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from caloforge.atomic import atomic_path, write_json
from caloforge.comparison.results import Contender, Entrant, read_contenders
from caloforge.comparison.scores import Scored, Summary, common_observables, distances_of, scores_of
from caloforge.comparison.verdicts import verdicts
from caloforge.config.stages import FigureSettings
from caloforge.figures import model_comparison
from caloforge.figures.album import Drawn, save_album
from caloforge.figures.model_comparison import Points
from caloforge.figures.style import figure_style
from caloforge.provenance import entry, recorded
from caloforge.tables import Row, Table

SECTION = "Comparison"
FIDELITY = ("auc_trees", "mean_separation")
"""Scores to draw against the time per shower: the first one that is known."""
MOST_OBSERVABLES = 40
"""In a figure; tables have all."""


def compare_models(
    figures: FigureSettings,
    entrants: Sequence[Entrant],
    *,
    ingest: Path,
    comparison: Path,
    figure_directory: Path,
    record: Path,
) -> None:
    """Compare all models and baselines that were tested on a data set, over all their seeds.

    Numbers of a run with several seeds are means over them, with their standard deviation as spread, and the
    mean of their statistical errors.

    Parameters
    ----------
    figures
        Style of the figures.
    entrants
        Runs and baselines; the seeds of a run one after the other.
    ingest
        Record of the ingest of the data set, for the CPU time of Geant4.
    comparison, figure_directory, record
        Output: numbers and tables (JSON), figures (SVG) with index.json, and what made them (JSON).

    Raises
    ------
    CaloforgeError
        If a file is not what its stage writes, or not all were tested on the same showers.
    """
    inputs = [ingest, *(path for each in entrants for path in each.files)]
    with recorded(
        record,
        stage="compare",
        inputs=inputs,
        outputs=[comparison, figure_directory],
        settings={"figures": figures.model_dump(mode="json")},
    ):
        geant4_s = entry(ingest, "geant4_cpu_s_per_event")
        contenders = read_contenders(entrants)
        scores, distances = scores_of(contenders), distances_of(contenders, "ks")
        tables = [_score_table(contenders, scores), verdicts(contenders, distances)]
        labels = dict.fromkeys(result.label for each in contenders for result in each.results if result.label)
        with atomic_path(figure_directory) as directory, figure_style(figures):
            drawn = _draw(contenders, scores, distances, geant4_s and 1000 * geant4_s)
            save_album(drawn, directory, "\n".join(labels))
            write_json(
                comparison,
                {
                    "contenders": [_described(each) for each in contenders],
                    "scores": list(_rows(contenders, scores)),
                    "ks_distances": list(_rows(contenders, distances)),
                    "tables": [table.as_dict() for table in tables],
                },
            )


def _described(contender: Contender) -> dict[str, Any]:
    return {
        "name": contender.name,
        "model": contender.model,
        "trained_on": contender.trained_on,
        "is_baseline": contender.is_baseline,
        "seeds": contender.seeds,
        "ms_per_shower": _ms_per_shower(contender),
    }


def _ms_per_shower(contender: Contender) -> float:
    """Mean over the seeds [ms]."""
    return fmean(result.ms_per_shower for result in contender.results)


def _rows(contenders: Sequence[Contender], numbers: Mapping[str, Scored]) -> Iterator[dict[str, Any]]:
    """A row for every number of every contender."""
    for name, scored in numbers.items():
        for contender, summary in zip(contenders, scored.summaries, strict=True):
            yield {
                "contender": contender.name,
                "number": name,
                "label": scored.score.label,
                "better": scored.score.better,
                **summary._asdict(),
                "floor": scored.floor,
            }


def _score_table(contenders: Sequence[Contender], scores: Mapping[str, Scored]) -> Table:
    rows = []
    for number, contender in enumerate(contenders):
        summaries = [scored.summaries[number] for scored in scores.values()]
        rows += _score_rows(contender, summaries)
    floors = [scored.floor for scored in scores.values()]
    common = len(common_observables(contenders, "ks"))
    everything = len(contenders[0].results[0].observable_labels)
    return Table(
        "Scores of all models",
        f"Means are over {common} of {everything} observables, those that are defined for every model; their "
        "errors are the mean errors of the observables, an upper limit. Other scores are those of each run.",
        [scored.score.label for scored in scores.values()],
        [*rows, Row("reference: independent full simulation (floor)", "1", floors)],
    )


def _score_rows(contender: Contender, summaries: Sequence[Summary]) -> Iterator[Row]:
    """One row, or for several seeds one with their spread and one with their statistical errors."""
    name, n = contender.name, len(contender.results)
    statistical = [{"value": summary.value, "error": summary.error} for summary in summaries]
    if n == 1:
        kind = "baseline" if contender.is_baseline else "1 seed"
        yield Row(f"{name}: {kind} ± statistical error", "1", statistical)
    else:
        spread = [{"value": summary.value, "error": summary.spread} for summary in summaries]
        yield Row(f"{name}: mean of {n} seeds ± their standard deviation", "1", spread)
        yield Row(f"{name}: the same ± mean statistical error", "1", statistical)


def _draw(
    contenders: Sequence[Contender],
    scores: Mapping[str, Scored],
    distances: Mapping[str, Scored],
    geant4_ms: float | None,
) -> Iterator[Drawn]:
    who = [each.name for each in contenders], [each.is_baseline for each in contenders]
    errors = "standard deviations over the seeds where there are several, else statistical errors"
    if scores:
        yield Drawn(
            "scores.svg",
            SECTION,
            "Scores of all models",
            f"Error bars: {errors}. Line and band: the same of independent full simulation, with its "
            "statistical error.",
            model_comparison.scores(*who, [_points(scored) for scored in scores.values()]),
        )
    if 0 < len(distances) <= MOST_OBSERVABLES:
        yield Drawn(
            "observables.svg",
            SECTION,
            "Kolmogorov–Smirnov distances of all observables",
            f"Error bars: {errors}. Open symbols are baselines; band: independent full simulation, with its "
            "statistical error.",
            model_comparison.observables(
                *who, [_points(scored) for scored in distances.values()], label="Kolmogorov–Smirnov distance"
            ),
        )
    fidelity = next((scores[name] for name in FIDELITY if name in scores), None)
    if fidelity:
        hardware = dict.fromkeys(result.hardware for each in contenders for result in each.results)
        yield Drawn(
            "speed.svg",
            SECTION,
            "Fidelity against speed",
            f"Error bars: {errors}. Wall-clock time from conditions to cell energies, on "
            f"{'; '.join(hardware)}.",
            model_comparison.fidelity_against_speed(
                *who, np.array([_ms_per_shower(each) for each in contenders]), _points(fidelity), geant4_ms
            ),
        )


def _points(scored: Scored) -> Points:
    estimates = [summary.estimate for summary in scored.summaries]
    return Points(
        scored.score.label,
        scored.score.better,
        *(np.array([_or_nan(estimate[key]) for estimate in estimates]) for key in ("value", "error")),
        [np.array([value for value in summary.values if value is not None]) for summary in scored.summaries],
        _or_nan(scored.floor["value"]),
        _or_nan(scored.floor["error"]),
    )


def _or_nan(number: float | None) -> float:
    return np.nan if number is None else number
