"""Batches of showers to canonical files, and what has to hold for a data set as a whole."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.config.dataset import DatasetSettings
from caloforge.config.sources import is_url
from caloforge.errors import CaloforgeError
from caloforge.ingest.batch import Batch, SourceFile
from caloforge.ingest.checks import Survey, duplicate
from caloforge.ingest.split import SPLITS, assign, names_file
from caloforge.showers import ShowerWriter


@dataclass(frozen=True)
class Findings:
    """What was read: the files, and what a survey of their showers adds up."""

    sources: list[SourceFile]
    survey: Survey


@contextmanager
def canonical_writers(
    settings: DatasetSettings, name: str, digests: Mapping[str, str | None], outputs: Mapping[str, Path]
) -> Iterator[dict[str, ShowerWriter]]:
    """Create the canonical files of a data set.

    Parameters
    ----------
    settings, name
        Of the data set.
    digests
        Path or URL of each source file to its digest.
    outputs
        The files by split.

    Yields
    ------
    dict
        Their writers by split.
    """
    source = json.dumps(
        {file if is_url(file) else Path(file).name: digest for file, digest in digests.items()}
    )
    units = {condition: column.unit for condition, column in settings.conditions.items()}
    with ExitStack() as stack:
        yield {
            split: stack.enter_context(
                ShowerWriter(
                    path,
                    settings.geometry,
                    units,
                    {"dataset": name, "split": split, "source": source},
                    settings.paired,
                )
            )
            for split, path in outputs.items()
        }


def convert(
    settings: DatasetSettings, batches: Iterator[Batch], writers: Mapping[str, ShowerWriter]
) -> Findings:
    """Write every shower to the file of its split."""
    sources: list[SourceFile] = []
    survey = Survey(settings)
    for batch in _ahead(batches):
        if batch.first_entry == 0:
            sources.append(batch.source)
        survey.add(batch)
        showers = batch.showers
        if settings.empty_showers == "drop":
            showers = showers[showers.showers.any(axis=1)]
        test_file = any(names_file(pattern, batch.source.path) for pattern in settings.split.test_files)
        split = assign(showers.event, settings.split, test_file=test_file)
        for number, name in enumerate(SPLITS):
            writers[name].append(showers[split == number])
    return Findings(sources, survey)


def conclude(
    settings: DatasetSettings,
    name: str,
    findings: Findings,
    outputs: Mapping[str, Path],
    events: Mapping[str, int],
    read: Callable[[], Iterator[Batch]],
) -> dict[str, Any]:
    """Check a data set as a whole and return what its record should say.

    Parameters
    ----------
    settings, name
        Of the data set.
    findings
        Of all its files.
    outputs, events
        Its canonical files and their numbers of events, by split.
    read
        Reads all files again, to say where events are that should not be.

    Raises
    ------
    CaloforgeError
        If units or axes look wrong, a split is empty or event numbers repeat.
    """
    findings.survey.check(name)
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
        "events": dict(events),
        "files": [_describe(source) for source in findings.sources],
        "geant4_cpu_s_per_event": _mean_cpu_s(findings.sources),
        "summary": findings.survey.summary(),
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
