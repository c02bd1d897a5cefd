"""Ingest spread over several jobs: each reads some of the files, one more puts their parts together."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from caloforge.atomic import atomic_path
from caloforge.config.dataset import DatasetSettings
from caloforge.ingest.batch import Metadata, SourceFile
from caloforge.ingest.checks import Survey
from caloforge.ingest.conversion import Findings, canonical_writers, conclude, convert
from caloforge.ingest.sources import Sources, at_rest, check_states, local
from caloforge.provenance import entry, recorded


def ingest_part(
    settings: DatasetSettings,
    *,
    name: str,
    files: Sequence[Path | str],
    paired: Sequence[Path | str] = (),
    part: int,
    train: Path,
    val: Path,
    test: Path,
    record: Path,
) -> None:
    """Do what `ingest` does for `settings.files_per_job` of the files.

    What can be told from some of the files is checked here; the rest is up to `merge_parts`. Where events are
    counted over the files or paired, the others are opened too, but their cells are not read.

    Parameters
    ----------
    settings, name, files, paired
        As for `ingest`: of all files of the data set.
    part
        Number of the job, from 0.
    train, val, test
        Canonical files to write, which may be empty; all or none appear.
    record
        What `merge_parts` has to know of the part (JSON).

    Raises
    ------
    CaloforgeError
        As `ingest`.
    """
    sources = Sources(settings, name, files, paired)
    sources.check()
    parts = settings.ingest_parts(len(sources.files))
    own = parts[part]
    seen = [*sources.seen_by(own), *sources.paired]
    sources.check_files(seen)
    digested = [*sources.files[own.start : own.stop], *sources.paired[part :: len(parts)]]
    with ExitStack() as outputs:
        partial = {
            split: outputs.enter_context(atomic_path(path))
            for split, path in {"train": train, "val": val, "test": test}.items()
        }
        with (
            recorded(
                record,
                stage="ingest_part",
                inputs=local(digested),
                outputs=dict(zip((train, val, test), partial.values(), strict=True)),
                settings=settings.model_dump(mode="json"),
            ) as facts,
            at_rest(local(seen)) as states,
        ):
            with canonical_writers(settings, name, facts["inputs"], partial) as writers:
                findings = convert(settings, sources.read(own), writers)
            facts |= {
                "states": states,
                "sources": [_plain(source) for source in findings.sources],
                "survey": findings.survey.state(),
            }


def merge_parts(
    settings: DatasetSettings,
    *,
    name: str,
    files: Sequence[Path | str],
    paired: Sequence[Path | str] = (),
    parts: Mapping[str, Sequence[Path]],
    records: Sequence[Path],
    train: Path,
    val: Path,
    test: Path,
    record: Path,
) -> None:
    """Put the parts of a data set together and check it as a whole: what `ingest` makes, to the byte.

    The parts are read in batches, so that memory does not grow with the data.

    Parameters
    ----------
    settings, name, files, paired
        As for `ingest_part`.
    parts
        The canonical files that it wrote, in the order of the parts, by split.
    records
        Its records, in the same order.
    train, val, test
        Canonical files to write; all or none appear.
    record
        Record of the stage to write (JSON), as of an `ingest` in one job, with the time of all jobs.

    Raises
    ------
    CaloforgeError
        If a source file has changed since a part was made; otherwise as `ingest`.
    """
    sources = Sources(settings, name, files, paired)
    with ExitStack() as outputs:
        partial = {
            split: outputs.enter_context(atomic_path(path))
            for split, path in {"train": train, "val": val, "test": test}.items()
        }
        with recorded(
            record,
            stage="ingest",
            inputs=[],
            outputs=dict(zip((train, val, test), partial.values(), strict=True)),
            settings=settings.model_dump(mode="json"),
            earlier=records,
        ) as facts:
            digests: dict[str, str] = {}
            findings = Findings([], Survey(settings))
            for of_part in records:
                check_states(entry(of_part, "states"))
                digests |= entry(of_part, "inputs")
                findings.sources.extend(map(_source, entry(of_part, "sources")))
                findings.survey.include(entry(of_part, "survey"))
            facts["inputs"] = sources.digests(digests)
            facts["paired_files"] = [str(file) for file in sources.paired]
            with canonical_writers(settings, name, facts["inputs"], partial) as writers:
                for split, writer in writers.items():
                    for path in parts[split]:
                        writer.append_file(path)
            events = {split: writer.n for split, writer in writers.items()}
            facts |= conclude(settings, name, findings, partial, events, sources.read)


def _plain(source: SourceFile) -> dict[str, Any]:
    metadata = source.metadata and source.metadata.model_dump()
    return {"path": str(source.path), "events": source.events, "metadata": metadata}


def _source(plain: Mapping[str, Any]) -> SourceFile:
    metadata = plain["metadata"] and Metadata(**plain["metadata"])
    return SourceFile(plain["path"], plain["events"], metadata)
