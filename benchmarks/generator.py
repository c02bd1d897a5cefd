"""Time per shower of the generator at the sizes of the paper, against the paper's 4.9 ms on a CPU.

python benchmarks/generator.py [--batch 256] [--threads 2]

Includes the noise, the inputs and the inverse preprocessing: everything from conditions to energies in MeV.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from caloforge.geometry import Geometry
from caloforge.models.conditional_wgan.settings import ConditionalWGANSettings
from caloforge.models.family import build
from caloforge.preprocessing import Preprocessing
from caloforge.sampling import generate
from caloforge.showers import Showers

PAPER_MS = 4.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    geometry = Geometry(name="LHCb-like ECAL", layers=[{"shape": (30, 30), "cell_size_mm": (20, 20)}])
    conditions = ("px", "py", "pz", "x0", "y0")
    preprocessing = Preprocessing(0.5, 0.0, 2.6, conditions, (0.0,) * 5, (1.0,) * 5, (0.17,))
    model = build(ConditionalWGANSettings(family="conditional_wgan"), geometry, preprocessing).eval()
    requested = Showers(
        np.empty((options.batch, 0), np.float32),
        np.full((options.batch, 1), 10_000, np.float32),
        {name: np.random.default_rng(0).normal(size=options.batch).astype(np.float32) for name in conditions},
        np.arange(options.batch),
    )
    times_ms = []
    for run in range(options.runs + 3):
        started = time.perf_counter()
        generate(model, preprocessing, requested, run, torch.device("cpu"))
        times_ms.append(1000 * (time.perf_counter() - started) / options.batch)
    median = statistics.median(times_ms[3:])
    print(f"batch {options.batch}, {options.threads} threads, {options.runs} runs after 3 warm-ups")
    print(
        f"ms per shower: median {median:.3f}, lowest {min(times_ms[3:]):.3f}, highest {max(times_ms[3:]):.3f}"
    )
    print(f"paper ({PAPER_MS} ms) / here: {PAPER_MS / median:.1f}")


if __name__ == "__main__":
    main()
