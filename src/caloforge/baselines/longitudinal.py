"""Longitudinal shower profiles: gamma distributions in depth, shared out over layers, and fitted to layers.

E. Longo and I. Sestili, Nucl. Instrum. Meth. 128 (1975) 283; with fluctuating parameters in GFLASH:
G. Grindhammer, M. Rudowicz and S. Peters, Nucl. Instrum. Meth. A 290 (1990) 469, section 2.
"""

import numpy as np
from scipy import special

from caloforge.geometry import Geometry

_SCALE_PER_X0 = 0.5

_SHAPES = np.linspace(np.log(0.5), np.log(40), 90)
"""Logarithms of the shapes that are tried."""
_DEPTHS = np.linspace(np.log(0.02), np.log(2), 90)
"""Logarithms of the mean depths that are tried, over the depth of the calorimeter."""
_LEAST_SHARE = 1e-30
_USUAL_SHAPE = 4.0
_PULL = 1e-4
_BLOCK_SCORES = 1 << 23
"""Scores held in memory at a time."""


def usual_log_shape(geometry: Geometry, energy_GeV: np.ndarray) -> np.ndarray:
    """ln(a) of electron showers of these energies [GeV], where layers do not tell it: shape (n,).

    a = 1 + b T, with b = 0.5 per radiation length and the depth T of the shower maximum (Particle Data Group,
    Review of Particle Physics, "Passage of particles through matter", section on electromagnetic cascades).
    """
    maximum_X0 = geometry.shower_maximum_mm(energy_GeV) / geometry.radiation_length_mm
    return np.log1p(_SCALE_PER_X0 * maximum_X0)


def layer_shares(log_shape: np.ndarray, log_depth: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Shares of the visible energy in layers.

    dE/dt is proportional to t^(a - 1) exp(-a t / m), with the shape a and the mean depth m = T a / (a - 1),
    where T is the depth of the maximum; the share between two edges is the difference of the regularised
    incomplete gamma function P(a, a t / m). Shares add up to 1: what leaks out behind is not visible.

    Parameters
    ----------
    log_shape, log_depth
        ln(a) and ln(m), m in the unit of the edges, shape (n,).
    edges
        Of the layers along the depth, the first one 0, shape (L + 1,).

    Returns
    -------
    np.ndarray
        Shape (n, L).
    """
    shape = np.exp(log_shape)[:, None]
    contained = special.gammainc(shape, shape * edges / np.exp(log_depth)[:, None])
    return np.diff(contained, axis=1) / np.maximum(contained[:, -1:], _LEAST_SHARE)


def fit_shapes(layers_MeV: np.ndarray, edges: np.ndarray, least_MeV: float) -> tuple[np.ndarray, np.ndarray]:
    """Gamma distribution of each shower, by the largest Σ e_l ln(share_l) over its layers l.

    This is the likelihood of energy that comes in equal parts. It is computed on a grid of ln(a) and ln(m)
    and refined by the parabola through the best point and its neighbours. A pull towards a = 4, weak beside
    1e-4 of the energy in a wrong layer, decides where layers leave the shape open, as two of them do.

    Parameters
    ----------
    layers_MeV
        Energy in each layer [MeV], shape (n, L), in every shower some.
    edges
        As in `layer_shares`.
    least_MeV
        Energy added to every layer [MeV], as an empty one is only known to have less than can be read out.

    Returns
    -------
    tuple
        ln(a) and ln(m), shape (n,) each.
    """
    depths = _DEPTHS + np.log(edges[-1])
    grid_shape, grid_depth = (axis.ravel() for axis in np.meshgrid(_SHAPES, depths, indexing="ij"))
    logarithm = np.log(np.maximum(layer_shares(grid_shape, grid_depth, edges), _LEAST_SHARE))
    pull = _PULL * (grid_shape - np.log(_USUAL_SHAPE)) ** 2
    steps = _SHAPES[1] - _SHAPES[0], _DEPTHS[1] - _DEPTHS[0]
    found = []
    step = max(1, _BLOCK_SCORES // len(pull))
    for start in range(0, len(layers_MeV), step):
        energy_MeV = layers_MeV[start : start + step] + least_MeV
        share = energy_MeV / energy_MeV.sum(axis=1, keepdims=True)
        scores = (share @ logarithm.T - pull).reshape(-1, len(_SHAPES), len(_DEPTHS))
        row, column = _maxima(scores)
        found.append((_SHAPES[0] + steps[0] * row, depths[0] + steps[1] * column))
    log_shape, log_depth = zip(*found, strict=True)
    return np.concatenate(log_shape), np.concatenate(log_depth)


def _maxima(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where scores on grids (n, I, J) are largest, in steps from the first point: shape (n,) each."""
    n, rows, columns = scores.shape
    row, column = np.unravel_index(scores.reshape(n, -1).argmax(axis=1), (rows, columns))
    row, column = np.clip(row, 1, rows - 2), np.clip(column, 1, columns - 2)

    def at(down: int, right: int) -> np.ndarray:
        return scores[np.arange(n), row + down, column + right]

    slope = np.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], axis=1) / 2
    curvature = np.empty((n, 2, 2))
    curvature[:, 0, 0] = at(1, 0) - 2 * at(0, 0) + at(-1, 0)
    curvature[:, 1, 1] = at(0, 1) - 2 * at(0, 0) + at(0, -1)
    curvature[:, 0, 1] = curvature[:, 1, 0] = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / 4
    bent = np.linalg.det(curvature) > 0
    curvature[~bent] = -np.eye(2)
    shift = np.where(bent[:, None], np.linalg.solve(curvature, -slope[:, :, None])[:, :, 0], 0)
    shift = np.clip(shift, -1, 1)
    return row + shift[:, 0], column + shift[:, 1]
