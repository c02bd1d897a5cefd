"""Evaluation of generated collisions beside full and fast simulation: χ² tables, matched jets, figures."""

import json
import math

import h5py
import numpy as np
import pytest
from scipy import stats

from caloforge.config.stages import EvaluationSettings, FigureSettings
from caloforge.errors import CaloforgeError
from caloforge.evaluation import collisions, evaluate, matched_jets
from caloforge.evaluation.matched_jets import LeadingJets, responses
from caloforge.evaluation.observables import read_observables
from caloforge.figures.collisions import Simulations
from caloforge.figures.collisions import event as event_figure
from caloforge.geometry import EtaPhiLayer, Geometry
from caloforge.metrics.distributions import bin_edges
from caloforge.showers import Showers, ShowerWriter

LAYER = EtaPhiLayer(kind="eta_phi", eta_edges={"bins": 12, "low": -3, "high": 3}, n_phi=12)
GEOMETRY = Geometry(name="towers", layers=(LAYER,))
SETTINGS = EvaluationSettings(bootstrap=20, classifiers={"use": ()})
RADIUS = 0.5
OF_JETS = {
    "pt": ("transverse momentum", "GeV", True),
    "eta": ("pseudorapidity", "1", False),
    "phi": ("azimuth", "rad", False),
    "tau1": ("1-subjettiness", "1", False),
    "tau2": ("2-subjettiness", "1", False),
    "two_point_moment": ("two-point moment", "1", False),
    "c2": ("energy correlation ratio", "1", False),
}


def write_observables(path, n, *, seed, events_seed=0, first_event=0, smear=0.1):
    """Observables of n events: the same `events_seed` gives the same jets, smeared with the seed.

    Every fifth event has no second jet, every fiftieth none at all.
    """
    of_events, rng = np.random.default_rng(events_seed), np.random.default_rng(seed)
    values = {}
    for jet in (1, 2):
        missing = np.zeros(n, bool)
        missing[:: 50 if jet == 1 else 5] = True
        for name in OF_JETS:
            true = of_events.exponential(0.3, n)
            if name == "pt":
                true = of_events.lognormal(5 - jet / 4, 0.4, n)
            if name in ("eta", "phi"):
                true = of_events.uniform(-np.pi, np.pi, n)
            found = true + smear * rng.normal(size=n) * (true if name == "pt" else 1)
            if name == "phi":
                found = np.mod(found + np.pi, 2 * np.pi) - np.pi
            values[f"jet{jet}_{name}"] = np.where(missing, np.nan, found)
    values["delta_eta"] = values["jet1_eta"] - values["jet2_eta"]
    values["delta_phi"] = np.abs(values["jet1_phi"] - values["jet2_phi"])
    values["hit_cells"] = of_events.poisson(100, n) + rng.integers(0, 5, n)
    texts = {
        f"jet{jet}_{name}": (f"Jet {jet}: {OF_JETS[name][0]}", *OF_JETS[name][1:])
        for jet in (1, 2)
        for name in OF_JETS
    }
    texts |= {
        "delta_eta": ("Jets 1 and 2: Δη", "1", False),
        "delta_phi": ("Jets 1 and 2: |Δφ|", "rad", False),
    }
    texts |= {"hit_cells": ("Hit cells", "1", False)}
    with h5py.File(path, "w") as file:
        file.attrs.update(geometry=GEOMETRY.model_dump_json(), readout_threshold_MeV=5.0, n=n)
        for name, (label, unit, log) in texts.items():
            data = file.create_dataset(f"scalars/{name}", data=values[name].astype(np.float32))
            data.attrs.update(label=label, unit=unit, log=log)
        rings = file.create_dataset("profiles/eta", data=rng.exponential(10, (n, 12)).astype(np.float32))
        rings.attrs.update(x=LAYER.edges(0), x_label="Pseudorapidity", x_unit="1", label="Energy", unit="GeV")
        rings.attrs.update(edges=True, log_x=False, log_y=False)
        file["mean_shower"] = rng.exponential(1000, LAYER.n_cells)
        file["incident_energy_GeV"] = np.full(n, 500, np.float32)
        file["event"] = first_event + np.arange(n)


