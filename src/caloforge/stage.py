"""What surrounds a stage in its own process: the log, how it fails, and that no other one does the same."""

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

logger = logging.getLogger(__name__)


@contextmanager
def stage(log: str | Path) -> Iterator[None]:
    """Log to the file `log` and to standard error while the block runs.

    A `CaloforgeError` becomes one line, `error: ...`, and exit status 1. Any other exception is a bug: its
    traceback goes to the log and on to standard error.

    A job that outlives a killed Snakemake still writes what the same job of the next one makes anew: this one
    waits for its end. When it is itself started again meanwhile, with a new log, it ends.
    """
    file = logging.FileHandler(log, mode="w", encoding="utf-8")
    terminal = logging.StreamHandler(sys.stderr)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=[file, terminal],
        force=True,
    )
    logging.captureWarnings(True)
    try:
        with _alone(Path(log), file.stream):
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


@contextmanager
def _alone(log: Path, stream: IO[str]) -> Iterator[None]:
    """Wait until no other process is in a block with the same log, and keep others out while this one lasts.

    The kernel frees the lock, a file beside the log, however a process ends.
    """
    path = Path(f"{log}.lock")
    lock = _hold(path, log, stream)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.close()


def _hold(path: Path, log: Path, stream: IO[str]) -> IO[str]:
    """The lock file, open and locked; only open where the storage has no locks."""
    while True:
        lock = path.open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("another process still does this job: waiting for its end")
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_at(log, stream):
                raise CaloforgeError(
                    f"{log}: replaced while this job waited, which was started again: it ends"
                ) from None
        except OSError as error:
            logger.info("%s: cannot be locked: %s", path, error)
            return lock
        if _is_at(path, lock):
            return lock
        lock.close()  # the process that held it has removed it


def _is_at(path: Path, file: IO[str]) -> bool:
    """Whether an open file still is the one at `path`."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
