"""Histories of the trainings behind generated showers."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.errors import CaloforgeError
from caloforge.figures import training
from caloforge.figures.album import Drawn

_FRECHET = "validation_frechet_"
"""Columns of a history that begin like this are Fréchet distances."""


def read_history(path: Path) -> dict[str, np.ndarray]:
    """Columns of a training history, NaN where an epoch has no value.

    Raises
    ------
    CaloforgeError
        If the file is no training history.
    """
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    names = list(rows[0]) if rows else []
    missing = {"epoch", "validation"} - set(names)
    if missing:
        raise CaloforgeError(
            f"{path}: no column {', '.join(sorted(missing))}, found {', '.join(names) or 'nothing'}"
        )
    try:
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
    except (TypeError, ValueError) as error:
        raise CaloforgeError(f"{path}: not a training history: {error}") from None


def read_frechet(path: Path) -> dict[str, dict[str, float | None]]:
    """Fréchet distances that do not depend on the model, from the record of its training.

    Raises
    ------
    CaloforgeError
        If the record has none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["frechet"]
        return {name: dict(found[name]) for name in ("fast", "floor")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CaloforgeError(
            f"{path}: frechet distances of the fast simulation and of the floor expected: {error!r}"
        ) from None


def training_figures(
    trainings: Mapping[str, Mapping[str, np.ndarray]], frechet: Mapping[str, Mapping[str, Any]] | None
) -> Iterator[Drawn]:
    """Losses and validation score of each training, and Fréchet distances of models for pairs.

    Parameters
    ----------
    trainings
        Title to the columns of the history.
    frechet
        What `read_frechet` gives, for models for pairs.
    """
    for title, history in trainings.items():
        stem = title.replace(" ", "_")
        epoch, metric = history["epoch"], history["validation"]
        losses = {
            name: history[name]
            for name in history
            if name not in ("epoch", "step") and not name.startswith("validation")
        }
        yield Drawn(
            f"losses_{stem}.svg",
            "Training",
            f"Losses: {title}",
            "Each loss against the epoch.",
            training.losses(epoch, losses),
        )
        validated = np.isfinite(metric)
        if validated.any():
            yield Drawn(
                f"validation_{stem}.svg",
                "Training",
                f"Validation: {title}",
                "Score on the validation events, lower is better: of generated showers the mean "
                "Kolmogorov-Smirnov distance of all observables or, where the settings say so, the relative "
                "error of the mean shower shapes; of a regressor the mean squared error in standard "
                "deviations of its targets.",
                training.validation(epoch[validated], metric[validated]),
            )
        distances = {
            name.removeprefix(_FRECHET): values
            for name, values in history.items()
            if name.startswith(_FRECHET)
        }
        if frechet and distances and validated.any():
            yield Drawn(
                f"frechet_{stem}.svg",
                "Training",
                f"Fréchet distances: {title}",
                "Distance of the validation events from the full simulation: of the observables of both "
                "leading jets, over their standard deviations, and of the leading principal components of "
                "log(1 + E / GeV) of the towers. Floor: one half of the full simulation from the other.",
                training.frechet(
                    epoch[validated],
                    {name: values[validated] for name, values in distances.items()},
                    frechet["fast"],
                    frechet["floor"],
                ),
            )
