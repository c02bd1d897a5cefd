"""What goes on in a working directory: what the workflow set out to do last, and what its jobs report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from caloforge.errors import CaloforgeError
from caloforge.locks import is_held, lock_path
from caloforge.status.job import report_path
from caloforge.status.plan import PLAN

JobState = Literal["done", "running", "failed", "stopped", "gone", "unknown", "waiting"]
"""`stopped`: its process has ended without a word; `gone`: a result was deleted since; `unknown`: whether its
process lives cannot be told from here, or its report cannot be read."""

_SUBJECT = ("dataset", "model", "baseline", "seed")
"""Wildcards that say what a job belongs to."""


class Progress(BaseModel):
    """How far a job is with its longest part."""

    title: str
    done: float
    total: float
    left_s: float | None
    watched: dict[str, float]


class Best(BaseModel):
    """The best validation of a training so far."""

    validation: float
    epoch: int


class Report(BaseModel):
    """What a job says of itself, see `caloforge.status.job`."""

    state: Literal["running", "finished", "failed", "stopped"]
    host: str
    process: int
    locked: bool
    started: datetime
    updated: datetime
    progress: Progress | None
    best: Best | None
    error: str | None


class PlannedJob(BaseModel):
    """A job of the plan, see `caloforge.status.plan`."""

    rule: str
    wildcards: dict[str, str]
    log: Path
    outputs: list[Path]
    needed: bool


class Plan(BaseModel):
    """What a call of the workflow set out to do."""

    started: datetime
    host: str
    process: int
    jobs: list[PlannedJob]


@dataclass(frozen=True)
class Job:
    """A job, its state, and its report if it has one; `problem` says why a report cannot be read."""

    planned: PlannedJob
    state: JobState
    report: Report | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Subject:
    """What jobs belong to: a run, a baseline, a data set or, without a key, the whole; its jobs in order."""

    key: Mapping[str, str]
    jobs: Sequence[Job]

    @property
    def name(self) -> str:
        """Like its folder in results/, or the rules without one."""
        parts = [f"seed{value}" if name == "seed" else value for name, value in self.key.items()]
        return "/".join(parts) or ", ".join(dict.fromkeys(job.planned.rule for job in self.jobs))

    @property
    def active(self) -> list[Job]:
        """Jobs that have begun and are not done."""
        return [job for job in self.jobs if job.state not in ("done", "waiting")]

    @property
    def stage(self) -> str:
        """`waiting`, `finished`, or what its jobs are at: their rules, or what became of them."""
        for state in ("failed", "running", "stopped", "unknown", "gone"):
            rules = dict.fromkeys(job.planned.rule for job in self.jobs if job.state == state)
            if rules:
                return ", ".join(rules) if state == "running" else f"{state}: {', '.join(rules)}"
        waiting = [job.planned.rule for job in self.jobs if job.state == "waiting"]
        return "waiting" if waiting else "finished"

    @property
    def best(self) -> Best | None:
        """Of its last training that has one."""
        found = [job.report.best for job in self.jobs if job.report and job.report.best]
        return found[-1] if found else None


@dataclass(frozen=True)
class Status:
    """What goes on: the plan, whether the process that made it lives (None: unknown), and who does what."""

    plan: Plan
    alive: bool | None
    jobs: Sequence[Job]
    subjects: Sequence[Subject]

    @property
    def counts(self) -> dict[JobState, int]:
        """Number of jobs by state, of the states that occur."""
        counts: dict[JobState, int] = {}
        for job in self.jobs:
            counts[job.state] = counts.get(job.state, 0) + 1
        return counts

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "snakemake": self.plan.model_dump(mode="json", exclude={"jobs"}) | {"alive": self.alive},
            "steps": self.counts | {"all": len(self.jobs)},
            "subjects": [
                {
                    **subject.key,
                    "stage": subject.stage,
                    "best": subject.best and subject.best.model_dump(mode="json"),
                    "jobs": [_as_dict(job) for job in subject.jobs],
                }
                for subject in self.subjects
            ],
        }


def read_status(folder: Path) -> Status:
    """What goes on in the working directory `folder`.

    Raises
    ------
    CaloforgeError
        If no plan is there, or it cannot be read.
    """
    path = folder / PLAN
    plan = _read(path, Plan)
    if plan is None:
        raise CaloforgeError(
            f"{path}: no such file, expected the plan that the workflow writes when it starts; "
            "`snakemake -n` says what it would do"
        )
    jobs = [_job(folder, planned, plan) for planned in plan.jobs]
    return Status(plan, is_held(path), jobs, [*_subjects(jobs)])


Content = TypeVar("Content", bound=BaseModel)


def _read(path: Path, kind: type[Content]) -> Content | None:
    """Content of a file, or None if there is none."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CaloforgeError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(map(str, problem["loc"]))
        raise CaloforgeError(f"{path}: damaged: {': '.join(filter(None, (place, problem['msg'])))}") from None


def _job(folder: Path, planned: PlannedJob, plan: Plan) -> Job:
    path = report_path(folder / planned.log)
    try:
        report = _read(path, Report)
        held = is_held(lock_path(folder / planned.log)) if report and report.state == "running" else None
        if held is False:
            report = _read(path, Report)  # it may have ended well between the two looks
    except CaloforgeError as error:
        return Job(planned, "unknown", problem=str(error))
    made = [_made(folder / output) for output in planned.outputs]
    if not planned.needed or (report and report.state == "finished"):
        return Job(planned, "done" if all(made) else "gone", report)
    if report is None:
        is_new = all(time and time >= plan.started.timestamp() for time in made)
        return Job(planned, "done" if made and is_new else "waiting")
    if report.state == "running":
        alive: dict[bool | None, JobState] = {True: "running", False: "stopped", None: "unknown"}
        return Job(planned, alive[held if report.locked else None], report)
    return Job(planned, report.state, report)


def _made(output: Path) -> float | None:
    """When a result was made [s since 1970]; None if it is not there."""
    try:
        return output.lstat().st_mtime
    except FileNotFoundError:
        return None


def _subjects(jobs: Iterable[Job]) -> Iterable[Subject]:
    """Runs, baselines and the like; what a model needs whatever the seed belongs to each of its runs."""
    groups: dict[tuple[tuple[str, str], ...], list[Job]] = {}
    for job in jobs:
        wildcards = job.planned.wildcards
        key = tuple((name, wildcards[name]) for name in _SUBJECT if name in wildcards)
        groups.setdefault(key, []).append(job)
    runs = [key for key in groups if key and key[-1][0] == "seed"]
    for key in sorted(groups, key=lambda key: (not key, key)):
        shared = key[:-1]
        if key in runs:
            yield Subject(dict(key), [*groups.get(shared, []), *groups[key]])
        elif not any(run[:-1] == key for run in runs):
            yield Subject(dict(key), groups[key])


def _as_dict(job: Job) -> dict[str, Any]:
    return {
        "rule": job.planned.rule,
        "wildcards": job.planned.wildcards,
        "state": job.state,
        "log": str(job.planned.log),
        "report": job.report and job.report.model_dump(mode="json"),
        "problem": job.problem,
    }
