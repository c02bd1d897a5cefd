"""Observables of single layers, of calorimeters with too many to show them one by one."""

from typing import Any

import numpy as np

from caloforge.config.stages import EvaluationSettings
from caloforge.evaluation.observables import Observables
from caloforge.evaluation.samples import Samples, measured
from caloforge.metrics.distributions import bin_edges, has_bins, separation_power
from caloforge.observables.rings import OF_A_LAYER
from caloforge.observables.shapes import histograms

GROUPS = 100
"""Parts of the showers that are resampled in place of single ones."""


def compare(settings: EvaluationSettings, observables: Samples, rows: np.ndarray) -> dict[str, Any]:
    """Separation power of every observable of a layer, averaged over the layers.

    Separation powers are those of `metrics.distributions.compare`. Their errors are by bootstrap of groups of
    showers, whose histograms are counted once.

    Parameters
    ----------
    settings
        Of the evaluation.
    observables
        `Observables` of each sample.
    rows
        Row numbers of the independent showers behind the floor.

    Returns
    -------
    dict
        Entries of metrics.json by name; none where all observables are shown one by one. Layers in which an
        observable is defined for no shower of either sample do not count.
    """
    full, sample, other = observables
    edges = {
        name: bin_edges(values, log=observable.log, bins=settings.bins)
        for name, (observable, values) in full.scalars.items()
        if not observable.shown and has_bins(values, log=observable.log)
    }
    kinds = np.array([name.partition("_")[2] for name in edges])
    used = [kind for kind in OF_A_LAYER if kind in kinds]
    if not used:
        return {}
    counts = Samples(
        *(
            [_histograms(*chosen, edges, settings.bins)]
            for chosen in ((full, slice(None)), (sample, slice(None)), (other, rows))
        )
    )

    def mean_separations(first: list[np.ndarray], second: list[np.ndarray]) -> list[float]:
        p, q = (_shares(counts) for (counts,) in (first, second))
        separations = separation_power(p, q)
        is_known = np.isfinite(separations)
        return [
            float(np.mean(separations[is_known & (kinds == kind)]))
            if (is_known & (kinds == kind)).any()
            else np.nan
            for kind in used
        ]

    labels = {
        f"layers_{kind}_separation": (f"Mean separation power of the layers: {OF_A_LAYER[kind].label}", "1")
        for kind in used
    }
    note = f"{len(full.geometry.layers)} layers; {len(full):,} showers"
    return measured(settings, counts, mean_separations, labels, note=note)


def _histograms(
    sample: Observables, rows: np.ndarray | slice, edges: dict[str, np.ndarray], bins: int
) -> np.ndarray:
    """Counts of each group of showers in the bins of each observable: shape (GROUPS, observables, bins)."""
    counts = []
    for name, of_name in edges.items():
        values = sample.scalars[name][1][rows]
        group = np.arange(len(values)) % GROUPS
        known = np.isfinite(values)
        position = np.searchsorted(of_name[1:-1], values[known], side="right")
        counts.append(histograms(group[known], position, GROUPS, bins))
    return np.stack(counts, axis=1)


def _shares(counts: np.ndarray) -> np.ndarray:
    """Histograms with unit sums from those of groups, NaN where there are no counts."""
    total = counts.sum(axis=0)
    number = total.sum(axis=1, keepdims=True)
    return total / np.where(number > 0, number, np.nan)
