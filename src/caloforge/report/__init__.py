"""The report: one page on what was run, how good it is and what it costs, and the same numbers as tables."""

import base64
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import TypeAdapter, ValidationError

from caloforge.atomic import write_text
from caloforge.config.dataset import AnyDataset
from caloforge.errors import CaloforgeError
from caloforge.provenance import code_version
from caloforge.report import numbers
from caloforge.report.cost import Cost, as_csv, cost_of_geant4, cost_of_run, time_tables
from caloforge.report.detector import describe

_SUMMARY_COLUMNS = (
    "dataset",
    "model",
    "seed",
    "applied_to",
    "label",
    "observable",
    "metric",
    "unit",
    "value",
    "error",
    "floor",
    "floor_error",
)
_DISTANCES = ("ks", "wasserstein", "separation")


@dataclass(frozen=True)
class RunResult:
    """A finished run and where its files are.

    Attributes
    ----------
    dataset, model, seed
        What was run.
    label
        Shown wherever the run is, when not empty.
    run_directory
        With the records of the stages, metrics.json and figures.
    applied_to
        Another data set, for whose test set a run that is in the report too was asked; None for its own.
        Results are in a folder of the run directory then, `on_<data set>`.
    timed
        Whether its generation was timed against the batch size.
    """

    dataset: str
    model: str
    seed: int
    label: str
    run_directory: Path
    applied_to: str | None = None
    timed: bool = False

    @property
    def tested_on(self) -> str:
        """Data set that generated showers are compared with."""
        return self.applied_to or self.dataset

    @property
    def result_directory(self) -> Path:
        """With the generated showers, metrics.json and figures."""
        return self.run_directory / f"on_{self.applied_to}" if self.applied_to else self.run_directory


def render(
    runs: Sequence[RunResult],
    *,
    datasets: Mapping[str, Path],
    title: str,
    output: Path,
    summary: Path,
    cost: Path,
) -> None:
    """Write the report.

    Parameters
    ----------
    runs
        In the order of the report.
    datasets
        Name of a data set to the directory with its ingest.json and figures; those of the runs and others.
    title
        Of the page.
    output
        The page (HTML) with everything it needs inside, figures too.
    summary
        Table (CSV, RFC 4180) with one row per run, observable and metric; numbers of whole samples have the
        metric `value`, those of further tables `title / column` with the label of their row as observable.
    cost
        Table (CSV, RFC 4180) with one row per run and, where its CPU time is known, one for Geant4, by data
        set; see `Cost`.

    Raises
    ------
    CaloforgeError
        If a file of a run or a data set is missing or is not what its stage writes.
    """
    results = [_read_run(run) for run in runs]
    data = {name: _read_dataset(directory) for name, directory in datasets.items()}
    costs = _costs(results, data)
    template = _environment().get_template("page.html.jinja")
    page = template.render(
        title=title,
        caloforge=code_version()["caloforge"],
        labels=list(dict.fromkeys(run.label for run in runs if run.label)),
        datasets=data,
        costs=costs,
        time_tables=time_tables(results),
        across=list(_across(results)),
        results=results,
    )
    write_text(summary, _summary(results))
    write_text(cost, as_csv(row for rows in costs.values() for row in rows))
    write_text(output, page)


_INGEST_KEYS = (
    "inputs",
    "settings",
    "files",
    "paired_files",
    "events",
    "geant4_cpu_s_per_event",
    "summary",
    "time_s",
)
_TRAINING_KEYS = (
    "settings",
    "seed",
    "code",
    "libraries",
    "machine",
    "time_s",
    "device",
    "threads",
    "precision",
    "epochs",
    "best_epoch",
    "keep",
    "parameters",
    "training_s",
    "peak_memory_MB",
    "peak_gpu_memory_MB",
)
_GENERATOR_KEYS = (
    "settings.family",
    "seconds_per_epoch",
    "parameters.generator",
    "dense_parameters.generator",
)
_SAMPLE_KEYS = ("settings", "device", "threads", "batch_size", "ms_per_shower", "flop_per_shower")


def _read_run(run: RunResult) -> dict[str, Any]:
    directory = run.run_directory
    train = _read_json(directory / "train.json", *_TRAINING_KEYS, *_GENERATOR_KEYS)
    trainings = {"model": train}
    if "regressor" in train["settings"]:
        trainings = {"regressor": _read_json(directory / "regressor.json", *_TRAINING_KEYS)} | trainings
    directory = run.result_directory
    metrics = _read_json(directory / "metrics.json", "events", "observables")
    figures = [directory / "figures", *([directory / "timing_figures"] if run.timed else [])]
    return {
        "run": run,
        "trainings": trainings,
        "sample": _read_json(directory / "sample.json", *_SAMPLE_KEYS),
        "timing": _read_json(directory / "timing.json", "devices") if run.timed else None,
        "evaluation": _read_json(directory / "evaluate.json", "settings"),
        "metrics": metrics,
        "mean_separation": _mean_separation(metrics, "generated"),
        "mean_floor": _mean_separation(metrics, "floor"),
        "figures": [section for album in figures for section in _read_figures(album)],
    }


