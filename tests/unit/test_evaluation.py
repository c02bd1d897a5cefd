"""Evaluation against SciPy, on real showers, and with files that do not belong together."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import stats

from caloforge.config.dataset import DatasetSettings
from caloforge.config.stages import EvaluationSettings, FigureSettings
from caloforge.errors import CaloforgeError
from caloforge.evaluation import evaluate
from caloforge.evaluation.observables import mean_profile
from caloforge.evaluation.pictures import spread_over_energies
from caloforge.geometry import CartesianLayer, Geometry
from caloforge.ingest import ingest
from caloforge.metrics.distributions import bin_edges
from caloforge.observables import observe
from caloforge.showers import Showers, ShowerWriter

SAMPLE = Path(__file__).parents[2] / "resources/samples/lhcb_ecal/lhcb_ecal_e-_000.root"
GEOMETRY = Geometry(name="small", layers=(CartesianLayer(shape=(4, 4), cell_size_mm=(20, 20)),))
SETTINGS = EvaluationSettings(bins=10, bootstrap=10, classifiers={"use": ()})
UNITS = {"px": "GeV", "py": "GeV", "pz": "GeV"}


def write_observables(path, n, *, first_event=0, shift=0.0, threshold_MeV=0.5, seed=0):
    """An observables file with a width in mm that is undefined for every tenth shower."""
    rng = np.random.default_rng(seed)
    width_mm = rng.normal(20 + shift, 3, n)
    width_mm[::10] = np.nan
    with h5py.File(path, "w") as file:
        file.attrs.update(geometry=GEOMETRY.model_dump_json(), readout_threshold_MeV=threshold_MeV, n=n)
        scalars = {
            "response": (rng.normal(0.2, 0.01, n), "Visible / incident energy", "1", False),
            "total_energy_MeV": (rng.lognormal(6, 1, n), "Visible energy", "MeV", True),
            "width_mm": (width_mm, "Width", "mm", False),
        }
        for name, (values, label, unit, log) in scalars.items():
            data = file.create_dataset(f"scalars/{name}", data=values.astype(np.float32))
            data.attrs.update(label=label, unit=unit, log=log)
        radial = file.create_dataset("profiles/radial", data=rng.dirichlet([5, 3, 1], n).astype(np.float32))
        radial.attrs.update(x=np.arange(4.0), x_label="Distance", x_unit="mm")
        radial.attrs.update(label="Energy share", unit="1", log_x=False, log_y=True)
        file["mean_shower"] = rng.exponential(10, 16)
        file["incident_energy_GeV"] = rng.uniform(2, 100, n).astype(np.float32)
        file["event"] = first_event + np.arange(n)


def write_showers(path, n, *, first_event=0, seed=0):
    rng = np.random.default_rng(seed)
    with ShowerWriter(path, GEOMETRY, UNITS) as writer:
        conditions = {name: rng.uniform(1, 2, n).astype(np.float32) for name in UNITS}
        energies_MeV = rng.uniform(2e3, 1e5, (n, 1)).astype(np.float32)
        writer.append(
            Showers(
                rng.exponential(10, (n, 16)).astype(np.float32),
                energies_MeV,
                conditions,
                first_event + np.arange(n),
            )
        )


@pytest.fixture
def inputs(tmp_path):
    return write_inputs(tmp_path)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Arguments of a call of `evaluate` that is done; for reading only."""
    arguments = write_inputs(tmp_path_factory.mktemp("evaluated"))
    evaluate(SETTINGS, FigureSettings(dpi=90), **arguments)
    return arguments


def write_inputs(tmp_path):
    """Arguments of `evaluate` for 200 generated and fully simulated showers and 500 others."""
    write_observables(tmp_path / "generated.h5", 200, shift=1, seed=1)
    write_observables(tmp_path / "reference.h5", 200, seed=2)
    write_observables(tmp_path / "independent.h5", 500, first_event=1000, seed=3)
    write_showers(tmp_path / "samples.h5", 200, seed=4)
    write_showers(tmp_path / "test.h5", 200, seed=5)
    write_showers(tmp_path / "train.h5", 500, first_event=1000, seed=6)
    write_showers(tmp_path / "val.h5", 120, first_event=2000, seed=7)
    (tmp_path / "history.csv").write_text(
        "epoch,step,critic,generator,validation\n1,10,3.0,,\n2,20,2.0,0.5,0.3\n3,30,1.5,0.4,0.4\n"
    )
    return {
        "label": "A demonstration",
        "generated": tmp_path / "generated.h5",
        "reference": tmp_path / "reference.h5",
        "independent": tmp_path / "independent.h5",
        "generated_showers": tmp_path / "samples.h5",
        "reference_showers": tmp_path / "test.h5",
        "independent_showers": tmp_path / "train.h5",
        "training_showers": tmp_path / "train.h5",
        "validation_showers": tmp_path / "val.h5",
        "histories": {"model": tmp_path / "history.csv"},
        "metrics": tmp_path / "out/metrics.json",
        "figure_directory": tmp_path / "out/figures",
        "record": tmp_path / "out/evaluate.json",
    }


