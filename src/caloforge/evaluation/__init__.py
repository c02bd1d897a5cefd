"""The evaluation stage: distances between generated and full simulation, and the figures."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from caloforge.atomic import atomic_path, write_json
from caloforge.config.stages import EvaluationSettings, FigureSettings, TraversalSettings
from caloforge.errors import CaloforgeError
from caloforge.evaluation import (
    collisions,
    conditions,
    grid,
    layers,
    matched_jets,
    neighbours,
    particles,
    scores,
    two_sample,
)
from caloforge.evaluation.histories import read_frechet, read_history, training_figures
from caloforge.evaluation.observables import (
    Observables,
    check_comparable,
    distances,
    energy_figures,
    observable_figures,
    read_observables,
)
from caloforge.evaluation.pictures import average_shower, event_figures, single_showers
from caloforge.evaluation.samples import Samples, check_showers, random_rows
from caloforge.evaluation.traversals import traversal_figures
from caloforge.figures.album import Drawn, save_album
from caloforge.figures.collisions import Simulations
from caloforge.figures.style import figure_style
from caloforge.provenance import recorded
from caloforge.tables import Table


def evaluate(
    settings: EvaluationSettings,
    figures: FigureSettings,
    *,
    label: str,
    traversals: TraversalSettings | None = None,
    jet_radius: float | None = None,
    generated: Path,
    reference: Path,
    independent: Path,
    generated_showers: Path,
    reference_showers: Path,
    independent_showers: Path,
    training_showers: Path | None = None,
    validation_showers: Path | None = None,
    same_primaries: bool = True,
    traversed_showers: Path | None = None,
    histories: Mapping[str, Path],
    metrics: Path,
    figure_directory: Path | None,
    record: Path,
    reconstruction: Path | None = None,
    fast: Path | None = None,
    training_record: Path | None = None,
) -> None:
    """Compare generated showers with the full simulation, in numbers and in figures.

    Every distance is reported beside its floor: the same distance between the reference and as many
    independent events of the full simulation. Generated showers were made for the very primaries of the
    reference, the events of the floor come from other primaries; an observable that the primary decides,
    such as the visible energy, may therefore lie below its floor. Nearest neighbours are compared as
    `neighbours.compare` does, showers in a regular grid with at least `grid.LEAST_CELLS` cells along each
    axis as `grid.compare` does, layers that are not shown one by one as `layers.compare` does, and conditions
    that were read off showers as `conditions.compare` does. Particle types, where there are several, are told
    apart as `particles.compare` does. All high-level features together have the scores of `scores.compare`;
    classifiers that see them, or cells, have those of `two_sample.compare`.

    Collisions of paired data sets are compared as `collisions.compare` and `matched_jets.compare` do, also
    with the fast simulation that they were generated from. They have no primaries, and no nearest neighbours:
    no two collisions are alike, and by the distance over all towers the nearest image to any is mostly
    one with little energy.

    Parameters
    ----------
    settings, figures
        Bins and resamplings; style of the figures.
    label
        Shown on every figure when not empty, for example that the run is a demonstration.
    traversals
        What `traversed_showers` were generated for; both or none.
    jet_radius
        Radius of the jets of collisions; given together with `fast`.
    generated, reference, independent
        Observables of the generated showers, of the test events they were generated for and of other
        events of the full simulation.
    generated_showers, reference_showers, independent_showers
        Canonical files that `generated`, `reference` and `independent` were made from.
    training_showers, validation_showers
        Canonical files of the showers of the training and of others that belong to neither training nor
        test; both or none. Without them there are no nearest neighbours.
    same_primaries
        Whether generated showers were made for the very primaries of the reference. Where not, rows of both
        merely count alike, and no single showers are drawn side by side.
    histories
        Title of a training to its history (CSV with the columns epoch, step, losses, validation).
    metrics, figure_directory, record
        Output: numbers (JSON), figures (SVG) with index.json, and what made them (JSON). Without a directory,
        figures are not saved, which takes most of the time.
    reconstruction
        What `caloforge.reconstruction` read off the same showers, for models that do.
    fast
        Observables of the fast simulation of the test events, for paired data sets.
    training_record
        Record of the training of the model, for paired data sets: it has Fréchet distances to draw beside
        those of the history.

    Raises
    ------
    CaloforgeError
        If an input is damaged, or the files do not belong together.
    """
    showers = (reference_showers, generated_showers, independent_showers)
    others = (training_showers, validation_showers, traversed_showers, reconstruction, fast, training_record)
    inputs = [generated, reference, independent, *showers, *histories.values(), *filter(None, others)]
    options = {
        "label": label,
        "traversals": traversals and traversals.model_dump(mode="json"),
        "jet_radius": jet_radius,
        "evaluation": settings.model_dump(mode="json"),
        "figures": figures.model_dump(mode="json"),
    }
    with recorded(
        record,
        stage="evaluate",
        inputs=inputs,
        outputs=[path for path in (metrics, figure_directory) if path],
        settings=options,
        seed=settings.seed,
    ):
        sample, full, other = (read_observables(path) for path in (generated, reference, independent))
        check_comparable(full, sample)
        check_comparable(full, other)
        if not np.array_equal(sample.event, full.event):
            raise CaloforgeError(
                f"{generated}: its events are not those of {reference}, expected what was generated for "
                "the test set"
            )
        simulations = fast and Simulations(full, _fast_simulation(fast, full), sample)
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
        observables, files = Samples(full, sample, other), Samples(*showers)
        album = atomic_path(figure_directory) if figure_directory else nullcontext()
        with album as directory, figure_style(figures):
            if simulations:
                found = _compare_collisions(
                    settings, figures, simulations, observables, rows, files, jet_radius
                )
            elif full.geometry.kind == "eta_phi":
                found = _Found({}, [], [*observable_figures(full, sample, settings.bins)])
            else:
                found = _compare_showers(settings, figures, observables, rows, files, readings)
                if same_primaries:
                    singles = single_showers(full, reference_showers, generated_showers, figures.displays)
                    found.figures[:0] = singles
                if training_showers:
                    found = found.with_more(
                        *neighbours.compare(
                            settings,
                            full,
                            reference=reference_showers,
                            generated=generated_showers,
                            training=training_showers,
                            validation=validation_showers,
                        )
                    )
                if traversals:
                    found.figures.extend(traversal_figures(traversals, traversed_showers, full))
            scored, correlations = scores.compare(settings, observables, rows)
            areas, classifiers = two_sample.compare(
                settings, observables, files, same_primaries=same_primaries
            )
            numbers |= {
                "samples": scored | areas | found.samples,
                "tables": [table.as_dict() for table in found.tables],
            }
            training = training_figures(trainings, training_record and read_frechet(training_record))
            if directory:
                save_album([*training, *found.figures, *correlations, *classifiers], directory, label)
            write_json(metrics, numbers)


class _Found(NamedTuple):
    """Numbers of whole samples by name, tables and figures."""

    samples: dict[str, Any]
    tables: list[Table]
    figures: list[Drawn]

    def with_more(self, samples: dict[str, Any], figures: list[Drawn]) -> "_Found":
        return _Found(self.samples | samples, self.tables, [*self.figures, *figures])


def _compare_showers(
    settings: EvaluationSettings,
    figures: FigureSettings,
    observables: Samples,
    rows: np.ndarray,
    showers: Samples,
    readings: conditions.Reconstruction | None,
) -> _Found:
    """Showers of primaries; `rows` are those of the independent ones that belong to the floor."""
    full, sample, _ = observables
    compared = []
    if grid.is_comparable(full.geometry):
        compared.append(grid.compare(settings, observables, showers, rows))
    compared.append((layers.compare(settings, observables, rows), []))
    if readings:
        compared.append(conditions.compare(settings, readings))
    tables, told_apart = particles.compare(settings, observables, showers)
    return _Found(
        {name: number for numbers, _ in compared for name, number in numbers.items()},
        tables,
        [
            average_shower(full, sample),
            *observable_figures(full, sample, settings.bins),
            *energy_figures(full, sample, figures.energies_GeV),
            *(figure for _, figures_of in compared for figure in figures_of),
            *told_apart,
        ],
    )


def _compare_collisions(
    settings: EvaluationSettings,
    figures: FigureSettings,
    simulations: Simulations,
    observables: Samples,
    rows: np.ndarray,
    showers: Samples,
    jet_radius: float,
) -> _Found:
    """Collisions beside the fast simulation of the same ones; `rows` as in `_compare_showers`."""
    displays = event_figures(simulations, showers.full, showers.generated, figures.displays, jet_radius)
    distributions, drawn = collisions.compare(settings, simulations, observables.independent, rows)
    matched, drawn_matched = matched_jets.compare(settings, simulations, jet_radius)
    return _Found({}, [*distributions, *matched], [*displays, *drawn, *drawn_matched])


def _fast_simulation(path: Path, full: Observables) -> Observables:
    """Observables of the fast simulation of the very events of the full one."""
    fast = read_observables(path)
    check_comparable(full, fast)
    if not np.array_equal(fast.event, full.event):
        raise CaloforgeError(f"{path}: its events are not those of {full.path}")
    return fast
