"""The conditions that a trained model reads off showers, beside those that the showers were asked for."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from caloforge.atomic import atomic_path
from caloforge.config.stages import SamplingSettings
from caloforge.devices import choose_device, device_name
from caloforge.errors import CaloforgeError
from caloforge.hdf5 import create_hdf5
from caloforge.models.family import Family
from caloforge.preprocessing import Preprocessing, describe_input
from caloforge.progress import Progress
from caloforge.provenance import recorded
from caloforge.showers import ShowerFile, Showers
from caloforge.trained import load_model


def reconstruct(
    model: Any,
    settings: SamplingSettings,
    *,
    checkpoint: Path,
    preprocessing: Path,
    reference: Path,
    generated: Path,
    independent: Path,
    output: Path,
    record: Path,
) -> None:
    """Read conditions off simulated and generated showers and write them beside the requested ones.

    The network is the one of the checkpoint, without dropout and in float32. Of all showers it sees cells
    above the readout threshold alone, because `Preprocessing.forward` empties the others.

    Parameters
    ----------
    model
        Settings of the model that the checkpoint must have been made with, of a family with
        `reconstructed_inputs`.
    settings
        Device, threads and showers per pass.
    checkpoint, preprocessing
        What training and `fit_preprocessing` wrote.
    reference, generated, independent
        Canonical showers: the test set, those generated for it, and others of the full simulation that the
        network was not trained on.
    output
        File to write (HDF5): groups `reference`, `generated` and `independent` with `event` int64 (n,),
        `requested` and `reconstructed` float32 (n, k). The attributes `names`, `labels` and `units` have a
        text for each of the k inputs.
    record
        Record of the run to write (JSON).

    Raises
    ------
    CaloforgeError
        If the checkpoint is of another model, geometry or preprocessing, an input cannot be used, the files
        do not belong together, or a requested or a reconstructed value is not finite.
    """
    samples = {"reference": reference, "generated": generated, "independent": independent}
    with ExitStack() as stack:
        facts = stack.enter_context(
            recorded(
                record,
                stage="reconstruct",
                inputs=[checkpoint, preprocessing, *samples.values()],
                outputs=[output],
                settings=settings.model_dump(mode="json"),
            )
        )
        files = {name: stack.enter_context(ShowerFile(path)) for name, path in samples.items()}
        for file in files.values():
            _require_like(file, files["reference"])
        transforms = Preprocessing.load(preprocessing)
        device = choose_device(settings.device)
        torch.set_num_threads(settings.threads)
        network = load_model(model, files["reference"], transforms, checkpoint).to(device)
        reader = _Reader(network, transforms, model.reconstructed_inputs, device)
        target = stack.enter_context(create_hdf5(stack.enter_context(atomic_path(output))))
        labels, units = zip(
            *(describe_input(name, files["reference"].units) for name in reader.names), strict=True
        )
        target.attrs.update(names=reader.names, labels=labels, units=units)
        progress = stack.enter_context(Progress("reconstructing", sum(map(len, files.values()))))
        done = 0
        for name, file in files.items():
            columns = _create(target.create_group(name), len(file), len(reader.names))
            for number, block in enumerate(file.blocks(settings.batch_size)):
                start = number * settings.batch_size
                for column, values in reader.read(block, file.path).items():
                    columns[column][start : start + len(block)] = values
                done += len(block)
                progress.update(done, {})
        facts |= {
            "device": device_name(device),
            "threads": torch.get_num_threads(),
            "showers": {name: len(file) for name, file in files.items()},
        }


@dataclass(frozen=True)
class _Reader:
    """Reads inputs off showers; `which` are those of the preprocessing that the network reconstructs."""

    network: Family
    preprocessing: Preprocessing
    which: slice
    device: torch.device

    @property
    def names(self) -> tuple[str, ...]:
        return self.preprocessing.inputs[self.which]

    def read(self, block: Showers, path: Path) -> dict[str, np.ndarray]:
        """Event numbers (n,), requested and reconstructed inputs (n, k) in the units of the expressions."""
        showers = torch.from_numpy(self.preprocessing.forward(block.showers)).to(self.device)
        with torch.inference_mode():
            reconstructed = self.network.reconstruct(showers).float().cpu().numpy()
        requested = self.preprocessing.network_inputs(block)[:, self.which]
        found = {"requested": requested, "reconstructed": reconstructed}
        found = {kind: self.preprocessing.input_values(values, self.which) for kind, values in found.items()}
        for kind, values in found.items():
            self._require_finite(kind, values, block, path)
        return {"event": block.event, **found}

    def _require_finite(self, kind: str, values: np.ndarray, block: Showers, path: Path) -> None:
        rows, columns = np.nonzero(~np.isfinite(values))
        if len(rows):
            raise CaloforgeError(
                f"{path}: event {block.event[rows[0]]}: {kind} {self.names[columns[0]]} is "
                f"{values[rows[0], columns[0]]}, expected a finite number"
            )


def _create(group: h5py.Group, n: int, n_inputs: int) -> dict[str, h5py.Dataset]:
    return {
        "event": group.create_dataset("event", (n,), np.int64),
        **{
            kind: group.create_dataset(kind, (n, n_inputs), np.float32)
            for kind in ("requested", "reconstructed")
        },
    }


def _require_like(showers: ShowerFile, reference: ShowerFile) -> None:
    for quantity in ("geometry", "units"):
        found, expected = getattr(showers, quantity), getattr(reference, quantity)
        if found != expected:
            raise CaloforgeError(
                f"{showers.path}: {quantity} {found}, expected {expected} as in {reference.path}"
            )
