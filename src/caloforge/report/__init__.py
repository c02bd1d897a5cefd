"""The report: one page on what was run, how good it is and what it costs, and the same numbers as tables."""

import base64
import hashlib
import json
import os.path
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from caloforge.atomic import write_text
from caloforge.provenance import code_version, recorded
from caloforge.report import numbers
from caloforge.report.cost import Cost, as_csv, cost_of_geant4, cost_of_run, time_tables
from caloforge.report.embedding import Figures
from caloforge.report.results import (
    BaselineResult,
    RunResult,
    read_album,
    read_baseline,
    read_comparison,
    read_dataset,
    read_json,
    read_run,
    read_search,
)
from caloforge.report.scores import STEPS, matrices
from caloforge.report.summary import summary as summary_table

__all__ = ["BaselineResult", "RunResult", "render", "render_comparison"]

_HERE = Path(__file__).parent


def render(
    runs: Sequence[RunResult],
    *,
    baselines: Sequence[BaselineResult] = (),
    datasets: Mapping[str, Path],
    comparisons: Mapping[str, Path],
    searches: Mapping[str, Path],
    title: str,
    inputs: Sequence[Path],
    output: Path,
    summary: Path,
    cost: Path,
    record: Path,
) -> None:
    """Write the report.

    Parameters
    ----------
    runs, baselines
        In the order of the report.
    datasets
        Name of a data set to the directory with its ingest.json and figures; those of the runs and others.
    comparisons
        Name of a data set to the directory with comparison.json and figures of all models that were tested
        on it.
    searches
        Name of a search for hyper-parameters to the directory with its trials.json and figures.
    title
        Of the page.
    inputs
        All files and folders of the runs, baselines, data sets and comparisons that the page is made of.
    output
        The page (HTML) with everything it needs inside, figures too; links to other files are relative.
    summary
        Table (CSV, RFC 4180) with one row per run, observable and metric; numbers of whole samples have the
        metric `value`, those of further tables `title / column` with the label of their row as observable.
        Baselines are models without a seed.
    cost
        Table (CSV, RFC 4180) with one row per run and, where its CPU time is known, one for Geant4, by data
        set; see `Cost`.
    record
        What made these (JSON).

    Raises
    ------
    CaloforgeError
        If a file of a run, a baseline, a data set, a comparison or a search is missing or is not what its
        stage writes.
    """
    settings = {
        "title": title,
        "runs": [run.as_dict() for run in runs],
        "datasets": list(datasets),
        "baselines": list(dict.fromkeys(baseline.baseline for baseline in baselines)),
    }
    with recorded(record, stage="report", inputs=inputs, outputs=[output, summary, cost], settings=settings):
        figures = Figures()
        compared = {name: read_comparison(directory, figures) for name, directory in comparisons.items()}
        data = {name: read_dataset(directory, figures) for name, directory in datasets.items()}
        trained = [read_run(run, figures) for run in runs]
        results = [*trained, *(read_baseline(baseline, figures) for baseline in baselines)]
        costs = _costs(trained, data)
        tuned = {name: read_search(directory, figures) for name, directory in searches.items()}
        page = _page(
            "page.html.jinja",
            output.parent,
            figures,
            title=title,
            labels=list(dict.fromkeys(run.label for run in runs if run.label)),
            datasets=data,
            comparisons=compared,
            matrices=matrices(results),
            colour_steps=STEPS,
            costs=costs,
            time_tables=time_tables(trained),
            across=list(_across(trained)),
            results=results,
            searches=tuned,
        )
        write_text(summary, summary_table(results))
        write_text(cost, as_csv(row for rows in costs.values() for row in rows))
        write_text(output, page)


