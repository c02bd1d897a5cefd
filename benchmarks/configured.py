"""What benchmarks of models start from: settings, training showers and preprocessing, as in the workflow."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from snakemake.utils import update_config

from caloforge.config.load import validate
from caloforge.config.project import paired_files, source_files
from caloforge.ingest import ingest
from caloforge.preprocessing import Preprocessing, fit_preprocessing


@dataclass(frozen=True)
class Configured:
    """Settings of a model, training showers (canonical file) and the preprocessing fitted to them."""

    settings: Any
    train: Path
    preprocessing: Preprocessing


def configured(model: str, overlays: list[Path], directory: Path) -> Configured:
    """Ingest the data set of the first run of `model` into `directory` and fit the preprocessing."""
    merged: dict[str, Any] = {}
    for path in (Path("config.yaml"), *overlays):
        update_config(merged, yaml.safe_load(path.read_text()))
    config = validate(merged)
    name = next((run.dataset for run in config.runs if run.model == model), None)
    if name is None:
        sys.exit(f"no run of {model!r} found, expected one of {sorted({run.model for run in config.runs})}")
    dataset, settings = config.datasets[name], config.models[model]
    splits = {split: directory / f"{split}.h5" for split in ("train", "val", "test")}
    files, paired = map(list, (map(Path, source_files(dataset)), map(Path, paired_files(dataset))))
    ingest(dataset, name=name, files=files, paired=paired, **splits, record=directory / "ingest.json")
    fit_preprocessing(
        settings.preprocessing,
        train=splits["train"],
        readout_threshold_MeV=dataset.readout_threshold_MeV,
        output=directory / "preprocessing.json",
        record=directory / "preprocess.json",
    )
    return Configured(settings, splits["train"], Preprocessing.load(directory / "preprocessing.json"))
