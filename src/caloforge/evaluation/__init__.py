"""The evaluation stage: distances between generated and fully simulated showers, and the figures."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from caloforge.atomic import atomic_path, write_json
from caloforge.config.stages import EvaluationSettings, FigureSettings
from caloforge.errors import CaloforgeError
from caloforge.evaluation import conditions, grid
from caloforge.evaluation.histories import read_history, training_figures
from caloforge.evaluation.observables import (
    Observables,
    check_comparable,
    distances,
    energy_figures,
    observable_figures,
    read_observables,
)
from caloforge.evaluation.pictures import shower_figures
from caloforge.figures.album import save_album
from caloforge.figures.style import figure_style
from caloforge.provenance import recorded
from caloforge.seeds import derive_seed


def evaluate(
    settings: EvaluationSettings,
    figures: FigureSettings,
    *,
    label: str,
    generated: Path,
    reference: Path,
    independent: Path,
    generated_showers: Path,
    reference_showers: Path,
    independent_showers: Path,
    histories: Mapping[str, Path],
    metrics: Path,
    figure_directory: Path,
    record: Path,
    reconstruction: Path | None = None,
) -> None:
    """Compare generated showers with the full simulation, in numbers and in figures.

    Every distance is reported beside its floor: the same distance between the reference and as many
    independent events of the full simulation. Generated showers were made for the very primaries of the
    reference, the events of the floor come from other primaries; an observable that the primary decides,
    such as the visible energy, may therefore lie below its floor. Calorimeters that are a regular grid with
    at least `grid.LEAST_CELLS` cells along each axis are compared as `grid.compare` does, too, and conditions
    that were read off the showers as `conditions.compare` does.

    Parameters
    ----------
    settings, figures
        Bins and resamplings; style of the figures.
    label
        Shown on every figure when not empty, for example that the run is a demonstration.
    generated, reference, independent
        Observables of the generated showers, of the test events they were generated for and of other
        events of the full simulation.
    generated_showers, reference_showers, independent_showers
        Canonical files that `generated`, `reference` and `independent` were made from.
    histories
        Title of a training to its history (CSV with the columns epoch, step, losses, validation).
    metrics, figure_directory, record
        Output: numbers (JSON), figures (SVG) with index.json, and what made them (JSON).
    reconstruction
        What `caloforge.reconstruction` read off the same showers, for models that do.

    Raises
    ------
    CaloforgeError
        If an input is damaged, or the files do not belong together.
    """
    showers = (reference_showers, generated_showers, independent_showers)
    inputs = [generated, reference, independent, *showers, *histories.values()]
    inputs += [reconstruction] if reconstruction else []
    options = {
        "label": label,
        "evaluation": settings.model_dump(mode="json"),
        "figures": figures.model_dump(mode="json"),
    }
    with recorded(record, stage="evaluate", inputs=inputs, settings=options, seed=settings.seed):
        sample, full, other = (read_observables(path) for path in (generated, reference, independent))
        check_comparable(full, sample)
        check_comparable(full, other)
        if not np.array_equal(sample.event, full.event):
            raise CaloforgeError(
                f"{generated}: its events are not those of {reference}, expected showers generated for "
                "the primaries of the test set"
            )
        trainings = {title: read_history(path) for title, path in histories.items()}
        rows = _independent_rows(settings.seed, full, other)
        readings = reconstruction and conditions.read_reconstruction(reconstruction)
        if readings:
            conditions.check_events(readings, full)
        numbers = {
            "label": label,
            "events": {"generated": len(sample), "reference": len(full), "independent": len(rows)},
            "observables": distances(settings, full, sample, other, rows),
        }
        with atomic_path(figure_directory) as directory, figure_style(figures):
            of_samples, drawn_of_samples = {}, []
            if grid.is_comparable(full.geometry):
                of_samples, drawn_of_samples = grid.compare(settings, (full, sample, other), showers, rows)
            if readings:
                of_conditions, drawn_of_conditions = conditions.compare(settings, readings)
                of_samples |= of_conditions
                drawn_of_samples += drawn_of_conditions
            if of_samples:
                numbers["samples"] = of_samples
            drawn = [
                *training_figures(trainings),
                *shower_figures(full, sample, reference_showers, generated_showers, figures.displays),
                *observable_figures(full, sample, settings.bins),
                *energy_figures(full, sample, figures.energies_GeV),
                *drawn_of_samples,
            ]
            save_album(drawn, directory, label)
            write_json(metrics, numbers)


def _independent_rows(seed: int, full: Observables, other: Observables) -> np.ndarray:
    """Rows of as many showers of `other` as `full` has, or all of them, chosen at random, increasing."""
    rng = np.random.default_rng(derive_seed(seed, "independent"))
    return np.sort(rng.choice(len(other), min(len(full), len(other)), replace=False))
