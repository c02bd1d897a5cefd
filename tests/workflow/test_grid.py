"""A model for grids, which has no regressor, through the whole workflow."""

import csv
import json
from pathlib import Path

import h5py
import numpy as np
from analysis import Analysis, tiny_config

SIDE = 9  # more layers than are shown one by one
VISIBLE_FRACTION = 0.02


def write_showers(path: Path) -> None:
    """300 electrons and photons in the layout of the 3DGAN group, deeper the more energy they have."""
    rng = np.random.default_rng(3)
    energy_GeV = rng.uniform(10, 500, 300)
    axis = np.arange(SIDE)
    depth = np.exp(-((axis - 1 - np.log(energy_GeV[:, None])) ** 2) / 4)
    across = np.exp(-((axis - 3.5) ** 2) / 3)
    mean = np.einsum("x,y,nz->nxyz", across, across, depth)
    cells = rng.gamma(2, mean) * (mean > 1e-3)
    cells *= (VISIBLE_FRACTION * energy_GeV / cells.sum(axis=(1, 2, 3)))[:, None, None, None]
    with h5py.File(path, "w") as file:
        file["ECAL"] = cells.astype(np.float32)
        file["target"] = np.stack([rng.choice([11, 22], 300), energy_GeV], axis=1)


def grid_config() -> dict:
    config = tiny_config()
    dataset = {
        "source": {
            "format": "arrays",
            "files": ["EleEscan.h5"],
            "event": None,
            "cells": "ECAL",
            "axes": ["x", "y", "layer"],
            "cell_energy_unit": "GeV",
            "incident_energy": {"column": "target[1]", "unit": "GeV"},
        },
        "geometry": {
            "name": "box",
            "layers": [{"shape": [SIDE, SIDE], "cell_size_mm": [5, 5], "thickness_mm": 20, "repeat": SIDE}],
        },
        "conditions": {"pdg": {"column": "target[0]"}},
        "split": {"train": 0.5, "val": 0.2, "test": 0.3},
        "readout_threshold_MeV": 0.1,
    }
    model = {
        "family": "gan3d_conv3d",
        "cell_unit_GeV": 0.01,
        "learning_rate": 1e-4,
        "particles": [11, 22],
        "preprocessing": {"inputs": ["energy", "pdg"]},
        "training": {"epochs": 2, "batch_size": 30, "device": "cpu", "threads": 1},
    }
    return config | {
        "datasets": {"clic": dataset},
        "models": {"conv3d": model},
        "runs": [{"dataset": "clic", "model": "conv3d", "seeds": [1], "label": "test"}],
    }


def test_a_family_without_regressor_runs_to_the_report(tmp_path: Path):
    analysis = Analysis(tmp_path)
    write_showers(tmp_path / "EleEscan.h5")
    analysis.configure(grid_config())
    assert "regressor" not in analysis.planned()
    analysis.make()
    run = tmp_path / "results/clic/conv3d/seed1"
    record = json.loads((run / "train.json").read_text())
    assert record["validation_score"] == "shower_shapes"
    assert record["parameters"].keys() == {"generator", "discriminator"}
    with (run / "history.csv").open(newline="") as file:
        history = list(csv.DictReader(file))
    assert {"discriminator_class", "generator_total"} < history[0].keys()
    assert float(history[1]["validation"]) > 0
    with h5py.File(run / "samples.h5") as samples, h5py.File(tmp_path / "results/clic/data/test.h5") as test:
        assert samples["showers"].shape == test["showers"].shape
        assert samples["showers"][:].max() > 0
        np.testing.assert_array_equal(samples["conditions/pdg"][:], test["conditions/pdg"][:])
    assert not list(run.glob("*regressor*"))
    numbers = json.loads((run / "metrics.json").read_text())["samples"]
    assert numbers["reconstructed_energy_bias"]["unit"] == "GeV"
    page = (tmp_path / "results/report/index.html").read_text()
    for text in (
        "Mean of reconstructed minus requested energy [GeV]",
        "<h3>Requested and reconstructed conditions</h3>",
        "Mean of the reconstructed energy at 300 GeV over full simulation",
    ):
        assert text in page
