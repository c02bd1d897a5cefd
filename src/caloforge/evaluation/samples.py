"""Numbers that whole samples of showers have, each beside its floor, and which showers they are made of."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from caloforge.config.stages import EvaluationSettings
from caloforge.errors import CaloforgeError
from caloforge.evaluation.observables import Observables
from caloforge.metrics.bootstrap import bootstrapped
from caloforge.seeds import derive_seed
from caloforge.showers import ShowerFile

_BLOCK_EVENTS = 1 << 20


class Samples(NamedTuple):
    """The three samples, or something about each of them."""

    full: Any
    generated: Any
    independent: Any


def random_rows(seed: int, purpose: str, n: int, most: int) -> np.ndarray:
    """At most `most` of n rows, chosen at random for a purpose, increasing."""
    rng = np.random.default_rng(derive_seed(seed, purpose))
    return np.sort(rng.choice(n, min(n, most), replace=False))


def check_showers(path: Path, observables: Observables) -> None:
    """Make sure that a file holds the very showers that observables were made from.

    Raises
    ------
    CaloforgeError
        If it does not, or cannot be read.
    """
    with ShowerFile(path) as file:
        if len(file) != len(observables):
            raise CaloforgeError(
                f"{path}: holds {len(file)} showers, expected {len(observables)} as {observables.path}"
            )
        start = 0
        for events in file.event_blocks(_BLOCK_EVENTS):
            if not np.array_equal(events, observables.event[start : start + len(events)]):
                raise CaloforgeError(f"{path}: its events are not those of {observables.path}")
            start += len(events)


def measured(
    settings: EvaluationSettings,
    data: Samples,
    measure: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], Sequence[float]],
    labels: Mapping[str, tuple[str, str]],
    *,
    note: str,
) -> dict[str, Any]:
    """Entries of the numbers that `measure` gives for the arrays of the reference and of another sample."""

    def compared(other: Sequence[np.ndarray], kind: str) -> dict[str, Any]:
        return bootstrapped(
            lambda rows, other_rows: measure(
                [values[rows] for values in data.full], [values[other_rows] for values in other]
            ),
            list(labels),
            len(data.full[0]),
            len(other[0]),
            paired=kind == "generated",
            resamplings=settings.bootstrap,
            seed=derive_seed(settings.seed, *labels, kind),
        )

    generated, floor = compared(data.generated, "generated"), compared(data.independent, "floor")
    return {
        name: {"label": label, "unit": unit, "generated": generated[name], "floor": floor[name], "note": note}
        for name, (label, unit) in labels.items()
    }
