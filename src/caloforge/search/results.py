"""What comes of a search: a table of its trials, the best settings as an overlay, figures."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from caloforge.atomic import atomic_path, write_json, write_text
from caloforge.config.search import Choices, SearchSettings, nested
from caloforge.config.stages import FigureSettings
from caloforge.errors import CaloforgeError
from caloforge.figures import search as figures_of
from caloforge.figures.album import Drawn, save_album
from caloforge.figures.style import figure_style
from caloforge.provenance import entry, recorded
from caloforge.search.study import SharedStudy, TrialResult

_SECTION = "Search"


def summarise(
    settings: SearchSettings,
    figures: FigureSettings,
    model: Any,
    *,
    name: str,
    jobs: Sequence[Path],
    table: Path,
    trials: Path,
    best: Path,
    figure_directory: Path,
    record: Path,
) -> None:
    """Write the results of a search whose jobs have ended.

    Parameters
    ----------
    settings
        Of the search.
    figures
        Style of the figures.
    model
        Settings of the model.
    name
        Of the search.
    jobs
        Records of the jobs.
    table
        Output: a row for every trial (CSV, RFC 4180).
    trials
        Output: the same and more for the report (JSON).
    best
        Output: the settings of the best trial as a file that can be laid over config.yaml (YAML).
    figure_directory, record
        Output: figures (SVG) with index.json, and what made all this (JSON).

    Raises
    ------
    CaloforgeError
        If the jobs did not work on one study, trials are missing, or no trial was completed.
    """
    plain = {"search": settings.model_dump(mode="json"), "figures": figures.model_dump(mode="json")}
    outputs = [table, trials, best, figure_directory]
    with recorded(record, stage="summarise_search", inputs=jobs, outputs=outputs, settings=plain):
        folders = {entry(job, "study") for job in jobs}
        if len(folders) > 1:
            raise CaloforgeError(
                f"{jobs[0].parent}: jobs worked on {len(folders)} studies, expected one: delete it"
            )
        study = SharedStudy(Path(folders.pop()), settings, model)
        results = study.results()
        complete = [result for result in results if result.state == "complete"]
        if not complete:
            reasons = "; ".join(dict.fromkeys(result.reason for result in results if result.reason))
            raise CaloforgeError(f"search {name}: no trial was completed: {reasons or 'all were pruned'}")
        found = min(complete, key=lambda result: study.sign * result.objective)
        shares = study.importances()
        with atomic_path(figure_directory) as directory, figure_style(figures):
            save_album(_draw(settings, results, shares), directory, settings.label)
            write_text(table, _table(settings, results))
            write_text(best, _overlay(settings, found, f"{len(results)} trials of the search {name}", best))
            write_json(
                trials,
                {
                    "name": name,
                    "settings": plain["search"],
                    "trials": [result._asdict() for result in results],
                    "best": found.number,
                    "importances": shares,
                },
            )


def _overlay(settings: SearchSettings, found: TrialResult, others: str, path: Path) -> str:
    """Settings of the best trial, under the model that was searched."""
    content = {"models": {settings.model: nested(found.values)}}
    return (
        f"# Best of {others}: trial {found.number}, "
        f"{settings.objective} {found.objective:.6g} on the validation set of {settings.dataset}.\n"
        f"# Lay it over the configuration of the search: snakemake --configfile {path}\n"
        f"# after the overlays that the search was made with, if there were any.\n"
        f"{yaml.safe_dump(content, sort_keys=False, default_flow_style=None)}"
    )


def _table(settings: SearchSettings, results: Sequence[TrialResult]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    columns = ("trial", "state", settings.objective, "error", "epochs", "best_validation", *settings.space)
    writer.writerow([*columns, "reason"])
    for result in results:
        scores = result.validation
        writer.writerow(
            [
                result.number,
                result.state,
                result.objective,
                result.error,
                max(scores, default=0),
                min(scores.values(), default=None),
                *(_text(result.values[path]) for path in settings.space),
                result.reason,
            ]
        )
    return text.getvalue()


def _text(value: Any) -> Any:
    """Numbers and texts as they are, others as JSON."""
    return (
        value if isinstance(value, int | float | str) and not isinstance(value, bool) else json.dumps(value)
    )


def _draw(
    settings: SearchSettings, results: Sequence[TrialResult], shares: Mapping[str, float]
) -> Iterator[Drawn]:
    """Trials are numbered anew here, from 0, should the study have left out a number."""
    objectives = figures_of.Objectives(
        settings.objective,
        np.array([result.objective for result in results], np.float64),
        np.array([result.error for result in results], np.float64),
        np.minimum if settings.direction == "minimise" else np.maximum,
    )
    known = np.count_nonzero(objectives.is_complete)
    ticks = "Ticks at the lower edge: trials that were pruned or failed."
    yield Drawn(
        "history.svg",
        _SECTION,
        "Trials",
        f"Objective of every trial in their order, and the best one so far ({settings.direction}d). {ticks}",
        figures_of.history(objectives),
    )
    yield Drawn(
        "slices.svg",
        _SECTION,
        "Settings",
        f"Objective of every trial against each of its settings. {ticks}",
        figures_of.slices([_setting(settings, path, results) for path in settings.space], objectives),
    )
    if shares:
        yield Drawn(
            "importances.svg",
            _SECTION,
            "Importance of the settings",
            "Share of each setting in the variance of the objective over the space that was searched, by a "
            f"functional analysis of variance of a random forest fitted to the {known} completed trials.",
            figures_of.importances(shares),
        )
    yield Drawn(
        "learning_curves.svg",
        _SECTION,
        "Validation of the trials",
        "Score on the validation set after epochs of each training, lower is better.",
        figures_of.learning_curves([result.validation for result in results], objectives),
    )


def _setting(settings: SearchSettings, path: str, results: Sequence[TrialResult]) -> figures_of.Setting:
    space, values = settings.space[path], [result.values[path] for result in results]
    if not isinstance(space, Choices):
        return figures_of.Setting(path, np.array(values, np.float64), (), space.log)
    texts = [str(_text(value)) for value in values]
    choices = sorted(set(texts))
    return figures_of.Setting(
        path, np.array([choices.index(text) for text in texts], np.float64), choices, False
    )
