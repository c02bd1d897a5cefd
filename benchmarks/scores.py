"""Time and memory of all scores of many showers: python benchmarks/scores.py showers.h5 --showers 10000.

Showers of a canonical file are repeated with other energies in their cells until there are enough of them,
twice as full simulation and once as a sample.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from caloforge.config.stages import EvaluationSettings, FigureSettings
from caloforge.file_comparison import compare_files
from caloforge.showers import ShowerFile, Showers, ShowerWriter

TARGETS = "3 minutes for 30 x 30 cells and 8 minutes for 25 x 25 x 25 on two cores, 4 GB"
SPREAD = 0.05
"""Of the energies of single cells, relative."""
BLOCK = 500


def repeated(file: ShowerFile, n: int, rng: np.random.Generator) -> Iterator[Showers]:
    """n showers of a file, over and over again."""
    for start in range(0, n, BLOCK):
        numbers = np.arange(start, min(start + BLOCK, n))
        first = start % max(1, len(file) - BLOCK)
        block = file.read(first, first + BLOCK)[numbers % min(BLOCK, len(file))]
        factors = rng.normal(1, SPREAD, block.showers.shape).astype(np.float32)
        yield replace(block, showers=block.showers * np.abs(factors), event=numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("showers", type=Path, help="canonical shower file")
    parser.add_argument("--showers", dest="n", type=int, default=10_000, help="of each sample")
    parser.add_argument("--readout-threshold-MeV", type=float, default=0.5)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ShowerFile(options.showers) as file:
            for seed, role in enumerate(("reference", "independent", "sample")):
                with ShowerWriter(folder / f"{role}.h5", file.geometry, file.units) as writer:
                    for block in repeated(file, options.n, np.random.default_rng(seed)):
                        writer.append(block)
        wall, cpu = time.perf_counter(), time.process_time()
        compare_files(
            folder / "reference.h5",
            folder / "sample.h5",
            independent=folder / "independent.h5",
            training=folder / "independent.h5",
            readout_threshold_MeV=options.readout_threshold_MeV,
            settings=EvaluationSettings(),
            figures=FigureSettings(),
            output=folder / "scores",
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        size_MB = sum(path.stat().st_size for path in (folder / "scores").rglob("*")) / 1e6
    memory_MB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{options.n:,} showers: {wall:.0f} s elapsed, {cpu:.0f} s of processor time, {memory_MB:.0f} MB")
    print(f"{size_MB:.1f} MB written; target: {TARGETS}")


if __name__ == "__main__":
    main()
