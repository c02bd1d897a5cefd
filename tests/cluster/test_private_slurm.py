"""The SLURM of the other tests counts GPUs, is not to be reached from outside, and leaves nothing."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from private_slurm import private_slurm

pytestmark = pytest.mark.usefixtures("need_slurm")


def processes_of(folder: Path) -> list[psutil.Process]:
    """Processes that were started by this SLURM, jobs and services; not those that have ended."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SLURM_CONF") == f"{folder}/slurm.conf":
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_gpus_are_counted_and_nothing_is_left(tmp_path: Path):
    folder = tmp_path / "slurm"
    with private_slurm(folder, nodes=2, gpus=2, cpus=4, memory_MB=4000) as environment:

        def run(*command: str) -> str:
            return subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            ).stdout.strip()

        def devices() -> list[str]:
            return sorted(file.read_text().strip() for file in tmp_path.glob("device-*"))

        for _ in range(3):
            run(
                *("sbatch", "--partition=node2", "--mem=100", "--gpus=1", f"--output={tmp_path}/device-%j"),
                "--wrap=echo $CUDA_VISIBLE_DEVICES; sh -c 'trap : TERM; sleep 600; sleep 600'",
            )
        wait_until(lambda: devices() == ["0", "1"])
        assert sorted(run("squeue", "--noheader", "--format=%T").split()) == ["PENDING", "RUNNING", "RUNNING"]
        processes = processes_of(folder)
        assert {"munged", "slurmctld", "slurmd"} <= {process.name() for process in processes}
        listening = {
            connection.laddr.ip
            for process in processes
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
    wait_until(lambda: processes_of(folder) == [])
