"""A study that several jobs work on, in a journal that survives all of them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from caloforge.config.base import Settings
from caloforge.config.search import Choices, Range, SearchSettings, is_integer, value_at, with_values
from caloforge.errors import CaloforgeError
from caloforge.seeds import derive_seed

_JOURNAL = "journal.log"
_NAME = "search"
_DIRECTIONS = {"minimise": "minimize", "maximise": "maximize"}


class PrunedError(Exception):
    """The training of a trial ends here: others were better at this epoch."""


class TrialResult(NamedTuple):
    """A finished trial.

    Attributes
    ----------
    number
        From 0, in the order in which trials began.
    state
        `complete`; `pruned` after some epochs; `failed` where its settings did not lead to an objective.
    values
        Settings by path.
    objective, error
        Of the objective; None unless complete, the error also where there is none.
    validation
        Epoch to validation score.
    reason
        Why it failed; None otherwise.
    seconds
        From its beginning to its end, interruptions included.
    """

    number: int
    state: str
    values: dict[str, Any]
    objective: float | None
    error: float | None
    validation: dict[int, float]
    reason: str | None
    seconds: float


class SharedStudy:
    """An Optuna study that jobs share by a journal in a folder, on any file system that they share.

    A trial belongs to the job that began it. A job that was killed finds its trial again when it starts anew,
    and those of jobs that no longer exist fall to the ones that do. Settings of a trial follow from the seed
    of the sampler, the trials begun before it and what was known of them then: one job gives the same
    trials however often it is killed.

    Parameters
    ----------
    folder
        Of the journal; made if there is none.
    settings
        Of the search.
    model
        Whose settings are searched.

    Raises
    ------
    CaloforgeError
        If the journal cannot be read.
    """

    def __init__(self, folder: Path, settings: SearchSettings, model: Settings) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.settings = settings
        self.distributions = {
            path: _distribution(path, space, model) for path, space in sorted(settings.space.items())
        }
        self.claims = JournalFileOpenLock(str(folder / "claims"))
        self.path = folder / _JOURNAL
        self.storage, self.study = _open(self.path, _DIRECTIONS[settings.direction])
        self.pruner = _pruner(settings)
        self.sign = (
            1 if settings.direction == "minimise" else -1
        )  # Optuna has one direction for all it is told

    def next_trial(self, job: int) -> int | None:
        """The number of an interrupted trial of a job (from 1) or of a new one; None when there is none left.

        The job has to end the trial by `complete`, `prune` or `fail` before it asks again.
        """
        with _held(self.claims):
            trials = self._trials()
            for trial in trials:
                begun_by = trial.user_attrs["job"]
                if trial.state == TrialState.RUNNING and (begun_by - job) % self.settings.jobs == 0:
                    return trial.number
            if len(trials) >= self.settings.trials:
                return None
            self.study.sampler = optuna.samplers.TPESampler(
                n_startup_trials=self.settings.random_trials,
                seed=derive_seed(self.settings.sampler_seed, "trial", len(trials)) % 2**32,
            )
            begun = self.study.ask(self.distributions)
            begun.set_user_attr("job", job)
            return begun.number

    def values(self, number: int) -> dict[str, Any]:
        """Settings of a trial by path."""
        return self._values(self._trial(number))

    def report(self, number: int, epoch: int, score: float) -> None:
        """Note the validation score of an epoch of a trial; the lower the better.

        Raises
        ------
        PrunedError
            If the trial is not worth going on with.
        """
        self.storage.set_trial_intermediate_value(self._id(number), epoch, self.sign * score)
        if self.pruner.prune(self.study, self._trial(number)):
            raise PrunedError

    def complete(self, number: int, objective: float, error: float | None) -> None:
        """End a trial with its objective."""
        self.storage.set_trial_user_attr(self._id(number), "error", error)
        self.study.tell(number, objective)

    def prune(self, number: int) -> None:
        """End a trial that others have beaten."""
        self.study.tell(number, state=TrialState.PRUNED)

    def fail(self, number: int, reason: str) -> None:
        """End a trial whose settings do not lead to an objective; the sampler learns to avoid them."""
        self.storage.set_trial_user_attr(self._id(number), "reason", reason)
        self.study.tell(number, state=TrialState.PRUNED)

    def results(self) -> list[TrialResult]:
        """All finished trials.

        Raises
        ------
        CaloforgeError
            If trials are missing.
        """
        trials = [trial for trial in self._trials() if trial.state.is_finished()]
        if len(trials) < self.settings.trials:
            raise CaloforgeError(
                f"{self.path}: {len(trials)} finished trials found, expected {self.settings.trials}"
            )
        return [self._result(trial) for trial in trials]

    def importances(self) -> dict[str, float]:
        """Share of each setting in the variance of the objective over the space, the largest first.

        By functional analysis of variance of a random forest (F. Hutter, H. Hoos and K. Leyton-Brown, An
        Efficient Approach for Assessing Hyperparameter Importance, ICML 2014). Empty where fewer than two
        trials were completed or all have the same objective.
        """
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len({trial.value for trial in complete}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.settings.sampler_seed % 2**32)
        shares = optuna.importance.get_param_importances(self.study, evaluator=evaluator)
        return {path: float(share) for path, share in shares.items()}

    def _trials(self) -> list[FrozenTrial]:
        """Trials but for those that a job began and was killed before it could call them its own."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if "job" in trial.user_attrs]

    def _trial(self, number: int) -> FrozenTrial:
        return self.storage.get_trial(self._id(number))

    def _id(self, number: int) -> int:
        study = self.storage.get_study_id_from_name(_NAME)
        return self.storage.get_trial_id_from_study_id_trial_number(study, number)

    def _values(self, trial: FrozenTrial) -> dict[str, Any]:
        return {
            path: json.loads(value) if isinstance(self.settings.space[path], Choices) else value
            for path, value in trial.params.items()
        }

    def _result(self, trial: FrozenTrial) -> TrialResult:
        complete, reason = trial.state == TrialState.COMPLETE, trial.user_attrs.get("reason")
        return TrialResult(
            trial.number,
            "complete" if complete else "failed" if reason else "pruned",
            self._values(trial),
            trial.value if complete else None,
            trial.user_attrs.get("error"),
            {epoch: self.sign * score for epoch, score in sorted(trial.intermediate_values.items())},
            reason,
            trial.duration.total_seconds(),
        )


