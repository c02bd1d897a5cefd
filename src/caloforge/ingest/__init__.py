"""Source files to canonical showers: read, checked and split as they stream."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from caloforge.atomic import atomic_path
from caloforge.config.dataset import DatasetSettings
from caloforge.ingest.conversion import canonical_writers, conclude, convert
from caloforge.ingest.sources import Sources, at_rest, local
from caloforge.provenance import recorded


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
    sources = Sources(settings, name, files, paired)
    inputs = local([*sources.files, *sources.paired])
    sources.check()
    sources.check_files(inputs)
    with ExitStack() as outputs:
        partial = {
            split: outputs.enter_context(atomic_path(path))
            for split, path in {"train": train, "val": val, "test": test}.items()
        }
        with (
            recorded(
                record,
                stage="ingest",
                inputs=inputs,
                outputs=dict(zip((train, val, test), partial.values(), strict=True)),
                settings=settings.model_dump(mode="json"),
            ) as facts,
            at_rest(inputs),
        ):
            facts["inputs"] = sources.digests(facts["inputs"])
            facts["paired_files"] = [str(file) for file in sources.paired]
            with canonical_writers(settings, name, facts["inputs"], partial) as writers:
                findings = convert(settings, sources.read(), writers)
            events = {split: writer.n for split, writer in writers.items()}
            facts |= conclude(settings, name, findings, partial, events, sources.read)
