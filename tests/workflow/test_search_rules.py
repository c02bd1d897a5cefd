"""A search through the real workflow: two jobs, three trials of one epoch, and what makes it run again."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
import yaml
from analysis import Analysis
from test_reproduction_rules import commands_for, run_commands
from test_rerun import AFTER_EVALUATION, AFTER_TRAINING, put

LABEL = "three <trials>"
SUMMARY = {"summarise_search", "report", "all"}


@pytest.fixture(scope="module")
def searched(finished: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """A finished run with a search; tests must not change it."""
    analysis = finished.copy(tmp_path_factory.mktemp("searched") / "analysis")
    config = analysis.config
    config["searches"] = {
        "rates": {
            "dataset": "ecal",
            "model": "tiny",
            "trials": 3,
            "jobs": 2,
            "objective": "mean_ks",
            "random_trials": 2,
            "label": LABEL,
            "space": {
                "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
                "training.epochs": {"low": 1, "high": 2},
            },
            "evaluation": {"bins": 10, "bootstrap": 10, "classifiers": {"use": []}},
        },
        "powers": {
            "dataset": "ecal",
            "model": "tiny",
            "trials": 1,
            "space": {
                "preprocessing.power": {"low": 0.1, "high": 0.5},
                "learning_rate": {"choices": [1e-3, 2e-3]},
            },
        },
    }
    analysis.configure(config)
    analysis.make("results/searches/rates/best.yaml")  # both jobs at the same time
    analysis.make()
    return analysis


def test_jobs_share_the_trials_and_the_report_shows_them(searched: Analysis):
    folder = searched.path / "results/searches/rates"
    jobs = [json.loads((folder / f"jobs/{job}.json").read_text())["trials"] for job in (1, 2)]
    assert sorted(number for job in jobs for number in job) == [0, 1, 2]
    with (folder / "trials.csv").open(newline="") as file:
        trials = list(csv.DictReader(file))
    assert [trial["state"] for trial in trials] == ["complete"] * 3
    assert all(0 < float(trial["mean_ks"]) <= 1 for trial in trials)
    best = min(trials, key=lambda trial: float(trial["mean_ks"]))
    overlay = yaml.safe_load((folder / "best.yaml").read_text())["models"]["tiny"]
    assert overlay == {
        "learning_rate": float(best["learning_rate"]),
        "training": {"epochs": int(best["training.epochs"])},
    }
    page = (searched.path / "results/report/index.html").read_text()
    assert 'id="search-rates"' in page
    assert "three &lt;trials&gt;" in page
    assert '<a href="../searches/rates/best.yaml">' in page
    assert not list(folder.glob("work/*/trial_*/*.h5"))


def test_trials_are_kept_from_the_test_set(searched: Analysis):
    folder = searched.path / "results/searches/rates"
    for job in (1, 2):
        inputs = json.loads((folder / f"jobs/{job}.json").read_text())["inputs"]
        assert len(inputs) == 6
        assert not [path for path in inputs if "test" in path]


def test_each_trial_makes_its_own_of_what_the_space_changes(searched: Analysis):
    """Preprocessing and, after it, the regressor; without showers, whose score is not sought."""
    folder = searched.path / "results/searches/powers"
    record = json.loads((folder / "jobs/1.json").read_text())
    assert {path.rpartition("/")[2] for path in record["inputs"]} == {"train.h5", "val.h5"}
    (trial,) = json.loads((folder / "trials.json").read_text())["trials"]
    assert trial["objective"] == min(trial["validation"].values())
    log = (searched.path / "logs/search/powers/1.log").read_text()
    assert (
        log.count("training 1.00 of 1" if trial["validation"].keys() == {"1"} else "training 2.00 of 2") == 2
    )


def test_a_second_call_does_nothing(searched: Analysis):
    assert "Nothing to be done" in searched.make("tune", "all")


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (put("searches", "rates", "trials", value=4), {"search"} | SUMMARY),
        (put("searches", "rates", "label", value="other"), SUMMARY),
        (put("searches", "rates", "objective", value="validation"), {"search"} | SUMMARY),
        (put("models", "tiny", "learning_rate", value=0.005), {"train"} | AFTER_TRAINING),
        (put("models", "tiny", "noise", value=9), {"search", "train"} | SUMMARY | AFTER_TRAINING),
        (put("evaluation", "bins", value=12), {"evaluate"} | AFTER_EVALUATION),
        (put("sampling", "batch_size", value=32), AFTER_TRAINING),
        (put("report", "title", value="another title"), {"report", "all"}),
    ],
    ids=["trials", "label", "objective", "searched", "not_searched", "metrics", "sampling", "title"],
)
def test_a_search_runs_again_only_when_its_trials_would_change(
    searched: Analysis, tmp_path, edit: Callable[[dict], None], expected: set[str]
):
    analysis = searched.copy(tmp_path / "analysis")
    config = analysis.config
    edit(config)
    analysis.configure(config)
    assert set(analysis.planned()) == expected


@pytest.mark.parametrize("name", ["rates", "powers"])
def test_a_search_is_planned_anew_from_its_records(searched: Analysis, tmp_path, name):
    commands = commands_for(searched, f"results/searches/{name}", tmp_path / "anew")
    config = yaml.safe_load((tmp_path / "anew/config.yaml").read_text())
    settings = json.loads((searched.path / f"results/searches/{name}/search.json").read_text())["settings"]
    assert config["searches"] == {name: settings["search"]}
    assert config["models"]["tiny"]["noise"] == searched.config["models"]["tiny"]["noise"]
    output = run_commands(commands, "--dry-run")
    jobs = searched.config["searches"][name].get("jobs", 1)
    assert re.search(rf"^search +{jobs}$", output, re.MULTILINE)
    assert re.search(r"^summarise_search +1$", output, re.MULTILINE)
    assert re.search(r"^train ", output, re.MULTILINE) is None


def test_a_killed_search_goes_on_with_its_trial(searched: Analysis, tmp_path):
    analysis = searched.copy(tmp_path / "analysis")
    folder = analysis.path / "results/searches/powers"
    shutil.rmtree(folder)
    killed = subprocess.Popen(
        **analysis.command("tune"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 200
    while not list(folder.glob("work/*/trial_0000/work/train/state.pt")) and time.monotonic() < deadline:
        assert killed.poll() is None
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (folder / "jobs/1.json").exists()

    analysis.make("--unlock")
    analysis.make("tune")
    assert "resuming after" in (analysis.path / "logs/search/powers/1.log").read_text()
    for name in ("trials.csv", "best.yaml"):
        undisturbed = searched.path / "results/searches/powers" / name
        assert (folder / name).read_bytes() == undisturbed.read_bytes(), name


def test_the_overlay_trains_the_model_with_the_best_settings(searched: Analysis, tmp_path):
    """A run with the settings of a trial is that trial: it has the same validation score."""
    analysis = searched.copy(tmp_path / "analysis")
    overlay = ("--configfile", "results/searches/rates/best.yaml")
    planned = analysis.make("--dry-run", *overlay)
    assert "results/searches/powers/jobs/1.json" in planned  # its space has no number of epochs
    assert "results/searches/rates/jobs/1.json" not in planned
    analysis.make("results/ecal/tiny/seed1/train.json", *overlay)
    trials = json.loads((analysis.path / "results/searches/rates/trials.json").read_text())
    best = trials["trials"][trials["best"]]
    record = json.loads((analysis.run / "train.json").read_text())
    assert record["settings"]["learning_rate"] == best["values"]["learning_rate"]
    assert record["validation"] == min(best["validation"].values())
