"""GPUs are handed out to processes of their own, as to the jobs of a workflow."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from caloforge.gpu_allocation import allocated_gpus, visible_gpus

TAKE = """
import logging, os, sys, time
from caloforge.gpu_allocation import allocated_gpus
logging.basicConfig(level=logging.INFO, format="%(message)s")
with allocated_gpus(int(sys.argv[1])) as gpus:
    print(*gpus, os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def job(tmp_path: Path):
    """Start a process that takes GPUs until it is told to go on; all are ended afterwards."""
    processes = []

    def start(n: int, **environment: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", TAKE, str(n)],
            env=clean() | {"TMPDIR": str(tmp_path)} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No batch system, no GPUs but those that an nvidia-smi of its own lists."""
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "_CONDOR_SLOT"):
        monkeypatch.delenv(name, raising=False)

    def with_gpus(listing: str) -> None:
        command = tmp_path / "bin/nvidia-smi"
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!/bin/sh\ncat <<'END'\n{listing}\nEND\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", str(command.parent), prepend=os.pathsep)

    return with_gpus


def clean() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("CUDA", "SLURM", "_CONDOR"))
    }


def taken(process: subprocess.Popen) -> list[str]:
    """The GPUs a process took, and what it shows to CUDA."""
    return process.stdout.readline().split()


def end(process: subprocess.Popen) -> str:
    return process.communicate("\n")[1]


def test_each_process_has_a_gpu_of_its_own_and_the_next_one_waits(job):
    jobs = [job(1, CUDA_VISIBLE_DEVICES="0,1,2") for _ in range(3)]
    found = [taken(each) for each in jobs]
    assert sorted(found) == [["0", "0"], ["1", "1"], ["2", "2"]]
    late = job(1, CUDA_VISIBLE_DEVICES="0,1,2")
    assert "waiting for 1 of the GPUs 0, 1, 2, 0 free" in late.stderr.readline()
    end(jobs[1])
    assert taken(late) == found[1]


def test_a_killed_process_frees_its_gpu(job):
    first = job(1, CUDA_VISIBLE_DEVICES="GPU-1a,GPU-2b")
    assert taken(first) == ["GPU-1a", "GPU-1a"]
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert taken(job(1, CUDA_VISIBLE_DEVICES="GPU-1a,GPU-2b")) == ["GPU-1a", "GPU-1a"]


def test_two_of_three_gpus_leave_one(job):
    assert taken(job(2, CUDA_VISIBLE_DEVICES="0,1,2")) == ["0", "1", "0,1"]
    assert taken(job(1, CUDA_VISIBLE_DEVICES="0,1,2")) == ["2", "2"]


def test_a_process_that_waits_keeps_none(job):
    """Two jobs want both GPUs while a third has one: whoever is first, all get theirs."""
    holder = job(1, CUDA_VISIBLE_DEVICES="0,1")
    assert taken(holder) == ["0", "0"]
    pair = [job(2, CUDA_VISIBLE_DEVICES="0,1") for _ in range(2)]
    for each in pair:
        assert "waiting for 2 of the GPUs 0, 1, 1 free" in each.stderr.readline()
    small = job(1, CUDA_VISIBLE_DEVICES="0,1")
    assert taken(small) == ["1", "1"]
    end(holder)
    end(small)
    answering, _, _ = select.select([each.stdout for each in pair], [], [], 60)
    pair.sort(key=lambda each: each.stdout not in answering)
    for each in pair:
        assert taken(each) == ["0", "1", "0,1"]
        end(each)


def test_jobs_of_a_batch_system_do_not_share_locks(job):
    """Each has a device of its own that it sees as number 0."""
    jobs = [job(1, CUDA_VISIBLE_DEVICES="0", SLURM_JOB_ID=str(number)) for number in (7, 8)]
    jobs.append(job(1, CUDA_VISIBLE_DEVICES="0", _CONDOR_SLOT="slot1_1"))
    assert [taken(each) for each in jobs] == [["0", "0"]] * 3


def test_steps_in_one_job_of_a_batch_system_share_its_gpus(job):
    jobs = [job(1, CUDA_VISIBLE_DEVICES="0,1", SLURM_JOB_ID="7") for _ in range(2)]
    assert sorted(taken(each) for each in jobs) == [["0", "0"], ["1", "1"]]


def test_more_gpus_than_there_are_take_all(job):
    assert taken(job(4, CUDA_VISIBLE_DEVICES="0,1")) == ["0", "1", "0,1"]


def test_nothing_is_done_without_a_gpu_or_a_wish(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    machine("")
    with allocated_gpus(1) as gpus:
        assert gpus == ()
    machine("GPU 0: NVIDIA A100 (UUID: GPU-1)")
    with allocated_gpus(0) as gpus:
        assert gpus == ()
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        ("0,2", ("0", "2")),
        ("GPU-8932f937, MIG-5c89852c", ("GPU-8932f937", "MIG-5c89852c")),
        ("MIG-GPU-b8ea3855/1/0", ("MIG-GPU-b8ea3855/1/0",)),
        ("1,-1,2", ("1",)),
        ("", ()),
        ("NoDevFiles", ()),
    ],
)
def test_what_cuda_would_show_is_what_can_be_taken(machine, monkeypatch, visible, gpus):
    machine("GPU 0: NVIDIA A100 (UUID: GPU-1)")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus() == gpus


def test_gpus_of_the_machine_are_listed_with_their_partitions(machine):
    machine(
        "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aa)\n"
        "GPU 1: NVIDIA H100 (UUID: GPU-bb)\n"
        "  MIG 1g.10gb     Device  0: (UUID: MIG-b1)\n"
        "  MIG 1g.10gb     Device  1: (UUID: MIG-b2)\n"
        "GPU 2: NVIDIA H100 (UUID: GPU-cc)"
    )
    assert visible_gpus() == ("GPU-aa", "MIG-b1", "MIG-b2", "GPU-cc")


def test_a_job_of_a_batch_system_without_gpus_takes_none(machine, monkeypatch):
    machine("GPU 0: NVIDIA A100 (UUID: GPU-1)")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert visible_gpus() == ()
