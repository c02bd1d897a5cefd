"""Baselines in the workflow."""

import json

import h5py
import numpy as np
from analysis import Analysis

BASELINE = "results/ecal/baselines/parametrised_shower"


def test_baselines_need_data_but_no_model(fresh: Analysis):
    fresh.configure({key: value for key, value in fresh.config.items() if key != "baselines"})
    fresh.make(f"{BASELINE}/observables.h5")
    assert not fresh.run.exists()
    with (
        h5py.File(fresh.path / BASELINE / "samples.h5") as samples,
        h5py.File(fresh.path / "results/ecal/data/test.h5") as test,
    ):
        np.testing.assert_array_equal(samples["event"][:], test["event"][:])
    record = json.loads((fresh.path / BASELINE / "sample.json").read_text())
    assert record["seed"] == 2026
    output = fresh.make(
        "--dry-run", f"{BASELINE}/metrics.json", "results/ecal/baselines/shower_library/figures"
    )
    planned = output.partition("Job stats:")[2]
    assert "evaluate_baseline        2" in planned
    assert "baseline                 1" in planned
    assert "train" not in planned.partition("total")[0].replace("observables_train", "")


def test_baselines_can_be_left_out(fresh: Analysis):
    fresh.configure({**fresh.config, "baselines": []})
    assert "baseline" not in fresh.planned()
    status, output = fresh.snakemake("--dry-run", f"{BASELINE}/metrics.json")
    assert status == 1
    assert "MissingRuleException" in output


def test_models_cannot_be_called_baselines(fresh: Analysis):
    config = fresh.config
    config["models"]["baselines"] = config["models"].pop("tiny")
    fresh.configure(config)
    status, output = fresh.snakemake("--dry-run")
    assert status == 1
    assert "models.baselines: found 'baselines', expected another name: results use it" in output
