"""What goes on, as a table for a terminal."""

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from caloforge.status import Job, Progress, Status, Subject, read_status

PLAIN_WIDTH = 200
"""Of lines that no terminal limits."""
_WATCH_S = 2
_STYLES = {"failed": "bold red", "stopped": "red", "gone": "red", "unknown": "yellow", "finished": "green"}
_COUNTED = {
    "running": "running",
    "waiting": "waiting",
    "failed": "failed",
    "stopped": "stopped",
    "gone": "done but deleted since",
    "unknown": "in an unknown state",
}


def show(status: Status, *, as_json: bool) -> None:
    """Print it once."""
    if as_json:
        print(json.dumps(status.as_dict(), indent=2))
    else:
        _console().print(_table(status))


def watch(folder: Path) -> None:
    """Print what goes on in a working directory until the workflow has ended or the user has seen enough."""
    with contextlib.suppress(KeyboardInterrupt), Live(console=_console(), auto_refresh=False) as live:
        status = read_status(folder)
        live.update(_table(status), refresh=True)
        while status.alive is not False:
            time.sleep(_WATCH_S)
            status = read_status(folder)
            live.update(_table(status), refresh=True)


def _console() -> Console:
    """Where it is shown; wide enough for the table when that is no terminal."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def _table(status: Status) -> Group:
    """All of it: how far the whole is, a line for each run and data set, and the logs to look at."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for heading in ("", "stage", "steps", "progress", "left", "values", "best validation"):
        table.add_column(
            heading, justify="right" if heading in ("steps", "left") else "left", overflow="fold"
        )
    for subject in status.subjects:
        table.add_row(*_row(subject))
    notes = [note for job in status.jobs for note in _notes(job)]
    return Group(_headline(status), table, *notes)


def _headline(status: Status) -> Text:
    plan, counts = status.plan, status.counts
    started = f"{plan.started.astimezone():%Y-%m-%d %H:%M:%S} on {plan.host}"
    parts = [f"{counts.get('done', 0)} of {len(status.jobs)} steps done"]
    parts += [f"{counts[state]} {text}" for state, text in _COUNTED.items() if state in counts]
    snakemake = {
        True: f"Snakemake runs since {started}",
        False: f"Snakemake, started {started}, does not run any more",
        None: f"Snakemake was started {started}; whether it runs cannot be told from here",
    }[status.alive]
    return Text(f"{snakemake}: {', '.join(parts)}")


def _row(subject: Subject) -> Iterator[Text]:
    yield Text(subject.name)
    stage = subject.stage
    yield Text(stage, _STYLES.get(stage.partition(":")[0], "cyan" if subject.active else ""))
    yield Text(f"{sum(job.state == 'done' for job in subject.jobs)}/{len(subject.jobs)}")
    far = [(job.state, job.report.progress) for job in subject.active if job.report and job.report.progress]
    yield Text("\n".join(f"{each.title} {each.done:.4g} of {each.total:g}" for _, each in far))
    yield Text("\n".join(_left(each) if state == "running" else "" for state, each in far))
    yield Text("\n".join(_values(each.watched) for _, each in far))
    yield Text(f"{subject.best.validation:.4g} in epoch {subject.best.epoch}" if subject.best else "")


def _left(progress: Progress) -> str:
    return "" if progress.left_s is None else _duration(progress.left_s)


def _values(watched: dict[str, float]) -> str:
    """Losses and the like; epoch and step are in the progress."""
    return ", ".join(
        f"{name} {value:.4g}" for name, value in watched.items() if name not in ("epoch", "step")
    )


def _notes(job: Job) -> Iterator[Text]:
    """What there is to know of a job that has begun and is not done."""
    if job.state in ("done", "waiting"):
        return
    where = ""
    if job.report:
        ago = _duration((datetime.now(UTC) - job.report.updated).total_seconds())
        where = f" on {job.report.host}, last news {ago} ago"
    yield Text.assemble(
        (job.state, _STYLES.get(job.state, "cyan")), f"{where}: {job.planned.rule}, {job.planned.log}"
    )
    for text in filter(None, (job.problem, job.report and job.report.error)):
        yield Text("\n".join(f"    {line}" for line in text.splitlines()))


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds} s"
