"""Processes that do the same job."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

JOB = """
import sys
from caloforge.stage import stage

with stage(sys.argv[1]):
    print("begun", flush=True)
    sys.stdin.read()
print("done", flush=True)
"""


def start(log: Path) -> subprocess.Popen:
    """A job that works until its standard input is closed."""
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(log)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(job: subprocess.Popen) -> str:
    """Let a job end well; what it said since."""
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 0
    return output


@pytest.mark.parametrize("killed", [False, True], ids=["ends well", "is killed"])
def test_a_job_waits_for_the_one_that_outlived_its_snakemake(tmp_path: Path, killed: bool):
    log = tmp_path / "job.log"
    first = start(log)
    assert first.stdout.readline() == "begun\n"
    log.unlink()  # as Snakemake does before a job
    second = start(log)
    assert "waiting for its end" in second.stderr.readline()
    if killed:
        os.kill(first.pid, signal.SIGKILL)
        assert first.communicate()[0] == ""
    else:
        assert end(first) == "done\n"
    assert end(second) == "begun\ndone\n"
    assert "waiting for its end" in log.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.json", "job.log"]


def test_a_waiting_job_that_is_started_again_ends(tmp_path: Path):
    log = tmp_path / "job.log"
    first = start(log)
    assert first.stdout.readline() == "begun\n"
    log.unlink()
    second = start(log)
    assert "waiting" in second.stderr.readline()
    log.unlink()
    third = start(log)
    assert "waiting" in third.stderr.readline()
    assert end(first) == "done\n"
    output, errors = second.communicate(timeout=60)
    assert (second.returncode, output) == (1, "")
    assert "error: " in errors
    assert "started again" in errors
    assert end(third) == "begun\ndone\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.json", "job.log"]


def test_the_lock_is_gone_after_a_failure(tmp_path: Path):
    code = (
        "import sys; from caloforge.stage import stage; from caloforge.errors import CaloforgeError\n"
        "with stage(sys.argv[1]): raise CaloforgeError('no')"
    )
    log = tmp_path / "job.log"
    done = subprocess.run([sys.executable, "-c", code, str(log)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: no\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.json", "job.log"]
