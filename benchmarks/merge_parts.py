"""Time and peak memory of putting the parts of a data set together, over the time of merely reading them.

The parts hold the showers of the data set over and over, under new event numbers.

python benchmarks/merge_parts.py --dataset lhcb_ecal --parts 10 --showers 1000000
"""

import argparse
import multiprocessing
import resource
import shutil
import tempfile
import time
from pathlib import Path

import yaml

from caloforge.config.dataset import DatasetSettings
from caloforge.config.project import source_files
from caloforge.ingest.batch import batch_events
from caloforge.ingest.parts import ingest_part, merge_parts
from caloforge.ingest.split import SPLITS
from caloforge.showers import ShowerFile, Showers, ShowerWriter


def outputs(directory: Path, stem: str) -> dict[str, Path]:
    return {split: directory / f"{stem}_{split}.h5" for split in SPLITS} | {
        "record": directory / f"{stem}.json"
    }


def multiply(settings: DatasetSettings, directory: Path, parts: int, showers: int) -> list[dict[str, Path]]:
    """Files of parts with about so many showers in all."""
    files = source_files(settings)
    whole = settings.model_copy(update={"files_per_job": len(files)})
    first = outputs(directory, "first")
    ingest_part(whole, name="benchmark", files=files, part=0, **first)
    made = [outputs(directory, f"part{part}") for part in range(parts)]
    for part in made:
        shutil.copy(first["record"], part["record"])
    for split in SPLITS:
        with ShowerFile(first[split]) as file:
            found = file.read()
            units = file.units
        shift = int(found.event.max()) - int(found.event.min()) + 1
        share = len(found) / sum(len(ShowerFile(first[split])) for split in SPLITS)
        copies = max(1, round(showers * share / len(found) / parts))
        for number, part in enumerate(made):
            with ShowerWriter(part[split], settings.geometry, units, paired=settings.paired) as writer:
                for copy in range(number * copies, (number + 1) * copies):
                    event = 3 * (found.event + copy * shift) + SPLITS.index(split)
                    writer.append(
                        Showers(
                            found.showers, found.incident_energies, found.conditions, event, found.reference
                        )
                    )
    return made


def read_s(settings: DatasetSettings, made: list[dict[str, Path]]) -> float:
    start = time.perf_counter()
    for part in made:
        for split in SPLITS:
            with ShowerFile(part[split]) as file:
                for _ in file.blocks(batch_events(settings)):
                    pass
    return time.perf_counter() - start


def merge(
    settings: DatasetSettings, made: list[dict[str, Path]], merged: dict[str, Path]
) -> tuple[float, float, float]:
    """Wall and CPU time [s] and peak memory [MB] of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    merge_parts(
        settings,
        name="benchmark",
        files=source_files(settings),
        parts={split: [part[split] for part in made] for split in SPLITS},
        records=[part["record"] for part in made],
        **merged,
    )
    memory_MB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return time.perf_counter() - wall, time.process_time() - cpu, memory_MB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default="config.yaml", help="with the data set (%(default)s)")
    parser.add_argument("--dataset", default="lhcb_ecal", help="its name (%(default)s)")
    parser.add_argument("--parts", type=int, default=10, help="number of parts (%(default)s)")
    parser.add_argument("--showers", type=int, default=1_000_000, help="in all, about (%(default)s)")
    options = parser.parse_args()
    config = yaml.safe_load(options.config.read_text())
    settings = DatasetSettings.model_validate(config["datasets"][options.dataset])
    with tempfile.TemporaryDirectory() as directory:
        made = multiply(settings, Path(directory), options.parts, options.showers)
        merged = outputs(Path(directory), "merged")
        read = read_s(settings, made)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            wall, cpu, memory_MB = pool.apply(merge, (settings, made, merged))
        showers = sum(len(ShowerFile(merged[split])) for split in SPLITS)
        megabytes = sum(merged[split].stat().st_size for split in SPLITS) / 1e6
    print(
        f"{showers} showers, {megabytes:.0f} MB in {options.parts} parts: read {read:.1f} s, "
        f"merged in {wall:.1f} s ({cpu:.1f} s CPU), peak memory {memory_MB:.0f} MB"
    )


if __name__ == "__main__":
    main()
