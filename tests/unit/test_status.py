"""What a job says of itself, and what is read of it while it runs, after a kill and elsewhere."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from caloforge.cli import main
from caloforge.errors import CaloforgeError
from caloforge.locks import hold, is_held
from caloforge.progress import Progress
from caloforge.stage import stage
from caloforge.status import read_status
from caloforge.status.plan import PLAN, write_plan

RUN = {"dataset": "ecal", "model": "cwgan", "seed": "1"}
TRAINING_LOG = "logs/train/ecal/cwgan/seed1.log"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """A working directory; the log of pytest is as before afterwards."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def planned(rule, log, *outputs, needed=True, **wildcards):
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    return {
        "rule": rule,
        "wildcards": wildcards,
        "log": log,
        "outputs": outputs,
        "needed": needed,
    }


def training():
    return planned("train", TRAINING_LOG, "checkpoint.pt", **RUN)


def plan(*jobs):
    """Written by a process that has ended since, as a `snakemake` that was killed."""
    code = "import json, sys; from caloforge.status.plan import write_plan; write_plan(json.load(sys.stdin))"
    subprocess.run([sys.executable, "-c", code], input=json.dumps(jobs), text=True, check=True)


def only_job():
    (job,) = read_status(Path()).jobs
    return job


def background(code):
    """A process that runs code and says when it has come to its end, where it waits."""
    code = textwrap.dedent(code) + "\nprint('there', flush=True)\nimport time; time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "there\n"
    return process


def test_a_job_that_has_not_begun_waits_and_one_with_results_is_done():
    Path("showers.h5").touch()
    plan(
        planned("ingest", "logs/ingest/ecal.log", "showers.h5", needed=False, dataset="ecal"),
        training(),
    )
    status = read_status(Path())
    assert [job.state for job in status.jobs] == ["done", "waiting"]
    assert status.counts == {"done": 1, "waiting": 1}
    assert status.alive is False


def test_a_running_training_says_how_far_it_is_until_it_is_killed():
    plan(training())
    process = background(
        f"""
        import logging
        from caloforge.progress import Progress
        from caloforge.stage import stage
        stage = stage({TRAINING_LOG!r})
        stage.__enter__()
        progress = Progress("training", 14)
        progress.update(3.5, {{"critic": -0.25, "validation": None}})
        logging.info("epoch 3", extra={{"best": {{"validation": 0.125, "epoch": 2}}}})
        """
    )
    try:
        job = only_job()
        assert job.state == "running"
        assert job.report.process == process.pid
        assert (job.report.progress.done, job.report.progress.total) == (3.5, 14)
        assert job.report.progress.watched == {"critic": -0.25}
        assert (job.report.best.validation, job.report.best.epoch) == (0.125, 2)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    job = only_job()
    assert job.state == "stopped"
    assert job.report.progress.done == 3.5


def test_a_finished_job_is_done_until_its_result_is_deleted():
    plan(training())
    with stage(TRAINING_LOG):
        Path("checkpoint.pt").touch()
    assert only_job().state == "done"
    Path("checkpoint.pt").unlink()
    assert only_job().state == "gone"


def test_a_failed_job_says_why(capsys):
    plan(training())
    with pytest.raises(SystemExit), stage(TRAINING_LOG):
        raise CaloforgeError("loss critic became nan")
    job = only_job()
    assert (job.state, job.report.error) == ("failed", "loss critic became nan")
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert "failed: train" in out
    assert "loss critic became nan" in out
    assert TRAINING_LOG in out


def test_a_bug_and_an_interruption_are_told_apart():
    plan(training())
    with pytest.raises(ZeroDivisionError), stage(TRAINING_LOG):
        1 / 0  # noqa: B018
    assert (only_job().state, only_job().report.error) == ("failed", "ZeroDivisionError: division by zero")
    with pytest.raises(KeyboardInterrupt), stage(TRAINING_LOG):
        raise KeyboardInterrupt
    assert only_job().state == "stopped"


def test_a_job_that_wrote_no_report_is_done_when_its_results_are_new():
    """As those that `snakemake --touch` accepts or the cache of Snakemake has."""
    Path("checkpoint.pt").touch()
    os.utime("checkpoint.pt", (1, 1))
    plan(training())
    assert only_job().state == "waiting"
    os.utime("checkpoint.pt", (time.time() + 2,) * 2)
    assert only_job().state == "done"


def test_a_new_plan_forgets_what_jobs_said_before_only_if_they_run_again():
    with pytest.raises(SystemExit), stage(planned("train", TRAINING_LOG)["log"]):
        raise CaloforgeError("no")
    Path("checkpoint.pt").touch()
    plan(training() | {"needed": False})
    assert only_job().report.error == "no"
    Path("checkpoint.pt").unlink()
    plan(training())
    assert only_job().report is None


def test_without_locks_it_is_unknown_whether_a_job_runs():
    plan(training())
    with stage(TRAINING_LOG):
        report = Path(TRAINING_LOG).with_suffix(".json")
        report.write_text(json.dumps(json.loads(report.read_text()) | {"locked": False, "host": "node7"}))
        job = only_job()
    assert (job.state, job.report.host) == ("unknown", "node7")


