"""Histories of the trainings behind generated showers."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from caloforge.errors import CaloforgeError
from caloforge.figures import training
from caloforge.figures.album import Drawn


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


def training_figures(trainings: Mapping[str, Mapping[str, np.ndarray]]) -> Iterator[Drawn]:
    """Losses and validation score of each training, by its title."""
    for title, history in trainings.items():
        stem = title.replace(" ", "_")
        epoch, metric = history["epoch"], history["validation"]
        losses = {name: history[name] for name in history if name not in ("epoch", "step", "validation")}
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
