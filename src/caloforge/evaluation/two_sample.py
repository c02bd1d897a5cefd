"""Whether classifiers tell generated showers from the full simulation, and by what."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from caloforge.config.stages import ClassifierSettings, EvaluationSettings
from caloforge.evaluation.features import INCIDENT_ENERGY, feature_matrix, feature_names
from caloforge.evaluation.observables import Observables
from caloforge.evaluation.pictures import read_rows
from caloforge.evaluation.samples import Samples, chosen_showers, random_rows
from caloforge.figures import two_sample as figures
from caloforge.figures.album import Drawn
from caloforge.figures.style import axis_label
from caloforge.geometry import Geometry
from caloforge.metrics.classifier import misidentified
from caloforge.metrics.two_sample import (
    CrossValidated,
    Fit,
    area,
    cross_validated,
    importance,
    paired_folds,
    reliability,
)
from caloforge.metrics.two_sample_trees import fit_trees
from caloforge.progress import Progress
from caloforge.seeds import derive_seed
from caloforge.showers import ShowerFile

LEAST = 50
"""Showers of each sample; fewer teach a classifier nothing."""
SECTION = "Classifiers"
KEPT = np.linspace(0, 1, 201)
RANGES = 10
"""Ranges of the probability in the figure of the calibration."""
MOST_IMPORTANT, SUREST = 15, 4
"""Features and pairs of showers drawn."""
_TYPICAL_FROM = 500
"""Showers behind the typical energy of a hit cell."""


class _Seen(NamedTuple):
    """Showers of one sample that classifiers see."""

    observables: Observables
    showers: Path
    rows: np.ndarray


class _Classifier(NamedTuple):
    """Its name in the text, what it sees of two samples, and how to train it.

    `fit` takes the geometry, the number of values that are seen and the settings of all classifiers.
    """

    title: str
    sees: Callable[[_Seen, _Seen], np.ndarray]
    fit: Callable[[Geometry, int, ClassifierSettings], Fit]


class _Compared(NamedTuple):
    """Something about the comparison of generated and of independent showers with the full simulation."""

    generated: Any
    floor: Any


Scored = Mapping[str, _Compared]
"""Name of a classifier to `CrossValidated` scores."""


def compare(
    settings: EvaluationSettings, observables: Samples, showers: Samples, *, same_primaries: bool = True
) -> tuple[dict[str, Any], list[Drawn]]:
    """Areas under the ROC curves of classifiers of generated showers and full simulation, and figures.

    See `metrics.two_sample`. The floor has independent showers of the full simulation in place of generated
    ones. All samples have the same number of showers, and pairs are in the same folds in all of them.

    Parameters
    ----------
    settings
        Of the evaluation.
    observables
        `Observables` of each sample.
    showers
        Canonical files of the very same showers.
    same_primaries
        Whether generated showers were made for the very primaries of the full simulation: else no pairs of
        showers are drawn.

    Returns
    -------
    tuple
        Entries of metrics.json by name, and figures; with fewer than `LEAST` showers in a sample numbers are
        undefined and there is no figure. Memory holds the cells of up to `settings.classifiers.showers`
        showers of two samples.

    Raises
    ------
    CaloforgeError
        If a file cannot be read or showers lack a condition of the full simulation.
    """
    chosen = settings.classifiers
    full = observables.full
    used = {name: _CLASSIFIERS[name] for name in chosen.use if name != "cells_cnn" or full.geometry.is_grid}
    pairs = min(chosen.showers, len(full), len(observables.independent))
    if pairs < LEAST or not used:
        note = f"Needs {LEAST} {_noun(full)} of each sample, found {pairs}."
        undefined = _Compared({"value": None, "error": None}, {"value": None, "error": None})
        return {_name(name): _entry(kind, undefined, note) for name, kind in used.items()}, []
    rows = random_rows(settings.seed, "classifiers", len(full), pairs)
    independent = random_rows(settings.seed, "independent classifiers", len(observables.independent), pairs)
    seen = Samples(*map(_Seen, observables, showers, Samples(rows, rows, independent)))
    scored = _scores(settings, used, seen)
    note = f"{pairs:,} {_noun(full)} of each sample, {chosen.folds} folds"
    areas = {name: _Compared(*map(area, compared)) for name, compared in scored.items()}
    drawn = [_roc(scored, areas, note), _calibration(scored, note)]
    if "trees" in scored:
        drawn.append(_importance(settings, seen, scored["trees"].generated))
    if same_primaries and full.geometry.kind != "eta_phi":
        surest = max(areas, key=lambda name: areas[name].generated["value"])
        drawn += _surest(seen, used[surest].title, scored[surest].generated)
    return {_name(name): _entry(kind, areas[name], note) for name, kind in used.items()}, drawn


def _scores(settings: EvaluationSettings, used: Mapping[str, _Classifier], seen: Samples) -> Scored:
    """Train and test every classifier; what several of them see is read once for each sample."""
    chosen = settings.classifiers
    geometry = seen.full.observables.geometry
    folds = paired_folds(len(seen.full.rows), chosen.folds, derive_seed(settings.seed, "classifier folds"))
    others = _Compared(seen.generated, seen.independent)
    scored: dict[str, list[CrossValidated]] = {name: [] for name in used}
    with Progress("classifiers", len(others) * len(used)) as progress:
        for sample, other in others._asdict().items():
            for sees, alike in groupby(used.items(), lambda item: item[1].sees):
                features = sees(seen.full, other)
                for name, kind in alike:
                    fit = kind.fit(geometry, features.shape[1], chosen)
                    seed = derive_seed(settings.seed, "classifiers", name, sample)
                    scored[name].append(cross_validated(fit, features, folds, seed))
                    progress.update(sum(map(len, scored.values())), {})
    return {name: _Compared(*found) for name, found in scored.items()}


def _observables(full: _Seen, other: _Seen) -> np.ndarray:
    """Observables of both samples, each with mean 0 and standard deviation 1: float32, shape (2 n, k)."""
    return _standardised(
        np.concatenate(
            [feature_matrix(full.observables, seen.observables, seen.rows) for seen in (full, other)]
        )
    )


def _cells(full: _Seen, other: _Seen) -> np.ndarray:
    """What showers were asked for, standardised, and their cells: float32, shape (2 n, k + V).

    Cells are log(1 + s / s0) of the share s of the incident energy in a cell, or of its energy in images of
    collisions, with the median s0 over hit cells of the full simulation.
    """
    n, n_cells = len(full.rows), full.observables.geometry.n_cells
    primaries = _standardised(np.concatenate([_primaries(full, seen) for seen in (full, other)]))
    features = np.empty((2 * n, primaries.shape[1] + n_cells), np.float32)
    cells = features[:, primaries.shape[1] :]
    features[:, :-n_cells] = primaries
    for first, seen in ((0, full), (n, other)):
        for block in chosen_showers(seen.showers, seen.rows, full.observables):
            into = cells[first : first + len(block)]
            into[:] = block.showers
            if not _is_collision(full):
                into /= block.incident_energies
            first += len(block)
    some = cells[: n : max(1, n // _TYPICAL_FROM)]
    cells /= np.median(some[some > 0]) if some.any() else 1
    np.log1p(cells, out=cells)
    return features


def _primaries(full: _Seen, seen: _Seen) -> np.ndarray:
    """Logarithm of the incident energy and the conditions of `full`, shape (n, k); nothing of collisions."""
    if _is_collision(seen):
        return np.empty((len(seen.rows), 0))
    energy_GeV = seen.observables.incident_energy_GeV[seen.rows]
    with ShowerFile(full.showers) as names, ShowerFile(seen.showers) as file:
        conditions = [file.condition(name)[seen.rows] for name in sorted(names.units)]
    return np.stack([np.log10(energy_GeV), *conditions], axis=1, dtype=np.float64)


def _standardised(columns: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and standard deviation 1, or 0 where all values are equal: float32."""
    deviation = np.where(np.ptp(columns, axis=0) > 0, columns.std(axis=0), 1)
    return ((columns - columns.mean(axis=0)) / deviation).astype(np.float32)


