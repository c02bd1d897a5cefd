"""Snakemake with an HTCondor of this process: what it submits is run here, as a pool would run it.

python tests/cluster/loopback_htcondor.py SUBMITTED snakemake-arguments ...

The plugin and the submit descriptions are genuine, the schedd is not: only clients of HTCondor are packaged.
SUBMITTED gets each submit description as a line of JSON. A job gets no shell, the environment of its
description and nothing else, and files for its output; its events are logged as HTCondor logs them.
"""

import json
import os
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import htcondor2
from snakemake.cli import main

SUBMITTED = Path(sys.argv.pop(1))
JOBS: dict[int, subprocess.Popen] = {}


class Submitted:
    """What `Schedd.submit` returns."""

    def __init__(self, cluster: int) -> None:
        self._cluster = cluster

    def cluster(self) -> int:
        return self._cluster


class Schedd:
    """The part of `htcondor2.Schedd` that the plugin uses."""

    def submit(self, description: htcondor2.Submit) -> Submitted:
        job = dict(description)
        with SUBMITTED.open("a") as file:
            file.write(json.dumps(job) + "\n")
        cluster = len(JOBS) + 1
        output, error = (
            Path(job[name].replace("$(ClusterId)", str(cluster))) for name in ("output", "error")
        )
        with output.open("w") as out, error.open("w") as err:
            JOBS[cluster] = subprocess.Popen(
                [job["executable"], *job["arguments"].split()],
                env={"_CONDOR_SLOT": "slot1", **environment(job.get("environment", ""))},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        log = Path(job["log"])
        write_event(log, cluster, "000", "Job submitted from host: <127.0.0.1:9618>")
        write_event(log, cluster, "001", "Job executing on host: <127.0.0.1:9618>")
        threading.Thread(target=follow, args=(log, cluster)).start()
        return Submitted(cluster)

    def act(self, action: Any, job_ids: list[str]) -> None:
        for job_id in job_ids:
            JOBS[int(job_id.partition(".")[0])].terminate()


def environment(text: str) -> dict[str, str]:
    """Variables in the new syntax of HTCondor, here without blanks in values."""
    return dict(entry.split("=", 1) for entry in text.strip('"').split())


def follow(log: Path, cluster: int) -> None:
    """Wait for the end of a job."""
    status = JOBS[cluster].wait()
    if status >= 0:
        end = f"(1) Normal termination (return value {status})"
    else:
        end = f"(0) Abnormal termination (signal {-status})\n\t(0) No core file"
    usage = "".join(
        f"\n\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  {kind} Usage"
        for kind in ("Run Remote", "Run Local", "Total Remote", "Total Local")
    )
    write_event(log, cluster, "005", f"Job terminated.\n\t{end}{usage}")


def write_event(log: Path, cluster: int, number: str, text: str) -> None:
    """Append an event in the classic format of HTCondor, in one write."""
    event = f"{number} ({cluster:03}.000.000) {datetime.now():%Y-%m-%d %H:%M:%S} {text}\n...\n"
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(handle, event.encode())
    os.close(handle)


htcondor2.Schedd = Schedd
htcondor2.Submit.issue_credentials = lambda self: None
main()