def render_comparison(directory: Path, *, reference: Path, sample: Path) -> None:
    """Write the page `index.html` of two files that were compared into their directory.

    Parameters
    ----------
    directory
        With metrics.json, record.json and figures, as `caloforge.file_comparison` writes them.
    reference, sample
        The two files.

    Raises
    ------
    CaloforgeError
        If a file of the directory is missing or is not what it should be.
    """
    figures = Figures()
    metrics = read_json(directory / "metrics.json", "events", "observables")
    record = read_json(directory / "record.json", "same_events")
    page = _page(
        "comparison.html.jinja",
        directory,
        figures,
        title=f"{sample.name} beside {reference.name}",
        reference=reference,
        sample=sample,
        metrics=metrics,
        record=record,
        same_events=record["same_events"],
        figures=read_album(directory / "figures", figures),
    )
    write_text(directory / "index.html", page)


def _page(template: str, folder: Path, embedded: Figures, **content: Any) -> str:
    """A page in a folder, with the script and the outlines of letters that its figures need."""
    script = (_HERE / "report.js").read_text(encoding="utf-8")
    return (
        _environment(folder)
        .get_template(template)
        .render(
            caloforge=code_version()["caloforge"],
            glyphs=embedded.glyphs,
            script=Markup(script),
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            **content,
        )
    )


def _costs(
    results: Sequence[Mapping[str, Any]], data: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[Cost]]:
    """Rows of the cost table by data set: its runs, then Geant4 where its CPU time is known."""
    costs: dict[str, list[Cost]] = {}
    for result in results:
        name = result["run"].dataset
        if result["run"].applied_to:
            continue
        costs.setdefault(name, []).append(cost_of_run(result, data[name]["ingest"]))
    for name, rows in costs.items():
        rows += filter(None, [cost_of_geant4(name, data[name]["ingest"])])
    return costs


def _across(results: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Results of each model and seed by the data set it was trained on and the one it was tested on.

    Only where a run was applied to another data set than its own; None for what was not tested.
    """
    by_model: dict[tuple[str, int], dict[tuple[str, str], Mapping[str, Any]]] = {}
    for result in results:
        run = result["run"]
        by_model.setdefault((run.model, run.seed), {})[run.dataset, run.tested_on] = result
    for (model, seed), found in by_model.items():
        if all(trained == tested for trained, tested in found):
            continue
        tested_on = list(dict.fromkeys(tested for _, tested in found))
        rows = {
            trained: [found.get((trained, tested)) for tested in tested_on]
            for trained in dict.fromkeys(trained for trained, _ in found)
        }
        yield {"model": model, "seed": seed, "tested_on": tested_on, "rows": rows}


def _column_groups(columns: Sequence[str]) -> list[tuple[str, list[tuple[int, str]]]]:
    """Groups of neighbouring columns `group: column` ("" for none), each with their numbers and headings."""
    headings = [(number, *heading.rpartition(": ")) for number, heading in enumerate(columns)]
    return [
        (group, [(number, column) for number, *_, column in members])
        for group, members in groupby(headings, key=itemgetter(1))
    ]


def _exact(number: float | Mapping[str, float | None] | None) -> Markup:
    """Attributes of a table cell with a number, and its error if it has one, in full precision."""
    parts = number if isinstance(number, Mapping) else {"value": number}
    known = {key: parts.get(key) for key in ("value", "error") if parts.get(key) is not None}
    return Markup("").join(Markup(' data-{}="{!r}"').format(key, part) for key, part in known.items())


def _linked_from(folder: Path) -> Callable[[Path], str]:
    def link(path: Path) -> str:
        """Relative reference from a page in `folder`."""
        return quote(Path(os.path.relpath(path, folder)).as_posix())

    return link


def _environment(folder: Path) -> Environment:
    """For pages in a folder."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "measurement": numbers.measurement,
        "significant": numbers.significant,
        "p_value": numbers.p_value,
        "duration": numbers.duration,
        "counted": numbers.counted,
        "exact": _exact,
        "link": _linked_from(folder),
        "column_groups": _column_groups,
        "plain_json": lambda content: json.dumps(content, ensure_ascii=False),
        "pretty_json": lambda content: json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False),
    }
    environment.tests["at_floor"] = numbers.is_at_floor
    return environment