def _is_collision(seen: _Seen) -> bool:
    return seen.observables.geometry.kind == "eta_phi"


def _trees(_geometry: Geometry, _columns: int, _settings: ClassifierSettings) -> Fit:
    return fit_trees


def _dense(_geometry: Geometry, columns: int, settings: ClassifierSettings) -> Fit:
    networks = _networks(settings)
    return partial(networks.fit_network, partial(networks.Dense, columns), settings.epochs)


def _convolutional(geometry: Geometry, columns: int, settings: ClassifierSettings) -> Fit:
    networks = _networks(settings)
    images = (len(geometry.layers), *geometry.layers[0].shape)
    build = partial(networks.Convolutional, columns - geometry.n_cells, images)
    return partial(networks.fit_network, build, settings.epochs)


def _networks(settings: ClassifierSettings) -> ModuleType:
    """The module of the networks; without them an evaluation begins without seconds of importing torch."""
    import torch

    from caloforge.metrics import two_sample_networks

    torch.set_num_threads(settings.threads)
    return two_sample_networks


_CLASSIFIERS = {
    "trees": _Classifier("boosted trees on observables", _observables, _trees),
    "mlp": _Classifier("a network on observables", _observables, _dense),
    "cells_mlp": _Classifier("a network on cells", _cells, _dense),
    "cells_cnn": _Classifier("a convolutional network on cells", _cells, _convolutional),
}


