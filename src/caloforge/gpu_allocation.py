"""Which GPUs of the machine a job may use: Snakemake counts them but does not say which ones are free."""

import fcntl
import logging
import os
import random
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

from caloforge.errors import CaloforgeError

logger = logging.getLogger(__name__)

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextmanager
def allocated_gpus(n: int) -> Iterator[tuple[str, ...]]:
    """Show this process, and those it starts, only `n` GPUs that no other job of the same user has.

    Sets CUDA_VISIBLE_DEVICES, so it has to come before CUDA is initialised. A GPU is taken by the lock of a
    file in the temporary folder, which the kernel frees however the process ends. While fewer than `n` are
    free none is kept, so that two jobs never wait for each other.

    What a batch system assigns wins: a job of SLURM or HTCondor takes only what its CUDA_VISIBLE_DEVICES
    shows, and has locks of its own, since the numbers in it may count the devices of that job alone.

    Parameters
    ----------
    n
        Number of GPUs; all of them are taken where there are fewer, and nothing is done where there is none.

    Yields
    ------
    The GPUs taken, as CUDA_VISIBLE_DEVICES names them.

    Raises
    ------
    CaloforgeError
        If the files of the locks cannot be made.
    """
    known = visible_gpus() if n else ()
    with _taken(known, min(n, len(known))) as gpus:
        if gpus:
            os.environ[_VISIBLE] = ",".join(gpus)
            logger.info("GPU %s of %d that can be seen", ", ".join(gpus), len(known))
        yield gpus


def visible_gpus() -> tuple[str, ...]:
    """GPUs that CUDA would show this process, found without initialising it: numbers, GPU or MIG UUIDs.

    Those of CUDA_VISIBLE_DEVICES, in which CUDA ignores what follows an entry that is none
    (https://docs.nvidia.com/cuda/cuda-c-programming-guide/, section on environment variables). Where it is
    not set, outside a batch system, those that nvidia-smi lists, else as many as have a device file.
    """
    visible = os.environ.get(_VISIBLE)
    if visible is not None:
        return tuple(_valid(visible.split(",")))
    return () if _batch_job() else _listed() or _device_files()


def _valid(entries: Sequence[str]) -> Iterator[str]:
    for entry in map(str.strip, entries):
        if not re.fullmatch(r"\d+|(GPU|MIG)-.+", entry):
            return
        yield entry


def _batch_job() -> str | None:
    """Name of the job of a batch system that this process belongs to."""
    for name in ("SLURM_JOB_ID", "_CONDOR_SLOT"):
        if os.environ.get(name):
            return f"{name}-{os.environ[name]}"
    return None


def _listed() -> tuple[str, ...]:
    """UUIDs of the GPUs or, of one that is partitioned, of its MIG devices."""
    try:
        listing = subprocess.run(
            ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True, timeout=60
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    found: list[str] = []
    for uuid in re.findall(r"\(UUID: (.+?)\)", listing):
        if uuid.startswith("MIG-") and found and found[-1].startswith("GPU-"):
            found.pop()
        found.append(uuid)
    return tuple(found)


def _device_files() -> tuple[str, ...]:
    return tuple(str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*")))


@contextmanager
def _taken(known: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """`n` of the `known` GPUs, locked while the block runs."""
    waited = False
    while True:
        with ExitStack() as locks:
            free: list[str] = []
            for gpu in known:
                if len(free) < n and _lock(gpu, locks):
                    free.append(gpu)
            if len(free) == n:
                yield tuple(free)
                return
        if not waited:
            logger.info("waiting for %d of the GPUs %s, %d free", n, ", ".join(known), len(free))
            waited = True
        time.sleep(random.uniform(0.5, 1.5))  # not in step with another job that waits


def _lock(gpu: str, locks: ExitStack) -> bool:
    """Lock a GPU until `locks` are closed, if it is free."""
    folder = Path(tempfile.gettempdir(), f"caloforge-gpus-{os.getuid()}", _batch_job() or "machine")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = locks.enter_context((folder / quote(gpu, safe="")).open("a"))
    except OSError as error:
        raise CaloforgeError(f"{folder}: no lock for GPU {gpu} can be made: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
