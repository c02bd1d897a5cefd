"""Observables of a shower that is one two-dimensional image.

Widths, asymmetries, spatial resolution and sparsity are those of V. Chekalina et al., Generative Models for
Fast Calorimeter Simulation: the LHCb case (2019), section 5, as the authors' published scoring code
defines them, except for the depth of the shower maximum (see `shower_maximum_point_mm`) and the sign of the
asymmetries, which follows the direction of the primary here and the sign of py there.
"""

from collections.abc import Collection

import numpy as np

from caloforge.errors import CaloforgeError
from caloforge.geometry import CartesianLayer, Geometry
from caloforge.observables.observable import Observable, Profile
from caloforge.observables.shapes import mean_and_deviation, ring_sums_MeV, two_hottest_MeV
from caloforge.showers import ShowerFile, Showers

CONDITIONS = {"px": "GeV", "py": "GeV", "pz": "GeV", "x0": "mm", "y0": "mm"}
"""The conditions that the observables need, and their units: momentum and entry point of the primary."""

_SCALARS = {
    "total_energy_MeV": Observable("Visible energy", "MeV", log=True),
    "response": Observable("Visible / incident energy", "1"),
    "width_along_mm": Observable("Width along the incident direction", "mm"),
    "width_across_mm": Observable("Width across the incident direction", "mm"),
    "asymmetry_longitudinal": Observable("Longitudinal asymmetry", "1"),
    "asymmetry_transverse": Observable("Transverse asymmetry", "1"),
    "shift_x_mm": Observable("Centre of gravity − track in x", "mm"),
    "shift_y_mm": Observable("Centre of gravity − track in y", "mm"),
    "radius_90_mm": Observable("Radius that holds 90 % of the energy", "mm"),
    "hit_cells": Observable("Hit cells", "1"),
    "hottest_fraction": Observable("Energy share of the hottest cell", "1"),
    "second_hottest_fraction": Observable("Energy share of the second hottest cell", "1"),
    "sparsity_1em4": Observable("Share of cells above 10⁻⁴ of the energy", "1"),
    "sparsity_1em3": Observable("Share of cells above 10⁻³ of the energy", "1"),
    "sparsity_1em2": Observable("Share of cells above 10⁻² of the energy", "1"),
}

_SPARSITY_ALPHAS = np.logspace(-5, 0, 50)
_SPARSITY_SCALARS = ("sparsity_1em4", "sparsity_1em3", "sparsity_1em2")
_SPARSITY_SCALAR_ALPHAS = np.array([1e-4, 1e-3, 1e-2])
_RADIAL_EDGES_CELLS = np.arange(25) / 2


def scalars(_geometry: Geometry, _conditions: Collection[str]) -> dict[str, Observable]:
    """The observables with one number per image: the same for all of them."""
    return _SCALARS


def profiles(geometry: Geometry) -> dict[str, Profile]:
    """The profiles of an image: `sparsity` over 50 thresholds and `radial` in rings of half a cell."""
    return {
        "sparsity": Profile(
            x=_SPARSITY_ALPHAS,
            edges=False,
            x_label="Threshold / visible energy",
            x_unit="1",
            label="Share of cells above the threshold",
            unit="1",
            log_x=True,
            log_y=True,
        ),
        "radial": Profile(
            x=_radial_edges_mm(geometry.layers[0]),
            edges=True,
            x_label="Distance from the track",
            x_unit="mm",
            label="Share of the visible energy",
            unit="1",
            log_x=False,
            log_y=True,
        ),
    }


def check(file: ShowerFile) -> None:
    """Make sure that a file of images has what their observables need.

    Raises
    ------
    CaloforgeError
        If the geometry states no constants for the depth of the shower maximum or a condition is missing.
    """
    geometry = file.geometry
    constants = [
        name for name in ("radiation_length_mm", "critical_energy_MeV") if getattr(geometry, name) is None
    ]
    if constants:
        raise CaloforgeError(
            f"{file.path}: geometry {geometry.name} states no {', '.join(constants)}, needed for the depth "
            "of the shower maximum: add it to the geometry of the data set"
        )
    missing = [f"{name} [{unit}]" for name, unit in CONDITIONS.items() if name not in file.units]
    if missing:
        raise CaloforgeError(
            f"{file.path}: no condition {', '.join(missing)} among {', '.join(file.units)}, needed by the "
            "observables of an image: add it to the conditions of the data set"
        )


