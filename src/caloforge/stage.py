"""What surrounds a stage in its own process: log, report, GPUs, how it fails; no other one does the same."""

import fcntl
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from caloforge.errors import CaloforgeError
from caloforge.gpu_allocation import allocated_gpus
from caloforge.locks import hold, lock_path
from caloforge.status.job import JobReport

_TIME = "%H:%M:%S"

logger = logging.getLogger(__name__)


@contextmanager
def stage(log: str | Path, gpus: int = 0) -> Iterator[None]:
    """Log to the file `log` and to standard error while the block runs, for which `gpus` GPUs are set aside.

    Lines on standard error, where jobs that run side by side meet, begin with the name of the job. A
    `CaloforgeError` becomes one line, `error: ...`, and exit status 1. Any other exception is a bug: its
    traceback goes to the log and on to standard error.

    A job that outlives a killed Snakemake still writes what the same job of the next one makes anew: this one
    waits for its end. When it is itself started again meanwhile, with a new log, it ends.
    """
    log = Path(log)
    file = logging.FileHandler(log, mode="w", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s", _TIME))
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(logging.Formatter(f"%(asctime)s {_job_name(log)}: %(message)s", _TIME))
    logging.basicConfig(level=logging.INFO, handlers=[file, terminal], force=True)
    logging.captureWarnings(True)
    try:
        with _alone(log, file.stream) as locked, _reported(log, locked=locked), allocated_gpus(gpus):
            yield
    except CaloforgeError as error:
        for stream in (file.stream, terminal.stream):
            print(f"error: {error}", file=stream, flush=True)
        raise SystemExit(1) from None
    except Exception:
        print(traceback.format_exc(), file=file.stream, flush=True)
        raise


def paths(*named: Any) -> dict[str, Path]:
    """The named files of a job as keyword arguments; each of `named` lists them with `items()`.

    A name without a file, which only some jobs have, is left out.
    """
    return {name: Path(path) for files in named for name, path in files.items() if path}


def _job_name(log: Path) -> str:
    """Of the job with this log: `train/ecal/cwgan/seed1` for logs/train/ecal/cwgan/seed1.log."""
    parts = log.with_suffix("").parts
    return "/".join(parts[parts.index("logs") + 1 :] if "logs" in parts else parts[-1:])


@contextmanager
def _reported(log: Path, *, locked: bool) -> Iterator[None]:
    """Keep the report of the job up to date with what it logs and with how it ends."""
    report = JobReport(log, locked=locked)
    logging.getLogger().addHandler(report)
    try:
        yield
    except CaloforgeError as error:
        report.end("failed", str(error))
        raise
    except Exception as error:
        report.end("failed", "".join(traceback.format_exception_only(error)).strip())
        raise
    except BaseException:
        report.end("stopped")
        raise
    report.end("finished")


@contextmanager
def _alone(log: Path, stream: IO[str]) -> Iterator[bool]:
    """Wait until no other process is in a block with the same log, and keep others out while this one lasts.

    Yields whether the lock, a file beside the log, is held; it is not where the storage has no locks.
    """
    path = lock_path(log)
    lock, locked = _locked(path, log, stream)
    try:
        yield locked
    finally:
        path.unlink(missing_ok=True)
        lock.close()


def _locked(path: Path, log: Path, stream: IO[str]) -> tuple[IO[str], bool]:
    """The lock file, open, and whether it is locked."""
    while True:
        lock = path.open("a")
        try:
            if not hold(lock.fileno()):
                logger.info("another process still does this job: waiting for its end")
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not _is_at(log, stream):
                    raise CaloforgeError(
                        f"{log}: replaced while this job waited, which was started again: it ends"
                    )
        except OSError as error:
            logger.info("%s: cannot be locked: %s", path, error)
            return lock, False
        if _is_at(path, lock):
            return lock, True
        lock.close()  # the process that held it has removed it


def _is_at(path: Path, file: IO[str]) -> bool:
    """Whether an open file still is the one at `path`."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
