"""Generated showers for a test set, by a baseline that a training set makes."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.atomic import atomic_path
from caloforge.errors import CaloforgeError
from caloforge.progress import Progress
from caloforge.provenance import recorded
from caloforge.showers import ShowerFile, Showers, ShowerWriter, read_out


class Baseline(ABC):
    """What a training set tells a baseline.

    Attributes
    ----------
    block_showers
        Showers generated at a time.
    parameters
        What was fitted, for the record: plain data.
    """

    block_showers: int
    parameters: dict[str, Any]

    @abstractmethod
    def showers_MeV(self, requested: Showers, file: ShowerFile, first: int) -> np.ndarray:
        """Cells [MeV] of showers for the primaries of a block of a file: shape (n, V).

        They depend on the primaries and on their rows in the file alone, not on the block.

        Parameters
        ----------
        requested
            The block, whose own cells are not looked at.
        file
            That it is a part of.
        first
            Row of the first of them in the file.
        """


def write_samples(
    make: Callable[[ShowerFile, float, int], Baseline],
    *,
    train: Path,
    test: Path,
    output: Path,
    record: Path,
    readout_threshold_MeV: float,
    seed: int,
) -> None:
    """Generate a shower for the primary of each test shower and write them as canonical showers.

    The record has the time per shower and all else that the record of a trained model has; the time is that
    on the wall, without reading the test set and writing, like that of `caloforge.sampling`.

    Parameters
    ----------
    make
        Makes the baseline of the training set, the readout threshold [MeV] and the seed.
    train, test
        Canonical showers of one calorimeter, with the same conditions.
    output
        Canonical file to write, with the conditions and the event numbers of the test set; cells at or below
        the readout threshold are 0.
    record
        Record of the stage to write (JSON).
    readout_threshold_MeV
        Cells must be above it to be read out [MeV].
    seed
        Of all random numbers.

    Raises
    ------
    CaloforgeError
        If a file cannot be read or holds no showers, if the two differ in their calorimeter or conditions, or
        if the training set does not make the baseline.
    """
    settings = {"readout_threshold_MeV": readout_threshold_MeV}
    with (
        recorded(
            record, stage="baseline", inputs=[train, test], outputs=[output], settings=settings, seed=seed
        ) as facts,
        ShowerFile(train) as training,
        ShowerFile(test) as reference,
    ):
        _check(training, reference)
        baseline, generation_s = make(training, readout_threshold_MeV, seed), 0.0
        with (
            atomic_path(output) as partial,
            ShowerWriter(partial, reference.geometry, reference.units) as writer,
            Progress("generating", len(reference)) as progress,
        ):
            for block in reference.image_blocks(baseline.block_showers, "showers"):
                started = time.perf_counter()
                cells_MeV = baseline.showers_MeV(block, reference, writer.n)
                cells_MeV = read_out(cells_MeV, readout_threshold_MeV).astype(np.float32)
                generation_s += time.perf_counter() - started
                writer.append(Showers(cells_MeV, block.incident_energies, block.conditions, block.event))
                progress.update(writer.n, {})
        facts |= {
            "device": "cpu",
            "threads": 1,
            "batch_size": baseline.block_showers,
            "showers": len(reference),
            "generation_s": generation_s,
            "ms_per_shower": 1000 * generation_s / len(reference),
            "flop_per_shower": None,
            "parameters": baseline.parameters,
        }


def _check(training: ShowerFile, reference: ShowerFile) -> None:
    for file in (training, reference):
        if not len(file):
            raise CaloforgeError(f"{file.path}: holds no showers, expected at least one")
    for quantity in ("geometry", "units"):
        if getattr(training, quantity) != getattr(reference, quantity):
            name = "conditions" if quantity == "units" else quantity
            raise CaloforgeError(
                f"{reference.path}: other {name} than in {training.path} found, expected the same"
            )
