"""What surrounds a stage in its own process: the log, the report of its state, and how it fails."""

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caloforge.errors import CaloforgeError
from caloforge.locks import hold
from caloforge.status.job import JobReport

_TIME = "%H:%M:%S"


@contextmanager
def stage(log: str | Path) -> Iterator[None]:
    """Log to the file `log` and to standard error while the block runs, and report beside the log.

    Lines on standard error, where jobs that run side by side meet, begin with the name of the job. A
    `CaloforgeError` becomes one line, `error: ...`, and exit status 1. Any other exception is a bug: its
    traceback goes to the log and on to standard error.
    """
    log = Path(log)
    file = logging.FileHandler(log, mode="w", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s", _TIME))
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(logging.Formatter(f"%(asctime)s {_job_name(log)}: %(message)s", _TIME))
    report = JobReport(log, locked=hold(file.stream.fileno()))
    logging.basicConfig(level=logging.INFO, handlers=[file, terminal, report], force=True)
    logging.captureWarnings(True)
    try:
        yield
    except CaloforgeError as error:
        for stream in (file.stream, terminal.stream):
            print(f"error: {error}", file=stream, flush=True)
        report.end("failed", str(error))
        raise SystemExit(1) from None
    except Exception as error:
        print(traceback.format_exc(), file=file.stream, flush=True)
        report.end("failed", "".join(traceback.format_exception_only(error)).strip())
        raise
    except BaseException:
        report.end("stopped")
        raise
    report.end("finished")


def paths(*named: Any) -> dict[str, Path]:
    """The named files of a job as keyword arguments; each of `named` lists them with `items()`.

    A name without a file, which only some jobs have, is left out.
    """
    return {name: Path(path) for files in named for name, path in files.items() if path}


def _job_name(log: Path) -> str:
    """Of the job with this log: `train/ecal/cwgan/seed1` for logs/train/ecal/cwgan/seed1.log."""
    parts = log.with_suffix("").parts
    return "/".join(parts[parts.index("logs") + 1 :] if "logs" in parts else parts[-1:])
