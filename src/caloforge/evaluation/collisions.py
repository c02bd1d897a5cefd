"""Generated collisions beside the full and the fast simulation of the same events: distributions of jets."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from caloforge.config.stages import EvaluationSettings
from caloforge.evaluation.observables import Observables
from caloforge.figures import collisions
from caloforge.figures.album import Drawn
from caloforge.figures.collisions import NAMES, Panel, Simulations
from caloforge.figures.comparison import Estimates
from caloforge.figures.style import axis_label
from caloforge.metrics.bootstrap import bootstrapped
from caloforge.metrics.chi_squared import BINS, bin_numbers, chi_squared, event_counts
from caloforge.metrics.distributions import bin_edges, has_bins
from caloforge.observables.observable import Observable
from caloforge.seeds import derive_seed
from caloforge.tables import Estimate, Row, Table

OF_THE_PAPER = (
    "tau1",
    "tau2",
    "girth",
    "two_point_moment",
    "pt",
    "mass",
    "eta",
    "phi",
    "delta_eta",
    "delta_phi",
)
"""Quantities in the order of E. Simsek et al., CALPAGAN, tables 1 and 2."""
COMPARISONS = ("fast – full", "full – generated", "fast – generated", "floor")
RATIO = "full – generated over fast – full"
JETS = (1, 2)
_OF_A_JET = re.compile(r"^jet[12]_")
_DEFINITION = (
    f"Σ (a − b)² / (a + b) over at most {BINS} bins between the quantiles 0.5 % and 99.5 % of the full "
    "simulation, the outermost with what lies beyond"
)


class Distribution(NamedTuple):
    """An observable of three simulations.

    Attributes
    ----------
    observable
        Text and unit.
    values
        One per event of each simulation, NaN where undefined, shape (N,).
    edges
        Of the bins, None where the full simulation defines it for no event.
    chi_squared
        The distances `COMPARISONS` and `RATIO`.
    """

    observable: Observable
    values: Simulations
    edges: np.ndarray | None
    chi_squared: Mapping[str, Estimate]


def compare(
    settings: EvaluationSettings, samples: Simulations, other: Observables, independent: np.ndarray
) -> tuple[list[Table], list[Drawn]]:
    """χ² distances between the simulations as in the tables of CALPAGAN, and figures of every observable.

    Distances are those of `metrics.chi_squared`, in bins that the full simulation decides. Their errors are
    standard deviations over resamplings, each with the same events in the three simulations and of all
    observables; so the error of the ratio knows that both its distances share the full simulation. The floor
    is the distance to independent events of the full simulation.

    Parameters
    ----------
    settings
        Resamplings and their seed.
    samples
        Observables of the same events in each simulation.
    other, independent
        Observables of other events of the full simulation, and the row numbers of those behind the floor.

    Returns
    -------
    tuple
        Tables of the distances and of their ratios, and figures.
    """
    found = {
        name: _distribution(
            settings,
            observable,
            Simulations(*(sample.scalars[name][1] for sample in samples)),
            other.scalars[name][1][independent],
        )
        for name, (observable, _) in samples.full.scalars.items()
    }
    quantities = {name: [found[part] for part in parts] for name, parts in _quantities(found).items()}
    tables = _tables(quantities.values(), len(samples.full), len(independent))
    return tables, [*_figures(quantities), *_profiles(samples)]


def _quantities(names: Iterable[str]) -> dict[str, list[str]]:
    """Observables of each quantity, two if jets have it; first those of the paper, then others of jets."""
    parts: dict[str, list[str]] = {}
    for name in sorted(names):
        parts.setdefault(_OF_A_JET.sub("", name), []).append(name)
    of_jets = [quantity for quantity, names in parts.items() if len(names) == len(JETS)]
    in_order = dict.fromkeys([*filter(parts.__contains__, OF_THE_PAPER), *of_jets, *parts])
    return {quantity: parts[quantity] for quantity in in_order}


def _distribution(
    settings: EvaluationSettings, observable: Observable, values: Simulations, independent: np.ndarray
) -> Distribution:
    if not has_bins(values.full, log=observable.log):
        nothing = {name: {"value": None, "error": None} for name in (*COMPARISONS, RATIO)}
        return Distribution(observable, values, None, nothing)
    edges = bin_edges(values.full, log=observable.log, bins=BINS)
    bins = len(edges) - 1
    full, fast, generated, floor = (bin_numbers(sample, edges) for sample in (*values, independent))

    def of_the_same_events(rows: np.ndarray, _: np.ndarray) -> tuple[float, ...]:
        fast_full = chi_squared(full[rows], fast[rows], bins)
        full_generated = chi_squared(full[rows], generated[rows], bins)
        ratio = full_generated / fast_full if fast_full else np.nan
        return fast_full, full_generated, chi_squared(fast[rows], generated[rows], bins), ratio

    def of_others(rows: np.ndarray, other_rows: np.ndarray) -> tuple[float]:
        return (chi_squared(full[rows], floor[other_rows], bins),)

    options = {"resamplings": settings.bootstrap, "seed": derive_seed(settings.seed, "chi_squared")}
    n = len(full)
    return Distribution(
        observable,
        values,
        edges,
        bootstrapped(of_the_same_events, [*COMPARISONS[:3], RATIO], n, n, paired=True, **options)
        | bootstrapped(of_others, COMPARISONS[3:], n, len(floor), paired=False, **options),
    )


def _tables(quantities: Collection[Sequence[Distribution]], n: int, n_independent: int) -> list[Table]:
    return [
        Table(
            "χ² distances",
            f"{_DEFINITION}. The same {n:,} events in the full, the fast and the generated simulation; "
            f"floor: full simulation against {n_independent:,} independent events of it, scaled to as many, "
            "so that samples of the same events can lie below. What belongs to no single jet is under jet 1.",
            [f"{comparison}: jet {jet}" for comparison in COMPARISONS for jet in JETS],
            [_row(distributions, COMPARISONS) for distributions in quantities],
        ),
        Table(
            "χ² distances over those of the input",
            "Distance of the generated to the full simulation over that of the fast to the full one: below 1 "
            "where generated events are closer than what they were made from. Errors from the same "
            "resamplings of the events.",
            [f"jet {jet}" for jet in JETS],
            [_row(distributions, [RATIO]) for distributions in quantities],
        ),
    ]


def _row(distributions: Sequence[Distribution], comparisons: Sequence[str]) -> Row:
    of_jets = [*distributions, *[None] * (len(JETS) - len(distributions))]
    cells = [found and found.chi_squared[comparison] for comparison in comparisons for found in of_jets]
    return Row(_label(distributions), "1", cells)


def _label(distributions: Sequence[Distribution]) -> str:
    """What a quantity is called, of whichever jet: without what stands before a colon."""
    text = distributions[0].observable.label.rpartition(": ")[2]
    return text[:1].upper() + text[1:]


def _figures(quantities: Mapping[str, Sequence[Distribution]]) -> Iterator[Drawn]:
    for quantity, distributions in quantities.items():
        drawn = [found for found in distributions if found.edges is not None]
        is_of_jets = quantity in OF_THE_PAPER or len(distributions) == len(JETS)
        if drawn:
            yield Drawn(
                f"distribution_{quantity}.svg",
                "Jets" if is_of_jets else "Events as a whole",
                _label(distributions),
                f"χ² to the full simulation: {_DEFINITION}. Bands and bars: statistical errors.",
                collisions.distributions([_panel(found) for found in drawn]),
            )


def _panel(found: Distribution) -> Panel:
    values = Simulations(*(_counted(sample, found.edges) for sample in found.values))
    fast_full, full_generated, fast_generated = (_text(found.chi_squared[name]) for name in COMPARISONS[:3])
    return Panel(
        found.edges,
        values,
        Simulations(
            f"{NAMES.full} ({values.full.n:,})",
            f"{NAMES.fast} ({values.fast.n:,}), χ² = {fast_full}",
            f"{NAMES.generated} ({values.generated.n:,}), χ² = {full_generated}",
        ),
        f"Fast – generated: χ² = {fast_generated}",
        axis_label(found.observable.label, found.observable.unit),
        "Events per bin",
        found.observable.log,
    )


def _counted(values: np.ndarray, edges: np.ndarray) -> Estimates:
    counts = event_counts(bin_numbers(values, edges), len(edges) - 1)
    return Estimates(counts, np.sqrt(counts), counts.sum())


def _text(distance: Estimate) -> str:
    value, error = distance["value"], distance["error"]
    if value is None:
        return "–"
    return f"{value:.0f} ± {error:.0f}" if error >= 10 else f"{value:.1f} ± {error:.1f}"


def _profiles(samples: Simulations) -> Iterator[Drawn]:
    for name, (axes, _) in samples.full.profiles.items():
        yield Drawn(
            f"profile_{name}.svg",
            "Events as a whole",
            f"{axes['label']} against {axes['x_label'].lower()}",
            "Mean over the events with its standard error.",
            collisions.distributions(
                [
                    Panel(
                        axes["x"],
                        Simulations(*(sample.profiles[name][1] for sample in samples)),
                        NAMES,
                        "",
                        axis_label(axes["x_label"], axes["x_unit"]),
                        axis_label(axes["label"], axes["unit"]),
                        bool(axes["log_x"]),
                    )
                ]
            ),
        )
