"""Files of finished runs, baselines, data sets and comparisons, for the report."""

import json

OUTLINE = '<path id="Font-41" d="M 0 0 \nL 9 9 \nz\n" transform="scale(0.015625)"/>'
"""Of a letter, as matplotlib writes it."""
SVG = f"""<svg xmlns="http://www.w3.org/2000/svg" width="36pt" height="18pt" viewBox="0 0 36 18">
<rect width="36" height="18" fill="#d55e00"/><defs>{OUTLINE}</defs></svg>
"""
EVIL = '<script>alert("x")</script> & "quotes"'


def distances(ks, wasserstein, separation, p):
    pairs = zip(("ks", "wasserstein", "separation"), (ks, wasserstein, separation), strict=True)
    return {name: {"value": value, "error": error} for name, (value, error) in pairs} | {"ks_p_value": p}


OBSERVABLES = {
    "width_mm": {
        "label": "Width",
        "unit": "mm",
        "undefined": {"generated": 3, "reference": 1},
        "generated": distances((0.12345, 0.0123), (4.5678, 0.23), (0.03, 0.004), 0.0123),
        "floor": distances((0.02, 0.01), (0.5, 0.1), (0.0261, 0.0041), 0.5),
    },
    "response": {
        "label": EVIL,
        "unit": "1",
        "undefined": {"generated": 0, "reference": 0},
        "generated": distances((0.5, 0.01), (0.2, 0.01), (0.09, 0.01), 1e-9),
        "floor": distances((0.02, 0.01), (0.01, 0.001), (0.01, 0.001), 0.9),
    },
    "empty": {
        "label": "Empty",
        "unit": "mm",
        "undefined": {"generated": 200, "reference": 0},
        "generated": distances((None, None), (None, None), (None, None), None),
        "floor": distances((0.02, 0.01), (0.01, 0.001), (0.02, 0.001), 0.9),
    },
}
MADE_BY = {
    "settings": {"family": "conditional_wgan", "epochs": 30, "note": EVIL},
    "seed": 1,
    "code": {"caloforge": "0.1.0", "commit": "0123456789abcdef", "modified": True},
    "libraries": {"numpy": "2.4.0"},
    "machine": {"system": "Linux", "processor": "x86_64", "cpus": 2},
    "time_s": {"wall": 200.0, "cpu": 390.0},
}
TRAINING = MADE_BY | {
    "device": "cpu",
    "threads": 2,
    "precision": "float32",
    "epochs": 30,
    "best_epoch": 25,
    "keep": "best",
    "parameters": {"generator": 1234567, "critic": 7654},
    "dense_parameters": {"generator": 4321, "critic": 65},
    "training_s": 195.0,
    "seconds_per_epoch": 6.5,
    "peak_memory_MB": 812.25,
    "peak_gpu_memory_MB": None,
}
REGRESSOR = TRAINING | {
    "parameters": {"regressor": 2345},
    "dense_parameters": {"regressor": 345},
    "training_s": 60.5,
    "peak_memory_MB": 900.0,
}
SAMPLE = MADE_BY | {
    "device": "cpu",
    "threads": 2,
    "batch_size": 256,
    "ms_per_shower": 0.5,
    "flop_per_shower": 62400000.0,
}
INGEST = MADE_BY | {
    "dataset": "ecal",
    "inputs": {"data/a.root": "ab" * 32},
    "paired_files": [],
    "settings": {
        "title": "Electrons " + EVIL,
        "source": {"format": "root_cells", "files": ["data/*.root"]},
        "geometry": {"name": "ECAL", "layers": [{"shape": [30, 30], "cell_size_mm": [20.0, 20.0]}]},
        "readout_threshold_MeV": 0.5,
    },
    "files": [
        {
            "file": "data/a.root",
            "events": 1000,
            "metadata": True,
            "seed": 42,
            "geant4": "11.4.1",
            "physics": "G4EmStandardPhysics",
            "geant4_cpu_s_per_event": 0.25,
        }
    ],
    "events": {"train": 700, "val": 100, "test": 200},
    "geant4_cpu_s_per_event": 0.25,
    "summary": {
        "incident_energy_GeV": [1.0, 99.9],
        "visible_fraction_quantiles": {"0.01": 0.15, "0.25": 0.17, "0.5": 0.175, "0.75": 0.18, "0.99": 0.2},
        "zero_cells": 0.834,
        "events_without_hits": 0,
        "conditions": {
            "px": {"unit": "GeV", "range": [-1.25, 20]},
            "slope": {"unit": "1", "range": [0, 0.5]},
        },
        "counts": {},
    },
}
FIGURES = [
    {"file": "a.svg", "section": "Showers", "title": "Average", "caption": "Mean " + EVIL, "data": "a.yaml"},
    {"file": "b.svg", "section": "Observables", "title": "Width", "caption": "In mm", "data": "b.yaml"},
]
METRICS = {
    "events": {"generated": 200, "reference": 200, "independent": 200},
    "observables": OBSERVABLES,
}
PAIRS = INGEST | {
    "inputs": {"data/fast.root": "ab" * 32, "data/full.root": "cd" * 32},
    "paired_files": ["data/full.root"],
    "settings": {
        "title": "Jets " + EVIL,
        "source": {
            "format": "delphes",
            "files": ["data/fast.root"],
            "full_simulation": {"files": ["data/full.root"]},
        },
        "geometry": {
            "name": "Towers " + EVIL,
            "layers": [{"kind": "eta_phi", "eta_edges": [-3, 0, 2.5], "n_phi": 72}],
            "note": "A note " + EVIL,
        },
        "readout_threshold_MeV": 5,
    },
    "files": [
        {
            "file": "data/fast.root",
            "events": 1000,
            "metadata": False,
            **dict.fromkeys(("seed", "geant4", "physics", "geant4_cpu_s_per_event")),
        }
    ],
    "geant4_cpu_s_per_event": None,
    "summary": INGEST["summary"]
    | {
        "conditions": {},
        "counts": {"towers_outside_grid": 12345, "energy_outside_grid_GeV": 1870742.6, EVIL: 1},
        "events_without_hits": 7,
    },
}


