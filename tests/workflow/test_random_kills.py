"""Kills at random moments leave results as if nothing had happened; CALOFORGE_TEST_KILLS is their number."""

import json
import os
import random
import re
import signal
import time
from pathlib import Path

import psutil
from analysis import Analysis

KILLS = int(os.environ.get("CALOFORGE_TEST_KILLS", "2"))
SEED = int(os.environ.get("CALOFORGE_TEST_KILLS_SEED", "1"))
OF_LIBRARIES = ("snakemake", "torchinductor_")
"""Temporary folders that Snakemake, when it is killed, and PyTorch, always, leave behind."""
TIMES = re.compile(r"comparison/(comparison\.json|figures/speed\.)|report/cost\.csv")
"""Results that say how long something took, besides records and the page."""


class Disturbed:
    """An analysis whose Snakemake and jobs are killed, and whatever of them goes on living."""

    def __init__(self, analysis: Analysis, temporary: Path) -> None:
        self.analysis, self.temporary, self.sessions = analysis, temporary, []

    def start(self) -> psutil.Popen:
        """Snakemake in a session of its own, with its jobs."""
        if any((self.analysis.path / ".snakemake/locks").glob("*")):
            self.analysis.make("--unlock")
        command = self.analysis.command()
        command["env"] |= {"TMPDIR": str(self.temporary)}
        with (self.analysis.path / "output.txt").open("a") as output:
            process = psutil.Popen(**command, stdout=output, stderr=output, start_new_session=True)
        self.sessions.append(process.pid)
        return process

    def alive(self) -> list[psutil.Process]:
        """Processes of all sessions, those without a parent too."""
        return [process for process in psutil.process_iter() if _session(process) in self.sessions]

    def output(self) -> str:
        return (self.analysis.path / "output.txt").read_text()


def _session(process: psutil.Process) -> int | None:
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else os.getsid(process.pid)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return None


def jobs(snakemake: psutil.Popen) -> list[psutil.Process]:
    """Processes of its scripts."""
    try:
        children = snakemake.children(recursive=True)
        return [child for child in children if ".snakemake/scripts/" in " ".join(child.cmdline())]
    except psutil.Error:
        return []


def wait_for(snakemake: psutil.Popen, n: int, then_s: float) -> bool:
    """Wait until `n` jobs have begun and for some time more; whether Snakemake still runs."""
    seen: set[int] = set()
    while snakemake.poll() is None and len(seen) < n:
        seen |= {job.pid for job in jobs(snakemake)}
        time.sleep(0.1)
    try:
        snakemake.wait(then_s)
    except psutil.TimeoutExpired:
        return True
    return False


def kill_something(snakemake: psutil.Popen, moments: random.Random) -> None:
    """Kill Snakemake with its jobs, Snakemake alone, whose jobs go on, or one job, after which it ends."""
    running = jobs(snakemake)
    match moments.choice(("everything", "Snakemake", "a job") if running else ("everything", "Snakemake")):
        case "everything":
            os.killpg(snakemake.pid, signal.SIGKILL)
        case "Snakemake":
            snakemake.kill()
        case "a job":
            moments.choice(running).kill()
    snakemake.wait(600)


def test_kills_at_random_moments_leave_no_trace(finished: Analysis, tmp_path: Path):
    moments = random.Random(SEED)
    longest_s = max(job_times_s(finished))
    left = KILLS
    while left:
        analysis = Analysis(tmp_path / f"analysis{left}")
        temporary = tmp_path / f"temporary{left}"
        for folder in (analysis.path, temporary):
            folder.mkdir()
        analysis.configure(finished.config)
        left = run_with_kills(Disturbed(analysis, temporary), moments, longest_s, left)
        assert_same_results(analysis, finished)
        assert [path for path in temporary.iterdir() if not path.name.startswith(OF_LIBRARIES)] == []


def job_times_s(analysis: Analysis) -> list[float]:
    """Wall time of every job, as Snakemake measured it."""
    tables = (analysis.path / "logs").rglob("*.tsv")
    return [float(table.read_text().splitlines()[1].split()[0]) for table in tables]


def run_with_kills(disturbed: Disturbed, moments: random.Random, longest_s: float, kills: int) -> int:
    """Run the workflow to its end with up to `kills` kills; the number of those that the end came before.

    Each comes within `longest_s` of the start of Snakemake or of one of its jobs.
    """
    try:
        while True:
            snakemake = disturbed.start()
            if kills and wait_for(snakemake, moments.randint(0, 3), moments.uniform(0, longest_s)):
                kill_something(snakemake, moments)
                kills -= 1
            else:
                assert snakemake.wait(600) == 0, disturbed.output()
                break
        deadline = time.monotonic() + 300
        while disturbed.alive() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert disturbed.alive() == []
    finally:
        for process in disturbed.alive():
            process.kill()
    return kills


def assert_same_results(analysis: Analysis, expected: Analysis) -> None:
    found = files(analysis)
    assert found == files(expected)
    for name in found:
        one, other = analysis.path / name, expected.path / name
        if name.startswith("logs/") or name.endswith("state.pt") or TIMES.search(name):
            continue
        if name.endswith("index.html"):
            assert without_numbers(one) == without_numbers(other)
        elif name.endswith(".json") and "time_s" in json.loads(one.read_text()):
            assert made_by(one) == made_by(other), name
        else:
            assert one.read_bytes() == other.read_bytes(), name
    for folder in ("locks", "incomplete"):
        assert [*(analysis.path / ".snakemake" / folder).glob("*")] == []
    assert analysis.planned() == {}


def files(analysis: Analysis) -> list[str]:
    """All but what Snakemake keeps for itself, and benchmarks, which a job that outlives it does not have."""
    folders = (analysis.path / name for name in ("results", "logs"))
    return sorted(
        str(path.relative_to(analysis.path))
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".tsv"
    )


def made_by(record: Path) -> dict:
    """What a record says but for time, memory and digests of files that have these."""
    content = json.loads(record.read_text())
    return {key: content[key] for key in ("stage", "settings", "seed", "code", "libraries")}


def without_numbers(page: Path) -> str:
    """Text of the page without its figures and numbers, some of which are times: `62`, `1 min 2`, `1,020`."""
    text = re.sub(r"<script.*?</script>|[\w+/=]{100,}", "", page.read_text(), flags=re.DOTALL)
    return re.sub(r"\d[\d.,]*( (h|min) \d+)*", "#", text)
