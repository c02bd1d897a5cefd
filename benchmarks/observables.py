"""Showers per second of the observables, in one thread: python benchmarks/observables.py showers.h5."""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

from caloforge.observables import observe
from caloforge.showers import ShowerFile

TARGET_PER_S = 5000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("showers", type=Path, help="canonical shower file")
    parser.add_argument("--readout-threshold-MeV", type=float, default=0.5)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()

    with ShowerFile(options.showers) as file:
        n = len(file)
    wall_rates, cpu_rates = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.repeat):
            wall, cpu = time.perf_counter(), time.process_time()
            observe(
                options.showers,
                readout_threshold_MeV=options.readout_threshold_MeV,
                output=Path(folder, "observables.h5"),
                record=Path(folder, "observe.json"),
            )
            wall_rates.append(n / (time.perf_counter() - wall))
            cpu_rates.append(n / (time.process_time() - cpu))
    print(f"{n} showers, {options.repeat} times, target {TARGET_PER_S} showers/s")
    for clock, rates in (("elapsed", wall_rates), ("processor", cpu_rates)):
        median = statistics.median(rates)
        print(
            f"by {clock} time: median {median:.0f} showers/s ({min(rates):.0f} to {max(rates):.0f}), "
            f"{median / TARGET_PER_S:.2f} x the target"
        )


if __name__ == "__main__":
    main()
