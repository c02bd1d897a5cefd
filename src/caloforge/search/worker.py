"""A job of a search: it takes one trial after the other until there is none left."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from caloforge.config.search import SearchSettings, with_values
from caloforge.config.stages import JetSettings
from caloforge.provenance import entry, recorded
from caloforge.search.study import PrunedError, SharedStudy
from caloforge.search.trial import Score, Trained, TrialInputs, UndefinedError, train_trial
from caloforge.training.loop import DivergedError, locked

logger = logging.getLogger(__name__)

_KEPT = ("history.csv", "train.json", "metrics.json")
"""Of a finished trial."""
_WITHOUT_EFFECT = {"trials", "jobs", "label"}
"""Settings of a search that leave its trials what they are."""


def run_trials(
    settings: SearchSettings,
    model: Any,
    *,
    job: int,
    readout_threshold_MeV: float,
    jets: JetSettings | None = None,
    train: Path,
    val: Path,
    preprocessing: Path | None = None,
    regressor: Path | None = None,
    code: str,
    work: Path,
    record: Path,
    **scored: Path,
) -> None:
    """Take trials of a search until all have begun, and write the record of this job (JSON).

    Every trial is trained as a run of the model would be; its validation scores may end it early. After a
    kill, the job takes up its trial where the last state of the training is. A trial fails, and the
    search goes on, where its settings are not valid together, need more memory than a GPU has, or do not
    learn.

    Parameters
    ----------
    settings
        Of the search.
    model
        Settings of the model; those in the space are replaced.
    job
        Its number, from 1.
    readout_threshold_MeV
        Of the data set [MeV].
    jets
        Definition of jets, for data sets of collisions.
    train, val
        Canonical showers.
    preprocessing, regressor
        Files of the model where all trials share them; without them each trial makes its own.
    code
        Digest of the code, so that trials of other code are not compared with these.
    work
        Folder that keeps the study, and trainings while they last.
    record
        Output; `study` in it is the folder of the study.
    scored
        Observables of the showers, for objectives other than `validation`; see `ShowerScore`.

    Raises
    ------
    CaloforgeError
        If an input cannot be used, evaluations do not have the objective, the journal of the study cannot
        be read or another process works as this job.
    """
    inputs = TrialInputs(
        train, val, preprocessing, regressor, readout_threshold_MeV, jets, settings.seed, code
    )
    files = {"train": train, "val": val, "preprocessing": preprocessing, "regressor": regressor, **scored}
    present = {name: path for name, path in files.items() if path}
    plain = {
        "search": settings.model_dump(mode="json"),
        "model": settings.first(model).model_dump(mode="json"),
    }
    with recorded(
        record, stage="search", inputs=present.values(), outputs=(), settings=plain, seed=settings.seed
    ) as facts:
        digests = {name: facts["inputs"][str(path)] for name, path in present.items()}
        folder = work / _identity(plain, inputs, digests)
        with locked(folder / f"job_{job}"):
            study = SharedStudy(folder, settings, model)
            score, numbers = _objective(settings, inputs, scored, folder / f"job_{job}"), []
            while (number := study.next_trial(job)) is not None:
                logger.info("trial %d: %s", number, study.values(number))
                _run(study, number, model, inputs, folder / f"trial_{number:04d}", score)
                numbers.append(number)
        facts |= {
            "study": str(folder),
            "trials": numbers,
        }


def _objective(
    settings: SearchSettings, inputs: TrialInputs, scored: dict[str, Path], folder: Path
) -> Callable[[Trained], Score]:
    """Where it is the validation score, trials do not depend on the code that evaluates showers."""
    if not settings.is_scored:
        return lambda trained: Score(entry(trained.record, "validation"), None)
    score = import_module("caloforge.search.scoring").ShowerScore(settings, inputs, **scored)
    score.check(folder)
    return score


def _run(
    study: SharedStudy,
    number: int,
    model: Any,
    inputs: TrialInputs,
    folder: Path,
    score: Callable[[Trained], Score],
) -> None:
    """Make a trial from its first step, or from where it was interrupted, to its end in the study."""
    try:
        settings = with_values(model, study.values(number))
    except ValidationError as error:
        study.fail(number, f"settings that are not valid together: {error.errors()[0]['msg']}")
        return
    try:
        trained = train_trial(
            settings, inputs, folder, lambda epoch, found: study.report(number, epoch, found)
        )
        study.complete(number, *score(trained))
    except PrunedError:
        study.prune(number)
    except torch.OutOfMemoryError as error:
        study.fail(number, f"out of memory: {str(error).splitlines()[0]}")
    except DivergedError as error:
        study.fail(number, error.what)
    except UndefinedError as error:
        study.fail(number, str(error))
    _keep_little(folder)


def _keep_little(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in _KEPT:
            path.unlink()


def _identity(plain: dict[str, Any], inputs: TrialInputs, digests: dict[str, str]) -> str:
    """Of everything that trials depend on: those of one study can be compared with each other."""
    content = {
        "search": {key: value for key, value in plain["search"].items() if key not in _WITHOUT_EFFECT},
        "model": plain["model"],
        "readout_threshold_MeV": inputs.readout_threshold_MeV,
        "jets": inputs.jets and inputs.jets.model_dump(mode="json"),
        "code": inputs.code,
        "files": digests,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
