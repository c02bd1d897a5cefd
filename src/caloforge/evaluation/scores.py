"""Scores of whole samples in all their high-level features: distances, mutual coverage, correlations."""

from typing import Any

import numpy as np

from caloforge.config.stages import EvaluationSettings
from caloforge.evaluation.features import feature_matrix, feature_names
from caloforge.evaluation.samples import Samples, random_rows
from caloforge.figures.album import Drawn
from caloforge.figures.correlations import correlation_matrices
from caloforge.metrics.bootstrap import bootstrapped
from caloforge.metrics.correlations import correlation_distance, correlation_matrix
from caloforge.metrics.coverage import NEIGHBOURS, coverage, standardised
from caloforge.metrics.physics_distances import fpd, fpd_batch_sizes, kpd
from caloforge.seeds import derive_seed
from caloforge.tables import Estimate

LEAST = 100
"""Events of each sample; fewer have no scores."""

_LABELS = {
    "fpd": "Fréchet physics distance (FPD)",
    "kpd": "Kernel physics distance (KPD)",
    "precision": "Precision: share of the sample near full simulation",
    "recall": "Recall: share of full simulation near the sample",
    "density": "Density of full simulation around the sample",
    "coverage": "Coverage: share of full simulation with the sample nearby",
    "correlation_distance": "RMS difference of the correlation coefficients of features",
}
_OF_NEIGHBOURS = ("precision", "recall", "density", "coverage")


def compare(
    settings: EvaluationSettings, observables: Samples, rows: np.ndarray
) -> tuple[dict[str, Any], list[Drawn]]:
    """Scores of the generated sample and, as their floor, of independent full simulation.

    Events are vectors of `features.feature_matrix`, and all samples have the same number of them. FPD and KPD
    are those of `metrics.physics_distances`; the distance of correlations is that of `metrics.correlations`,
    with bootstrap errors. Precision, recall, density and coverage are those of `metrics.coverage`, in
    standard deviations of the full simulation: of a random half of the full simulation and of what was
    generated for the other half, at most `settings.coverage.showers` events each. So no generated event is
    near the full simulation just because both have the same primary.

    Parameters
    ----------
    settings
        Of the evaluation.
    observables
        `Observables` of each sample.
    rows
        Row numbers of the independent events behind the floor, at most as many as the full simulation has.

    Returns
    -------
    tuple
        Entries of metrics.json by name, and the figure of the correlations. Scores of fewer than `LEAST`
        events are None, and so is the FPD if its smallest batch does not have more events than features,
        because covariances of so few events are singular.
    """
    full, sample, other = observables
    chosen = random_rows(settings.seed, "scores", len(full), len(rows))
    features = Samples(
        feature_matrix(full, full, chosen),
        feature_matrix(full, sample, chosen),
        feature_matrix(full, other, rows),
    )
    generated, floor = (
        _scores(settings, features.full, compared) for compared in (features.generated, features.independent)
    )
    nothing = {"value": None, "error": None}
    numbers = {
        name: {
            "label": label,
            "unit": "1",
            "generated": generated.get(name, nothing),
            "floor": floor.get(name, nothing),
            "note": _note(settings, name, *features.full.shape),
        }
        for name, label in _LABELS.items()
    }
    if len(rows) < LEAST:
        return numbers, []
    return numbers, [_figure(features, feature_names(full), numbers["correlation_distance"]["note"])]


def _scores(settings: EvaluationSettings, full: np.ndarray, compared: np.ndarray) -> dict[str, Estimate]:
    """What there is of the scores of a sample."""
    n, k = full.shape
    if n < LEAST:
        return {}
    found = {"kpd": kpd(full, compared, seed=derive_seed(settings.seed, "kpd"))}
    if fpd_batch_sizes(n)[0] > k:
        found["fpd"] = fpd(full, compared, seed=derive_seed(settings.seed, "fpd"))
    first, second = _halves(settings, n)
    found |= coverage(*standardised(full[first], compared[second]))
    return {name: {"value": value, "error": error} for name, (value, error) in found.items()} | bootstrapped(
        lambda rows, same: [correlation_distance(full[rows], compared[same])],
        ["correlation_distance"],
        n,
        n,
        paired=True,
        resamplings=settings.bootstrap,
        seed=derive_seed(settings.seed, "correlation_distance"),
    )


def _halves(settings: EvaluationSettings, n: int) -> np.ndarray:
    """Row numbers of equally many events of either random half: shape (2, at most `coverage.showers`)."""
    rng = np.random.default_rng(derive_seed(settings.seed, "coverage"))
    half = n // 2
    return rng.permutation(n)[: 2 * half].reshape(2, half)[:, : settings.coverage.showers]


def _note(settings: EvaluationSettings, name: str, n: int, k: int) -> str:
    """What a score is made of, or lacks."""
    of_neighbours = name in _OF_NEIGHBOURS and n >= LEAST
    events = min(n // 2, settings.coverage.showers) if of_neighbours else n
    found = f"{events:,} events of each sample; {k} features"
    smallest, *_, largest = fpd_batch_sizes(n)
    if n < LEAST:
        return f"{found}; needs {LEAST} events"
    if name == "fpd" and smallest <= k:
        return f"{found}; needs more events than features in its smallest batch, found {smallest:,}"
    if name == "fpd":
        return f"{found}; batches of {smallest:,} to {largest:,} events"
    return f"{found}; neighbourhoods of {NEIGHBOURS} events" if of_neighbours else found


def _figure(features: Samples, names: list[str], counts: str) -> Drawn:
    return Drawn(
        "correlations.svg",
        "High-level features",
        "Correlations of high-level features",
        "Pearson's correlation coefficients of full simulation and of generated events, and the latter minus "
        f"the former; {counts}. Grey where a feature does not vary.",
        correlation_matrices(
            names, correlation_matrix(features.full), correlation_matrix(features.generated)
        ),
    )
