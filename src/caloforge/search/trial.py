"""The training of one trial: as a run of the model would be, in a folder of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from caloforge.config.stages import JetSettings
from caloforge.errors import CaloforgeError
from caloforge.preprocessing import fit_preprocessing
from caloforge.training.model import train_model
from caloforge.training.regressor import train_regressor


@dataclass(frozen=True)
class TrialInputs:
    """What all trials of a search have in common.

    Attributes
    ----------
    train, val
        Canonical showers.
    preprocessing, regressor
        Files of the model where all trials share them; None where each makes its own, or needs none.
    readout_threshold_MeV
        Of the data set [MeV].
    jets
        Definition of jets, for data sets of collisions.
    seed
        Root seed of every training.
    code
        Digest of the code.
    """

    train: Path
    val: Path
    preprocessing: Path | None
    regressor: Path | None
    readout_threshold_MeV: float
    jets: JetSettings | None
    seed: int
    code: str


@dataclass(frozen=True)
class Trained:
    """A trained model and where its files are.

    Attributes
    ----------
    model
        Its settings.
    folder
        Of the trial.
    """

    model: Any
    folder: Path
    preprocessing: Path

    @property
    def checkpoint(self) -> Path:
        """The trained networks."""
        return self.folder / "checkpoint.pt"

    @property
    def record(self) -> Path:
        """Record of the training."""
        return self.folder / "train.json"


class Score(NamedTuple):
    """The objective of a trial and its statistical error, None where it has none."""

    value: float
    error: float | None


class UndefinedError(CaloforgeError):
    """A trained model has no objective, for example because all of its showers are empty."""


def train_trial(
    model: Any, inputs: TrialInputs, folder: Path, validated: Callable[[int, float], None]
) -> Trained:
    """Train a model, from its last state in the folder if there is one.

    Parameters
    ----------
    model
        Settings of the model.
    inputs
        Of the search.
    folder
        Of the trial; made if there is none.
    validated
        As `caloforge.training.model.train_model` takes it.

    Raises
    ------
    DivergedError
        If it does not learn.
    CaloforgeError
        If an input cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = {"train": inputs.train, "val": inputs.val}
    common = {"seed": inputs.seed, "code": inputs.code}
    preprocessing, regressor = inputs.preprocessing, inputs.regressor
    if not preprocessing:
        preprocessing = folder / "preprocessing.json"
        fit_preprocessing(
            model.preprocessing,
            train=inputs.train,
            readout_threshold_MeV=inputs.readout_threshold_MeV,
            output=preprocessing,
            record=folder / "preprocess.json",
        )
    if hasattr(model, "regressor") and not regressor:
        regressor = folder / "regressor.pt"
        train_regressor(
            model.regressor,
            **data,
            **common,
            preprocessing=preprocessing,
            work=folder / "work/regressor",
            checkpoint=regressor,
            history=folder / "regressor_history.csv",
            record=folder / "regressor.json",
        )
    trained = Trained(model, folder, preprocessing)
    train_model(
        model,
        **data,
        **common,
        preprocessing=preprocessing,
        regressor=regressor,
        jets=inputs.jets,
        work=folder / "work/train",
        checkpoint=trained.checkpoint,
        history=folder / "history.csv",
        record=trained.record,
        validated=validated,
    )
    return trained
