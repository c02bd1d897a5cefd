"""Generated showers of several jobs, put together."""

from collections.abc import Sequence
from pathlib import Path

from caloforge.atomic import atomic_path
from caloforge.config.stages import SamplingSettings
from caloforge.errors import CaloforgeError
from caloforge.provenance import entry, recorded
from caloforge.showers import ShowerFile, ShowerWriter


def merge_samples(
    settings: SamplingSettings,
    *,
    checkpoint: Path,
    preprocessing: Path,
    test: Path,
    seed: int,
    parts: Sequence[Path],
    records: Sequence[Path],
    output: Path,
    record: Path,
) -> None:
    """Put showers that several jobs generated into one file: what `sample` writes in one job, to the byte.

    The record has the showers and the times of all jobs together.

    Parameters
    ----------
    settings, checkpoint, preprocessing, test, seed
        What the parts were made with.
    parts, records
        Their showers and their records, in the order of the parts.

    Raises
    ------
    CaloforgeError
        If a part cannot be read or was made with another input.
    """
    with recorded(
        record,
        stage="sample",
        inputs=[checkpoint, preprocessing, test],
        outputs=[output],
        settings=settings.model_dump(mode="json") | {"grid": None, "traversals": None},
        seed=seed,
        earlier=records,
    ) as facts:
        for path in records:
            if entry(path, "inputs") != facts["inputs"]:
                raise CaloforgeError(
                    f"{path}: made from another checkpoint, preprocessing or test set than {checkpoint}, "
                    f"{preprocessing} and {test}, expected the same"
                )
        with (
            ShowerFile(test) as reference,
            atomic_path(output) as partial,
            ShowerWriter(partial, reference.geometry, reference.units) as writer,
        ):
            for path in parts:
                writer.append_file(path)
        generation_s = sum(entry(path, "generation_s") for path in records)
        facts |= {
            "device": ", ".join(sorted({entry(path, "device") for path in records})),
            **{key: entry(records[0], key) for key in ("threads", "batch_size", "flop_per_shower")},
            "showers": writer.n,
            "generation_s": generation_s,
            "ms_per_shower": 1000 * generation_s / writer.n,
        }
