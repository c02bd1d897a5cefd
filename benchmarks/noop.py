"""Time of a `snakemake` call that has nothing to do, after `make demo`, against the bare start of Snakemake.

python benchmarks/noop.py [--runs 5]
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def seconds(arguments: list[str], runs: int) -> float:
    """Median wall time of the command, after one run that is not counted."""
    times = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        done = subprocess.run(arguments, cwd=CHECKOUT, capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - started)
    if "--version" not in arguments and "Nothing to be done" not in done.stdout + done.stderr:
        sys.exit("there was something to do: run `make demo` first")
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    snakemake = [sys.executable, "-m", "snakemake"]
    noop, bare = seconds([*snakemake, "--cores", "1"], runs), seconds([*snakemake, "--version"], runs)
    print(f"nothing to do: {noop:.2f} s; snakemake --version: {bare:.2f} s; ratio {noop / bare:.1f}")


if __name__ == "__main__":
    main()
