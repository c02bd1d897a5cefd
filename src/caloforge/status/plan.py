"""What a call of the workflow set out to do: its jobs, written when it starts."""

import contextlib
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from caloforge.atomic import write_json
from caloforge.locks import hold
from caloforge.status.job import now, report_path

PLAN = Path("logs/workflow.json")
"""Seen from the working directory of the workflow."""


def write_plan(jobs: Iterable[Mapping[str, Any]]) -> None:
    """Write the plan and lock it for as long as this process lives; reports of jobs that will run again go.

    Parameters
    ----------
    jobs
        In an order that they can run in. Each has its `rule`, its `wildcards` by name, its `log`, the
        `outputs` that stay, and whether it is `needed`, or what it makes is there already.
    """
    jobs = list(jobs)
    for job in jobs:
        if job["needed"]:
            report_path(Path(job["log"])).unlink(missing_ok=True)
    write_json(PLAN, {"started": now(), "host": socket.gethostname(), "process": os.getpid(), "jobs": jobs})
    with contextlib.suppress(
        OSError
    ):  # where the file system knows no locks, the status says that it cannot tell
        hold(
            os.open(PLAN, os.O_RDWR | os.O_CLOEXEC)
        )  # never closed: the kernel does it when this process ends
