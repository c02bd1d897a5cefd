"""Source files to canonical showers: read, checked and split as they stream."""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.atomic import atomic_path
from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.ingest.checks import Survey, duplicate
from caloforge.ingest.root_cells import Batch, SourceFile, check_header, places, read
from caloforge.ingest.split import SPLITS, assign
from caloforge.provenance import recorded
from caloforge.showers import ShowerWriter


def ingest(
    settings: DatasetSettings,
    *,
    name: str,
    files: Sequence[Path],
    train: Path,
    val: Path,
    test: Path,
    record: Path,
) -> None:
    """Turn the source files of a data set into canonical shower files for training, validation and test.

    The files are read in batches, so that memory does not grow with the data. Which split an event goes to
    depends on its number alone; within a split, events keep the order of the files.

    Parameters
    ----------
    settings
        Of the data set.
    name
        Of the data set.
    files
        Its ROOT files.
    train, val, test
        Canonical files to write; all or none appear.
    record
        Record of the stage to write (JSON).

    Raises
    ------
    CaloforgeError
        If a file cannot be read, holds something else than the settings say or something unphysical, if event
        numbers repeat or if a split comes out empty.
    """
    files = [Path(file) for file in files]
    _check_files(name, files)
    with ExitStack() as outputs:
        partial = [outputs.enter_context(atomic_path(path)) for path in (train, val, test)]
        with recorded(
            record, stage="ingest", inputs=files, settings=settings.model_dump(mode="json")
        ) as facts:
            facts |= _convert(settings, name, files, facts["inputs"], dict(zip(SPLITS, partial, strict=True)))


def _check_files(name: str, files: list[Path]) -> None:
    if not files:
        raise CaloforgeError(f"data set {name}: no source file found, expected at least one")
    seen: set[Path] = set()
    for file in files:
        check_header(file)
        if file.resolve() in seen:
            raise CaloforgeError(f"data set {name}: {file} is listed twice")
        seen.add(file.resolve())


def _convert(
    settings: DatasetSettings,
    name: str,
    files: list[Path],
    digests: Mapping[str, str],
    outputs: Mapping[str, Path],
) -> dict[str, Any]:
    """Write the canonical files and return what the record should say of them."""
    sources: list[SourceFile] = []
    survey = Survey(settings)
    source = json.dumps({Path(file).name: digest for file, digest in digests.items()})
    units = {condition: branch.unit for condition, branch in settings.conditions.items()}
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                ShowerWriter(
                    path, settings.geometry, units, {"dataset": name, "split": split, "source": source}
                )
            )
            for split, path in outputs.items()
        ]
        for batch in _ahead(chain.from_iterable(read(file, settings) for file in files)):
            if batch.first_entry == 0:
                sources.append(batch.source)
            survey.add(batch)
            split = assign(batch.showers.event, settings.split)
            for number, writer in enumerate(writers):
                writer.append(batch.showers[split == number])
    survey.check_axes(name)
    events = {split: writer.n for split, writer in zip(SPLITS, writers, strict=True)}
    for split, n in events.items():
        if n == 0:
            raise CaloforgeError(
                f"data set {name}: split {split}: 0 events found, expected at least 1: "
                f"its share of {sum(events.values())} events is {getattr(settings.split, split):g}"
            )
        number = duplicate(outputs[split])
        if number is not None:
            raise CaloforgeError(
                f"data set {name}: event number {number} occurs more than once, expected unique numbers in "
                f"branch {settings.source.event}: {', '.join(places(files, settings.source, number))}"
            )
    return {
        "dataset": name,
        "events": events,
        "files": [_describe(source) for source in sources],
        "geant4_cpu_s_per_event": _mean_cpu_s(sources),
        "summary": survey.summary(),
    }


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; a thread reads the next one while one is used."""
    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(next, batches, None)
        while (batch := upcoming.result()) is not None:
            upcoming = thread.submit(next, batches, None)
            yield batch


def _describe(source: SourceFile) -> dict[str, Any]:
    metadata = source.metadata
    return {
        "file": str(source.path),
        "events": source.events,
        "metadata": metadata is not None,
        "seed": metadata and metadata.seed,
        "geant4": metadata and metadata.geant4,
        "physics": metadata and metadata.physics,
        "geant4_cpu_s_per_event": _mean_cpu_s([source]),
    }


def _mean_cpu_s(sources: list[SourceFile]) -> float | None:
    times = [source.metadata and source.metadata.cpu_s for source in sources]
    if None in times:
        return None
    return float(np.sum(times)) / sum(source.events for source in sources)