def _distribution(path: str, space: Range | Choices, model: Settings) -> BaseDistribution:
    """Choices as JSON, of which each is written as the settings of the model have it."""
    if isinstance(space, Choices):
        values = [value_at(with_values(model, {path: choice}), path) for choice in space.choices]
        return CategoricalDistribution([json.dumps(value, sort_keys=True) for value in values])
    if is_integer(with_values(model, {path: space.low}), path):
        return IntDistribution(int(space.low), int(space.last), space.log, int(space.step or 1))
    return FloatDistribution(space.low, space.last, space.log, space.step)


def _pruner(settings: SearchSettings) -> optuna.pruners.BasePruner:
    if settings.pruning is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(
        n_startup_trials=settings.pruning.after_trials, n_warmup_steps=settings.pruning.after_epochs
    )


def _open(path: Path, direction: str) -> tuple[JournalStorage, optuna.Study]:
    """The study in a journal, begun if there is none; its log goes where that of the job goes."""
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path))))
        study = optuna.create_study(
            storage=storage, study_name=_NAME, direction=direction, load_if_exists=True
        )
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError) as error:
        raise CaloforgeError(
            f"{path}: not a journal of a search or a damaged one, delete it to start afresh: {error!r}"
        ) from None
    return storage, study


@contextmanager
def _held(lock: JournalFileOpenLock) -> Iterator[None]:
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
