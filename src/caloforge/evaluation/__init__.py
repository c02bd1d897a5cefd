"""The evaluation stage: distances between generated and fully simulated showers, and the figures."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from caloforge.atomic import atomic_path, write_json
from caloforge.config.stages import EvaluationSettings, FigureSettings, TraversalSettings
from caloforge.errors import CaloforgeError
from caloforge.evaluation import conditions, grid, neighbours
from caloforge.evaluation.histories import read_history, training_figures
from caloforge.evaluation.observables import (
    check_comparable,
    distances,
    energy_figures,
    observable_figures,
    read_observables,
)
from caloforge.evaluation.pictures import shower_figures
from caloforge.evaluation.samples import check_showers, random_rows
from caloforge.evaluation.traversals import traversal_figures
from caloforge.figures.album import save_album
from caloforge.figures.style import figure_style
from caloforge.provenance import recorded


def evaluate(
    settings: EvaluationSettings,
    figures: FigureSettings,
    *,
    label: str,
    traversals: TraversalSettings | None = None,
    generated: Path,
    reference: Path,
    independent: Path,
    generated_showers: Path,
    reference_showers: Path,
    independent_showers: Path,
    validation_showers: Path,
    traversed_showers: Path | None = None,
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
    such as the visible energy, may therefore lie below its floor. Nearest neighbours are compared as
    `neighbours.compare` does, showers in a regular grid with at least `grid.LEAST_CELLS` cells along each
    axis as `grid.compare` does, and conditions that were read off showers as `conditions.compare` does.

    Parameters
    ----------
    settings, figures
        Bins and resamplings; style of the figures.
    label
        Shown on every figure when not empty, for example that the run is a demonstration.
    traversals
        What `traversed_showers` were generated for; both or none.
    generated, reference, independent
        Observables of the generated showers, of the test events they were generated for and of other
        events of the full simulation.
    generated_showers, reference_showers, independent_showers
        Canonical files that `generated`, `reference` and `independent` were made from; the independent
        showers are those of the training.
    validation_showers
        Canonical file of showers that belong to neither training nor test.
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
    inputs = [generated, reference, independent, *showers, validation_showers, *histories.values()]
    inputs += [path for path in (traversed_showers, reconstruction) if path]
    options = {
        "label": label,
        "traversals": traversals and traversals.model_dump(mode="json"),
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
        for path, observed in zip(showers, (full, sample, other), strict=True):
            check_showers(path, observed)
        trainings = {title: read_history(path) for title, path in histories.items()}
        rows = random_rows(settings.seed, "independent", len(other), len(full))
        readings = reconstruction and conditions.read_reconstruction(reconstruction)
        if readings:
            conditions.check_events(readings, full)
        numbers = {
            "label": label,
            "events": {"generated": len(sample), "reference": len(full), "independent": len(rows)},
            "observables": distances(settings, full, sample, other, rows),
        }
        with atomic_path(figure_directory) as directory, figure_style(figures):
            compared = []
            if grid.is_comparable(full.geometry):
                compared.append(grid.compare(settings, (full, sample, other), showers, rows))
            if readings:
                compared.append(conditions.compare(settings, readings))
            compared.append(
                neighbours.compare(
                    settings,
                    full,
                    reference=reference_showers,
                    generated=generated_showers,
                    training=independent_showers,
                    validation=validation_showers,
                )
            )
            numbers["samples"] = {name: number for found, _ in compared for name, number in found.items()}
            traversed = traversal_figures(traversals, traversed_showers, full) if traversals else []
            drawn = [
                *training_figures(trainings),
                *shower_figures(full, sample, reference_showers, generated_showers, figures.displays),
                *observable_figures(full, sample, settings.bins),
                *energy_figures(full, sample, figures.energies_GeV),
                *(figure for _, figures_of in compared for figure in figures_of),
                *traversed,
            ]
            save_album(drawn, directory, label)
            write_json(metrics, numbers)
