"""The SLURM of the other tests counts GPUs, is not to be reached from outside, and leaves nothing."""

import subprocess
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


def test_gpus_are_counted_and_nothing_is_left(tmp_path: Path):
    folder, seen = tmp_path / "slurm", tmp_path / "seen"
    with private_slurm(folder, nodes=2, gpus=2, cpus=4, memory_MB=4000) as environment:
        job = ["--parsable", "--partition=node2", "--mem=100", "--gpus=1", f"--output={seen}-%j"]
        for _ in range(3):
            subprocess.run(
                [
                    "sbatch",
                    *job,
                    "--wrap=echo $CUDA_VISIBLE_DEVICES; sh -c 'trap : TERM; sleep 600; sleep 600'",
                ],
                env=environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )
        wanted = ["PENDING", "RUNNING", "RUNNING"]
        states, tries = [], 0
        while states != wanted and tries < 100:
            command = ["squeue", "--noheader", "--format=%T"]
            output = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            ).stdout
            states, tries = sorted(output.split()), tries + 1
        assert states == wanted
        services = processes_of(folder)
        names = [process.name() for process in services]
        assert {"munged", "slurmctld", "slurmd"} <= set(names)
        listening = [
            connection.laddr.ip
            for process in services
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening
        assert set(listening) == {"127.0.0.1"}
    assert processes_of(folder) == []
    devices = [file.read_text().split()[0] for file in sorted(tmp_path.glob("seen-*"))]
    assert sorted(devices) == ["0", "1"]
