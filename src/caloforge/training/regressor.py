"""The stage that trains the regressor of conditional models."""

from collections.abc import Callable
from pathlib import Path

import torch

from caloforge.geometry import Geometry
from caloforge.models.conditional_wgan.regressor import KIND, RegressorTraining
from caloforge.models.conditional_wgan.settings import RegressorSettings
from caloforge.preprocessing import Preprocessing
from caloforge.showers import ShowerFile
from caloforge.training.run import run_training

_BLOCK_EVENTS = 1000


def train_regressor(
    settings: RegressorSettings,
    *,
    train: Path,
    val: Path,
    preprocessing: Path,
    seed: int,
    code: str,
    work: Path,
    checkpoint: Path,
    history: Path,
    record: Path,
    devices: int = 1,
) -> None:
    """Train the network that reconstructs the conditions from a shower.

    Parameters and errors as in `caloforge.training.model.train_model`.
    """
    transforms = Preprocessing.load(preprocessing)

    def make(geometry: Geometry) -> RegressorTraining:
        return RegressorTraining(settings, geometry, len(transforms.inputs))

    def validation(network: RegressorTraining) -> Callable[[], dict[str, float]]:
        return lambda: {"validation": _mean_error(network, val, transforms)}

    run_training(
        make,
        validation,
        score="squared_error",
        stage="regressor",
        kind=KIND,
        settings=settings.model_dump(mode="json"),
        training=settings.training,
        inputs={"train": train, "val": val, "preprocessing": preprocessing},
        seed=seed,
        code=code,
        work=work,
        checkpoint=checkpoint,
        history=history,
        record=record,
        devices=devices,
    )


def _mean_error(network: RegressorTraining, val: Path, preprocessing: Preprocessing) -> float:
    device = next(network.parameters()).device
    total = 0.0
    with ShowerFile(val) as file:
        for block in file.blocks(_BLOCK_EVENTS):
            showers = torch.from_numpy(preprocessing.forward(block.showers)).to(device)
            inputs = torch.from_numpy(preprocessing.network_inputs(block)).to(device)
            total += network.error(showers, inputs).item() * len(block)
        return total / len(file)
