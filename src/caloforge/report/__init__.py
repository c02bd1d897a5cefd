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
from pydantic import ValidationError

from caloforge.atomic import write_text
from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.provenance import code_version
from caloforge.report import numbers
from caloforge.report.cost import Cost, as_csv, cost_of_geant4, cost_of_run
from caloforge.report.detector import describe

_SUMMARY_COLUMNS = (
    "dataset",
    "model",
    "seed",
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
    """

    dataset: str
    model: str
    seed: int
    label: str
    run_directory: Path


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
        metric `value`.
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
        results=results,
    )
    write_text(summary, _summary(results))
    write_text(cost, as_csv(row for rows in costs.values() for row in rows))
    write_text(output, page)


_INGEST_KEYS = ("inputs", "settings", "files", "events", "geant4_cpu_s_per_event", "summary", "time_s")
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
    metrics = _read_json(directory / "metrics.json", "events", "observables")
    return {
        "run": run,
        "trainings": trainings,
        "sample": _read_json(directory / "sample.json", *_SAMPLE_KEYS),
        "evaluation": _read_json(directory / "evaluate.json", "settings"),
        "metrics": metrics,
        "mean_separation": _mean_separation(metrics, "generated"),
        "mean_floor": _mean_separation(metrics, "floor"),
        "figures": list(_read_figures(directory / "figures")),
    }


def _read_dataset(directory: Path) -> dict[str, Any]:
    path = directory / "ingest.json"
    ingest = _read_json(path, *_INGEST_KEYS)
    try:
        settings = DatasetSettings.model_validate(ingest["settings"])
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, ("settings", *problem["loc"])))
        raise CaloforgeError(f"{path}: {key}: {problem['msg']}") from None
    paired = [file for file in ingest["inputs"] if file not in {source["file"] for source in ingest["files"]}]
    return {
        "ingest": ingest,
        "settings": settings,
        "cells": describe(settings.geometry),
        "paired_files": paired,
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
        costs.setdefault(name, []).append(cost_of_run(result, data[name]["ingest"]))
    for name, rows in costs.items():
        rows += filter(None, [cost_of_geant4(name, data[name]["ingest"])])
    return costs


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
        for name, observable in result["metrics"]["observables"].items():
            start = [run.dataset, run.model, run.seed, run.label, name]
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
            writer.writerow(
                [run.dataset, run.model, run.seed, run.label, name, "value", number["unit"], *values]
            )
    return text.getvalue()


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
        "pretty_json": lambda content: json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False),
    }
    environment.tests["at_floor"] = _is_at_floor
    return environment