def read_scalar(path, name):
    with h5py.File(path) as file:
        values = file[f"scalars/{name}"][:].astype(float)
    return values[np.isfinite(values)]


def separation(p, q):
    return 0.5 * sum((a - b) ** 2 / (a + b) for a, b in zip(p, q, strict=True) if a + b > 0)


def test_metrics_agree_with_scipy(evaluated):
    metrics = json.loads(evaluated["metrics"].read_text())
    assert metrics["label"] == "A demonstration"
    assert metrics["events"] == {"generated": 200, "reference": 200, "independent": 200}
    assert set(metrics) == {"label", "events", "observables", "samples", "tables"}
    assert metrics["tables"] == []
    assert set(metrics["observables"]) == {"response", "total_energy_MeV", "width_mm"}
    for name, entry in metrics["observables"].items():
        reference, generated = (read_scalar(evaluated[kind], name) for kind in ("reference", "generated"))
        found = entry["generated"]
        assert found["ks"]["value"] == pytest.approx(stats.ks_2samp(reference, generated).statistic)
        assert found["ks_p_value"] == pytest.approx(stats.ks_2samp(reference, generated).pvalue)
        distance = stats.wasserstein_distance(reference, generated)
        assert found["wasserstein"]["value"] == pytest.approx(distance)
        edges = bin_edges(reference, log=name == "total_energy_MeV", bins=10)
        p, q = (
            np.histogram(values.clip(edges[0], edges[-1]), edges)[0] / len(values)
            for values in (reference, generated)
        )
        assert found["separation"]["value"] == pytest.approx(separation(p, q))
    width = metrics["observables"]["width_mm"]
    assert (width["label"], width["unit"]) == ("Width", "mm")
    assert width["undefined"] == {"generated": 20, "reference": 20}
    assert width["generated"]["wasserstein"]["value"] > width["floor"]["wasserstein"]["value"]


def test_floor_compares_with_all_independent_events_when_there_are_just_enough(inputs):
    write_observables(inputs["independent"], 150, first_event=1000, seed=6)
    write_showers(inputs["independent_showers"], 150, first_event=1000, seed=6)
    evaluate(SETTINGS, FigureSettings(), **inputs)
    metrics = json.loads(inputs["metrics"].read_text())
    assert metrics["events"]["independent"] == 150
    reference, independent = (read_scalar(inputs[kind], "response") for kind in ("reference", "independent"))
    expected = stats.wasserstein_distance(reference, independent)
    assert metrics["observables"]["response"]["floor"]["wasserstein"]["value"] == pytest.approx(expected)


def test_figures_are_listed_in_the_order_of_their_sections(evaluated):
    directory = evaluated["figure_directory"]
    index = json.loads((directory / "index.json").read_text())
    listed = {entry[kind] for entry in index for kind in ("file", "data")}
    assert listed | {"index.json"} == {file.name for file in directory.iterdir()}
    sections = [entry["section"] for entry in index]
    in_order = ["Training", "Showers", "Observables", "Energy", "Nearest neighbours", "High-level features"]
    assert list(dict.fromkeys(sections)) == in_order
    assert sections == sorted(sections, key=in_order.index)
    assert [entry["file"] for entry in index if entry["section"] == "Observables"] == [
        "distribution_response.svg",
        "distribution_total_energy_MeV.svg",
        "distribution_width_mm.svg",
        "profile_radial.svg",
    ]
    for entry in index:
        content = (directory / entry["file"]).read_text()
        assert "A demonstration" in content
        assert len(content) < 300_000


def test_the_same_inputs_give_the_same_bytes(inputs, evaluated):
    evaluate(SETTINGS, FigureSettings(dpi=90), **inputs)
    first, second = (
        {file.name: file.read_bytes() for file in (run["metrics"], *run["figure_directory"].iterdir())}
        for run in (inputs, evaluated)
    )
    assert first == second


def test_record_names_inputs_and_settings(evaluated):
    record = json.loads(evaluated["record"].read_text())
    assert len(record["inputs"]) == 8
    assert record["settings"]["label"] == "A demonstration"
    assert record["settings"]["figures"]["dpi"] == 90
    assert record["seed"] == 2026