def test_the_plan_is_locked_while_its_process_lives():
    process = background("from caloforge.status.plan import write_plan; write_plan([])")
    try:
        assert read_status(Path()).alive is True
    finally:
        process.kill()
        process.communicate()
    assert read_status(Path()).alive is False


def test_looking_does_not_keep_a_job_from_its_lock():
    """A look at the very moment at which a job begins."""
    Path(TRAINING_LOG).parent.mkdir(parents=True)
    Path(TRAINING_LOG).touch()
    look = background(f"import fcntl; file = open({TRAINING_LOG!r}, 'rb'); fcntl.flock(file, fcntl.LOCK_SH)")
    with Path(TRAINING_LOG).open("a") as log, ThreadPoolExecutor(1) as thread:
        locked = thread.submit(hold, log.fileno())
        assert not locked.done()
        look.kill()
        look.communicate()
        assert locked.result()
        assert is_held(Path(TRAINING_LOG))


@pytest.mark.parametrize("content", ["", '{"state": "running"', '{"state": "dancing"}', "[]", "\0\0"])
def test_damaged_files_are_named(content, capsys):
    plan(training())
    report = Path(TRAINING_LOG).with_suffix(".json")
    report.write_text(content)
    job = only_job()
    assert job.state == "unknown"
    assert job.problem.startswith(f"{report}: damaged: ")
    assert main(["status"]) == 0
    PLAN.write_text(content)
    assert main(["status"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {PLAN}: damaged: ")


def test_where_nothing_was_started_the_error_says_so(capsys):
    assert main(["status"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {PLAN}: no such file, expected the plan")


def test_what_a_model_needs_for_all_seeds_belongs_to_each_run():
    seeds = [{**RUN, "seed": seed} for seed in "12"]
    model = {name: RUN[name] for name in ("dataset", "model")}
    plan(
        planned("ingest", "logs/ingest/ecal.log", dataset="ecal"),
        planned("preprocess", "logs/preprocess/ecal/cwgan.log", **model),
        *(planned("train", f"logs/train/ecal/cwgan/seed{seed['seed']}.log", **seed) for seed in seeds),
        planned("sample", "logs/sample/ecal/library.log", dataset="ecal", baseline="library"),
        planned("report", "logs/report.log"),
    )
    found = {
        subject.name: [job.planned.rule for job in subject.jobs] for subject in read_status(Path()).subjects
    }
    assert found == {
        "ecal": ["ingest"],
        "ecal/library": ["sample"],
        "ecal/cwgan/seed1": ["preprocess", "train"],
        "ecal/cwgan/seed2": ["preprocess", "train"],
        "report": ["report"],
    }
    assert len(read_status(Path()).jobs) == 6


def test_json_has_what_the_table_has(capsys):
    plan(training(), planned("sample", "logs/sample/ecal/cwgan/seed1.log", **RUN))
    with stage(TRAINING_LOG):
        progress = Progress("training", 2)
        progress.update(1, {"critic": 0.5})
        logging.getLogger("any").info("", extra={"best": {"validation": 0.25, "epoch": 1}})
        capsys.readouterr()
        assert main(["status", "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert main(["status"]) == 0
        text = capsys.readouterr().out
    assert content["steps"] == {"running": 1, "waiting": 1, "all": 2}
    assert content["snakemake"]["alive"] is False
    (subject,) = content["subjects"]
    assert {key: subject[key] for key in RUN} == RUN
    assert (subject["stage"], subject["best"]) == ("train", {"validation": 0.25, "epoch": 1})
    report = subject["jobs"][0]["report"]
    assert report["progress"] == {
        "title": "training",
        "done": 1,
        "total": 2,
        "left_s": None,
        "watched": {"critic": 0.5},
    }
    row = r"ecal/cwgan/seed1 +train +0/2 +training 1 of 2 +critic 0\.5 +0\.25 in epoch 1"
    assert re.search(row, text)
    assert "0 of 2 steps done, 1 running, 1 waiting" in text
    assert "\x1b" not in text


def test_lines_of_jobs_side_by_side_are_told_apart(capsys):
    Path(TRAINING_LOG).parent.mkdir(parents=True)
    with stage(TRAINING_LOG):
        Progress("training", 2).update(1, {"critic": 0.5})
    line = "training 1.00 of 2, ? min left: critic 0.5\n"
    assert capsys.readouterr().err.endswith(f" train/ecal/cwgan/seed1: {line}")
    assert re.fullmatch(r"\d\d:\d\d:\d\d " + re.escape(line), Path(TRAINING_LOG).read_text())


def test_a_report_that_cannot_be_written_does_not_stop_the_job():
    report = Path(TRAINING_LOG).with_suffix(".json")
    report.mkdir(parents=True)
    (report / "in the way").touch()
    with stage(TRAINING_LOG):
        Progress("training", 2).update(1, {})
    assert "training 1.00 of 2" in Path(TRAINING_LOG).read_text()


def test_it_starts_without_torch():
    write_plan([])
    code = "import sys; from caloforge.cli import main; main(['status']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\nFalse\n")
