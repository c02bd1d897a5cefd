"""Collisions per second of processor time: jets and all observables in one thread, beside FastJet alone.

python benchmarks/jets.py
python benchmarks/jets.py --fast delphes.root --full fullsim.root --events 2500
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import fastjet
import yaml

from caloforge.config.dataset import DatasetSettings
from caloforge.config.stages import JetSettings
from caloforge.geometry import Geometry
from caloforge.ingest.formats.delphes import read
from caloforge.jets.particles import pixel_particles
from caloforge.observables import block_showers
from caloforge.observables.collision import CollisionObservables
from caloforge.showers import Showers

SAMPLES = Path("resources/samples/jets")
TARGET_PER_S = {"fast": 2500, "full": 1500}
TARGET_RATIO = 2


def pairs(settings: DatasetSettings, fast: Path, full: Path, events: int) -> dict[str, Showers]:
    """Images of the same events by both simulations."""
    batches: Iterator[Showers] = (batch.showers for batch in read(settings, [fast], [full]))
    batch = next(batches)[:events]
    return {"fast": Showers(batch.reference, batch.incident_energies, {}, batch.event), "full": batch}


def cpu_s(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fast", type=Path, default=SAMPLES / "delphes_dijet_002.root")
    parser.add_argument("--full", type=Path, default=SAMPLES / "fullsim_dijet_002.root")
    parser.add_argument("--events", type=int, default=1000, help="at most, of the first batch of the files")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()

    dataset = DatasetSettings(**yaml.safe_load(Path("config.yaml").read_text())["datasets"]["jets_dijet"])
    geometry: Geometry = dataset.geometry
    jets = JetSettings()
    observables = CollisionObservables(jets)
    anti_kt = fastjet.JetDefinition(fastjet.antikt_algorithm, jets.radius)

    def fastjet_alone(particles: list) -> None:
        for block in particles:
            fastjet.ClusterSequence(block, anti_kt).constituents(jets.pt_min_GeV)

    def everything(blocks: list[Showers]) -> None:
        for block in blocks:
            observables.compute(block, geometry)

    step = block_showers(geometry)
    for side, batch in pairs(dataset, options.fast, options.full, options.events).items():
        blocks = [batch[start : start + step] for start in range(0, len(batch), step)]
        particles = [pixel_particles(block.showers, geometry.layers[0]) for block in blocks]
        everything(blocks[:1])
        all_s, alone_s = [], []
        for _ in range(options.repeat):
            all_s.append(cpu_s(lambda blocks=blocks: everything(blocks)))
            alone_s.append(cpu_s(lambda particles=particles: fastjet_alone(particles)))
        rates = sorted(len(batch) / seconds for seconds in all_s)
        ratio = statistics.median(all_s) / statistics.median(alone_s)
        print(
            f"{side}: median {statistics.median(rates):.0f} events per CPU-second "
            f"({rates[0]:.0f} to {rates[-1]:.0f}), target {TARGET_PER_S[side]}; "
            f"{ratio:.2f} x the time of anti-kt alone, target {TARGET_RATIO}"
        )


if __name__ == "__main__":
    main()
