"""The workflow on a real SLURM with the shipped profile: jobs that are killed in all the ways of a cluster.

One run makes the report and trains for two more seeds. Meanwhile its jobs meet a time limit, `scancel`, a
memory limit and the loss of their node; the same results are made without SLURM.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from private_slurm import private_slurm

from workflow.analysis import CHECKOUT, Analysis, tiny_config

pytestmark = [pytest.mark.usefixtures("need_slurm"), pytest.mark.timeout(1200)]

SEEDS = "results/ecal/tiny/seed{}"
TARGETS = [
    "results/report/index.html",
    SEEDS.format(2) + "/regressor.pt",
    SEEDS.format(3) + "/checkpoint.pt",
]
PARTITIONS = {"all": {"max_runtime": 1440}, "node1": {"max_runtime": 1440, "max_gpu": 4}}
"""What the executor is told; there is `node2`, too."""
MEMORY_MB = 400
"""Less than a training takes with Snakemake around it."""
OVERRIDES = [
    "--slurm-status-command=squeue",
    "--slurm-init-seconds-before-status-checks=5",  # looks after 5, 20, 45 and 80 s; most jobs take 10 to 20
    "--latency-wait=10",
    "--slurm-partition-config=partitions.yaml",
    "--set-resources",
    "regressor:slurm_partition='node2' if wildcards.seed == '3' else ''",
    f"regressor:mem_mb={MEMORY_MB} if wildcards.seed == '2' and attempt == 2 else 3000",
]


@dataclass(frozen=True)
class Cluster:
    """A SLURM, and what it knows of its jobs."""

    environment: dict[str, str]

    def run(self, *command: str) -> str:
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True
        ).stdout

    def jobs(self, comment: str) -> list[dict[str, str]]:
        """Jobs that the executor submitted with a comment, the oldest first."""
        lines = self.run("scontrol", "--oneliner", "show", "jobs").splitlines()
        jobs = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines]
        return sorted(
            (job for job in jobs if re.search(comment, job.get("Comment", ""))),
            key=lambda job: int(job["JobId"]),
        )

    def running(self, comment: str) -> str:
        """Number of the one running job with a comment."""
        (job,) = [job for job in self.jobs(comment) if job["JobState"] == "RUNNING"]
        return job["JobId"]


@dataclass(frozen=True)
class Farmed:
    """The two runs when they have ended."""

    cluster: Cluster
    local: Analysis
    farm: Analysis
    output: str


def configured(path: Path) -> Analysis:
    """An analysis whose trainings ask for a GPU, which none will find, and are not over at once."""
    config = tiny_config()
    model = config["models"]["tiny"]
    for training in (model["training"], model["regressor"]["training"]):
        training |= {"epochs": 6, "device": "auto"}
    path.mkdir()
    analysis = Analysis(path)
    analysis.configure(config)
    return analysis


def freeze(work: Path) -> None:
    """Stop the process that trains in a work folder, to be in the midst of it for as long as it takes."""
    for process in psutil.process_iter():
        try:
            if any(Path(file.path) == work / "lock" for file in process.open_files()):
                process.suspend()
                return
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    raise AssertionError(f"no process trains in {work}")


@pytest.fixture(scope="module")
def farmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farmed]:
    path = tmp_path_factory.mktemp("slurm")
    local, farm = configured(path / "local"), configured(path / "farm")
    with private_slurm(path / "slurm", nodes=2, gpus=4, cpus=8, memory_MB=64_000) as environment:
        cluster = Cluster(environment)

        def run_out_of_time() -> None:
            cluster.run("scontrol", "update", f"jobid={cluster.running('_train_.*_3$')}", "timelimit=1")

        def cancel() -> None:
            cluster.run("scancel", cluster.running("_regressor_.*_2$"))

        def lose_node() -> None:
            cluster.run("scontrol", "update", "nodename=node2", "state=down", "reason=test")
            cluster.run("scontrol", "update", "nodename=node2", "state=resume")

        kills: dict[str, Callable[[], None]] = {
            "seed2/work/regressor": cancel,
            "seed3/work/regressor": lose_node,
            "seed3/work/train": run_out_of_time,
        }
        with (path / "output").open("w+") as output:
            (farm.path / "partitions.yaml").write_text(yaml.safe_dump({"partitions": PARTITIONS}))
            run = subprocess.Popen(
                [
                    sys.executable,
                    *("-m", "snakemake", "--snakefile", str(CHECKOUT / "Snakefile")),
                    *("--workflow-profile", str(CHECKOUT / "profiles/slurm")),
                    *(*OVERRIDES, "--", *TARGETS),
                ],
                cwd=farm.path,
                env=environment | {"PYTHONPATH": str(CHECKOUT / "src")},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            reference = subprocess.Popen(
                **local.command(*TARGETS),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                while kills and run.poll() is None:
                    for name, kill in list(kills.items()):
                        work = farm.run.parent / name
                        if (work / "state.pt").exists():
                            freeze(work)
                            kill()
                            del kills[name]
                    time.sleep(0.02)
                status = run.wait()
                assert reference.wait() == 0
            finally:
                for process in (run, reference):
                    if process.poll() is None:
                        os.killpg(process.pid, signal.SIGKILL)
                        process.wait()
            output.seek(0)
            text = output.read()
        assert status == 0, text
        assert not kills
        yield Farmed(cluster, local, farm, text)


def same_bytes(farmed: Farmed, file: str) -> bool:
    return (farmed.farm.path / file).read_bytes() == (farmed.local.path / file).read_bytes()


def states(farmed: Farmed, comment: str) -> list[str]:
    return [job["JobState"] for job in farmed.cluster.jobs(comment)]


def test_the_workflow_reaches_the_report(farmed: Farmed):
    page = (farmed.farm.path / "results/report/index.html").read_text()
    assert "Geant4" in page
    for name in ("checkpoint.pt", "samples.h5", "metrics.json"):
        assert same_bytes(farmed, f"{SEEDS.format(1)}/{name}"), name


def test_a_training_goes_on_after_its_time_limit_to_the_same_bytes(farmed: Farmed):
    assert states(farmed, r"rule_train_.*_3$") == ["TIMEOUT", "COMPLETED"]
    assert "resuming after" in (farmed.farm.path / "logs/train/ecal/tiny/seed3.log").read_text()
    for name in ("checkpoint.pt", "history.csv"):
        assert same_bytes(farmed, f"{SEEDS.format(3)}/{name}"), name


def test_a_cancelled_job_is_submitted_again(farmed: Farmed):
    cancelled, _killed, completed = states(farmed, r"rule_regressor_.*_2$")
    assert [cancelled, completed] == ["CANCELLED", "COMPLETED"]
    assert "resuming after" in (farmed.farm.path / "logs/regressor/ecal/tiny/seed2.log").read_text()
    assert same_bytes(farmed, SEEDS.format(2) + "/regressor.pt")


def test_a_job_that_takes_too_much_memory_gets_more(farmed: Farmed):
    _cancelled, killed, completed = farmed.cluster.jobs(r"rule_regressor_.*_2$")
    assert killed["JobState"] in {"FAILED", "OUT_OF_MEMORY", "CANCELLED"}
    assert completed["JobState"] == "COMPLETED"
    assert f"mem={MEMORY_MB}M" in killed["TRES"]
    assert "mem=3000M" in completed["TRES"]
    assert "exceeded memory limit" in "".join(
        log.read_text() for log in (farmed.farm.path / "logs/slurm").rglob(f"{killed['JobId']}.log")
    )
    assert same_bytes(farmed, SEEDS.format(2) + "/regressor.pt")


def test_a_job_whose_node_is_lost_is_started_again_by_slurm(farmed: Farmed):
    (job,) = farmed.cluster.jobs(r"rule_regressor_.*_3$")
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    assert "resuming after" in (farmed.farm.path / "logs/regressor/ecal/tiny/seed3.log").read_text()
    assert same_bytes(farmed, SEEDS.format(3) + "/regressor.pt")


def test_trainings_get_a_gpu_and_small_jobs_go_together(farmed: Farmed):
    for job in farmed.cluster.jobs(r"rule_(train|regressor)_"):
        assert job["TresPerJob"] == "gres:gpu:1"
        assert job["Partition"] in {"node1", "node2"}
    grouped = farmed.cluster.jobs("rule_(data|judgement|summary)")
    assert len(grouped) == 3
    for job in grouped:
        assert "TresPerJob" not in job
        assert job["Partition"] == "all"
