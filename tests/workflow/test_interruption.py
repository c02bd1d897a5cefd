"""Killed jobs, full disks, checkpoints that do not fit."""

import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from analysis import Analysis

from caloforge.status import read_status


def errors(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("error: ")]


def test_a_killed_training_resumes_to_the_same_bytes(finished: Analysis, analysis: Analysis):
    shutil.rmtree(analysis.run)
    target = "results/ecal/tiny/seed1/metrics.json"
    training = subprocess.Popen(
        **analysis.command(target),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    state = analysis.run / "work/train/state.pt"
    deadline = time.monotonic() + 200
    while not state.exists() and training.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(training.pid, signal.SIGKILL)
    training.wait()
    assert state.exists()
    assert not (analysis.run / "checkpoint.pt").exists()
    while "running" in read_status(analysis.path).counts and time.monotonic() < deadline:
        time.sleep(0.1)  # until the kernel has ended the training, too
    status = read_status(analysis.path)
    assert status.alive is False
    assert {job.planned.rule for job in status.jobs if job.state == "stopped"} == {"train"}

    analysis.make("--unlock")
    analysis.make(target)
    assert read_status(analysis.path).counts == {"done": len(status.jobs)}
    assert "resuming after" in (analysis.path / "logs/train/ecal/tiny/seed1.log").read_text()
    for name in (
        "regressor.pt",
        "checkpoint.pt",
        "history.csv",
        "samples.h5",
        "observables.h5",
        "metrics.json",
    ):
        assert (analysis.run / name).read_bytes() == (finished.run / name).read_bytes(), name


def test_a_training_that_is_asked_to_stop_goes_on_in_the_next_attempt(finished: Analysis, analysis: Analysis):
    shutil.rmtree(analysis.run / "work/train")
    (analysis.run / "checkpoint.pt").unlink()
    workflow = subprocess.Popen(
        **analysis.command("--retries", "1", "results/ecal/tiny/seed1/checkpoint.pt"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lock = analysis.run / "work/train/lock"
    while not lock.exists() and workflow.poll() is None:
        time.sleep(0.01)
    (training,) = children_of(workflow.pid)
    os.kill(training, signal.SIGTERM)
    output, _ = workflow.communicate()
    assert workflow.returncode == 0, output
    (error,) = errors(output)
    assert error.startswith("error: asked to stop in epoch 1 after step ")
    assert "resuming after epoch 0, step " in (analysis.path / "logs/train/ecal/tiny/seed1.log").read_text()
    for name in ("checkpoint.pt", "history.csv"):
        assert (analysis.run / name).read_bytes() == (finished.run / name).read_bytes(), name


def children_of(pid: int) -> list[int]:
    """Whichever of its threads started them."""
    lists = [children.read_text() for children in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for children in lists for child in children.split()]


@pytest.mark.parametrize(
    ("target", "limit_kB"),
    [
        ("results/ecal/data/train.h5", 100),
        ("results/ecal/tiny/seed1/checkpoint.pt", 20),
        ("results/ecal/tiny/seed1/samples.h5", 20),
    ],
    ids=["ingest", "train", "sample"],
)
def test_a_full_disk_is_one_error_and_leaves_no_result(analysis: Analysis, target: str, limit_kB: int):
    folder = (analysis.path / target).parent
    shutil.rmtree(folder / "work", ignore_errors=True)
    (analysis.path / target).unlink()

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_kB * 1024, limit_kB * 1024))

    status, output = analysis.snakemake(target, preexec_fn=limit_file_size)
    assert status != 0
    (error,) = errors(output)
    assert "File too large" in error
    assert "Traceback" not in output
    assert not (analysis.path / target).exists()
    assert not list(folder.rglob("*.partial"))


def test_a_checkpoint_of_another_model_is_refused(analysis: Analysis):
    shutil.copy(analysis.run / "regressor.pt", analysis.run / "checkpoint.pt")
    status, output = analysis.snakemake("results/ecal/tiny/seed1/samples.h5")
    assert status != 0
    (error,) = errors(output)
    assert "checkpoint.pt: checkpoint of a conditional_wgan regressor found" in error
    assert not (analysis.run / "samples.h5").exists()


def test_a_checkpoint_of_another_configuration_is_refused(analysis: Analysis):
    config = analysis.config
    config["models"]["tiny"]["channels"] = [8, 8, 8, 4]
    analysis.configure(config)
    status, output = analysis.snakemake("--rerun-triggers", "mtime", "--forcerun", "sample")
    assert status != 0
    (error,) = errors(output)
    assert "checkpoint.pt: checkpoint of another model" in error
    assert "channels" in error
    assert not (analysis.run / "samples.h5").exists()
