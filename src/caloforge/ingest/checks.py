"""What ingest learns of the data while they stream past, and what it refuses about them as a whole."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.geometry import AXES, Geometry
from caloforge.ingest.batch import Batch
from caloforge.ingest.split import splitmix64
from caloforge.showers import ShowerFile
from caloforge.units import unit_factor

LEAST_CORRELATION = 0.5
"""Of the centre of gravity with the direction, if the axes are right."""
ROUNDING = 1e-12
"""Variance over mean square that is rounding and no variation."""
FRACTION_BINS = 100_000
"""Resolution of the quantiles of the visible fraction, which is finer below 0.001."""
LARGEST_OF_PAIRS = 10
"""Full over fast energy of a pair up to which quantiles are told apart."""
DEEP = 5
"""Layers from which on the depth of a shower is checked."""
EVENTS_AT_A_TIME = 4_000_000
"""Event numbers held in memory at a time, about, by the search for duplicates."""


class Survey:
    """Sums over all showers of a data set, in memory that does not grow with their number.

    The sums are exact, so that they are the same whether one survey takes in all files or several do, whose
    states are put together.

    Parameters
    ----------
    settings
        Of the data set.
    """

    def __init__(self, settings: DatasetSettings) -> None:
        self._settings = settings
        geometry = settings.geometry
        weights = [np.ones(geometry.n_cells)]
        self._is_deep = settings.has_primaries and len(geometry.layers) >= DEEP
        if settings.axis_check or self._is_deep:
            weights += _positions(geometry)
        self._weights = [weight.astype(np.float32) for weight in weights]
        self._ranges: dict[str, tuple[float, float]] = {}
        highest = max(1.0, settings.visible_fraction[1]) if settings.has_primaries else LARGEST_OF_PAIRS
        step = highest / FRACTION_BINS
        even = step * np.arange(100, FRACTION_BINS + 2)
        self._fraction_edges = np.concatenate([[0], np.geomspace(1e-12, even[0], 2000, endpoint=False), even])
        self._fractions = np.zeros(len(self._fraction_edges), dtype=np.int64)
        self._counts: defaultdict[str, Fraction] = defaultdict(Fraction)
        self._events = self._empty = self._hit_cells = 0
        self._leaning, self._deepening = Correlations(2, 2), Correlations(3, 1)

    def add(self, batch: Batch) -> None:
        """Take in a batch.

        Raises
        ------
        CaloforgeError
            If a shower holds clearly more energy than its primary, or none where that is refused.
        """
        showers = batch.showers
        # einsum, because the threads of a matrix product would fight the one that reads
        visible_MeV, *moments = (
            np.einsum("nv,v->n", showers.showers, weight).astype(np.float64) for weight in self._weights
        )
        incident_MeV = showers.incident_energies[:, 0].astype(np.float64)
        self._check_energies(batch, visible_MeV, incident_MeV)
        self._count(batch.counts())
        self._events += len(showers)
        self._empty += int(np.count_nonzero(visible_MeV == 0))
        self._hit_cells += int(np.count_nonzero(showers.showers))
        for name, values in {"incident energy": incident_MeV / 1000, **showers.conditions}.items():
            self._widen(name, values)
        with np.errstate(divide="ignore", invalid="ignore"):
            centres = [moment / visible_MeV for moment in moments]
            if check := self._settings.axis_check:
                slopes = [
                    showers.conditions[a].astype(np.float64) / showers.conditions[b]
                    for a, b in (check.x, check.y)
                ]
                self._leaning.add(centres[1:], slopes)
            if self._is_deep:
                self._deepening.add(centres, [np.log(incident_MeV)])

    def state(self) -> dict[str, Any]:
        """All sums as plain data, for `include`."""
        bins = np.flatnonzero(self._fractions)
        return {
            "ranges": self._ranges,
            "fractions": {"bins": bins.tolist(), "events": self._fractions[bins].tolist()},
            "counts": {name: str(count) for name, count in self._counts.items()},
            "events": self._events,
            "empty": self._empty,
            "hit_cells": self._hit_cells,
            "leaning": self._leaning.state(),
            "deepening": self._deepening.state(),
        }

    def include(self, state: Mapping[str, Any]) -> None:
        """Take in what the survey of other events of the data set has added up."""
        for name, ends in state["ranges"].items():
            self._widen(name, np.array(ends))
        self._fractions[state["fractions"]["bins"]] += np.array(state["fractions"]["events"], dtype=np.int64)
        self._count(state["counts"])
        self._events += state["events"]
        self._empty += state["empty"]
        self._hit_cells += state["hit_cells"]
        self._leaning.include(state["leaning"])
        self._deepening.include(state["deepening"])

    def _count(self, counts: Mapping[str, float | str]) -> None:
        for name, count in counts.items():
            self._counts[name] += Fraction(count)

    def _widen(self, name: str, values: np.ndarray) -> None:
        if len(values):
            low, high = self._ranges.get(name, (np.inf, -np.inf))
            self._ranges[name] = float(values.min(initial=low)), float(values.max(initial=high))

    def check(self, name: str) -> None:
        """Refuse a data set called `name` whose units or axes look wrong as a whole.

        Raises
        ------
        CaloforgeError
            Saying what was found and what it looks like.
        """
        self._check_visible_fraction(name)
        self._check_axes(name)
        self._check_depth(name)

    def _check_energies(self, batch: Batch, visible_MeV: np.ndarray, incident_MeV: np.ndarray) -> None:
        if self._settings.empty_showers == "refuse" and not visible_MeV.all():
            raise CaloforgeError(
                f"{batch.place(int(visible_MeV.argmin()))}: a shower without energy found, "
                f"expected none: empty_showers is refuse"
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            fraction = np.nan_to_num(visible_MeV / incident_MeV, posinf=np.inf)
        highest = self._settings.visible_fraction[1]
        if self._settings.has_primaries and (fraction > highest).any():
            row = int(fraction.argmax())
            raise CaloforgeError(
                f"{batch.place(row)}: {visible_MeV[row]:.6g} MeV visible found, expected at most {highest:g} "
                f"of the incident {incident_MeV[row]:.6g} MeV: {self._unit_advice(fraction[row])}"
            )
        bins = np.searchsorted(self._fraction_edges, fraction, side="right") - 1
        self._fractions += np.bincount(bins, minlength=len(self._fractions))

    def _check_visible_fraction(self, name: str) -> None:
        median, lowest = self._fraction_quantile(0.5), self._settings.visible_fraction[0]
        if self._settings.has_primaries and self._empty < self._events / 2 and median < lowest:
            raise CaloforgeError(
                f"data set {name}: {median:.2g} of the incident energy visible in half of the events found, "
                f"expected at least {lowest:g}: {self._unit_advice(median)}"
            )

    def _unit_advice(self, fraction: float) -> str:
        """Which unit of the cells would make a visible fraction plausible."""
        unit = self._settings.source.cell_energy_unit
        low, high = self._settings.visible_fraction
        advice = "check source.cell_energy_unit and source.incident_energy.unit"
        for other in ("eV", "keV", "MeV", "GeV", "TeV"):
            corrected = fraction * unit_factor(other, unit)
            if max(low, 1e-3) < corrected < min(high, 1):
                advice += f" (cells in {other} instead of {unit} would make it {corrected:.2g})"
        return f"{advice}, or set visible_fraction to what this detector sees"

    def _check_axes(self, name: str) -> None:
        """Refuse a data set in which the showers do not lean the way their primaries do."""
        check = self._settings.axis_check
        if check is None:
            return
        (x, x_crossed), (y_crossed, y) = self._leaning.values()
        own, crossed = (x, y), (x_crossed, y_crossed)
        if all(c > LEAST_CORRELATION and c > other for c, other in zip(own, crossed, strict=True)):
            return
        if all(abs(other) > max(abs(c), LEAST_CORRELATION) for c, other in zip(own, crossed, strict=True)):
            guess = "x and y look swapped"
        elif mirrored := [axis for axis, c in zip("xy", own, strict=True) if c < -LEAST_CORRELATION]:
            guess = f"{' and '.join(mirrored)} look{'s' if len(mirrored) == 1 else ''} mirrored"
        else:
            guess = "the showers do not follow the conditions"
        raise CaloforgeError(
            f"data set {name}: axis_check: {guess}: correlation of the centre of gravity in x with "
            f"{'/'.join(check.x)} {own[0]:.2f} and with {'/'.join(check.y)} {crossed[0]:.2f}, in y with "
            f"{'/'.join(check.y)} {own[1]:.2f} and with {'/'.join(check.x)} {crossed[1]:.2f} found, "
            f"expected the first above {LEAST_CORRELATION} and above the second"
        )

    def _check_depth(self, name: str) -> None:
        """Refuse a data set in which showers of higher energy do not reach deeper, but farther elsewhere.

        The depth of the shower maximum grows with the logarithm of the energy (see
        `Geometry.shower_maximum_mm`), the lateral position does not; the distance r from the axis may.
        """
        if not self._is_deep:
            return
        depth, *lateral = (row[0] for row in self._deepening.values())
        axes = AXES[self._settings.geometry.kind]
        guess = None
        if depth < -LEAST_CORRELATION:
            guess = "the layers look numbered from the back"
        for axis, correlation in zip(axes, lateral, strict=True):
            if axis != "r" and abs(correlation) > max(abs(depth), LEAST_CORRELATION):
                guess = f"{axis} and layer look swapped"
        if guess:
            raise CaloforgeError(
                f"data set {name}: {guess}: correlation of the logarithm of the incident energy with the "
                f"centre of gravity in layer {depth:.2f}, in {axes[0]} {lateral[0]:.2f} and in {axes[1]} "
                f"{lateral[1]:.2f} found, expected the first to be the highest"
            )

    def summary(self) -> dict[str, Any]:
        """Numbers for the record of the stage."""
        ranges = dict(self._ranges)
        (x, x_crossed), (y_crossed, y) = self._leaning.values()
        return {
            "incident_energy_GeV": ranges.pop("incident energy"),
            "conditions": {
                name: {"unit": self._settings.conditions[name].unit, "range": ends}
                for name, ends in ranges.items()
            },
            "visible_fraction_quantiles": {
                f"{q:g}": round(self._fraction_quantile(q), 5) for q in (0.01, 0.25, 0.5, 0.75, 0.99)
            },
            "zero_cells": 1 - self._hit_cells / (self._events * self._settings.geometry.n_cells),
            "events_without_hits": self._empty,
            "axis_check": {"x": x, "x_crossed": x_crossed, "y": y, "y_crossed": y_crossed}
            if self._settings.axis_check
            else None,
            "counts": {
                name: int(count) if count.denominator == 1 else float(count)
                for name, count in self._counts.items()
            },
        }

    def _fraction_quantile(self, q: float) -> float:
        return float(self._fraction_edges[np.searchsorted(np.cumsum(self._fractions), q * self._events)])


class Correlations:
    """Pearson correlations of some quantities with others, from sums over batches."""

    def __init__(self, rows: int, columns: int) -> None:
        self._rows = rows
        self._products = np.full((1 + rows + columns, 1 + rows + columns), Fraction(0))

    def add(self, rows: list[np.ndarray], columns: list[np.ndarray]) -> None:
        """Take in events, one array of shape (n,) per quantity, but for those with one that is not finite."""
        table = np.stack([np.ones_like(rows[0]), *rows, *columns], axis=1)
        table = table[np.isfinite(table).all(axis=1)]
        self._products += _exact(table.T @ table)

    def state(self) -> list[list[str]]:
        """All sums as plain data, for `include`."""
        return [[str(total) for total in row] for row in self._products]

    def include(self, state: Sequence[Sequence[str]]) -> None:
        """Add the sums over other events."""
        self._products += _exact(state)

    def values(self) -> list[list[float]]:
        """One list per row, of the correlations with the columns; 0 where one does not vary."""
        products = self._products.astype(float)
        n, sums, squares = products[0, 0], products[0, 1:], products[1:, 1:]
        covariance = squares - np.outer(sums, sums) / max(n, 1)
        variance = np.diag(covariance)
        spread = np.sqrt(np.where(variance > ROUNDING * np.diag(squares), variance, np.inf))
        correlation = covariance / np.outer(spread, spread)
        return correlation[: self._rows, self._rows :].tolist()


_exact = np.vectorize(Fraction, otypes=[object])


def _positions(geometry: Geometry) -> list[np.ndarray]:
    """Layer number and the two coordinates of the centre of each cell: three arrays of shape (V,)."""
    depth = [np.full(layer.n_cells, number) for number, layer in enumerate(geometry.layers)]
    first, second = [], []
    for layer in geometry.layers:
        centres = [(layer.edges(axis)[:-1] + layer.edges(axis)[1:]) / 2 for axis in (0, 1)]
        first.append(np.repeat(centres[0], layer.shape[1]))
        second.append(np.tile(centres[1], layer.shape[0]))
    return [np.concatenate(positions).astype(np.float64) for positions in (depth, first, second)]


def duplicate(paths: Sequence[Path]) -> int | None:
    """An event number that occurs more than once in canonical files together, or None.

    Reads the event numbers once per bucket of their hashes and sorts one bucket at a time, so that memory
    does not grow with the files.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(ShowerFile(path)) for path in paths]
        buckets = np.uint64(1 + sum(map(len, files)) // EVENTS_AT_A_TIME)
        for bucket in range(int(buckets)):
            blocks = (block for file in files for block in file.event_blocks(EVENTS_AT_A_TIME))
            numbers = np.sort(np.concatenate([e[splitmix64(e) % buckets == bucket] for e in blocks]))
            repeated = numbers[1:][numbers[1:] == numbers[:-1]]
            if len(repeated):
                return int(repeated[0])
    return None
