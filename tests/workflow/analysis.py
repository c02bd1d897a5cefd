"""A working directory that the workflow runs in, and a configuration small enough for tests."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[2]
SAMPLES = CHECKOUT / "resources/samples/lhcb_ecal"


@dataclass(frozen=True)
class Analysis:
    """A working directory with a config.yaml, run by the workflow of a checkout."""

    path: Path
    checkout: Path = CHECKOUT

    @property
    def run(self) -> Path:
        return self.path / "results/ecal/tiny/seed1"

    @property
    def config(self) -> dict[str, Any]:
        return yaml.safe_load(self.config_file.read_text())

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    def configure(self, config: dict[str, Any]) -> None:
        self.config_file.write_text(yaml.safe_dump(config, sort_keys=False))

    def command(self, *arguments: str) -> dict[str, Any]:
        """Arguments of a subprocess call that runs Snakemake here."""
        snakemake = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            str(self.checkout / "Snakefile"),
            "--cores",
            "2",
        ]
        environment = {**os.environ, "PYTHONPATH": str(self.checkout / "src")}
        return {"args": [*snakemake, *arguments], "cwd": self.path, "env": environment}

    def snakemake(self, *arguments: str, preexec_fn: Callable[[], None] | None = None) -> tuple[int, str]:
        """Run Snakemake to its end: exit status, and all it wrote."""
        done = subprocess.run(
            **self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=850,
            preexec_fn=preexec_fn,
        )
        return done.returncode, done.stdout

    def make(self, *arguments: str) -> str:
        """Run Snakemake, which must succeed."""
        status, output = self.snakemake(*arguments)
        assert status == 0, output
        return output

    def planned(self) -> dict[str, int]:
        """Rules that Snakemake would run now, with their number of jobs."""
        output = self.make("--dry-run")
        if "Nothing to be done" in output:
            return {}
        lines = output.partition("Job stats:")[2].partition("total")[0].splitlines()[3:]
        return {rule: int(count) for rule, count in map(str.split, filter(str.strip, lines))}

    def copy(self, path: Path, checkout: Path = CHECKOUT) -> "Analysis":
        shutil.copytree(self.path, path)
        return Analysis(path, checkout)


def tiny_config() -> dict[str, Any]:
    """The demonstration on 1,000 showers with networks of a few channels."""
    config = yaml.safe_load((CHECKOUT / "config.yaml").read_text())
    dataset = config["datasets"]["lhcb_ecal"]
    dataset["source"]["files"] = [str(SAMPLES / "lhcb_ecal_e-_000.root")]
    training = {"epochs": 2, "batch_size": 20, "checkpoint_minutes": 0, "device": "cpu", "threads": 1}
    model = {
        "family": "conditional_wgan",
        "noise": 8,
        "channels": [8, 8, 4, 4],
        "critic_steps": 1,
        "regressor": {"channels": [4, 4, 8, 8], "training": dict(training)},
        "training": training,
    }
    grid = {"values": {"px": [0], "py": [-1, 1], "pz": [10], "x0": [0], "y0": [0]}}
    traversals = {"steps": {"px": [-1, 0, 1]}, "at": {"pz": 10}, "repeats": 2}
    return {
        "datasets": {"ecal": dataset},
        "models": {"tiny": model},
        "runs": [
            {
                "dataset": "ecal",
                "model": "tiny",
                "seeds": [1],
                "label": "test",
                "grid": grid,
                "traversals": traversals,
            }
        ],
        "sampling": {"device": "cpu", "threads": 1},
        "evaluation": {"bins": 10, "bootstrap": 10, "classifiers": {"use": ["trees"], "folds": 3}},
        "baselines": [],
        "figures": {"dpi": 60, "displays": 2, "energies_GeV": [1, 3, 100]},
    }
