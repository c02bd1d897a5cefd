"""Source files to canonical showers: read, checked and split as they stream."""

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.atomic import atomic_path
from caloforge.config.dataset import DatasetSettings
from caloforge.config.sources import is_url
from caloforge.errors import CaloforgeError
from caloforge.ingest.batch import Batch, SourceFile
from caloforge.ingest.checks import Survey, duplicate
from caloforge.ingest.formats import find_format
from caloforge.ingest.split import SPLITS, assign, names_file
from caloforge.provenance import recorded
from caloforge.showers import ShowerWriter


def ingest(
    settings: DatasetSettings,
    *,
    name: str,
    files: Sequence[Path | str],
    paired: Sequence[Path | str] = (),
    train: Path,
    val: Path,
    test: Path,
    record: Path,
) -> None:
    """Turn the source files of a data set into canonical shower files for training, validation and test.

    The files are read in batches, so that memory does not grow with the data. Which split an event goes to
    depends on its number alone, or on its file; within a split, events keep the order of the files.

    Parameters
    ----------
    settings
        Of the data set.
    name
        Of the data set.
    files
        Its files: paths, or URLs as text. What a URL holds is neither checked before it is read nor digested.
    paired
        Files of the full simulation of the same events, where `files` are those of a fast one.
    train, val, test
        Canonical files to write; all or none appear.
    record
        Record of the stage to write (JSON).

    Raises
    ------
    CaloforgeError
        If a file cannot be read, holds something else than the settings say or something unphysical, changes
        while it is read, if event numbers repeat or if a split comes out empty.
    """
    sources = [file if isinstance(file, str) and is_url(file) else Path(file) for file in (*files, *paired)]
    _check_files(name, settings, sources)
    inputs = [file for file in sources if isinstance(file, Path)]
    with ExitStack() as outputs:
        partial = [outputs.enter_context(atomic_path(path)) for path in (train, val, test)]
        with recorded(
            record,
            stage="ingest",
            inputs=inputs,
            outputs=dict(zip((train, val, test), partial, strict=True)),
            settings=settings.model_dump(mode="json"),
        ) as facts:
            facts["inputs"] |= {file: None for file in sources if isinstance(file, str)}
            facts["paired_files"] = [str(file) for file in sources[len(files) :]]
            before = [_state(file) for file in inputs]
            read = functools.partial(
                find_format(settings.source.format).read,
                settings,
                sources[: len(files)],
                sources[len(files) :],
            )
            facts |= _convert(settings, name, read, facts["inputs"], dict(zip(SPLITS, partial, strict=True)))
            for file, state in zip(inputs, before, strict=True):
                if _state(file) != state:
                    raise CaloforgeError(f"{file}: changed while it was read, expected a file at rest")


def _check_files(name: str, settings: DatasetSettings, files: list[Path | str]) -> None:
    if not files:
        raise CaloforgeError(f"data set {name}: no source file found, expected at least one")
    seen: set[Path | str] = set()
    for file in files:
        location = file
        if isinstance(file, Path):
            find_format(settings.source.format).check_file(file)
            location = file.resolve()
        if location in seen:
            raise CaloforgeError(f"data set {name}: {file} is listed twice")
        seen.add(location)
    for pattern in settings.split.test_files:
        if not any(names_file(pattern, file) for file in files):
            raise CaloforgeError(
                f"data set {name}: split.test_files: {pattern!r} names none of its files, expected one or "
                f"more of {', '.join(map(str, files))}"
            )


def _state(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _convert(
    settings: DatasetSettings,
    name: str,
    read: Callable[[], Iterator[Batch]],
    digests: Mapping[str, str | None],
    outputs: Mapping[str, Path],
) -> dict[str, Any]:
    """Write the canonical files and return what the record should say of them."""
    sources: list[SourceFile] = []
    survey = Survey(settings)
    source = json.dumps(
        {file if is_url(file) else Path(file).name: digest for file, digest in digests.items()}
    )
    units = {condition: column.unit for condition, column in settings.conditions.items()}
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                ShowerWriter(
                    path,
                    settings.geometry,
                    units,
                    {"dataset": name, "split": split, "source": source},
                    settings.paired,
                )
            )
            for split, path in outputs.items()
        ]
        for batch in _ahead(read()):
            if batch.first_entry == 0:
                sources.append(batch.source)
            survey.add(batch)
            showers = batch.showers
            if settings.empty_showers == "drop":
                showers = showers[showers.showers.any(axis=1)]
            test_file = any(names_file(pattern, batch.source.path) for pattern in settings.split.test_files)
            split = assign(showers.event, settings.split, test_file=test_file)
            for number, writer in enumerate(writers):
                writer.append(showers[split == number])
    survey.check(name)
    events = {split: writer.n for split, writer in zip(SPLITS, writers, strict=True)}
    for split, n in events.items():
        if n == 0:
            raise CaloforgeError(
                f"data set {name}: split {split}: 0 events found, expected at least 1: "
                f"its share of {sum(events.values())} events is {getattr(settings.split, split):g}"
            )
    number = duplicate([*outputs.values()])
    if number is not None:
        places = [
            batch.place(row)
            for batch in read()
            for row in np.flatnonzero(batch.showers.event == number).tolist()
        ]
        raise CaloforgeError(
            f"data set {name}: event number {number} occurs more than once, expected unique numbers: "
            f"{', '.join(places)}"
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
