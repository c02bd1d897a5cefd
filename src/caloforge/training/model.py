"""The stage that trains a model of any family."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from caloforge.config.stages import JetSettings
from caloforge.geometry import Geometry
from caloforge.models.family import Family, build
from caloforge.preprocessing import Preprocessing
from caloforge.seeds import derive_seed
from caloforge.training.run import run_training
from caloforge.training.validation import ShowerValidation


def train_model(
    settings: Any,
    *,
    train: Path,
    val: Path,
    preprocessing: Path,
    regressor: Path | None = None,
    jets: JetSettings | None = None,
    seed: int,
    code: str,
    work: Path,
    checkpoint: Path,
    history: Path,
    record: Path,
    devices: int = 1,
    validated: Callable[[int, float], None] | None = None,
) -> None:
    """Train a model of any family and write its checkpoint, history (CSV) and record (JSON).

    Parameters
    ----------
    settings
        Settings of the model; its field `family` names the family.
    train, val
        Canonical showers.
    preprocessing
        What `fit_preprocessing` wrote.
    regressor
        Checkpoint of the regressor, for families that need one.
    jets
        Definition of jets, for data sets of collisions.
    seed
        Root seed of the run.
    code
        Digest of the code, so that a training is only resumed by the code that began it.
    work
        Folder that keeps the state of the training, to resume it after a kill.
    devices
        Number of processes that share every batch, as for `run_training`.
    validated
        Called after an epoch with a validation, with its number and score; what it raises ends the training.

    Raises
    ------
    CaloforgeError
        If an input cannot be used, a loss is not finite or another process trains in `work`.
    """
    transforms = Preprocessing.load(preprocessing)
    score = settings.training.validation
    validation = ShowerValidation(val, transforms, score, jets, seed=derive_seed(seed, "validation"))

    def make(geometry: Geometry) -> Family:
        model = build(settings, geometry, transforms)
        if regressor:
            model.adopt(regressor)
        return model

    run_training(
        make,
        lambda model: lambda: validation(model),
        score=score,
        stage="train",
        kind=settings.family,
        settings=settings.model_dump(mode="json"),
        training=settings.training,
        inputs={"train": train, "val": val, "preprocessing": preprocessing}
        | ({"regressor": regressor} if regressor else {}),
        seed=seed,
        code=code,
        work=work,
        checkpoint=checkpoint,
        history=history,
        record=record,
        devices=devices,
        constants=validation.constants | {"jets": jets and jets.model_dump(mode="json")},
        validated=validated,
    )