def _read_dataset(directory: Path) -> dict[str, Any]:
    path = directory / "ingest.json"
    ingest = _read_json(path, *_INGEST_KEYS)
    try:
        settings = TypeAdapter(AnyDataset).validate_python(ingest["settings"])
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, ("settings", *problem["loc"][1:])))
        raise CaloforgeError(f"{path}: {key}: {problem['msg']}") from None
    return {
        "ingest": ingest,
        "settings": settings,
        "cells": describe(settings.geometry),
        "figures": list(_read_figures(directory / "figures")),
    }


def _read_json(path: Path, *keys: str) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CaloforgeError(f"{path}: no such file, the report needs it") from None
    except ValueError as error:
        raise CaloforgeError(f"{path}: not JSON: {error}") from None
    missing = [key for key in keys if not _has(content, key)]
    if missing:
        raise CaloforgeError(f"{path}: no key {', '.join(missing)}, the report needs it")
    return content


def _has(content: Any, dotted_key: str) -> bool:
    for key in dotted_key.split("."):
        if not isinstance(content, Mapping) or key not in content:
            return False
        content = content[key]
    return True


def _read_figures(directory: Path) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The sections in order, each with its figures as data URIs."""
    index = _read_json(directory / "index.json")
    for section, entries in groupby(index, key=itemgetter("section")):
        figures = []
        for entry in entries:
            try:
                content = (directory / entry["file"]).read_bytes()
            except FileNotFoundError:
                raise CaloforgeError(
                    f"{directory / entry['file']}: no such file, index.json lists it"
                ) from None
            data = base64.b64encode(content).decode()
            figures.append({**entry, "source": f"data:image/svg+xml;base64,{data}"})
        yield section, figures


def _mean_separation(metrics: Mapping[str, Any], kind: str) -> float | None:
    values = [observable[kind]["separation"]["value"] for observable in metrics["observables"].values()]
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


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


def _is_at_floor(observable: Mapping[str, Any], distance: str) -> bool:
    """Whether generated showers are at most as far from the reference as independent ones, plus error."""
    generated, floor = observable["generated"][distance], observable["floor"][distance]
    if generated["value"] is None or floor["value"] is None:
        return False
    return generated["value"] <= floor["value"] + floor["error"]


def _summary(results: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(_SUMMARY_COLUMNS)
    for result in results:
        run = result["run"]
        run_columns = [run.dataset, run.model, run.seed, run.applied_to, run.label]
        for name, observable in result["metrics"]["observables"].items():
            start = [*run_columns, name]
            generated, floor = observable["generated"], observable["floor"]
            for distance in _DISTANCES:
                unit = observable["unit"] if distance == "wasserstein" else "1"
                values = [
                    pair[key] for pair in (generated[distance], floor[distance]) for key in ("value", "error")
                ]
                writer.writerow([*start, distance, unit, *values])
            writer.writerow(
                [*start, "ks_p_value", "1", generated["ks_p_value"], None, floor["ks_p_value"], None]
            )
        for name, number in result["metrics"].get("samples", {}).items():
            values = [number[kind][key] for kind in ("generated", "floor") for key in ("value", "error")]
            writer.writerow([*run_columns, name, "value", number["unit"], *values])
        for table in result["metrics"].get("tables", []):
            for row in table["rows"]:
                start = [*run_columns, row["label"]]
                for column, cell in zip(table["columns"], row["cells"], strict=True):
                    if cell:
                        values = [cell["value"], cell["error"], None, None]
                        writer.writerow([*start, f"{table['title']} / {column}", row["unit"], *values])
    return text.getvalue()


def _column_groups(columns: Sequence[str]) -> list[tuple[str, list[tuple[int, str]]]]:
    """Groups of neighbouring columns `group: column` ("" for none), each with their numbers and headings."""
    headings = [(number, *heading.rpartition(": ")) for number, heading in enumerate(columns)]
    return [
        (group, [(number, column) for number, *_, column in members])
        for group, members in groupby(headings, key=itemgetter(1))
    ]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
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
        "column_groups": _column_groups,
        "pretty_json": lambda content: json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False),
    }
    environment.tests["at_floor"] = _is_at_floor
    return environment
