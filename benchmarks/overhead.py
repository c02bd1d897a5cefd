"""What the workflow costs by itself: the plan of 24 trainings, and every job until it calls the library.

python benchmarks/overhead.py [--runs 5]

The plan is that of the demonstration with four seeds for each of its six models, by `snakemake --dry-run`. A
job is its process, what Snakemake puts before a script and the imports of that script. CPU time, user and
system, says more than wall time on a machine that does other things, too.
"""

import argparse
import ast
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHECKOUT = Path(__file__).parents[1]
CHOSEN = {"baseline": ["import caloforge.baselines.parametrised_shower"]}
"""What scripts import by a name that only the job knows."""
PREAMBLE = "from snakemake.logging import logger; from snakemake.iocontainers import Snakemake"


class Cost(NamedTuple):
    """Of a process [s]."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:6.2f} s wall {self.cpu:6.2f} s CPU"


def cost(arguments: list[str], directory: Path, runs: int) -> Cost:
    """Medians over runs of a command, after one that is not counted."""
    costs = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        process = subprocess.Popen(
            arguments, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        costs.append(Cost(time.perf_counter() - started, usage.ru_utime + usage.ru_stime))
        if status:
            sys.exit(errors.decode())
    return Cost(*map(statistics.median, zip(*costs[1:], strict=True)))


def matrix() -> dict[str, Any]:
    """The demonstration with four seeds for each of its six models."""
    config = yaml.safe_load((CHECKOUT / "config.yaml").read_text())
    for run in config["runs"]:
        run["seeds"] = [1, 2, 3, 4]
    return config


def imports(script: Path) -> Iterator[str]:
    """The import statements of a script."""
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield ast.unparse(node)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="of which medians are taken (%(default)s)")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "resources").symlink_to(CHECKOUT / "resources")
        (directory / "config.yaml").write_text(yaml.safe_dump(matrix()))
        snakemake = [sys.executable, "-m", "snakemake"]
        plan = [
            *snakemake,
            "--snakefile",
            str(CHECKOUT / "Snakefile"),
            "--cores",
            "1",
            "--dry-run",
            "--quiet",
        ]
        print(f"{'plan of 24 trainings':25}", cost(plan, directory, runs))
        print(f"{'snakemake --version':25}", cost([*snakemake, "--version"], directory, runs))
        for script in sorted((CHECKOUT / "workflow/scripts").glob("*.py")):
            code = "\n".join([PREAMBLE, *imports(script), *CHOSEN.get(script.stem, [])])
            modules = "import sys; sys.exit('torch' in sys.modules)"
            has_torch = subprocess.run([sys.executable, "-c", f"{code}\n{modules}"]).returncode
            took = cost([sys.executable, "-c", code], directory, runs)
            print(f"{script.stem:25}", took, "with torch" if has_torch else "", flush=True)


if __name__ == "__main__":
    main()
