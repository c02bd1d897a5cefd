"""What ingest learns of the data while they stream past, and what it refuses about them as a whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.ingest.root_cells import Batch
from caloforge.ingest.split import splitmix64
from caloforge.showers import ShowerFile

LARGEST_FRACTION = 1.05
"""Visible over incident energy above which the units must be wrong."""
LEAST_CORRELATION = 0.5
"""Of the centre of gravity with the direction, if the axes are right."""
ROUNDING = 1e-12
"""Variance over mean square that is rounding and no variation."""
FRACTION_STEP = 1e-5
"""Resolution of the quantiles of the visible fraction."""
EVENTS_AT_A_TIME = 4_000_000
"""Event numbers held in memory at a time, about, by the search for duplicates."""


class Survey:
    """Sums over all showers of a data set, in memory that does not grow with their number.

    Parameters
    ----------
    settings
        Of the data set.
    """

    def __init__(self, settings: DatasetSettings) -> None:
        self._settings = settings
        layers = settings.geometry.layers
        x_mm = np.concatenate([np.repeat(layer.centres_mm(0), layer.shape[1]) for layer in layers])
        y_mm = np.concatenate([np.tile(layer.centres_mm(1), layer.shape[0]) for layer in layers])
        self._weights = [weight.astype(np.float32) for weight in (np.ones_like(x_mm), x_mm, y_mm)]
        self._ranges: dict[str, tuple[float, float]] = {}
        self._fractions = np.zeros(round(LARGEST_FRACTION / FRACTION_STEP) + 1, dtype=np.int64)
        self._events = self._empty = self._hit_cells = 0
        self._products = np.zeros((5, 5))

    def add(self, batch: Batch) -> None:
        """Take in a batch.

        Raises
        ------
        CaloforgeError
            If a shower holds clearly more energy than its primary.
        """
        showers = batch.showers
        # einsum, because the threads of a matrix product would fight the one that reads
        visible_MeV, *moments = (
            np.einsum("nv,v->n", showers.showers, weight).astype(np.float64) for weight in self._weights
        )
        incident_MeV = showers.incident_energies[:, 0].astype(np.float64)
        fraction = visible_MeV / incident_MeV
        if (fraction > LARGEST_FRACTION).any():
            row = int(fraction.argmax())
            raise CaloforgeError(
                f"{batch.place(row)}: {visible_MeV[row]:.6g} MeV visible found, expected at most "
                f"the incident {incident_MeV[row]:.6g} MeV: check source.cell_energy_unit and "
                f"source.incident_energy.unit"
            )
        self._events += len(showers)
        self._empty += int(np.count_nonzero(visible_MeV == 0))
        self._hit_cells += int(np.count_nonzero(showers.showers))
        self._fractions += np.bincount((fraction / FRACTION_STEP).astype(int), minlength=len(self._fractions))
        for name, values in {"incident energy": incident_MeV / 1000, **showers.conditions}.items():
            low, high = self._ranges.get(name, (np.inf, -np.inf))
            self._ranges[name] = min(low, float(values.min())), max(high, float(values.max()))
        if self._settings.axis_check:
            self._add_axes(showers.conditions, visible_MeV, moments)

    def check_axes(self, name: str) -> None:
        """Refuse a data set in which the showers do not lean the way their primaries do.

        Raises
        ------
        CaloforgeError
            Saying whether the axes look swapped or mirrored.
        """
        if self._settings.axis_check is None:
            return
        correlations = self._correlations()
        own, crossed = (
            [correlations[key] for key in keys] for keys in (("x", "y"), ("x_crossed", "y_crossed"))
        )
        if all(c > LEAST_CORRELATION and c > other for c, other in zip(own, crossed, strict=True)):
            return
        if all(abs(other) > max(abs(c), LEAST_CORRELATION) for c, other in zip(own, crossed, strict=True)):
            guess = "x and y look swapped"
        elif mirrored := [axis for axis, c in zip("xy", own, strict=True) if c < -LEAST_CORRELATION]:
            guess = f"{' and '.join(mirrored)} look{'s' if len(mirrored) == 1 else ''} mirrored"
        else:
            guess = "the showers do not follow the conditions"
        check = self._settings.axis_check
        raise CaloforgeError(
            f"data set {name}: axis_check: {guess}: correlation of the centre of gravity in x with "
            f"{'/'.join(check.x)} {own[0]:.2f} and with {'/'.join(check.y)} {crossed[0]:.2f}, in y with "
            f"{'/'.join(check.y)} {own[1]:.2f} and with {'/'.join(check.x)} {crossed[1]:.2f} found, "
            f"expected the first above {LEAST_CORRELATION} and above the second"
        )

    def summary(self) -> dict[str, Any]:
        """Numbers for the record of the stage."""
        cumulative = np.cumsum(self._fractions)
        quantiles = {
            f"{q:g}": round(float(np.searchsorted(cumulative, q * self._events)) * FRACTION_STEP, 5)
            for q in (0.01, 0.25, 0.5, 0.75, 0.99)
        }
        ranges = dict(self._ranges)
        return {
            "incident_energy_GeV": ranges.pop("incident energy"),
            "conditions": {
                name: {"unit": self._settings.conditions[name].unit, "range": ends}
                for name, ends in ranges.items()
            },
            "visible_fraction_quantiles": quantiles,
            "zero_cells": 1 - self._hit_cells / (self._events * self._settings.geometry.n_cells),
            "events_without_hits": self._empty,
            "axis_check": self._correlations() if self._settings.axis_check else None,
        }

    def _add_axes(
        self, conditions: Mapping[str, np.ndarray], visible_MeV: np.ndarray, moments: list[np.ndarray]
    ) -> None:
        check = self._settings.axis_check
        with np.errstate(divide="ignore", invalid="ignore"):
            columns = [np.ones_like(visible_MeV), *(moment / visible_MeV for moment in moments)]
            columns += [conditions[a].astype(np.float64) / conditions[b] for a, b in (check.x, check.y)]
        rows = np.stack(columns, axis=1)
        rows = rows[np.isfinite(rows).all(axis=1)]
        self._products += rows.T @ rows

    def _correlations(self) -> dict[str, float]:
        """Pearson correlations of the centre of gravity with the direction, 0 where one does not vary."""
        n, sums, squares = self._products[0, 0], self._products[0, 1:], self._products[1:, 1:]
        covariance = squares - np.outer(sums, sums) / max(n, 1)
        variance = np.diag(covariance)
        spread = np.sqrt(np.where(variance > ROUNDING * np.diag(squares), variance, np.inf))
        correlation = covariance / np.outer(spread, spread)
        (x, x_crossed), (y_crossed, y) = correlation[:2, 2:].tolist()
        return {"x": x, "x_crossed": x_crossed, "y": y, "y_crossed": y_crossed}


def duplicate(path: Path) -> int | None:
    """An event number that occurs more than once in a canonical file, or None.

    Reads the event numbers once per bucket of their hashes and sorts one bucket at a time, so that memory
    does not grow with the file.
    """
    with ShowerFile(path) as file:
        buckets = np.uint64(1 + len(file) // EVENTS_AT_A_TIME)
        for bucket in range(int(buckets)):
            numbers = np.sort(
                np.concatenate(
                    [e[splitmix64(e) % buckets == bucket] for e in file.event_blocks(EVENTS_AT_A_TIME)]
                )
            )
            repeated = numbers[1:][numbers[1:] == numbers[:-1]]
            if len(repeated):
                return int(repeated[0])
    return None
