"""Radial shower profiles of two components: shares of cells in closed form, and a fit to rows of cells.

f(r) = p 2 r Rc² / (r² + Rc²)² + (1 - p) 2 r Rt² / (r² + Rt²)², core and tail: G. Grindhammer and S. Peters,
hep-ex/0001020, section 3.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from caloforge.geometry import CartesianLayer

_OFFSETS_PER_CELL = 8
_START = (0.3, 2.0, 0.7)
"""Radii over the cell size, and p, from where the fit begins."""
_RADII = (0.02, 200)
"""Limits of radii, over the cell size."""
_LOGIT_LIMIT = 8
_SLOPE_LIMIT = 1


class RadialProfile(NamedTuple):
    """Core and tail of the showers in a layer.

    Attributes
    ----------
    core_mm, tail_mm
        Rc and Rt [mm], shape (n,).
    core_share
        p, shape (n,).
    """

    core_mm: np.ndarray
    tail_mm: np.ndarray
    core_share: np.ndarray


def row_shares(
    profile: RadialProfile, offset_mm: np.ndarray, width_mm: np.ndarray, half_length_mm: np.ndarray
) -> np.ndarray:
    """Shares of the energy in rows of cells, each as long on one side of the axis as on the other.

    Parameters
    ----------
    profile
        Of n showers.
    offset_mm
        Distance of the middle of the row from the axis [mm], with a sign, shape (n,).
    width_mm, half_length_mm
        Of the row, and half of its length [mm], shape (n,).
    """

    def up_to(x_mm: np.ndarray) -> np.ndarray:
        core, tail = (
            _corner_share(x_mm, half_length_mm, radius_mm) for radius_mm in (profile.core_mm, profile.tail_mm)
        )
        return 2 * (profile.core_share * core + (1 - profile.core_share) * tail)

    return up_to(offset_mm + width_mm / 2) - up_to(offset_mm - width_mm / 2)


def cell_shares(profile: RadialProfile, axis_mm: np.ndarray, layer: CartesianLayer) -> np.ndarray:
    """Shares of the energy in the cells of a layer; they add up to 1: what misses the layer is not visible.

    Parameters
    ----------
    profile
        Of n showers.
    axis_mm
        Where they are in the layer: x and y [mm], shape (n, 2).
    layer
        Of cells.

    Returns
    -------
    np.ndarray
        Shape (n, cells).
    """
    x_mm = (layer.edges(0) - axis_mm[:, :1])[:, :, None]
    y_mm = (layer.edges(1) - axis_mm[:, 1:])[:, None, :]

    core_mm, tail_mm, core_share = (values[:, None, None] for values in profile)
    core, tail = (_corner_share(x_mm, y_mm, radius_mm) for radius_mm in (core_mm, tail_mm))
    mixed = core_share * core + (1 - core_share) * tail
    shares = np.maximum(np.diff(np.diff(mixed, axis=1), axis=2), 0).reshape(len(axis_mm), -1)
    return shares / shares.sum(axis=1, keepdims=True)


def _corner_share(x_mm: np.ndarray, y_mm: np.ndarray, radius_mm: np.ndarray) -> np.ndarray:
    """Integral of a component, R² / (r² + R²)² / π in the plane, from the axis to the corner (x, y)."""
    u, v = np.sqrt(x_mm**2 + radius_mm**2), np.sqrt(y_mm**2 + radius_mm**2)
    return (x_mm / u * np.arctan(y_mm / u) + y_mm / v * np.arctan(x_mm / v)) / (2 * np.pi)


class RowSums:
    """Mean energy of rows of cells against their distance from the axis, in ranges of energy, of one layer.

    Parameters
    ----------
    layer
        Of cells.
    ranges
        Number of ranges of energy.
    """

    def __init__(self, layer: CartesianLayer, ranges: int) -> None:
        self.layer = layer
        self._bins = [2 * _OFFSETS_PER_CELL * n + 1 for n in layer.shape]
        self._energy_MeV = [np.zeros((ranges, bins)) for bins in self._bins]
        self._exposed_MeV = [np.zeros((ranges, bins)) for bins in self._bins]

    def add(self, axis: int, cells_MeV: np.ndarray, middle_mm: np.ndarray, number: np.ndarray) -> None:
        """Add rows along x (axis 0) or y (axis 1) of showers.

        Parameters
        ----------
        axis, cells_MeV
            The axis; cells of the layer [MeV], shape (n, cells).
        middle_mm
            Where the axis of each shower is along it [mm], shape (n,).
        number
            Range of energy of each shower, shape (n,).
        """
        image_MeV = cells_MeV.reshape(-1, *self.layer.shape)
        rows_MeV = image_MeV.sum(axis=2 - axis, dtype=np.float64)
        exposed_MeV = np.broadcast_to(rows_MeV.sum(axis=1, keepdims=True), rows_MeV.shape)
        offset_mm = self.layer.centres_mm(axis) - middle_mm[:, None]
        bins = self._bins[axis]
        bin_ = np.rint(offset_mm * _OFFSETS_PER_CELL / self.layer.cell_size_mm[axis]).astype(np.intp)
        bin_ += bins // 2
        inside = (bin_ >= 0) & (bin_ < bins)
        place = (number[:, None] * bins + bin_)[inside]
        for sums, added in ((self._energy_MeV, rows_MeV), (self._exposed_MeV, exposed_MeV)):
            sums[axis] += np.bincount(place, added[inside], sums[axis].size).reshape(-1, bins)

    def fit(self, log_energy: np.ndarray) -> np.ndarray:
        """ln Rc, ln Rt [mm] and logit p of the layer as straight lines in ln(energy).

        The least Σ w (e - g ln e) over rows along x and along y, with the share g of the energy in a row, its
        expectation e and the weight w = 1 + distance from the axis over the width of the row. Without weights
        this would be the largest likelihood, as in `longitudinal.fit_shapes`, which hardly sees the tail that
        two components cannot follow. Every range of energy counts as much.

        Parameters
        ----------
        log_energy
            Of each range of energy, shape (ranges,); one range has lines without slope.

        Returns
        -------
        np.ndarray
            Values at 0 and slopes: shape (2, 3).
        """
        width_mm = min(self.layer.cell_size_mm)
        start = np.array([*np.log(np.array(_START[:2]) * width_mm), special.logit(_START[2])])
        low, high = np.log(width_mm * np.array(_RADII))
        limits = [(low, high), (low, high), (-_LOGIT_LIMIT, _LOGIT_LIMIT)]
        slopes = [(-_SLOPE_LIMIT, _SLOPE_LIMIT) if len(log_energy) > 1 else (0, 0)] * 3
        rows = self._rows(log_energy)

        def loss(parameters: np.ndarray) -> float:
            profile = profile_at(parameters.reshape(2, 3), rows.log_energy)
            expected = rows.exposure * row_shares(profile, rows.offset_mm, rows.width_mm, rows.half_length_mm)
            expected /= np.bincount(rows.sample, expected)[rows.sample]
            weights = 1 + np.abs(rows.offset_mm) / rows.width_mm
            return float(weights @ (expected - rows.energy * np.log(expected)))

        found = optimize.minimize(loss, np.append(start, np.zeros(3)), bounds=[*limits, *slopes])
        return found.x.reshape(2, 3)

    def _rows(self, log_energy: np.ndarray) -> "_Rows":
        """The rows along both axes in all ranges of energy that have energy."""
        found = []
        for sample, (axis, number) in enumerate(np.ndindex(2, len(log_energy))):
            energy_MeV, exposed_MeV = self._energy_MeV[axis][number], self._exposed_MeV[axis][number]
            seen = np.flatnonzero(exposed_MeV) if energy_MeV.any() else np.empty(0, np.intp)
            width_mm = np.full(len(seen), self.layer.cell_size_mm[axis])
            found.append(
                [
                    np.full(len(seen), sample),
                    np.full(len(seen), log_energy[number]),
                    (seen - self._bins[axis] // 2) * width_mm / _OFFSETS_PER_CELL,
                    width_mm,
                    np.full(len(seen), self.layer.edges(1 - axis)[-1]),
                    energy_MeV[seen] / energy_MeV[seen].sum(),
                    exposed_MeV[seen] / exposed_MeV[seen].sum(),
                ]
            )
        return _Rows(*map(np.concatenate, zip(*found, strict=True)))


class _Rows(NamedTuple):
    """Rows of cells along an axis in ranges of energy, shape (rows,) each.

    Attributes
    ----------
    sample
        Number of the axis and range that a row belongs to; energies and exposures of a sample add up to 1.
    log_energy
        Of the range.
    offset_mm, width_mm, half_length_mm
        Distance of the middle of the row from the axis of the showers, with a sign, its width and half of its
        length [mm].
    energy, exposure
        Shares of the energy in such rows, and of that of the showers that have them.
    """

    sample: np.ndarray
    log_energy: np.ndarray
    offset_mm: np.ndarray
    width_mm: np.ndarray
    half_length_mm: np.ndarray
    energy: np.ndarray
    exposure: np.ndarray


def profile_at(lines: np.ndarray, log_energy: np.ndarray | Sequence[float]) -> RadialProfile:
    """The profile that `RowSums.fit` found, for showers with these ln(energy), shape (n,)."""
    core, tail, logit = (constant + slope * np.asarray(log_energy) for constant, slope in lines.T)
    return RadialProfile(np.exp(core), np.exp(tail), special.expit(logit))
