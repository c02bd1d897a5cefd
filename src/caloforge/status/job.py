"""What a job says of itself while it runs: a small JSON file beside its log."""

import contextlib
import logging
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from caloforge.atomic import write_json
from caloforge.errors import CaloforgeError


def report_path(log: Path) -> Path:
    """The report of the job with this log."""
    return log.with_suffix(".json")


def now() -> str:
    """The time as it stands in reports."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class JobReport(logging.Handler):
    """Writes the report of a job, and keeps it up to date with what the job logs.

    Records of the log with the attributes `progress` or `best` are taken over as they are, see
    `caloforge.progress`. A report that cannot be written does not disturb the job.

    Parameters
    ----------
    log
        Of the job; the report is beside it.
    locked
        Whether the job holds a lock on its log, by which others see that it is alive.
    """

    def __init__(self, log: Path, *, locked: bool) -> None:
        super().__init__()
        self._path = report_path(log)
        self._content: dict[str, Any] = {
            "state": "running",
            "host": socket.gethostname(),
            "process": os.getpid(),
            "locked": locked,
            "started": now(),
            "progress": None,
            "best": None,
            "error": None,
        }
        self._write()

    def emit(self, record: logging.LogRecord) -> None:
        """Take over what a record of the log says of the progress."""
        news = {key: getattr(record, key) for key in ("progress", "best") if hasattr(record, key)}
        if news:
            self._content |= news
            self._write()

    def end(self, state: str, error: str | None = None) -> None:
        """Say how the job ended: `finished`, `failed` or `stopped`."""
        self._content |= {"state": state, "error": error}
        self._write()

    def _write(self) -> None:
        self._content["updated"] = now()
        with contextlib.suppress(OSError, CaloforgeError):
            write_json(self._path, self._content)