def _name(classifier: str) -> str:
    return f"auc_{classifier}"


def _entry(kind: _Classifier, areas: _Compared, note: str) -> dict[str, Any]:
    label = f"Area under the ROC curve of {kind.title}"
    return {"label": label, "unit": "1", **areas._asdict(), "note": note}


def _noun(full: Observables) -> str:
    return "collisions" if full.geometry.kind == "eta_phi" else "showers"


def _roc(scored: Scored, areas: Mapping[str, _Compared], note: str) -> Drawn:
    curves = {
        _CLASSIFIERS[name].title: tuple(
            figures.Curve(misidentified(found.raw, found.labels, found.parts, KEPT), number)
            for found, number in zip(compared, areas[name], strict=True)
        )
        for name, compared in scored.items()
    }
    return Drawn(
        "classifier_roc.svg",
        SECTION,
        "Generated against full simulation",
        "Share of the full simulation that passes a cut on the score of a classifier against the share of "
        f"generated that does; {note}. Grey, dashed: the floor, other full simulation in place of generated. "
        "On the dotted diagonal, with an area of 0.5, a classifier cannot tell them apart.",
        figures.roc_curves(KEPT, curves),
    )


def _calibration(scored: Scored, note: str) -> Drawn:
    return Drawn(
        "classifier_calibration.svg",
        SECTION,
        "Calibration",
        "Share of generated among those that a classifier gives about the same probability of being "
        f"generated, before and after calibration; {note}. On the dotted diagonal the probability is right.",
        figures.calibration(
            {
                _CLASSIFIERS[name].title: tuple(
                    figures.Calibration(*reliability(probabilities, generated.labels, RANGES))
                    for probabilities in (generated.raw, generated.calibrated)
                )
                for name, (generated, _) in scored.items()
            }
        ),
    )


def _importance(settings: EvaluationSettings, seen: Samples, trees: CrossValidated) -> Drawn:
    full = seen.full.observables
    features = _observables(seen.full, seen.generated)
    falls, errors = importance(trees, features, derive_seed(settings.seed, "classifier importance"))
    first = np.argsort(-falls, kind="stable")[:MOST_IMPORTANT]
    names = feature_names(full)
    return Drawn(
        "classifier_importance.svg",
        SECTION,
        "What boosted trees look at",
        f"Fall of the area under their ROC curve when the values of one of {len(names)} observables are "
        f"shuffled among the tested {_noun(full)}; mean over the folds with its standard error. "
        "Observables that say the same share their importance.",
        figures.importances(
            [_feature_label(full, names[index]) for index in first], falls[first], errors[first]
        ),
    )


def _feature_label(full: Observables, name: str) -> str:
    if name == INCIDENT_ENERGY:
        return axis_label("Incident energy", "GeV")
    observable, _ = full.scalars[name]
    return axis_label(observable.label, observable.unit)


def _surest(seen: Samples, title: str, scored: CrossValidated) -> Iterator[Drawn]:
    """Pairs with the generated showers of the highest and the simulated ones of the lowest scores."""
    n = len(scored.raw) // 2
    of_full, of_generated = scored.raw[:n], scored.raw[n:]
    for file, name, order, text in (
        ("generated", "generated", -of_generated, "Generated showers with the highest"),
        ("full", "full simulation", of_full, "Fully simulated showers with the lowest"),
    ):
        pairs = np.argsort(order, kind="stable")[:SUREST]
        full, generated = (
            read_rows(sample.showers, sample.rows[pairs], seen.full.observables.readout_threshold_MeV)
            for sample in (seen.full, seen.generated)
        )
        yield Drawn(
            f"classifier_surest_{file}.svg",
            SECTION,
            f"Surest {name}",
            f"{text} scores, of {n:,}, by {title}, and the other shower of the same primary. Above, the "
            "incident energy and the probability of being generated before calibration: of the upper and of "
            "the lower shower. White cells are empty.",
            figures.surest(
                seen.full.observables.geometry,
                full.incident_energies[:, 0] / 1000,
                {
                    "Full sim.": (full.showers, of_full[pairs]),
                    "Generated": (generated.showers, of_generated[pairs]),
                },
            ),
        )