def test_real_showers_compared_with_themselves(tmp_path):
    """Ingest, observe and evaluate the embedded sample, the test events standing for generated ones too."""
    settings = DatasetSettings.model_validate(
        {
            "source": {"format": "root_cells", "files": [str(SAMPLE)], "cells": {"layer": None}},
            "geometry": {
                "name": "LHCb-like ECAL",
                "layers": [{"shape": [30, 30], "cell_size_mm": [20, 20]}],
                "radiation_length_mm": 16.4,
                "critical_energy_MeV": 9.7,
            },
            "conditions": {name: {"column": name, "unit": "GeV"} for name in ("px", "py", "pz")}
            | {name: {"column": name, "unit": "mm"} for name in ("x0", "y0")},
            "split": {"train": 0.6, "val": 0.1, "test": 0.3},
            "readout_threshold_MeV": 0.5,
        }
    )
    splits = {split: tmp_path / f"{split}.h5" for split in ("train", "val", "test")}
    ingest(settings, name="lhcb_ecal", files=[SAMPLE], **splits, record=tmp_path / "ingest.json")
    for split in ("train", "test"):
        observe(
            splits[split],
            readout_threshold_MeV=0.5,
            output=tmp_path / f"observables_{split}.h5",
            record=tmp_path / f"observe_{split}.json",
        )
    evaluate(
        SETTINGS,
        FigureSettings(),
        label="",
        generated=tmp_path / "observables_test.h5",
        reference=tmp_path / "observables_test.h5",
        independent=tmp_path / "observables_train.h5",
        generated_showers=splits["test"],
        reference_showers=splits["test"],
        independent_showers=splits["train"],
        training_showers=splits["train"],
        validation_showers=splits["val"],
        histories={},
        metrics=tmp_path / "metrics.json",
        figure_directory=tmp_path / "figures",
        record=tmp_path / "evaluate.json",
    )
    observables = json.loads((tmp_path / "metrics.json").read_text())["observables"]
    assert len(observables) >= 12
    for entry in observables.values():
        assert [
            entry["generated"][distance]["value"] for distance in ("ks", "wasserstein", "separation")
        ] == [0] * 3
        assert entry["generated"]["ks_p_value"] == 1
        assert 0 < entry["floor"]["ks"]["value"] < 0.2


def test_mean_profile_of_more_showers_than_a_block():
    data = np.random.default_rng(0).exponential(size=(10_050, 3)).astype(np.float32)
    data[::7, 1] = np.nan
    found = mean_profile(data)
    np.testing.assert_allclose(found.value, np.nanmean(data.astype(float), axis=0))
    np.testing.assert_allclose(found.error, stats.sem(data.astype(float), axis=0, nan_policy="omit"))
    assert found.n == 10_050


def test_displayed_showers_spread_over_the_energies():
    energies_GeV = np.array([100.0, 1, 50, 2, 10, 4, 90])
    assert energies_GeV[spread_over_energies(energies_GeV, 2)].tolist() == [4, 50]
    assert energies_GeV[spread_over_energies(energies_GeV, 4)].tolist() == [2, 4, 10, 50]
    assert spread_over_energies(np.array([5.0, 5.0]), 4).tolist() == [0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda paths: write_observables(paths["generated"], 200, threshold_MeV=1),
            "readout_threshold_MeV 1.0, expected 0.5",
        ),
        (
            lambda paths: write_observables(paths["generated"], 200, first_event=7),
            "generated.h5: its events are not",
        ),
        (lambda paths: write_observables(paths["generated"], 199), "generated.h5: its events are not"),
        (
            lambda paths: paths["generated"].write_text("no HDF5"),
            "generated.h5: not a readable observables file",
        ),
        (lambda paths: paths["independent"].unlink(), "independent.h5: no such file"),
        (lambda paths: write_showers(paths["generated_showers"], 3), "samples.h5: holds 3 showers, expected"),
        (
            lambda paths: write_showers(paths["independent_showers"], 500),
            "train.h5: its events are not those of ",
        ),
        (
            lambda paths: paths["histories"]["model"].write_text("epoch,step\n1,2\n"),
            "history.csv: no column validation",
        ),
        (
            lambda paths: paths["histories"]["model"].write_text("epoch,validation\n1,high\n"),
            "history.csv: not a training history: could not convert string to float: 'high'",
        ),
    ],
)
def test_damaged_inputs_end_in_one_line_and_leave_nothing(inputs, damage, message):
    damage(inputs)
    with pytest.raises(CaloforgeError) as caught:
        evaluate(SETTINGS, FigureSettings(), **inputs)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not [file for file in inputs["metrics"].parent.rglob("*") if file.is_file()]


def test_a_missing_observable_is_named(inputs):
    with h5py.File(inputs["generated"], "a") as file:
        del file["scalars/width_mm"]
    with pytest.raises(
        CaloforgeError, match=r"generated.h5: scalars \['response', 'total_energy_MeV'\], expected"
    ):
        evaluate(SETTINGS, FigureSettings(), **inputs)
