"""Time of ingest over the time of merely reading the same numbers, and peak memory on repeated data.

python benchmarks/ingest.py --dataset clic_ecal
python benchmarks/ingest.py --dataset clic_ecal --config my.yaml --repeat 20
"""

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import uproot
import yaml

from caloforge.config.dataset import DatasetSettings
from caloforge.config.project import paired_files, source_files
from caloforge.ingest import ingest
from caloforge.ingest.batch import batch_events

TOWER = ("Eta", "Phi", "E", "Eem", "Ehad")


def trees(settings: DatasetSettings) -> Iterator[tuple[list[str], str, list[str]]]:
    """Files, tree and branches that ingest reads of a ROOT source."""
    source, files = settings.source, source_files(settings)
    if source.format == "delphes":
        yield files, source.tree, [source.event, *(f"{source.towers}.{name}" for name in TOWER)]
        if full := source.full_simulation:
            yield paired_files(settings), full.tree, [full.event, full.eta, full.phi, *full.energy]
        return
    columns = [source.event, *(column.column for column in settings.conditions.values())]
    columns += [source.incident_energy.column] if source.incident_energy else []
    cells = source.cells
    columns += [cells.layer, cells.x, cells.y, *cells.energy, cells.count]
    yield files, source.tree, list(dict.fromkeys(filter(None, columns)))


def read_s(settings: DatasetSettings) -> float:
    """Time of reading alone: uproot.iterate, or slices of every data set with h5py."""
    start, step = time.perf_counter(), batch_events(settings)
    if settings.source.format == "arrays":
        for path in source_files(settings):
            with h5py.File(path) as file:
                for dataset in (file[key] for key in (*settings.source.cells, "incident_energies")):
                    for first in range(0, len(dataset), step):
                        dataset[first : first + step]
    else:
        for files, tree, branches in trees(settings):
            for _ in uproot.iterate(dict.fromkeys(files, tree), branches, step_size=step):
                pass
    return time.perf_counter() - start


def ingest_s(settings: DatasetSettings) -> float:
    with tempfile.TemporaryDirectory() as directory:
        outputs = {split: Path(directory) / f"{split}.h5" for split in ("train", "val", "test")}
        files, paired = map(list, (map(Path, source_files(settings)), map(Path, paired_files(settings))))
        start = time.perf_counter()
        ingest(
            settings,
            name="benchmark",
            files=files,
            paired=paired,
            **outputs,
            record=Path(directory) / "ingest.json",
        )
        return time.perf_counter() - start


def print_ratio(settings: DatasetSettings, rounds: int) -> None:
    times = [(read_s(settings), ingest_s(settings)) for _ in range(rounds)]
    read, whole = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(whole / read for read, whole in times)
    print(f"read {read:.2f} s, ingest {whole:.2f} s, ratio {ratio:.2f} (medians of {rounds})", flush=True)


def repeated(settings: DatasetSettings, times: int, directory: Path) -> DatasetSettings:
    """The same data set with all its events several times under new numbers, a file for each repetition."""
    ((files, tree, branches),) = trees(settings)
    events = uproot.concatenate(dict.fromkeys(files, tree), branches)
    columns = {name: events[name] for name in events.fields}
    number = events[settings.source.event]
    shift = int(ak.max(number) - ak.min(number)) + 1
    with uproot.open(files[0]) as first:
        compression = first.file.compression
    for k in range(times):
        columns[settings.source.event] = number + k * shift
        with uproot.recreate(directory / f"copy{k}.root", compression=compression) as target:
            types = {name: str(ak.type(values).content) for name, values in columns.items()}
            target.mktree(tree, types)
            target[tree].extend(columns)
    source = settings.source.model_copy(update={"files": (f"{directory}/*.root",)})
    return settings.model_copy(update={"source": source})


def as_arrays(settings: DatasetSettings, directory: Path) -> DatasetSettings:
    """The same showers in the layout of the CaloChallenge, gzip-compressed HDF5."""
    outputs = {split: directory / f"{split}.h5" for split in ("train", "val", "test")}
    ingest(
        settings,
        name="benchmark",
        files=list(map(Path, source_files(settings))),
        **outputs,
        record=directory / "ingest.json",
    )
    with h5py.File(directory / "challenge.hdf5", "w") as target:
        for key in ("showers", "incident_energies"):
            parts = []
            for path in outputs.values():
                with h5py.File(path) as file:
                    parts.append(file[key][:])
            target.create_dataset(key, data=np.concatenate(parts), compression="gzip")
    source = {
        "format": "arrays",
        "files": [str(directory / "challenge.hdf5")],
        "event": None,
        "incident_energy": {"column": "incident_energies", "unit": "MeV"},
        "cells": "showers",
    }
    plain = settings.model_dump(mode="json") | {"source": source, "conditions": {}, "axis_check": None}
    return DatasetSettings.model_validate(plain)


def peak_memory_MB(settings: DatasetSettings) -> float:
    """Of a new process that ingests the data set."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(ingest_s, (settings,))
        return pool.apply(resource.getrusage, (resource.RUSAGE_SELF,)).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default="config.yaml", help="with the data set (%(default)s)")
    parser.add_argument("--dataset", default="lhcb_ecal", help="its name (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of the ratio (%(default)s)")
    parser.add_argument("--arrays", action="store_true", help="read the same showers from HDF5 instead")
    parser.add_argument("--repeat", type=int, help="ingest all events this many times")
    options = parser.parse_args()
    config = yaml.safe_load(Path(options.config).read_text())
    settings = DatasetSettings.model_validate(config["datasets"][options.dataset])
    with tempfile.TemporaryDirectory() as directory:
        if options.repeat:
            settings = repeated(settings, options.repeat, Path(directory))
        if options.arrays:
            settings = as_arrays(settings, Path(directory))
        print_ratio(settings, options.rounds)
        print(f"peak memory {peak_memory_MB(settings):.0f} MB")


if __name__ == "__main__":
    main()
