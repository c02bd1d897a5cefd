"""What a finished run says of itself: its status, how to make it again, its RO-Crate."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from analysis import CHECKOUT, SAMPLES, Analysis
from rocrate.rocrate import ROCrate

RUN = "results/ecal/tiny/seed1"
MADE_FOR_A_RUN = {
    "ingest": 1,
    "observe_reference": 2,
    "preprocess": 1,
    "regressor": 1,
    "train": 1,
    "sample": 1,
    "sample_grid": 1,
    "sample_traversals": 1,
    "observe_samples": 1,
    "reconstruct": 1,
    "evaluate": 1,
}


def caloforge(analysis: Analysis, *arguments: str) -> str:
    """What the command prints in the working directory of an analysis; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "caloforge.cli", *arguments],
        cwd=analysis.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commands_for(analysis: Analysis, result: str, output: Path) -> list[str]:
    """The commands that make a result anew, with nothing to get first."""
    text = caloforge(analysis, "reproduce", result, "--output", str(output))
    assert "Code, libraries, sources and results are as recorded." in text
    return text.partition("To make it anew:")[2].strip().splitlines()


def run_commands(commands: list[str], *more: str) -> str:
    """Run commands in a shell, `more` at the end of the last."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(CHECKOUT / "src"),
    }
    done = subprocess.run(
        ["sh", "-ec", " ".join(["\n".join(commands), *more])],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_all_steps_of_a_finished_run_are_done(analysis: Analysis):
    content = json.loads(caloforge(analysis, "status", "--json"))
    assert content["snakemake"]["alive"] is False
    assert content["steps"] == {"done": content["steps"]["all"], "all": content["steps"]["all"]}
    subjects = {
        tuple(subject.get(key) for key in ("dataset", "model", "seed")) for subject in content["subjects"]
    }
    assert subjects == {("ecal", None, None), ("ecal", "tiny", "1"), (None, None, None)}
    (run,) = (subject for subject in content["subjects"] if subject.get("seed"))
    reports = {job["rule"]: job["report"] for job in run["jobs"]}
    assert set(reports) == set(MADE_FOR_A_RUN) - {"ingest", "observe_reference"}
    train = json.loads((analysis.run / "train.json").read_text())
    assert run["best"] == {"validation": pytest.approx(train["validation"]), "epoch": train["best_epoch"]}
    assert reports["train"]["progress"]["done"] == reports["train"]["progress"]["total"] == 2

    (analysis.run / "metrics.json").unlink()
    assert "gone: evaluate" in caloforge(analysis, "status")


def test_a_run_is_made_again_to_the_same_bytes(finished: Analysis, tmp_path: Path):
    commands = commands_for(finished, RUN, tmp_path / "anew")
    assert len(commands) == 2
    anew = Analysis(tmp_path / "anew")
    planned = run_commands(commands, "--dry-run").partition("Job stats:")[2].partition("total")[0]
    jobs = dict(line.split() for line in planned.splitlines()[3:] if line.strip())
    assert {rule: int(count) for rule, count in jobs.items()} == MADE_FOR_A_RUN

    run_commands(commands)
    for name in ("regressor.pt", "checkpoint.pt", "samples.h5", "grid.h5", "observables.h5", "metrics.json"):
        assert (anew.run / name).read_bytes() == (finished.run / name).read_bytes(), name
    caloforge(anew, "reproduce", RUN)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("results/ecal/data", {"ingest": 1, "observe_reference": 2, "draw_dataset": 1}),
        ("results/ecal/tiny/seed1/grid.h5", None),
        (
            "results/report",
            {rule: n for rule, n in MADE_FOR_A_RUN.items() if rule != "sample_grid"}
            | {"draw_dataset": 1, "compare": 1, "report": 1},
        ),
    ],
    ids=["data", "grid", "report"],
)
def test_exactly_a_result_is_planned(finished: Analysis, tmp_path: Path, result: str, expected: dict | None):
    commands = commands_for(finished, result, tmp_path / "anew")
    planned = run_commands(commands, "--dry-run").partition("Job stats:")[2].partition("total")[0]
    jobs = {rule: int(n) for rule, n in map(str.split, filter(str.strip, planned.splitlines()[3:]))}
    to_the_grid = dict.fromkeys(("ingest", "preprocess", "regressor", "train", "sample_grid"), 1)
    assert jobs == (expected or to_the_grid)


def test_the_crate_holds_what_it_says(analysis: Analysis):
    before = {file: file.read_bytes() for file in analysis.path.rglob("results/**/*") if file.is_file()}
    license = "https://creativecommons.org/licenses/by/4.0/"
    assert caloforge(analysis, "crate", "--license", license) == "results/ro-crate-metadata.json\n"
    assert all(file.read_bytes() == content for file, content in before.items())
    root = analysis.path / "results"
    crate = ROCrate(root)

    assert crate.root_dataset["license"].id == license
    assert crate.mainEntity.id == "ro-crate/Snakefile"
    assert "ComputationalWorkflow" in crate.mainEntity.type
    files = {entity.id: entity for entity in crate.data_entities if "File" in entity.type}
    for name, entity in files.items():
        path = root / unquote(name)
        assert path.is_file(), name
        assert int(entity["contentSize"]) == path.stat().st_size
        if "sha256" in entity:
            assert entity["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest(), name
    described = {
        f"{RUN.removeprefix('results/')}/{name}"
        for name in (
            "checkpoint.pt",
            "samples.h5",
            "metrics.json",
            "train.json",
            "grid.h5",
            "reconstruction.h5",
        )
    }
    assert files.keys() >= described | {"report/index.html", "ecal/data/train.h5", "ro-crate/config.yaml"}

    actions = {entity.id: entity for entity in crate.get_entities() if entity.type == "CreateAction"}
    records = {file.relative_to(analysis.path).as_posix() for file in root.rglob("*.json") if is_record(file)}
    assert actions.keys() == {f"#{record}" for record in records} | {"#execution"}
    assert {action.id for action in crate.root_dataset["mentions"]} == set(actions)
    train = actions[f"#{RUN}/train.json"]
    assert {each.id for each in train["object"]} == {
        "ecal/data/train.h5",
        "ecal/data/val.h5",
        "ecal/tiny/preprocessing.json",
        "ecal/tiny/seed1/regressor.pt",
    }
    assert train["startTime"] < train["endTime"]
    source = actions["#results/ecal/data/ingest.json"]["object"]
    assert source["sha256"] == hashlib.sha256((SAMPLES / "lhcb_ecal_e-_000.root").read_bytes()).hexdigest()


def is_record(file: Path) -> bool:
    content = json.loads(file.read_text())
    return isinstance(content, dict) and "stage" in content


def test_all_references_in_the_crate_resolve(analysis: Analysis):
    """Of flattened JSON-LD as RO-Crate has it: every entity once, references by identifier alone."""
    caloforge(analysis, "crate")
    graph = json.loads((analysis.path / "results/ro-crate-metadata.json").read_text())["@graph"]
    identifiers = [entity["@id"] for entity in graph]
    assert len(set(identifiers)) == len(identifiers)
    for entity in graph:
        for name, value in entity.items():
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, dict):
                    assert each.keys() == {"@id"}, (entity["@id"], name)
                    assert each["@id"] in identifiers or each["@id"].startswith("http"), each["@id"]


def test_a_result_that_is_not_as_recorded_makes_no_crate(analysis: Analysis):
    (analysis.run / "metrics.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-m", "caloforge.cli", "crate"],
        cwd=analysis.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {RUN}/metrics.json: sha256 ")
    assert not (analysis.path / "results/ro-crate-metadata.json").exists()