def compute(batch: Showers, geometry: Geometry) -> dict[str, np.ndarray]:
    """All observables of a batch of n images.

    Everything is relative to p0, where the track reaches the depth of the shower maximum, and to the
    transverse direction of the primary, u = (px, py) / |(px, py)|, and v, u turned by +90 degrees.

    - `total_energy_MeV`, `response`: visible energy E; E over the incident energy.
    - `width_along_mm`, `width_across_mm`: `line_width_mm` of the line through p0 along u and along v.
    - `asymmetry_longitudinal`: energy of the cells whose centre r has (r − p0)·u > 0, less that of those
      with (r − p0)·u < 0, over E; `asymmetry_transverse` likewise with v.
    - `shift_x_mm`, `shift_y_mm`: centre of gravity of the cells less p0.
    - `radius_90_mm`: smallest distance from the centre of gravity within which cell centres hold 90 % of E.
    - `hit_cells`: number of cells that are not zero.
    - `hottest_fraction`, `second_hottest_fraction`: share of E in the cell with the most and in the
      one with the second most energy.
    - `sparsity`: share of all cells with at least α E, for 50 α from 1e-5 to 1, equidistant in the logarithm;
      `sparsity_1em4` and so on: the same for α = 1e-4...
    - `radial`: share of E in the cells whose centre is in each ring around p0. Rings are half a cell (the
      shorter side) wide and reach out to 12 cells; a centre on an edge belongs to the outer ring.

    Parameters
    ----------
    batch
        Showers after the readout threshold [MeV] with the conditions px, py, pz [GeV] and x0, y0 [mm].
    geometry
        One layer of cells, with the constants that `check` asks for.

    Returns
    -------
    dict
        Name to float64 values: shape (n,) for `scalars`, (n, K) for `profiles`. A shower without energy has
        E = response = hit_cells = 0 and NaN elsewhere; one without transverse momentum has NaN widths and
        asymmetries.
    """
    (layer,) = geometry.layers
    n = len(batch)
    energy_MeV = batch.showers.reshape(n, *layer.shape)
    shower, ix, iy = np.nonzero(energy_MeV)
    hit_MeV = energy_MeV[shower, ix, iy].astype(np.float64)
    hit_mm = np.stack([layer.centres_mm(0)[ix], layer.centres_mm(1)[iy]], axis=1)

    def per_shower(values: np.ndarray) -> np.ndarray:
        return np.bincount(shower, weights=values, minlength=n)

    total_MeV = per_shower(hit_MeV)
    visible_MeV = np.where(total_MeV > 0, total_MeV, np.nan)
    hottest_MeV, second_MeV = two_hottest_MeV(batch.showers)

    centre_mm = np.stack([per_shower(hit_MeV * hit_mm[:, axis]) / visible_MeV for axis in (0, 1)], axis=1)
    point_mm = shower_maximum_point_mm(batch, geometry)
    from_point_mm = hit_mm - point_mm[shower]
    u = np.stack([batch.conditions["px"], batch.conditions["py"]], axis=1).astype(np.float64)
    u[~u.any(axis=1)] = np.nan
    v = np.stack([-u[:, 1], u[:, 0]], axis=1)

    def asymmetry(direction: np.ndarray) -> np.ndarray:
        side = np.sign((from_point_mm * direction[shower]).sum(axis=1))
        return per_shower(side * hit_MeV) / visible_MeV

    def share_of_cells(alphas: np.ndarray) -> np.ndarray:
        cells = np.where(total_MeV > 0, layer.n_cells, np.nan)
        return _hits_above(alphas, hit_MeV / total_MeV[shower], shower, n) / cells[:, None]

    return {
        "total_energy_MeV": total_MeV,
        "response": total_MeV / batch.incident_energies[:, 0],
        "width_along_mm": line_width_mm(energy_MeV, layer, point_mm, u),
        "width_across_mm": line_width_mm(energy_MeV, layer, point_mm, v),
        "asymmetry_longitudinal": asymmetry(u),
        "asymmetry_transverse": asymmetry(v),
        "shift_x_mm": centre_mm[:, 0] - point_mm[:, 0],
        "shift_y_mm": centre_mm[:, 1] - point_mm[:, 1],
        "radius_90_mm": _containing_radius_mm(
            np.linalg.norm(hit_mm - centre_mm[shower], axis=1), hit_MeV, shower, 0.9 * total_MeV
        ),
        "hit_cells": np.bincount(shower, minlength=n),
        "hottest_fraction": hottest_MeV / visible_MeV,
        "second_hottest_fraction": second_MeV / visible_MeV,
        **dict(zip(_SPARSITY_SCALARS, share_of_cells(_SPARSITY_SCALAR_ALPHAS).T, strict=True)),
        "sparsity": share_of_cells(_SPARSITY_ALPHAS),
        "radial": ring_sums_MeV(
            np.linalg.norm(from_point_mm, axis=1), hit_MeV, shower, n, _radial_edges_mm(layer)
        )
        / visible_MeV[:, None],
    }


