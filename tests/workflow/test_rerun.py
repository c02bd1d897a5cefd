"""What runs, and what runs again after which change."""

from collections.abc import Callable
from pathlib import Path

import pytest
from analysis import Analysis

OF_A_RUN = {"sample_grid", "sample_traversals"}
"""Rules for what a run may ask for."""
AFTER_EVALUATION = {"compare", "report", "all"}
AFTER_TRAINING = {"sample", "observe_samples", "reconstruct", "evaluate"} | AFTER_EVALUATION | OF_A_RUN
AFTER_PREPROCESSING = {"regressor", "train"} | AFTER_TRAINING
EVERYTHING = {"ingest", "draw_dataset", "observe_reference", "preprocess"} | AFTER_PREPROCESSING


def put(*path: str | int, value: object) -> Callable[[dict], None]:
    """An edit of the configuration that sets the entry at `path`."""

    def edit(config: dict) -> None:
        for key in path[:-1]:
            config = config.setdefault(key, {}) if isinstance(config, dict) else config[key]
        config[path[-1]] = value

    return edit


def test_every_result_is_made(finished: Analysis):
    found = {str(file.relative_to(finished.path)) for file in finished.path.glob("results/**/*.*")}
    data, run = "results/ecal/data", "results/ecal/tiny/seed1"
    assert found >= {
        *(f"{data}/{name}" for name in ("train.h5", "val.h5", "test.h5", "ingest.json")),
        *(f"{data}/{name}" for name in ("figures/index.json", "figures.json")),
        *(f"{data}/observables_{split}.{kind}" for split in ("train", "test") for kind in ("h5", "json")),
        *(f"results/ecal/tiny/{name}" for name in ("preprocessing.json", "preprocess.json")),
        *(f"{run}/{name}" for name in ("regressor.pt", "regressor_history.csv", "regressor.json")),
        *(f"{run}/{name}" for name in ("checkpoint.pt", "history.csv", "train.json")),
        *(f"{run}/{name}" for name in ("samples.h5", "sample.json", "observables.h5", "observe.json")),
        *(f"{run}/{name}" for name in ("grid.h5", "grid.json", "traversals.h5", "traversals.json")),
        *(f"{run}/{name}" for name in ("reconstruction.h5", "reconstruct.json")),
        *(f"{run}/figures/{name}" for name in ("traversal_px.svg", "traversal_px_difference.svg")),
        *(f"{run}/{name}" for name in ("metrics.json", "evaluate.json", "figures/index.json")),
        *(f"results/ecal/comparison/{name}" for name in ("comparison.json", "compare.json")),
        "results/ecal/comparison/figures/index.json",
        *(f"results/report/{name}" for name in ("index.html", "summary.csv", "cost.csv")),
    }
    assert not [name for name in found if "partial" in name]


def test_a_second_call_does_nothing(finished: Analysis):
    assert "Nothing to be done" in finished.make()


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (put("models", "tiny", "training", "epochs", value=3), {"train"} | AFTER_TRAINING),
        (put("models", "tiny", "regressor", "training", "epochs", value=3), AFTER_PREPROCESSING),
        (put("models", "tiny", "preprocessing", "power", value=0.5), {"preprocess"} | AFTER_PREPROCESSING),
        (put("datasets", "ecal", "split", value={"train": 0.6, "val": 0.2, "test": 0.2}), EVERYTHING),
        (put("sampling", "batch_size", value=32), AFTER_TRAINING),
        (put("runs", 0, "grid", "values", "pz", value=[20]), {"sample_grid", "all"}),
        (
            put("runs", 0, "traversals", "repeats", value=3),
            {"sample_traversals", "evaluate"} | AFTER_EVALUATION,
        ),
        (put("evaluation", "bins", value=12), {"evaluate"} | AFTER_EVALUATION),
        (put("figures", "dpi", value=70), {"draw_dataset", "evaluate"} | AFTER_EVALUATION),
        (put("runs", 0, "label", value="another label"), {"evaluate"} | AFTER_EVALUATION),
        (put("report", "title", value="another title"), {"report", "all"}),
    ],
    ids=[
        "training",
        "regressor",
        "preprocessing",
        "split",
        "sampling",
        "grid",
        "traversals",
        "metrics",
        "figures",
        "label",
        "title",
    ],
)
def test_a_changed_setting_reruns_what_depends_on_it(
    analysis: Analysis, edit: Callable[[dict], None], expected: set[str]
):
    config = analysis.config
    edit(config)
    analysis.configure(config)
    assert set(analysis.planned()) == expected