def write_figures(directory):
    """An album of two figures."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "index.json").write_text(json.dumps(FIGURES))
    for entry in FIGURES:
        (directory / entry["file"]).write_text(SVG)


def write_run(directory, label, **changes):
    """The files of a finished run with a regressor; `changes` of metrics.json."""
    write_figures(directory / "figures")
    contents = {
        "regressor.json": REGRESSOR,
        "train.json": TRAINING | {"settings": MADE_BY["settings"] | {"regressor": {}}},
        "sample.json": SAMPLE,
        "evaluate.json": MADE_BY,
        "metrics.json": METRICS | {"label": label} | changes,
    }
    for name, content in contents.items():
        (directory / name).write_text(json.dumps(content))


def write_baseline(directory, **changes):
    """The files of a baseline; `changes` of metrics.json."""
    write_figures(directory / "figures")
    sample = SAMPLE | {"flop_per_shower": None, "ms_per_shower": 0.0125}
    contents = {"sample.json": sample, "evaluate.json": MADE_BY, "metrics.json": METRICS | changes}
    for name, content in contents.items():
        (directory / name).write_text(json.dumps(content))


def write_dataset(directory, ingest):
    """The files of a data set."""
    write_figures(directory / "figures")
    (directory / "ingest.json").write_text(json.dumps(ingest))


def write_comparison(directory, tables):
    """The files of a comparison of models."""
    write_figures(directory / "figures")
    (directory / "comparison.json").write_text(json.dumps({"tables": tables}))


SEARCH = {
    "name": "rates",
    "settings": {
        "dataset": "ecal",
        "model": "cwgan",
        "objective": "fpd",
        "direction": "minimise",
        "space": {
            "learning_rate": {"low": 1e-5, "high": 1e-2},
            "training.schedule": {"choices": [EVIL, None]},
        },
        "seed": 1,
        "label": "Search " + EVIL,
    },
    "trials": [
        {
            "number": 0,
            "state": "complete",
            "values": {"learning_rate": 0.00123456, "training.schedule": EVIL},
            "objective": 1.2345,
            "error": 0.12,
            "validation": {"1": 0.75, "10": 0.5},
            "reason": None,
            "seconds": 130.0,
        },
        {
            "number": 1,
            "state": "failed",
            "values": {"learning_rate": 0.01, "training.schedule": None},
            "objective": None,
            "error": None,
            "validation": {},
            "reason": "loss became nan " + EVIL,
            "seconds": 1.5,
        },
    ],
    "best": 0,
    "importances": {},
}


def write_search(directory):
    """The files of a finished search for hyper-parameters."""
    write_figures(directory / "figures")
    (directory / "trials.json").write_text(json.dumps(SEARCH))
    for name in ("best.yaml", "trials.csv"):
        (directory / name).touch()


def samples(value, floor=0.5, name="auc"):
    """A number of whole samples, for metrics.json."""
    return {
        name: {
            "label": name.upper(),
            "unit": "1",
            "generated": {"value": value, "error": 0.01},
            "floor": {"value": floor, "error": 0.02},
            "note": "",
        }
    }
