"""Jets of the full simulation event by event: what the fast and the generated simulation make of them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from caloforge.config.stages import EvaluationSettings
from caloforge.evaluation.observables import Observables
from caloforge.figures import collisions
from caloforge.figures.album import Drawn
from caloforge.figures.collisions import Simulations
from caloforge.figures.energy import relative_spread
from caloforge.figures.ranges import mean_in_ranges
from caloforge.metrics.bootstrap import bootstrapped
from caloforge.seeds import derive_seed
from caloforge.tables import Row, Table

RANGES = 8
"""Ranges of the pT of the full simulation with equally many jets."""
_TITLE = "Jets event by event"
_QUANTITIES = ("Matched share", "Mean pT / pT of the full simulation", "Resolution")


class LeadingJets(NamedTuple):
    """The two leading jets of n events: float64, shape (n, 2) each, NaN where there is none."""

    pt_GeV: np.ndarray
    eta: np.ndarray
    phi: np.ndarray


def leading_jets(sample: Observables) -> LeadingJets:
    """The two leading jets of every event of an observables file."""
    return LeadingJets(
        *(
            np.stack([sample.scalars[f"jet{jet}_{name}"][1] for jet in (1, 2)], axis=1).astype(np.float64)
            for name in ("pt", "eta", "phi")
        )
    )


def responses(full: LeadingJets, other: LeadingJets, radius: float) -> np.ndarray:
    """pT of matched jets over that of the jets of the full simulation.

    To a jet of the full simulation belongs the nearest of the two leading jets of the other simulation, if
    ΔR = √(Δη² + Δφ²) to it is below half the radius of the jets. As anti-kt jets of one simulation are about
    a radius apart or more, hardly any jet belongs to two.

    Parameters
    ----------
    full, other
        Jets of the same n events.
    radius
        Of the jets.

    Returns
    -------
    np.ndarray
        Shape (n, 2) as the jets of `full`; NaN where there is no jet or none that matches.
    """
    delta_eta = other.eta[:, None] - full.eta[:, :, None]
    delta_phi = np.mod(other.phi[:, None] - full.phi[:, :, None] + np.pi, 2 * np.pi) - np.pi
    distance = np.nan_to_num(np.hypot(delta_eta, delta_phi), nan=np.inf)
    nearest_GeV = np.take_along_axis(other.pt_GeV, distance.argmin(axis=2), axis=1)
    return np.where(distance.min(axis=2) < radius / 2, nearest_GeV / full.pt_GeV, np.nan)


def compare(
    settings: EvaluationSettings, samples: Simulations, radius: float
) -> tuple[list[Table], list[Drawn]]:
    """Response to jets of the full simulation, of the generated and, as its baseline, of the fast simulation.

    - matched share: of the jets of the full simulation, those with a match in `responses`;
    - mean of pT over the pT of the matched jet of the full simulation, 1 for no bias;
    - resolution: standard deviation of this ratio over its mean.

    Errors are by bootstrap over the events, the same in all simulations.

    Parameters
    ----------
    settings
        Resamplings and their seed.
    samples
        Observables of the same events in each simulation.
    radius
        Of the jets.

    Returns
    -------
    tuple
        A table, and a figure of the three against pT if the full simulation has jets.
    """
    full = leading_jets(samples.full)
    of_samples = {
        name: responses(full, leading_jets(sample), radius)
        for name, sample in (("generated", samples.generated), ("fast", samples.fast))
    }
    is_jet = np.isfinite(full.pt_GeV)

    def measure(rows: np.ndarray, _: np.ndarray) -> list[float]:
        return [
            number
            for ratios in of_samples.values()
            for jet in (0, 1)
            for number in _numbers(is_jet[rows, jet], ratios[rows, jet])
        ]

    columns = [f"{name}: jet {jet}" for name in of_samples for jet in (1, 2)]
    n = len(is_jet)
    found = bootstrapped(
        measure,
        [f"{column} {quantity}" for column in columns for quantity in _QUANTITIES],
        n,
        n,
        paired=True,
        resamplings=settings.bootstrap,
        seed=derive_seed(settings.seed, "matched jets"),
    )
    first, second = is_jet.sum(axis=0)
    table = Table(
        _TITLE,
        f"Share of {first:,} first and {second:,} second jets of the full simulation with a jet closer than "
        f"ΔR = {radius / 2:g}, half the jet radius, among the two leading ones of the other simulation; mean "
        "of the ratio of their pT, and its standard deviation over its mean. Fast: the input of the "
        "generator.",
        columns,
        [
            Row(quantity, "1", [found[f"{column} {quantity}"] for column in columns])
            for quantity in _QUANTITIES
        ],
    )
    return [table], [*_figure(full.pt_GeV[is_jet], [ratios[is_jet] for ratios in of_samples.values()])]


def _numbers(is_jet: np.ndarray, ratios: np.ndarray) -> tuple[float, float, float]:
    """The matched share, the mean ratio and its resolution, NaN where undefined."""
    matched = ratios[np.isfinite(ratios)]
    return (
        len(matched) / np.count_nonzero(is_jet) if is_jet.any() else np.nan,
        matched.mean() if len(matched) else np.nan,
        matched.std(ddof=1) / matched.mean() if len(matched) > 1 else np.nan,
    )


def _figure(pt_GeV: np.ndarray, ratios: Sequence[np.ndarray]) -> Iterator[Drawn]:
    """Generated and fast ratios against the pT of the full simulation, unless that is the same for all."""
    edges_GeV = np.unique(np.quantile(pt_GeV, np.linspace(0, 1, RANGES + 1))) if len(pt_GeV) else pt_GeV
    if len(edges_GeV) < 2:
        return
    edges_GeV[-1] = np.nextafter(edges_GeV[-1], np.inf)
    generated, fast = ratios
    share, _, resolution = _QUANTITIES
    yield Drawn(
        "matched_jets.svg",
        _TITLE,
        "Jets of the full simulation in the other simulations",
        "Mean ratio of pT, its standard deviation over its mean and the share of jets with a match, with "
        "statistical errors, in ranges of the pT in the full simulation with equally many jets; the first "
        "and the second jet of an event together.",
        collisions.matched_jets(
            edges_GeV,
            {
                "Mean pT ratio": tuple(
                    mean_in_ranges(pt_GeV, values, edges_GeV) for values in (fast, generated)
                ),
                resolution: tuple(relative_spread(pt_GeV, values, edges_GeV) for values in (fast, generated)),
                share: tuple(
                    mean_in_ranges(pt_GeV, np.isfinite(values), edges_GeV) for values in (fast, generated)
                ),
            },
        ),
    )