def shower_maximum_point_mm(batch: Showers, geometry: Geometry) -> np.ndarray:
    """Where the tracks reach the depth of the shower maximum: x and y [mm], shape (n, 2).

    (x0, y0) + z_max (px, py) / pz at the depth z_max = s_max pz / |p|, where s_max is the path length to
    the shower maximum (`Geometry.shower_maximum_mm`). The published scoring code puts z_max = 25 cell
    sizes for every shower; here it is the physical depth, which depends on the energy and the angle.
    """
    px, py, pz = (batch.conditions[name].astype(np.float64) for name in ("px", "py", "pz"))
    path_mm = geometry.shower_maximum_mm(batch.incident_energies[:, 0].astype(np.float64) / 1000)
    direction = np.stack([px, py], axis=1) / np.sqrt(px**2 + py**2 + pz**2)[:, None]
    entry_mm = np.stack([batch.conditions["x0"], batch.conditions["y0"]], axis=1)
    return entry_mm + path_mm[:, None] * direction


def line_width_mm(
    energy_MeV: np.ndarray, layer: CartesianLayer, point_mm: np.ndarray, direction: np.ndarray
) -> np.ndarray:
    """Energy-weighted standard deviation along the one-cell-wide line through a point of each image.

    The line is rasterised: column by column (fixed x) it takes the cell that it meets at the centre of the
    column, or row by row where it passes more cells along y than along x. Where it runs on the border of two
    cells it takes the upper one. The coordinate along the line is its length up to the centre of the column.

    Parameters
    ----------
    energy_MeV
        Images [MeV], shape (n, nx, ny).
    layer
        Their cells.
    point_mm
        A point of each line [mm], shape (n, 2).
    direction
        Direction of each line, of any length, shape (n, 2).

    Returns
    -------
    numpy.ndarray
        Widths [mm], shape (n,); NaN where the line meets no energy or has no direction.
    """
    width_mm = np.full(len(energy_MeV), np.nan)
    cells = np.abs(direction) / layer.cell_size_mm
    steep = cells[:, 1] > cells[:, 0]
    for axis, rows in enumerate((np.flatnonzero(~steep), np.flatnonzero(steep))):
        other = 1 - axis
        centres_mm = layer.centres_mm(axis)
        slope = (direction[rows, other] / direction[rows, axis])[:, None]
        met_mm = point_mm[rows, other, None] + slope * (centres_mm - point_mm[rows, axis, None])
        met = np.floor(met_mm / layer.cell_size_mm[other] + layer.shape[other] / 2)
        inside = (met >= 0) & (met < layer.shape[other])
        met = np.where(inside, met, 0).astype(np.intp)
        steps = np.arange(layer.shape[axis])
        ix, iy = (steps, met) if axis == 0 else (met, steps)
        weights = np.where(inside, energy_MeV[rows[:, None], ix, iy], 0).astype(np.float64)
        _, width_mm[rows] = mean_and_deviation(centres_mm * np.sqrt(1 + slope**2), weights)
    return width_mm


def _hits_above(alphas: np.ndarray, share: np.ndarray, shower: np.ndarray, n: int) -> np.ndarray:
    """Number of hits of each shower with at least each (increasing) share α: shape (n, alphas)."""
    reached = np.searchsorted(alphas, share, side="right")
    counts = np.bincount(shower * (len(alphas) + 1) + reached, minlength=n * (len(alphas) + 1))
    return counts.reshape(n, -1)[:, :0:-1].cumsum(axis=1)[:, ::-1]


def _containing_radius_mm(
    radius_mm: np.ndarray, hit_MeV: np.ndarray, shower: np.ndarray, wanted_MeV: np.ndarray
) -> np.ndarray:
    """Smallest radius within which the hits of each shower add up to the wanted energy; NaN without hits."""
    hits = np.bincount(shower, minlength=len(wanted_MeV))
    order = np.lexsort((radius_mm, shower))
    summed_MeV = np.cumsum(hit_MeV[order])
    before_MeV = np.append(0, summed_MeV)[np.cumsum(hits) - hits]
    reached = np.searchsorted(summed_MeV, before_MeV + wanted_MeV)
    containing_mm = np.full(len(wanted_MeV), np.nan)
    containing_mm[hits > 0] = radius_mm[order][reached[hits > 0]]
    return containing_mm


def _radial_edges_mm(layer: CartesianLayer) -> np.ndarray:
    return _RADIAL_EDGES_CELLS * min(layer.cell_size_mm)
