"""A SLURM of this machine alone, for tests and for a try-out; nothing of it is left when it ends.

python tests/cluster/private_slurm.py bash
python tests/cluster/private_slurm.py snakemake --workflow-profile slurm

Needs the packages slurm-wlm and munge of Debian and Ubuntu. Services listen on the loopback interface, all
their files are in a folder of their own. SLURM believes what it is told of processors, memory and GPUs: the
GPUs are counted and handed out, but are not there.
"""

import argparse
import contextlib
import ctypes
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun")
GPU_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/urandom")
"""SLURM wants a character device for each GPU, and does not look into it."""
_START_S = 60
_STOP_S = 60


def missing_programs() -> list[str]:
    """What of SLURM is not installed."""
    return [name for name in PROGRAMS if _find(name) is None]


@contextlib.contextmanager
def private_slurm(
    folder: Path, *, nodes: int = 1, gpus: int = 2, cpus: int | None = None, memory_MB: int | None = None
) -> Iterator[dict[str, str]]:
    """Run a SLURM with nodes node1, node2, ... while the block lasts, then cancel its jobs and end it.

    Parameters
    ----------
    folder
        Where configuration, state and logs go; created.
    nodes
        How many to make believe.
    gpus, cpus, memory_MB
        Of each node; processors and memory of the machine unless stated, GPUs at most four.

    Yields
    ------
    dict
        Environment in which the commands of SLURM find it.

    Raises
    ------
    RuntimeError
        If it does not start.
    """
    names = [f"node{number + 1}" for number in range(nodes)]
    for name in ("bin", "state", "log", *(f"spool/{name}" for name in names)):
        (folder / name).mkdir(parents=True)
    cpus, memory_MB = cpus or os.cpu_count() or 1, memory_MB or _machine_memory_MB()
    environment = _configure(folder, names, f"CPUs={cpus} RealMemory={memory_MB} Gres=gpu:{gpus}", gpus)
    with contextlib.ExitStack() as running:
        munge = ["--foreground", "--force", *_munge_files(folder)]
        for command in (
            ["munged", *munge],
            ["slurmctld", "-D", "-f", str(folder / "slurm.conf")],
            *(["slurmd", "-D", "-f", str(folder / "slurm.conf"), "-N", name] for name in names),
        ):
            running.enter_context(_daemon(command, folder, environment))
        _wait_until_idle(folder, environment)
        try:
            yield environment
        finally:
            _cancel_jobs(environment)


def _configure(folder: Path, names: list[str], resources: str, gpus: int) -> dict[str, str]:
    host, user = socket.gethostname().partition(".")[0], getpass.getuser()
    controller_port, *ports = _free_ports(1 + len(names))
    nodes = "".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} {resources} State=UNKNOWN\n"
        for name, port in zip(names, ports, strict=True)
    )
    partitions = "".join(f"PartitionName={name} Nodes={name} MaxTime=1-0 State=UP\n" for name in names)
    (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
    (folder / "munge.key").chmod(0o400)
    (folder / "gres.conf").write_text(
        "".join(f"Name=gpu File={device} Flags=nvidia_gpu_env\n" for device in GPU_DEVICES[:gpus])
    )
    (folder / "slurm.conf").write_text(f"""\
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=100000,requeue_delay=1
MinJobAge=3600
KillWait=5
GresTypes=gpu
{nodes}PartitionName=all Nodes=ALL Default=YES MaxTime=1-0 State=UP
{partitions}""")
    # The executor takes the variables of SLURM away before it starts a job step, SLURM_CONF with them.
    srun = folder / "bin/srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {_find("srun")} "$@"\n')
    srun.chmod(0o755)
    path = f"{folder}/bin:{os.environ['PATH']}:/usr/sbin"
    return {**os.environ, "SLURM_CONF": f"{folder}/slurm.conf", "PATH": path}


def _munge_files(folder: Path) -> Iterator[str]:
    yield f"--key-file={folder}/munge.key"
    yield f"--socket={folder}/munge.socket"
    yield f"--pid-file={folder}/munged.pid"
    yield f"--log-file={folder}/log/munged.log"
    yield f"--seed-file={folder}/munged.seed"


@contextlib.contextmanager
def _daemon(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run a service while the block lasts; should this process be killed, the kernel ends the service."""
    with (folder / f"log/{command[0]}.out").open("a") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_parent() -> None:
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_until_idle(folder: Path, environment: dict[str, str]) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if set(_output(environment, "sinfo", "--Node", "--noheader", "--format=%T").split()) == {"idle"}:
            return
        time.sleep(0.1)
    logs = "\n".join(f"{log}:\n{log.read_text()[-2000:]}" for log in sorted((folder / "log").iterdir()))
    raise RuntimeError(f"SLURM did not start within {_START_S} s\n{logs}")


def _cancel_jobs(environment: dict[str, str]) -> None:
    """Cancel all jobs and wait until their processes are gone."""
    deadline = time.monotonic() + _STOP_S
    while time.monotonic() < deadline:
        jobs = _output(environment, "squeue", "--noheader", "--format=%A", "--states=PD,R,S,CF,CG").split()
        if not jobs:
            return
        _output(environment, "scancel", *jobs)
        time.sleep(0.2)
    print(f"error: jobs {', '.join(jobs)} of SLURM did not end within {_STOP_S} s", file=sys.stderr)


def _output(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _machine_memory_MB() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def main() -> int:
    """Run a command with a SLURM around it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpus", type=int, default=2, choices=range(1 + len(GPU_DEVICES)))
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--cpus", type=int, help="of each node; those of the machine unless stated")
    parser.add_argument("--memory-MB", type=int, help="of each node; that of the machine unless stated")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if not arguments.command:
        parser.error("no command found, expected one to run, such as bash")
    if missing := missing_programs():
        parser.error(f"{', '.join(missing)} not found; on Debian and Ubuntu install slurm-wlm and munge")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    size = vars(arguments)
    command = size.pop("command")
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as folder,
        private_slurm(Path(folder), **size) as environment,
    ):
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