def test_a_new_seed_trains_only_that_seed(analysis: Analysis):
    config = analysis.config
    config["runs"][0]["seeds"] = [1, 2]
    analysis.configure(config)
    assert analysis.planned() == dict.fromkeys({"regressor", "train"} | AFTER_TRAINING, 1)


def test_a_new_model_leaves_the_others_alone(analysis: Analysis):
    config = analysis.config
    config["models"]["second"] = {**config["models"]["tiny"], "noise": 9}
    config["runs"].append({"dataset": "ecal", "model": "second", "seeds": [1]})
    analysis.configure(config)
    assert analysis.planned() == dict.fromkeys(({"preprocess"} | AFTER_PREPROCESSING) - OF_A_RUN, 1)


def test_cosmetic_edits_of_the_configuration_rerun_nothing(analysis: Analysis):
    config = dict(reversed(analysis.config.items()))
    dataset, model = config["datasets"]["ecal"], config["models"]["tiny"]
    dataset["conditions"] = dict(reversed(dataset["conditions"].items()))
    dataset["geometry"]["layers"][0]["cell_size_mm"] = [20.0, 20.0]
    model["learning_rate"] = "1e-4"
    model["training"] = {**dict(reversed(model["training"].items())), "epochs": 2.0}
    analysis.configure(config)
    analysis.config_file.write_text("# a comment\n" + analysis.config_file.read_text())
    assert analysis.planned() == {}


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("ingest/split.py", EVERYTHING),
        ("figures/dataset.py", {"draw_dataset", "report", "all"}),
        ("preprocessing.py", {"preprocess"} | AFTER_PREPROCESSING),
        ("training/loop.py", AFTER_PREPROCESSING),
        ("models/conditional_wgan/family.py", {"train"} | AFTER_TRAINING),
        ("sampling.py", AFTER_TRAINING),
        ("reconstruction.py", {"reconstruct", "evaluate"} | AFTER_EVALUATION),
        ("metrics/distributions.py", {"evaluate"} | AFTER_EVALUATION),
        ("report/style.css", {"report", "all"}),
    ],
)
def test_edited_code_of_a_stage_reruns_it_and_what_follows(
    finished: Analysis, checkout: Path, tmp_path: Path, module: str, expected: set[str]
):
    file = checkout / "src/caloforge" / module
    file.write_text(file.read_text() + ("\n_EDITED = True\n" if file.suffix == ".py" else "\n.edited {}\n"))
    assert set(finished.copy(tmp_path / "analysis", checkout).planned()) == expected


def test_comments_in_code_rerun_nothing(finished: Analysis, checkout: Path, tmp_path: Path):
    for file in (checkout / "src/caloforge").rglob("*.py"):
        file.write_text(file.read_text() + "\n# a comment\n")
    assert finished.copy(tmp_path / "analysis", checkout).planned() == {}


def test_an_overlay_selects_other_runs(analysis: Analysis, tmp_path: Path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("runs: [{dataset: ecal, model: tiny, seeds: [7]}]\n")
    output = analysis.make("--dry-run", "--configfile", str(overlay))
    assert "seed7/checkpoint.pt" in output
    assert "rule train" in output
    assert "rule ingest" not in output
