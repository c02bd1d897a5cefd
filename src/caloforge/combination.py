"""Data sets made of the events of others."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.atomic import atomic_path
from caloforge.config.dataset import CombinedDataset
from caloforge.errors import CaloforgeError
from caloforge.ingest.batch import Batch, SourceFile, batch_events
from caloforge.ingest.checks import Survey
from caloforge.ingest.split import SPLITS
from caloforge.provenance import entry, recorded
from caloforge.showers import ShowerFile, Showers, ShowerWriter

_INGEST_KEYS = ("inputs", "files", "paired_files")


def combine(
    settings: CombinedDataset,
    *,
    name: str,
    parts: Mapping[str, Path],
    train: Path,
    val: Path,
    test: Path,
    record: Path,
) -> None:
    """Put the events of several data sets, or those of one within limits, into canonical files of their own.

    An event stays what it is in its own data set, of the training, the validation or the test set: a model
    trained on the combination has not seen the test sets of its parts. The events of the parts alternate, so
    that every portion of a file holds each part by its share. Event number n of part k of K becomes K n + k.

    Parameters
    ----------
    settings
        Of the combination.
    name
        Of the combination.
    parts
        Name of each data set, in the order of `settings.combine`, to the folder with its train.h5, val.h5,
        test.h5 and ingest.json.
    train, val, test
        Canonical files to write; all or none appear.
    record
        Record of the stage to write (JSON), with what that of an ingest has.

    Raises
    ------
    CaloforgeError
        If a file of a part cannot be read or is not of the calorimeter and the conditions of the first, or if
        a split comes out empty.
    """
    files = {split: [folder / f"{split}.h5" for folder in parts.values()] for split in SPLITS}
    records = [folder / "ingest.json" for folder in parts.values()]
    with ExitStack() as outputs:
        partial = [outputs.enter_context(atomic_path(path)) for path in (train, val, test)]
        with recorded(
            record,
            stage="combine",
            inputs=[*(file for of_split in files.values() for file in of_split), *records],
            outputs=dict(zip((train, val, test), partial, strict=True)),
            settings=settings.model_dump(mode="json"),
        ) as facts:
            source = json.dumps(facts["inputs"])
            survey = Survey(settings)
            events = {
                split: _combine(settings, name, split, files[split], path, source, survey)
                for split, path in zip(SPLITS, partial, strict=True)
            }
            ingested = [{key: entry(path, key) for key in _INGEST_KEYS} for path in records]
            facts["inputs"] |= {
                file: digest for of_part in ingested for file, digest in of_part["inputs"].items()
            }
            facts |= {
                "dataset": name,
                "events": events,
                "paired_files": [file for of_part in ingested for file in of_part["paired_files"]],
                "files": [file for of_part in ingested for file in of_part["files"]],
                "geant4_cpu_s_per_event": _mean_cpu_s(ingested),
                "summary": survey.summary(),
            }


def _combine(
    settings: CombinedDataset,
    name: str,
    split: str,
    files: Sequence[Path],
    output: Path,
    source: str,
    survey: Survey,
) -> int:
    """Write one split and return its number of events."""
    with ExitStack() as stack:
        opened = [stack.enter_context(ShowerFile(path)) for path in files]
        for file in opened[1:]:
            _check_alike(file, opened[0])
        writer = stack.enter_context(
            ShowerWriter(
                output,
                opened[0].geometry,
                opened[0].units,
                {"dataset": name, "split": split, "source": source},
                settings.paired,
            )
        )
        for block in _alternating(opened, batch_events(settings)):
            chosen = _selected(block, settings.select)
            survey.add(Batch(SourceFile(output, 0), name, writer.n, lambda chosen=chosen: chosen))
            writer.append(chosen)
    if writer.n == 0:
        limits = ", ".join(f"{low:g} <= {key} < {high:g}" for key, (low, high) in settings.select.items())
        raise CaloforgeError(
            f"data set {name}: split {split}: 0 events found with {limits}, expected at least 1"
        )
    return writer.n


def _check_alike(file: ShowerFile, first: ShowerFile) -> None:
    for quantity in ("geometry", "units", "paired"):
        if getattr(file, quantity) != getattr(first, quantity):
            raise CaloforgeError(
                f"{file.path}: its {quantity} differs from that of {first.path}, expected the same"
            )


def _alternating(files: Sequence[ShowerFile], events: int) -> Iterator[Showers]:
    """All events of the files, up to about `events` at a time, those of one file evenly among the others."""
    blocks = -(-sum(map(len, files)) // events)
    for number in range(blocks):
        ranges = [(len(file) * number // blocks, len(file) * (number + 1) // blocks) for file in files]
        parts = [file.read(start, stop) for file, (start, stop) in zip(files, ranges, strict=True)]
        places = [
            (np.arange(start, stop) + 0.5) / max(len(file), 1)
            for file, (start, stop) in zip(files, ranges, strict=True)
        ]
        yield _joined(parts)[np.argsort(np.concatenate(places), kind="stable")]


def _joined(parts: Sequence[Showers]) -> Showers:
    first = parts[0]
    return Showers(
        np.concatenate([part.showers for part in parts]),
        np.concatenate([part.incident_energies for part in parts]),
        {name: np.concatenate([part.conditions[name] for part in parts]) for name in first.conditions},
        np.concatenate([len(parts) * part.event + number for number, part in enumerate(parts)]),
        None if first.reference is None else np.concatenate([part.reference for part in parts]),
    )


def _selected(block: Showers, select: Mapping[str, tuple[float, float]]) -> Showers:
    values = {"energy": block.incident_energies[:, 0] / 1000, **block.conditions}
    kept = np.ones(len(block), bool)
    for name, (low, high) in select.items():
        kept &= (values[name] >= low) & (values[name] < high)
    return block[kept]


def _mean_cpu_s(ingested: Sequence[Mapping[str, Any]]) -> float | None:
    """CPU time of Geant4 per event of the source files of all parts [s]; None where one does not state it."""
    times = [
        (file["geant4_cpu_s_per_event"], file["events"]) for of_part in ingested for file in of_part["files"]
    ]
    if not times or any(seconds is None for seconds, _ in times):
        return None
    return sum(seconds * events for seconds, events in times) / sum(events for _, events in times)