def write_images(path, n, *, seed, first_event=0, paired=True):
    rng = np.random.default_rng(seed)
    images_MeV = [
        (rng.exponential(5000, (n, LAYER.n_cells)) * (rng.random((n, LAYER.n_cells)) < 0.2)).astype(
            np.float32
        )
        for _ in range(2)
    ]
    with ShowerWriter(path, GEOMETRY, {}, paired=paired) as writer:
        writer.append(
            Showers(
                images_MeV[0],
                images_MeV[1].sum(axis=1, keepdims=True),
                {},
                first_event + np.arange(n),
                images_MeV[1] if paired else None,
            )
        )


@pytest.fixture
def inputs(tmp_path):
    return write_inputs(tmp_path)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Arguments of a call of `evaluate` that is done; for reading only."""
    arguments = write_inputs(tmp_path_factory.mktemp("evaluated"))
    evaluate(SETTINGS, FigureSettings(displays=2), **arguments)
    return arguments


def write_inputs(directory):
    """Arguments of `evaluate` for 300 pairs, and 400 others."""
    n, others = 300, {"first_event": 1000, "events_seed": 9}
    write_observables(directory / "reference.h5", n, seed=1, smear=0)
    write_observables(directory / "generated.h5", n, seed=2, smear=0.05)
    write_observables(directory / "fast.h5", n, seed=3, smear=0.3)
    write_observables(directory / "independent.h5", 400, seed=4, smear=0, **others)
    write_images(directory / "samples.h5", n, seed=5, paired=False)
    write_images(directory / "test.h5", n, seed=6)
    write_images(directory / "train.h5", 400, seed=7, first_event=1000)
    write_images(directory / "val.h5", 10, seed=8, first_event=2000)
    (directory / "history.csv").write_text(
        "epoch,step,generator,validation,validation_frechet_jets,validation_frechet_pixels\n"
        "1,10,3.0,0.4,90,5000\n2,20,2.0,,,\n3,30,1.5,0.3,,1000\n"
    )
    distances = {"fast": {"jets": 40.0, "pixels": 3e3}, "floor": {"jets": 1.5, "pixels": None}}
    (directory / "train.json").write_text(json.dumps({"frechet": distances}))
    return {
        "label": "A demonstration",
        "jet_radius": RADIUS,
        "generated": directory / "generated.h5",
        "reference": directory / "reference.h5",
        "independent": directory / "independent.h5",
        "generated_showers": directory / "samples.h5",
        "reference_showers": directory / "test.h5",
        "independent_showers": directory / "train.h5",
        "training_showers": directory / "train.h5",
        "validation_showers": directory / "val.h5",
        "histories": {"model": directory / "history.csv"},
        "fast": directory / "fast.h5",
        "training_record": directory / "train.json",
        "metrics": directory / "out/metrics.json",
        "figure_directory": directory / "out/figures",
        "record": directory / "out/evaluate.json",
    }


def tables_of(evaluated):
    metrics = json.loads(evaluated["metrics"].read_text())
    return {
        table["title"]: {
            row["label"]: dict(zip(table["columns"], row["cells"], strict=True)) for row in table["rows"]
        }
        for table in metrics["tables"]
    }


def contingency(full, other, *, log):
    """The statistic of SciPy on the defined values of two samples of one size and as many defined values."""
    full, other = (values[np.isfinite(values)].astype(float) for values in (full, other))
    edges = bin_edges(full, log=log, bins=50)
    counts = np.array([np.histogram(values.clip(edges[0], edges[-1]), edges)[0] for values in (full, other)])
    return stats.chi2_contingency(counts[:, counts.any(axis=0)], correction=False).statistic


def read_scalar(path, name):
    with h5py.File(path) as file:
        return file[f"scalars/{name}"][:]


def test_distances_stand_in_the_order_of_the_paper_and_agree_with_scipy(evaluated):
    table = tables_of(evaluated)["χ² distances"]
    assert list(table) == [
        "1-subjettiness",
        "2-subjettiness",
        "Two-point moment",
        "Transverse momentum",
        "Pseudorapidity",
        "Azimuth",
        "Δη",
        "|Δφ|",
        "Energy correlation ratio",
        "Hit cells",
    ]
    full, fast, generated = (
        read_scalar(evaluated[kind], "jet2_pt") for kind in ("reference", "fast", "generated")
    )
    row = table["Transverse momentum"]
    assert row["fast – full: jet 2"]["value"] == pytest.approx(contingency(full, fast, log=True))
    assert row["full – generated: jet 2"]["value"] == pytest.approx(contingency(full, generated, log=True))
    assert row["full – generated: jet 1"]["value"] < row["fast – full: jet 1"]["value"]
    assert table["Δη"]["floor: jet 2"] is None
    for cells in table.values():
        assert all(cell["error"] > 0 for cell in cells.values() if cell)


def test_ratios_are_those_of_the_distances(evaluated):
    tables = tables_of(evaluated)
    distances, ratios = tables["χ² distances"], tables["χ² distances over those of the input"]
    assert list(ratios) == list(distances)
    for label, row in distances.items():
        expected = row["full – generated: jet 1"]["value"] / row["fast – full: jet 1"]["value"]
        assert ratios[label]["jet 1"]["value"] == pytest.approx(expected)


def test_simulations_are_resampled_together(evaluated):
    """Where the generator returns its input, the ratio is 1 in every resampling."""
    full, fast, other = (read_observables(evaluated[name]) for name in ("reference", "fast", "independent"))
    (_, ratios), _ = collisions.compare(SETTINGS, Simulations(full, fast, fast), other, np.arange(400))
    cells = [cell for row in ratios.rows for cell in row.cells if cell]
    assert len(cells) == 2 * 7 + 3
    assert {(cell["value"], cell["error"]) for cell in cells} == {(1.0, 0.0)}


def test_the_floor_is_scaled_to_the_number_of_the_reference(evaluated):
    """Independent events are 300 of 400; twice the same ones are as far away as once."""
    full, other = (read_observables(evaluated[name]) for name in ("reference", "independent"))
    floors = []
    for rows in (np.arange(400), np.repeat(np.arange(400), 2)):
        (distances, _), _ = collisions.compare(SETTINGS, Simulations(full, full, full), other, rows)
        floors.append([row.cells[distances.columns.index("floor: jet 1")]["value"] for row in distances.rows])
    assert floors[0] == pytest.approx(floors[1])
    assert min(floors[0]) > 0
    assert distances.rows[0].cells[0]["value"] == 0


def by_loop(full, other, radius):
    """The nearest of two jets within half the radius, one jet at a time."""
    found = np.full(full.pt_GeV.shape, np.nan)
    for event in range(len(found)):
        for jet in (0, 1):
            nearest = radius / 2
            for candidate in (0, 1):
                turns = abs(full.phi[event, jet] - other.phi[event, candidate])
                distance = math.hypot(
                    full.eta[event, jet] - other.eta[event, candidate], min(turns, 2 * math.pi - turns)
                )
                if distance < nearest:
                    nearest = distance
                    found[event, jet] = other.pt_GeV[event, candidate] / full.pt_GeV[event, jet]
    return found


def test_jets_are_matched_as_by_a_loop_also_over_the_seam():
    rng = np.random.default_rng(3)
    n = 400
    full = LeadingJets(
        rng.uniform(20, 200, (n, 2)), rng.uniform(-3, 3, (n, 2)), rng.uniform(-np.pi, np.pi, (n, 2))
    )
    full.phi[:100] = np.pi - 0.05
    swapped = rng.random(n) < 0.3
    other = LeadingJets(*(np.where(swapped[:, None], values[:, ::-1], values).copy() for values in full))
    other.eta[:] += rng.normal(0, 0.15, (n, 2))
    other.phi[:] = np.mod(other.phi + rng.normal(0, 0.15, (n, 2)) + np.pi, 2 * np.pi) - np.pi
    for jets, missing in ((full, slice(0, 20)), (other, slice(10, 40))):
        for values in jets:
            values[missing, 1] = np.nan
    found = responses(full, other, RADIUS)
    np.testing.assert_allclose(found, by_loop(full, other, RADIUS))
    assert 0.3 < np.isfinite(found[:100, 0]).mean() < 0.9
    assert np.isnan(found[:20, 1]).all()


def test_bias_resolution_and_matched_share(evaluated):
    table = tables_of(evaluated)["Jets event by event"]
    full, generated = (
        matched_jets.leading_jets(read_observables(evaluated[name])) for name in ("reference", "generated")
    )
    ratios = by_loop(full, generated, RADIUS)[:, 0]
    matched = ratios[np.isfinite(ratios)]
    found = {label: row["generated: jet 1"] for label, row in table.items()}
    assert found["Matched share"]["value"] == pytest.approx(
        len(matched) / np.isfinite(full.pt_GeV[:, 0]).sum()
    )
    assert found["Mean pT / pT of the full simulation"]["value"] == pytest.approx(matched.mean())
    assert found["Mean pT / pT of the full simulation"]["error"] == pytest.approx(stats.sem(matched), rel=0.6)
    assert found["Resolution"]["value"] == pytest.approx(stats.variation(matched, ddof=1))
    assert table["Matched share"]["fast: jet 1"]["value"] < found["Matched share"]["value"]


def test_without_jets_there_are_no_numbers_and_no_figure(tmp_path):
    write_observables(tmp_path / "few.h5", 1, seed=0)
    write_observables(tmp_path / "none.h5", 5, seed=0)
    with h5py.File(tmp_path / "none.h5", "a") as file:
        for name, values in file["scalars"].items():
            if name.startswith(("jet", "delta")):
                values[:] = np.nan
    for name in ("few", "none"):
        sample = read_observables(tmp_path / f"{name}.h5")
        simulations = Simulations(sample, sample, sample)
        (table,), drawn = matched_jets.compare(SETTINGS, simulations, RADIUS)
        assert drawn == []
        assert {cell["value"] for row in table.rows for cell in row.cells} == {None}
        (distances, _), drawn = collisions.compare(SETTINGS, simulations, sample, np.arange(len(sample)))
        assert {cell["value"] for cell in distances.rows[0].cells} == {None}
        assert [entry.file for entry in drawn] == ["distribution_hit_cells.svg", "profile_eta.svg"]


def test_numbers_and_figures_are_those_of_collisions(evaluated):
    metrics = json.loads(evaluated["metrics"].read_text())
    assert set(metrics) == {"label", "events", "observables", "samples", "tables"}
    assert {"fpd", "kpd", "recall", "correlation_distance"} <= set(metrics["samples"])
    assert not [name for name in metrics["samples"] if name.startswith("neighbour")]
    assert metrics["events"] == {"generated": 300, "reference": 300, "independent": 300}
    assert len(metrics["observables"]) == 2 * 7 + 3
    index = json.loads((evaluated["figure_directory"] / "index.json").read_text())
    sections = [entry["section"] for entry in index]
    assert list(dict.fromkeys(sections)) == [
        "Training",
        "Events",
        "Jets",
        "Events as a whole",
        "Jets event by event",
        "High-level features",
    ]
    files = [entry["file"] for entry in index]
    assert files[:7] == [
        "losses_model.svg",
        "validation_model.svg",
        "frechet_model.svg",
        "event_0.svg",
        "event_1.svg",
        "average_images.svg",
        "distribution_tau1.svg",
    ]
    assert files[-4:] == [
        "distribution_hit_cells.svg",
        "profile_eta.svg",
        "matched_jets.svg",
        "correlations.svg",
    ]
    assert not any("primar" in entry["caption"] for entry in index)
    record = json.loads(evaluated["record"].read_text())
    assert len(record["inputs"]) == 10
    assert record["settings"]["jet_radius"] == RADIUS


def test_circles_go_on_behind_the_seam():
    image = np.zeros(LAYER.n_cells)
    image[5] = 3.0
    jets = np.array([[100, 1.5, 3.0], [np.nan] * 3])
    figure = event_figure(Simulations(*[image] * 3), Simulations(*[jets] * 3), LAYER, RADIUS)
    axes = figure.axes[0]
    assert axes.get_title() == "Full simulation\njets: 100 GeV"
    low, high = axes.get_ylim()
    visible = [circle for circle in axes.patches if low - RADIUS < circle.center[1] < high + RADIUS]
    assert sorted(circle.center[1] for circle in visible) == pytest.approx([3.0 - 2 * np.pi, 3.0])
    assert {circle.radius for circle in visible} == {RADIUS}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda paths: write_observables(paths["fast"], 300, seed=3, first_event=5),
            "fast.h5: its events are not those of ",
        ),
        (lambda paths: paths["fast"].unlink(), "fast.h5: no such file"),
        (
            lambda paths: write_images(paths["reference_showers"], 300, seed=6, paired=False),
            "test.h5: no images of the fast simulation found, expected pairs",
        ),
        (
            lambda paths: paths["training_record"].write_text("{}"),
            "train.json: frechet distances of the fast simulation and of the floor expected: KeyError",
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
