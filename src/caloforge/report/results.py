"""What the report shows, read from the files that the other stages wrote."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import TypeAdapter, ValidationError

from caloforge.config.dataset import AnyDataset
from caloforge.errors import CaloforgeError
from caloforge.report.detector import describe
from caloforge.report.embedding import Figures


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

    def as_dict(self) -> dict[str, Any]:
        """What was run, as plain data."""
        return {key: value for key, value in vars(self).items() if key != "run_directory"}

    @property
    def tested_on(self) -> str:
        """Data set that generated showers are compared with."""
        return self.applied_to or self.dataset

    @property
    def result_directory(self) -> Path:
        """With the generated showers, metrics.json and figures."""
        return self.run_directory / f"on_{self.applied_to}" if self.applied_to else self.run_directory

    @property
    def anchor(self) -> str:
        """Identifier of its section of the page."""
        return "-".join(filter(None, (self.dataset, self.model, str(self.seed), self.applied_to)))

    @property
    def heading(self) -> str:
        """Of its section of the page."""
        text = f"{self.dataset} / {self.model} / seed {self.seed}"
        return f"{text}, applied to {self.applied_to}" if self.applied_to else text


@dataclass(frozen=True)
class BaselineResult:
    """A baseline, which has no training of its own, and where its files are.

    Attributes
    ----------
    dataset
        That it was fitted to and tested on.
    baseline
        Its name.
    directory
        With sample.json, metrics.json, evaluate.json and figures.
    """

    dataset: str
    baseline: str
    directory: Path

    seed = None
    label = ""
    applied_to = None

    @property
    def model(self) -> str:
        """The name, where those of models are."""
        return self.baseline

    @property
    def tested_on(self) -> str:
        """Data set that generated showers are compared with."""
        return self.dataset

    @property
    def result_directory(self) -> Path:
        """With all its files."""
        return self.directory

    @property
    def anchor(self) -> str:
        """Identifier of its section of the page."""
        return f"{self.dataset}-baselines-{self.baseline}"

    @property
    def heading(self) -> str:
        """Of its section of the page."""
        return f"{self.dataset} / {self.baseline} (baseline)"


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
_FIGURE_KEYS = ("file", "section", "title", "caption", "data")
_RUN_FILES = ("regressor.json", "train.json", "regressor_history.csv", "history.csv")
_RESULT_FILES = (
    "samples.h5",
    "sample.json",
    "observables.h5",
    "observe.json",
    "metrics.json",
    "evaluate.json",
    "timing.json",
)
_SEARCH_KEYS = (
    "settings.dataset",
    "settings.model",
    "settings.objective",
    "settings.direction",
    "settings.space",
    "settings.seed",
    "settings.label",
    "trials",
    "best",
)
_DATASET_FILES = ("train.h5", "val.h5", "test.h5", "ingest.json")


def read_run(run: RunResult, figures: Figures) -> dict[str, Any]:
    """Records, numbers and figures of a run.

    Raises
    ------
    CaloforgeError
        If a file is missing or is not what its stage writes; so do the other functions.
    """
    directory = run.run_directory
    train = read_json(directory / "train.json", *_TRAINING_KEYS, *_GENERATOR_KEYS)
    trainings = {"model": train}
    if "regressor" in train["settings"]:
        trainings = {"regressor": read_json(directory / "regressor.json", *_TRAINING_KEYS)} | trainings
    timing_figures = [run.result_directory / "timing_figures"] if run.timed else []
    return _read_result(run, figures, timing_figures) | {
        "trainings": trainings,
        "timing": read_json(run.result_directory / "timing.json", "devices") if run.timed else None,
        "files": _present(directory, _RUN_FILES) + _present(run.result_directory, _RESULT_FILES),
    }


def read_baseline(baseline: BaselineResult, figures: Figures) -> dict[str, Any]:
    """Records, numbers and figures of a baseline, under the keys of those of a run."""
    return _read_result(baseline, figures) | {
        "trainings": {},
        "timing": None,
        "files": _present(baseline.directory, _RESULT_FILES),
    }


def _read_result(
    run: RunResult | BaselineResult, figures: Figures, further_albums: Iterable[Path] = ()
) -> dict[str, Any]:
    directory = run.result_directory
    metrics = read_json(directory / "metrics.json", "events", "observables")
    return {
        "run": run,
        "sample": read_json(directory / "sample.json", *_SAMPLE_KEYS),
        "evaluation": read_json(directory / "evaluate.json", "settings"),
        "metrics": metrics,
        "mean_separation": _mean_separation(metrics, "generated"),
        "mean_floor": _mean_separation(metrics, "floor"),
        "figures": [
            section
            for album in (directory / "figures", *further_albums)
            for section in read_album(album, figures)
        ],
    }


def read_dataset(directory: Path, figures: Figures) -> dict[str, Any]:
    """Record and figures of a data set."""
    path = directory / "ingest.json"
    ingest = read_json(path, *_INGEST_KEYS)
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
        "figures": read_album(directory / "figures", figures),
        "files": _present(directory, _DATASET_FILES),
    }


def read_comparison(directory: Path, figures: Figures) -> dict[str, Any]:
    """Tables and figures of all models of a data set beside each other."""
    return {
        "tables": read_json(directory / "comparison.json", "tables")["tables"],
        "figures": read_album(directory / "figures", figures),
        "files": _present(directory, ("comparison.json",)),
    }


def read_search(directory: Path, figures: Figures) -> dict[str, Any]:
    """Trials and figures of a search for hyper-parameters."""
    found = read_json(directory / "trials.json", *_SEARCH_KEYS)
    return found | {
        "figures": read_album(directory / "figures", figures),
        "overlay": directory / "best.yaml",
        "files": _present(directory, ("best.yaml", "trials.csv", "trials.json")),
    }


def read_album(directory: Path, figures: Figures) -> list[tuple[str, list[dict[str, Any]]]]:
    """The sections of an album in order, each with its figures, embedded."""
    path = directory / "index.json"
    sections: dict[str, list[dict[str, Any]]] = {}
    for entry in read_json(path):
        _check_keys(path, entry, _FIGURE_KEYS)
        embedded = figures.embed(directory / entry["file"], path)
        shown = entry | {"embedded": embedded, "directory": directory}
        sections.setdefault(entry["section"], []).append(shown)
    return list(sections.items())


def _present(directory: Path, names: Iterable[str]) -> list[Path]:
    return [directory / name for name in names if (directory / name).exists()]


def read_json(path: Path, *keys: str) -> Any:
    """Content of a JSON file that has these keys, each a path with dots."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CaloforgeError(f"{path}: no such file, the report needs it") from None
    except ValueError as error:
        raise CaloforgeError(f"{path}: not JSON: {error}") from None
    _check_keys(path, content, keys)
    return content


def _check_keys(path: Path, content: Any, keys: Iterable[str]) -> None:
    missing = [key for key in keys if not _has(content, key)]
    if missing:
        raise CaloforgeError(f"{path}: no key {', '.join(missing)}, the report needs it")


def _has(content: Any, dotted_key: str) -> bool:
    for key in dotted_key.split("."):
        if not isinstance(content, Mapping) or key not in content:
            return False
        content = content[key]
    return True


def _mean_separation(metrics: Mapping[str, Any], kind: str) -> float | None:
    values = [observable[kind]["separation"]["value"] for observable in metrics["observables"].values()]
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
