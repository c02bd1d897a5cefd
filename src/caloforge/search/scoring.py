"""The objective of a trial from an evaluation of its showers on the validation set."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from caloforge.config.base import nearest
from caloforge.config.search import BOUNDED_DISTANCES, DISTANCES, SearchSettings
from caloforge.config.stages import ClassifierSettings, EvaluationSettings, FigureSettings, SamplingSettings
from caloforge.errors import CaloforgeError
from caloforge.evaluation import evaluate
from caloforge.observables import observe
from caloforge.provenance import entry
from caloforge.reconstruction import reconstruct
from caloforge.sampling import sample
from caloforge.search.trial import Score, Trained, TrialInputs, UndefinedError


@dataclass(frozen=True)
class ShowerScore:
    """Generates showers for the validation set, evaluates them beside it and reads off the objective.

    They are generated on the device and with the threads of the training. Showers of the training set take
    the place of independent ones, which no objective depends on.

    Attributes
    ----------
    settings, inputs
        Of the search.
    val_observables, train_observables
        Observables of the validation and the training set.
    val_fast
        Of the fast simulation of the validation set, for paired data sets.
    """

    settings: SearchSettings
    inputs: TrialInputs
    val_observables: Path
    train_observables: Path
    val_fast: Path | None = None

    def __call__(self, trained: Trained) -> Score:
        """Score a trained model; metrics.json of the evaluation stays in the folder of the trial.

        Raises
        ------
        UndefinedError
            If the objective is not defined for its showers.
        CaloforgeError
            If an evaluation has no such objective, or a stage fails.
        """
        inputs, folder = self.inputs, trained.folder
        training = trained.model.training
        sampling = SamplingSettings(device=training.device, threads=training.threads)
        network = {"checkpoint": trained.checkpoint, "preprocessing": trained.preprocessing}
        showers, observables = folder / "samples.h5", folder / "observables.h5"
        sample(
            trained.model,
            sampling,
            **network,
            test=inputs.val,
            seed=inputs.seed,
            output=showers,
            record=folder / "sample.json",
        )
        observe(
            showers,
            readout_threshold_MeV=inputs.readout_threshold_MeV,
            jets=inputs.jets,
            output=observables,
            record=folder / "observe.json",
        )
        reconstruction = None
        if hasattr(trained.model, "reconstructed_inputs"):
            reconstruction = folder / "reconstruction.h5"
            reconstruct(
                trained.model,
                sampling,
                **network,
                reference=inputs.val,
                generated=showers,
                independent=inputs.val,
                output=reconstruction,
                record=folder / "reconstruct.json",
            )
        self._evaluate(self.settings.evaluation, folder, observables, showers, reconstruction)
        return objective(folder / "metrics.json", self.settings.objective)

    def check(self, folder: Path) -> None:
        """Make sure, before anything is trained, that evaluations have the objective.

        The validation set stands in for generated showers. Numbers that need a classifier or a trained
        network are not looked for.

        Raises
        ------
        CaloforgeError
            If they have not.
        """
        if self.settings.objective.startswith(("auc_", "reconstructed_")):
            return
        short = self.settings.evaluation.model_copy(
            update={"classifiers": ClassifierSettings(use=()), "bootstrap": 10}
        )
        self._evaluate(short, folder, self.val_observables, self.inputs.val, None)
        with suppress(UndefinedError):
            objective(folder / "metrics.json", self.settings.objective)

    def _evaluate(
        self,
        settings: EvaluationSettings,
        folder: Path,
        observables: Path,
        showers: Path,
        reconstruction: Path | None,
    ) -> None:
        evaluate(
            settings,
            FigureSettings(),
            label="",
            jet_radius=self.inputs.jets and self.inputs.jets.radius,
            generated=observables,
            reference=self.val_observables,
            independent=self.train_observables,
            generated_showers=showers,
            reference_showers=self.inputs.val,
            independent_showers=self.inputs.train,
            fast=self.val_fast,
            reconstruction=reconstruction,
            histories={},
            metrics=folder / "metrics.json",
            figure_directory=None,
            record=folder / "evaluate.json",
        )


def objective(path: Path, name: str) -> Score:
    """Read an objective from metrics.json.

    `mean_ks` and `mean_separation` are averages over all observables, in which one that no generated shower
    defines counts 1, the largest there is.

    Raises
    ------
    UndefinedError
        If it is not defined.
    CaloforgeError
        If there is no such number.
    """
    observables, samples = entry(path, "observables"), entry(path, "samples")
    means = {f"mean_{distance}": distance for distance in BOUNDED_DISTANCES}
    if name in means:
        values = (observable["generated"][means[name]]["value"] for observable in observables.values())
        return Score(fmean(1.0 if value is None else value for value in values), None)
    numbers = {key: number["generated"] for key, number in samples.items()} | {
        f"{key}.{distance}": observable["generated"][distance]
        for key, observable in observables.items()
        for distance in DISTANCES
    }
    if name not in numbers:
        raise CaloforgeError(f"objective of the search: found {name!r}, {nearest(name, [*means, *numbers])}")
    if numbers[name]["value"] is None:
        raise UndefinedError(f"{name} is not defined for the generated showers")
    return Score(**numbers[name])
