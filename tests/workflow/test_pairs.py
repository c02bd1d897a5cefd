"""Pairs of images through the whole workflow: an image-to-image model, jets, and other data sets."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from analysis import CHECKOUT, Analysis, tiny_config

SAMPLES = CHECKOUT / "resources/samples/jets"


def pairs_config() -> dict:
    config = tiny_config()
    embedded = yaml.safe_load((CHECKOUT / "config.yaml").read_text())["datasets"]
    datasets = {name: embedded[f"jets_{name}"] for name in ("dijet", "wjet")}
    for name, dataset in datasets.items():
        dataset["source"]["files"] = [str(SAMPLES / f"delphes_{name}_000.root")]
        dataset["source"]["full_simulation"]["files"] = [str(SAMPLES / f"fullsim_{name}_000.root")]
    model = {
        "family": "calpagan",
        "channels": 2,
        "discriminator_channels": 2,
        "residual": True,  # adds the fast image: no network of this size makes any energy in one epoch
        "initial_scale": 1,
        "training": {"epochs": 1, "batch_size": 50, "device": "cpu", "threads": 1},
    }
    run = {"model": "tiny", "seeds": [1], "label": "test"}
    return config | {
        "datasets": datasets | {"both": {"combine": ["dijet", "wjet"], "title": "Two processes"}},
        "models": {"tiny": model},
        "runs": [
            run | {"dataset": "dijet", "apply_to": ["wjet"]},
            run | {"dataset": "both", "apply_to": ["dijet"]},
        ],
        "timing": {"batch_sizes": [1, 4], "repeats": 2, "threads": 1, "gpus": [1]},
    }


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    analysis = Analysis(tmp_path_factory.mktemp("pairs"))
    analysis.configure(pairs_config())
    analysis.make()
    return analysis


def showers(path: Path, name: str = "event") -> np.ndarray:
    with h5py.File(path) as file:
        return file[name][:]


def test_events_are_generated_for_the_test_sets_of_every_data_set(pairs: Analysis):
    results = pairs.path / "results"
    dijet, wjet, both = (showers(results / f"{name}/data/test.h5") for name in ("dijet", "wjet", "both"))
    assert sorted(both) == sorted([*(2 * dijet), *(2 * wjet + 1)])
    for path, expected in (
        ("dijet/tiny/seed1/samples.h5", dijet),
        ("dijet/tiny/seed1/on_wjet/samples.h5", wjet),
        ("both/tiny/seed1/samples.h5", both),
        ("both/tiny/seed1/on_dijet/samples.h5", dijet),
    ):
        np.testing.assert_array_equal(showers(results / path), expected)
    one, other = (
        showers(results / f"{run}/samples.h5", "showers")
        for run in ("dijet/tiny/seed1", "both/tiny/seed1/on_dijet")
    )
    assert one.shape == other.shape
    assert not np.array_equal(one, other)


def test_jets_are_compared_and_drawn(pairs: Analysis):
    run = pairs.path / "results/dijet/tiny/seed1"
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"jet1_pt", "jet2_tau21", "delta_phi", "hit_cells"} < metrics["observables"].keys()
    assert {table["title"] for table in metrics["tables"]} > {"χ² distances", "Jets event by event"}
    applied = json.loads((run / "on_wjet/metrics.json").read_text())
    of_own, of_other = (
        found["observables"]["jet1_pt"]["generated"]["ks"]["value"] for found in (metrics, applied)
    )
    assert of_own != of_other
    figures = {entry["file"] for entry in json.loads((run / "figures/index.json").read_text())}
    assert {"distribution_tau1.svg", "matched_jets.svg"} < figures
    timing = json.loads((run / "timing.json").read_text())
    assert [device["label"] for device in timing["devices"]] == ["CPU, 1 thread", "1 GPU"]


def test_the_page_shows_models_by_where_they_were_trained_and_tested(pairs: Analysis):
    page = (pairs.path / "results/report/index.html").read_text()
    for text in (
        "tiny / seed 1 across data sets",
        "dijet / tiny / seed 1, applied to wjet",
        "both / tiny / seed 1, applied to dijet",
        "Two processes",
        "χ² distances over those of the input",
        "Generation time",
    ):
        assert text in page


def test_another_jet_radius_observes_anew_and_another_run_only_what_it_adds(pairs: Analysis, tmp_path: Path):
    analysis = pairs.copy(tmp_path / "copy")
    config = analysis.config
    config["runs"][1]["apply_to"] = ["dijet", "wjet"]
    analysis.configure(config)
    assert analysis.planned() == {
        "sample_applied": 1,
        "observe_applied": 1,
        "evaluate_applied": 1,
        "compare": 1,
        "report": 1,
        "all": 1,
    }
    config = pairs.config
    config["jets"] = {"radius": 0.6}
    analysis.configure(config)
    planned = analysis.planned()
    assert {"observe_reference", "observe_fast", "observe_samples", "train"} < planned.keys()
    assert not {"ingest", "combine", "preprocess"} & planned.keys()
