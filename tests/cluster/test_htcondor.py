"""The profile for HTCondor with its genuine plugin; the schedd is a loopback, no pool is to be had here."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workflow.analysis import CHECKOUT, Analysis, tiny_config

pytestmark = pytest.mark.usefixtures("need_htcondor")
PROFILE = ["--workflow-profile", str(CHECKOUT / "profiles/htcondor")]
LOOPBACK = Path(__file__).parent / "loopback_htcondor.py"


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> tuple[Analysis, dict[str, dict[str, Any]]]:
    """A regressor and all before it, and the submit descriptions of its jobs by the name of their logs."""
    analysis = Analysis(tmp_path_factory.mktemp("pool"))
    analysis.configure(tiny_config())
    submitted = analysis.path / "submitted"
    done = subprocess.run(
        [
            *(sys.executable, LOOPBACK, submitted, "--snakefile", CHECKOUT / "Snakefile"),
            *(*PROFILE, "--latency-wait=10", "results/ecal/tiny/seed1/regressor.pt"),
        ],
        cwd=analysis.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = [json.loads(line) for line in submitted.read_text().splitlines()]
    return analysis, {Path(job["output"]).parent.name: job for job in jobs}


def test_a_regressor_is_trained(pool: tuple[Analysis, Any]):
    analysis, jobs = pool
    assert (analysis.run / "regressor.pt").exists()
    assert list(jobs) == ["ingest", "data_preprocess", "regressor"]


def test_jobs_request_what_they_need(pool: tuple[Any, dict[str, dict[str, Any]]]):
    _, jobs = pool
    assert jobs["ingest"]["request_cpus"] == "2"
    assert jobs["ingest"]["request_memory"] == "2000MB"
    assert "request_gpus" not in jobs["ingest"]
    assert jobs["regressor"]["request_cpus"] == "1"
    assert jobs["regressor"]["request_gpus"] == "1"
    assert jobs["regressor"]["request_memory"] == "8000MB"


def test_jobs_write_where_the_profile_says(pool: tuple[Analysis, dict[str, dict[str, Any]]]):
    analysis, jobs = pool
    for name, job in jobs.items():
        assert job["log"] == "logs/htcondor/snakemake-rules.log"
        for stream in ("output", "error"):
            assert job[stream].startswith(f"logs/htcondor/{name}/")
            assert "$(ClusterId)" in job[stream]
    assert (
        "localrule regressor" in next((analysis.path / "logs/htcondor/regressor").glob("*.err")).read_text()
    )


def test_requests_of_the_profile_cover_those_of_the_rules(tmp_path: Path):
    """HTCondor is not told `mem_mb` and `gpu` of the rules, the profile says both once more."""
    (tmp_path / "config.yaml").symlink_to(CHECKOUT / "config.yaml")
    (tmp_path / "resources").symlink_to(CHECKOUT / "resources")
    output = Analysis(tmp_path).make("--dry-run", *PROFILE, "--forceall")
    jobs = re.findall(r"^ *(?:local)?rule (\w+):.*?^ *resources: (.*?)$", output, re.MULTILINE | re.DOTALL)
    assert {"train", "regressor", "sample", "evaluate", "report"} <= {rule for rule, _ in jobs}
    for rule, text in jobs:
        resources = dict(item.split("=", 1) for item in text.split(", "))
        requested = int(resources["htcondor_request_mem_mb"])
        if resources["mem_mb"] != "<TBD>":
            assert requested >= int(resources["mem_mb"]), rule
        assert resources.get("request_gpus", "0") >= resources.get("gpu", "0"), rule
