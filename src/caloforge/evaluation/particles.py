"""Whether particle types are told apart alike in full simulation and in generated showers.

M. Paganini, L. de Oliveira and B. Nachman, CaloGAN, Phys. Rev. D 97 (2018) 014021, judge generated showers by
classifiers of e+ against gamma and pi+ that are trained on one sample and tested on the other. Their public
code (https://github.com/hep-lbdl/CaloGAN, folder classification) has boosted trees on shower shapes and a
network on cells. Here both classifiers are of trees, which learn from few showers, and areas under ROC curves
take the place of shares of correct answers.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from caloforge.config.stages import EvaluationSettings
from caloforge.evaluation.observables import Observables
from caloforge.evaluation.samples import Samples, chosen_showers, random_rows
from caloforge.figures.album import Drawn
from caloforge.figures.particles import RocCurve, roc_curves
from caloforge.metrics.classifier import Labelled, auc, cross_auc, cross_scores, halves, misidentified
from caloforge.seeds import derive_seed
from caloforge.showers import ShowerFile
from caloforge.tables import Estimate, Row, Table

CONDITION = "pdg"
"""The condition with the code of the Particle Data Group."""
LEAST = 50
"""Showers of each particle type in each sample; fewer teach a classifier nothing."""
REQUESTED = ("response",)
"""Observables that classifiers do not see, because they hold the energy that a shower was asked for."""
EFFICIENCY = np.linspace(0, 1, 201)

_NAMES = {
    11: "e⁻",
    -11: "e⁺",
    13: "μ⁻",
    -13: "μ⁺",
    22: "γ",
    111: "π⁰",
    211: "π⁺",
    -211: "π⁻",
    321: "K⁺",
    -321: "K⁻",
    2112: "n",
    2212: "p",
}
_TRAINED = {
    "full": "Trained on full simulation",
    "generated": "Trained on generated showers",
    "independent": "Trained on other full simulation",
}
_TESTED = {"full": "full simulation", "generated": "generated showers"}

Pair = tuple[int, int]
"""Codes of two particle types."""
Areas = Mapping[tuple[str, str, str], Estimate]
"""Classifier, sample that it was trained on and sample that it was tested on, to the area under its curve."""


def _observables(observables: Observables, _showers: Path, rows: np.ndarray) -> np.ndarray:
    """Observables of showers, undefined ones below all others: shape (n, k)."""
    names = [name for name in sorted(observables.scalars) if name not in REQUESTED]
    values = np.stack([observables.scalars[name][1][rows] for name in names], axis=1)
    return np.nan_to_num(values, nan=np.finfo(np.float32).min)


def _cells(observables: Observables, showers: Path, rows: np.ndarray) -> np.ndarray:
    """Cells of showers after the readout threshold [MeV]: shape (n, V)."""
    return np.concatenate([block.showers for block in chosen_showers(showers, rows, observables)])


_CLASSIFIERS = {
    "observables": (
        _observables,
        HistGradientBoostingClassifier(max_depth=3, early_stopping=False, random_state=0),
    ),
    "cells": (_cells, RandomForestClassifier(n_estimators=100, min_samples_leaf=5, random_state=0)),
}
"""What a classifier looks at, to what reads it and the classifier; class weights would not change much."""


def compare(
    settings: EvaluationSettings, observables: Samples, showers: Samples
) -> tuple[list[Table], list[Drawn]]:
    """Areas under the ROC curves of classifiers of every two particle types, and the curves.

    A classifier learns from half of the showers of a sample and is tested on the other half, and the other
    way round. Full simulation and generated showers are halved alike, so that no event trains and tests. The
    floor has learned from as many independent showers of the full simulation. Classifiers do not see
    the energy that was asked for: observables but for `REQUESTED`, or cells after the readout threshold.

    Parameters
    ----------
    settings
        Of the evaluation.
    observables
        `Observables` of each sample.
    showers
        Canonical files of the very same showers.

    Returns
    -------
    tuple
        A table and a figure for every two particle types of the full simulation; nothing without the
        condition `CONDITION`. With fewer than `LEAST` showers of a type the table is empty and there is no
        figure. Memory holds the cells of up to `settings.particles.showers` of both types in each sample.

    Raises
    ------
    CaloforgeError
        If a file cannot be read or independent showers lack the condition.
    """
    with ShowerFile(showers.full) as full, ShowerFile(showers.independent) as independent:
        if CONDITION not in full.units:
            return [], []
        of_primaries = full.condition(CONDITION)
        codes = Samples(of_primaries, of_primaries, independent.condition(CONDITION))
    tables, drawn = [], []
    for pair in combinations(map(int, np.unique(codes.full)), 2):
        found = [min(np.count_nonzero(of_sample == code) for of_sample in codes) for code in pair]
        if min(found) < LEAST:
            note = f"Needs {LEAST} showers of each particle in each sample, found {_counted(pair, found)}."
            tables.append(_table(pair, {}, note))
            continue
        numbers = [min(number, settings.particles.showers) for number in found]
        table, figure = _compare_two(settings, observables, showers, codes, pair, numbers)
        tables.append(table)
        drawn.append(figure)
    return tables, drawn


def _compare_two(
    settings: EvaluationSettings,
    observables: Samples,
    showers: Samples,
    codes: Samples,
    pair: Pair,
    numbers: Sequence[int],
) -> tuple[Table, Drawn]:
    """Table and figure of so many showers of each of two types in each sample."""
    rows = Samples(
        _random_rows(settings, "particles", codes.full, pair, numbers),
        _random_rows(settings, "particles", codes.generated, pair, numbers),
        _random_rows(settings, "independent particles", codes.independent, pair, numbers),
    )
    labels = Samples(*(of_sample[chosen] == pair[0] for of_sample, chosen in zip(codes, rows, strict=True)))
    half_seed = derive_seed(settings.seed, "halves", *pair)
    half = Samples(*(halves(of_sample, half_seed) for of_sample in labels))
    areas, curves = {}, {}
    for looks_at, (features, classifier) in _CLASSIFIERS.items():
        seen = (features(*of_sample) for of_sample in zip(observables, showers, rows, strict=True))
        samples = dict(zip(_TRAINED, map(Labelled, seen, labels, half), strict=True))
        curves[looks_at] = []
        for (trained, tested), scores in cross_scores(classifier, samples, list(_TESTED)).items():
            test = scores, labels.full, half.full
            seed = derive_seed(settings.seed, "particles", looks_at, *pair)
            area = cross_auc(*test, resamplings=settings.bootstrap, seed=seed)
            areas[looks_at, trained, tested] = area
            if trained in _TESTED:
                sources = (trained == "generated", tested == "generated")
                passed = misidentified(*test, EFFICIENCY)
                curves[looks_at].append(RocCurve(*sources, passed, area["value"], area["error"]))
    energies_GeV = observables.full.incident_energy_GeV[rows.full]
    counts = f"{_counted(pair, numbers)} of each sample"
    return (
        _table(pair, areas, _note(counts, auc(energies_GeV, labels.full))),
        _figure(pair, curves, counts),
    )


def _random_rows(
    settings: EvaluationSettings, purpose: str, codes: np.ndarray, pair: Pair, numbers: Sequence[int]
) -> np.ndarray:
    """Row numbers of so many showers of each of two types, increasing."""
    chosen = []
    for code, number in zip(pair, numbers, strict=True):
        rows = np.flatnonzero(codes == code)
        chosen.append(rows[random_rows(settings.seed, f"{purpose} {code}", len(rows), number)])
    return np.sort(np.concatenate(chosen))


def _table(pair: Pair, areas: Areas, note: str) -> Table:
    columns = [(looks_at, tested) for looks_at in _CLASSIFIERS for tested in _TESTED]
    return Table(
        f"{_name(pair[0])} against {_name(pair[1])}: area under the ROC curve",
        note,
        [f"By {looks_at}, tested on: {_TESTED[tested]}" for looks_at, tested in columns],
        [
            Row(label, "1", [areas.get((looks_at, trained, tested)) for looks_at, tested in columns])
            for trained, label in _TRAINED.items()
        ],
    )


def _note(counts: str, of_energy: float) -> str:
    return (
        "Probability that a classifier gives the particle named first the higher score: 0.5 where it cannot "
        f"tell the two apart, 1 where it always can. {counts}; one half trains and the other half tests, in "
        "turns, with the same events in full simulation and as generated. Boosted trees see the observables, "
        "the visible energy among them but not the response; a random forest sees the cells. The last line, "
        "with independent showers to learn from, is the floor: it differs from the first line by chance. "
        "Errors by bootstrap of the tested showers, without the chance in training. The incident energy "
        f"alone, which no classifier sees, has an area of {of_energy:.2f}."
    )


def _figure(pair: Pair, curves: Mapping[str, Sequence[RocCurve]], counts: str) -> Drawn:
    first, second = map(_name, pair)
    return Drawn(
        f"particles_{pair[0]}_{pair[1]}.svg",
        "Particles",
        f"{first} against {second}",
        f"Share of {second} that pass a cut on the score of a classifier against the share of {first} that "
        f"do, averaged over both halves; {counts}. Colours: what it was trained on; dashed: tested on "
        "generated showers. Dotted: chance. Classifiers that tell generated showers apart as they do full "
        "simulation have the same four curves.",
        roc_curves(EFFICIENCY, curves, (first, second)),
    )


def _counted(pair: Pair, numbers: Sequence[int]) -> str:
    first, second = (f"{number:,} {_name(code)}" for number, code in zip(numbers, pair, strict=True))
    return f"{first} and {second}"


def _name(code: int) -> str:
    return _NAMES.get(code, f"particle {code}")
