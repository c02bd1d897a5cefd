"""Time of ingest over the time of merely reading the same branches, and peak memory on repeated data.

python benchmarks/ingest.py lhcb_ecal/*.root --repeat 10
"""

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from pathlib import Path

import awkward as ak
import uproot
import yaml

from caloforge.config.dataset import DatasetSettings
from caloforge.ingest import ingest


def branches(settings: DatasetSettings) -> list[str]:
    source = settings.source
    names = [source.event, source.incident_energy.branch, *source.cells.model_dump().values()]
    return list(dict.fromkeys([*filter(None, names), *(c.branch for c in settings.conditions.values())]))


def read_s(settings: DatasetSettings, files: list[Path]) -> float:
    start = time.perf_counter()
    trees = {str(file): settings.source.tree for file in files}
    for _ in uproot.iterate(trees, branches(settings), step_size=settings.chunk_events):
        pass
    return time.perf_counter() - start


def ingest_s(settings: DatasetSettings, files: list[Path]) -> float:
    with tempfile.TemporaryDirectory() as directory:
        outputs = {split: Path(directory) / f"{split}.h5" for split in ("train", "val", "test")}
        start = time.perf_counter()
        ingest(settings, name="benchmark", files=files, **outputs, record=Path(directory) / "ingest.json")
        return time.perf_counter() - start


def print_ratio(settings: DatasetSettings, files: list[Path], rounds: int) -> None:
    n = sum(uproot.open(file)[settings.source.tree].num_entries for file in files)
    times = [(read_s(settings, files), ingest_s(settings, files)) for _ in range(rounds)]
    read, whole = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(whole / read for read, whole in times)
    print(f"{n} events in {len(files)} files: read {read:.2f} s, ingest {whole:.2f} s, ratio {ratio:.2f}")


def repeat(settings: DatasetSettings, files: list[Path], times: int, directory: Path) -> list[Path]:
    """Copies of all events under new numbers, one file per repetition, compressed as the first file is."""
    events = uproot.concatenate({str(file): settings.source.tree for file in files}, branches(settings))
    columns = {name: events[name] for name in events.fields}
    number = events[settings.source.event]
    shift = int(ak.max(number) - ak.min(number)) + 1
    with uproot.open(files[0]) as first:
        compression = first.file.compression
    copies = [directory / f"copy{k}.root" for k in range(times)]
    for k, copy in enumerate(copies):
        columns[settings.source.event] = number + k * shift
        with uproot.recreate(copy, compression=compression) as target:
            types = {name: str(ak.type(values).content) for name, values in columns.items()}
            target.mktree(settings.source.tree, types)
            target[settings.source.tree].extend(columns)
    return copies


def peak_memory_MB(settings: DatasetSettings, files: list[Path]) -> float:
    """Of a new process that ingests the files."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(ingest_s, (settings, files))
        return pool.apply(resource.getrusage, (resource.RUSAGE_SELF,)).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--config", type=Path, default="config.yaml", help="with the data set (%(default)s)")
    parser.add_argument("--dataset", default="lhcb_ecal", help="its name (%(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of the ratio (%(default)s)")
    parser.add_argument("--repeat", type=int, help="ingest the files this many times, for the peak memory")
    options = parser.parse_args()
    config = yaml.safe_load(Path(options.config).read_text())
    settings = DatasetSettings.model_validate(config["datasets"][options.dataset])
    print_ratio(settings, options.files, options.rounds)
    if options.repeat:
        with tempfile.TemporaryDirectory() as directory:
            copies = repeat(settings, options.files, options.repeat, Path(directory))
            print_ratio(settings, copies, 3)
            print(f"peak memory of that ingest: {peak_memory_MB(settings, copies):.0f} MB")


if __name__ == "__main__":
    main()
