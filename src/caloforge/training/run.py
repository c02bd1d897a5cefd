"""What every training stage does around the loop: set up, train, write."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from caloforge import checkpoint as checkpoints
from caloforge.config.stages import TrainingSettings
from caloforge.cost import n_dense_parameters, n_parameters, peak_memory
from caloforge.devices import announce_precision, choose_device, choose_precision, device_name
from caloforge.errors import CaloforgeError
from caloforge.geometry import Geometry
from caloforge.models.family import Trainable
from caloforge.preprocessing import Preprocessing
from caloforge.provenance import recorded
from caloforge.seeds import derive_seed
from caloforge.showers import ShowerFile
from caloforge.training.batches import TrainingBatches
from caloforge.training.data_parallel import in_processes, process_number
from caloforge.training.loop import fit, write_history

Network = TypeVar("Network", bound=Trainable)


def run_training(
    make: Callable[[Geometry], Network],
    validation: Callable[[Network], Callable[[], Mapping[str, float]]],
    *,
    score: str,
    stage: str,
    kind: str,
    settings: dict[str, Any],
    training: TrainingSettings,
    inputs: dict[str, Path],
    seed: int,
    code: str,
    work: Path,
    checkpoint: Path,
    history: Path,
    record: Path,
    devices: int = 1,
    constants: Mapping[str, Any] | None = None,
    validated: Callable[[int, float], None] | None = None,
) -> None:
    """Set up a network on its device, train it with `fit` and write what comes out.

    Parameters
    ----------
    make
        Makes the network from the geometry.
    validation
        Makes what `fit` validates a network with.
    score
        Name of this score in the record.
    stage, kind
        Names of the stage in the record and of the network in the checkpoint.
    settings
        Plain settings that go into checkpoint and record.
    inputs
        Files the result depends on; `train`, `val` and `preprocessing` among them.
    devices
        Number of processes that share every batch; each takes a GPU if any are used. Only the record says it.
    constants
        Further entries of the record.
    validated
        As `fit` takes it.

    Raises
    ------
    CaloforgeError
        If an input cannot be used, or `train` and `val` are not of the same ingest.
    """

    def train() -> None:
        transforms = Preprocessing.load(inputs["preprocessing"])
        with ShowerFile(inputs["train"]) as showers, ShowerFile(inputs["val"]) as validation_showers:
            geometry = showers.geometry
            if validation_showers.source != showers.source:
                raise CaloforgeError(
                    f"{inputs['val']}: made from other source files than {inputs['train']}, expected the "
                    "same: one of them was replaced, ingest the data set again"
                )
        device = prepare_torch(training)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, stage, "weights"))
            network = make(geometry).to(device)
        batches = TrainingBatches(
            inputs["train"],
            transforms,
            batch_size=training.batch_size,
            seed=derive_seed(seed, stage),
            memory_budget_MB=training.memory_budget_MB,
        )
        fit_network = partial(
            fit,
            network,
            training,
            batches,
            validate=validation(network),
            seed=derive_seed(seed, stage, "steps"),
            work=work,
        )
        if process_number() > 0:
            fit_network(identity="")
            return
        with recorded(
            record,
            stage=stage,
            inputs=inputs.values(),
            outputs=[checkpoint, history],
            settings=settings,
            seed=seed,
        ) as facts:
            identity = {
                "settings": settings,
                "seed": seed,
                "code": code,
                "inputs": {name: facts["inputs"][str(path)] for name, path in inputs.items()},
            }
            done = fit_network(identity=_digest(identity), validated=validated)
            checkpoints.save(
                checkpoint,
                {
                    "kind": kind,
                    "settings": settings,
                    "geometry": geometry.model_dump(mode="json"),
                    "preprocessing": transforms.as_dict(),
                    "weights": network.state_dict(),
                },
            )
            write_history(history, done.history)
            networks = [(name, part) for name, part in network.named_children() if n_parameters(part)]
            facts |= {
                "device": device_name(device, devices),
                "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
                "processes": [{"from_step": step, "processes": n} for step, n in done.processes],
                "threads": torch.get_num_threads(),
                "precision": choose_precision(training.precision, device),
                "epochs": training.epochs,
                "keep": training.keep,
                "best_epoch": done.epoch,
                "validation_score": score,
                "validation": done.validation,
                "training_s": done.wall_s,
                "seconds_per_epoch": done.wall_s / training.epochs,
                "parameters": {name: n_parameters(part) for name, part in networks},
                "dense_parameters": {name: n_dense_parameters(part) for name, part in networks},
                **peak_memory(device),
                **(constants or {}),
            }

    in_processes(devices, training.device, train)


def prepare_torch(training: TrainingSettings) -> torch.device:
    """Set threads, precision and determinism as the settings want them; the device to train on."""
    device = choose_device(training.device)
    announce_precision(training.precision, device)
    torch.set_num_threads(training.threads)
    torch.set_float32_matmul_precision("high")
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
    else:
        torch.backends.cudnn.benchmark = True
    return device


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
