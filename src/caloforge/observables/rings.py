"""Observables of a shower in layers of rings around its axis, as the CaloChallenge has them.

Energy, centres of energy, widths and sparsity of each layer are the high-level features of C. Krause et al.,
CaloChallenge 2022, arXiv:2410.21611, as their public code defines them
(https://github.com/CaloChallenge/homepage, code/HighLevelFeatures.py and code/XMLHandler.py). There, x is
called η and y is called φ, both in mm; the sparsity is the share of cells that are not hit, 1 less the one
here; and empty layers have zeros where centres and widths are undefined here.
"""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from caloforge.geometry import CylindricalLayer, Geometry
from caloforge.observables import layers
from caloforge.observables.layers import binned, or_nan
from caloforge.observables.observable import Observable, Profile
from caloforge.observables.shapes import histograms
from caloforge.showers import ShowerFile, Showers

CONDITIONS: dict[str, str] = {}
"""Observables use none."""

OF_A_LAYER = {
    "energy_MeV": Observable("Energy", "MeV", log=True),
    "sparsity": Observable("Share of cells hit", "1"),
    "centre_x_mm": Observable("Centre of gravity in x", "mm"),
    "centre_y_mm": Observable("Centre of gravity in y", "mm"),
    "centre_r_mm": Observable("Mean distance from the axis", "mm"),
    "width_x_mm": Observable("Width along x", "mm"),
    "width_y_mm": Observable("Width along y", "mm"),
    "width_r_mm": Observable("Spread of the distance from the axis", "mm"),
}
"""What a layer has."""

_UNDIVIDED = ("energy_MeV", "sparsity", "centre_r_mm", "width_r_mm")
"""Those of layers with a single cell in each ring."""

_AGAINST_DEPTH = ("sparsity", "centre_r_mm", "width_x_mm", "width_y_mm", "width_r_mm")
"""Those whose mean over showers is not 0 just because showers are round; the energy has `longitudinal`."""


def scalars(geometry: Geometry, _conditions: Collection[str]) -> dict[str, Observable]:
    """The observables with one number per shower; `compute` defines them.

    Those of single layers are not shown where layers are not looked at one by one.
    """
    found = layers.scalars(geometry)
    for axis in _axes(geometry):
        found |= {name: OF_A_LAYER[name] for name in (f"centre_{axis}_mm", f"width_{axis}_mm")}
    shown = layers.are_few(geometry)
    for layer, (key, text) in zip(geometry.layers, layers.named(geometry), strict=True):
        for name in _names(layer):
            observable = OF_A_LAYER[name]
            found[f"{key}_{name}"] = replace(observable, label=f"{observable.label} in {text}", shown=shown)
    return found


def profiles(geometry: Geometry) -> dict[str, Profile]:
    """The observables with several numbers per shower; `compute` defines them."""
    found = layers.profiles(geometry)
    if _same_rings(geometry):
        found["radial"] = _radial(geometry.layers[0], "Share of the visible energy")
    elif layers.are_few(geometry):
        for layer, (key, text) in zip(geometry.layers, layers.named(geometry), strict=True):
            found[f"{key}_radial"] = _radial(layer, f"Share of the energy of {text}")
    for name in _of_layers(geometry):
        found[f"layers_{name}"] = layers.along_depth(geometry, OF_A_LAYER[name].label, OF_A_LAYER[name].unit)
    return found


def check(_file: ShowerFile) -> None:
    """Nothing to check: every file of showers in rings has what the observables need."""


def compute(batch: Showers, geometry: Geometry) -> dict[str, np.ndarray]:
    """All observables of a batch of n showers.

    Those of `layers.compute` and the following. Layers and rings are numbered from 0, at the front and at the
    axis. The centre of a cell is at the middle r of the edges of its ring and the middle α of its edges in
    the angle: x = r cos α, y = r sin α. A layer with a single cell in each ring has no x and y.

    - `centre_x_mm`, `width_x_mm`: energy-weighted mean and standard deviation of x over the cells that have
      one; likewise y, and r over all cells.
    - `radial`: share of the visible energy in each ring, where all layers have the same rings.

    Each layer l has, after `layer<l>_`:

    - `energy_MeV`, `sparsity`: its energy; share of its cells that are not zero.
    - `centre_x_mm`, `width_x_mm`, ...: as above, of the cells of the layer alone.
    - `radial`: share of its energy in each ring, where rings differ and there are at most 8 layers.

    More layers have profiles `layers_sparsity`, ..., with the number of each layer.

    Parameters
    ----------
    batch
        Showers after the readout threshold [MeV].
    geometry
        Of cylindrical layers.

    Returns
    -------
    dict
        Name to values: shape (n,) for `scalars`, (n, K) for `profiles`. For a shower or layer without energy,
        energies, the response, numbers of cells, sparsities and the spectrum are 0 and all else is NaN; but
        the share of an empty layer in a shower with energy is 0. A single hit has widths of 0.
    """
    hits = layers.find_hits(batch, geometry)
    n, n_layers = hits.layer_MeV.shape
    found = layers.compute(batch, geometry, hits)
    hit_cells = histograms(hits.shower, hits.layer, n, n_layers)
    of_layers = {
        "energy_MeV": hits.layer_MeV,
        "sparsity": hit_cells / [layer.n_cells for layer in geometry.layers],
    }
    for axis, cells_mm in _positions_mm(geometry).items():
        hit_mm = cells_mm[hits.cell]
        centre_mm, width_mm = _centre_and_width_mm(hits.shower, n, hit_mm, hits.energy_MeV)
        found |= {f"centre_{axis}_mm": centre_mm, f"width_{axis}_mm": width_mm}
        layer_of_shower = hits.shower * n_layers + hits.layer
        centre_mm, width_mm = _centre_and_width_mm(layer_of_shower, n * n_layers, hit_mm, hits.energy_MeV)
        of_layers[f"centre_{axis}_mm"] = centre_mm.reshape(n, n_layers)
        of_layers[f"width_{axis}_mm"] = width_mm.reshape(n, n_layers)
    for number, (layer, (key, _)) in enumerate(zip(geometry.layers, layers.named(geometry), strict=True)):
        found |= {f"{key}_{name}": of_layers[name][:, number] for name in _names(layer)}
    found |= {f"layers_{name}": of_layers[name] for name in _of_layers(geometry)}

    ring = np.concatenate([np.indices(layer.shape)[1].ravel() for layer in geometry.layers])[hits.cell]
    if _same_rings(geometry):
        rings = geometry.layers[0].shape[1]
        ring_MeV = histograms(hits.shower, ring, n, rings, hits.energy_MeV)
        found["radial"] = ring_MeV / or_nan(found["total_energy_MeV"])[:, None]
    elif layers.are_few(geometry):
        for number, (key, _) in enumerate(layers.named(geometry)):
            inside, rings = hits.layer == number, geometry.layers[number].shape[1]
            ring_MeV = histograms(hits.shower[inside], ring[inside], n, rings, hits.energy_MeV[inside])
            found[f"{key}_radial"] = ring_MeV / or_nan(hits.layer_MeV[:, [number]])
    return found


def _centre_and_width_mm(
    group: np.ndarray, groups: int, position_mm: np.ndarray, energy_MeV: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Energy-weighted mean and standard deviation of the positions of the hits in each group.

    Parameters
    ----------
    group, position_mm, energy_MeV
        Of each hit, shape (hits,): 0 to groups - 1; NaN for hits that count nowhere; above zero.

    Returns
    -------
    tuple
        Both of shape (groups,), NaN for a group in which no hit counts.
    """
    counts = np.isfinite(position_mm)
    group, position_mm, energy_MeV = group[counts], position_mm[counts], energy_MeV[counts]
    total_MeV = or_nan(np.bincount(group, energy_MeV, minlength=groups))
    share = energy_MeV / total_MeV[group]
    is_hit = np.isfinite(total_MeV)
    mean_mm = np.where(is_hit, np.bincount(group, share * position_mm, minlength=groups), np.nan)
    squares_mm2 = np.bincount(group, share * (position_mm - mean_mm[group]) ** 2, minlength=groups)
    return mean_mm, np.where(is_hit, np.sqrt(squares_mm2), np.nan)


def _positions_mm(geometry: Geometry) -> dict[str, np.ndarray]:
    """Axis to the position of every cell along it [mm], shape (V,); NaN where cells have none."""
    positions = []
    for layer in geometry.layers:
        alpha, r_mm = np.meshgrid(*(_middles(layer.edges(axis)) for axis in (0, 1)), indexing="ij")
        x_mm, y_mm = r_mm * np.cos(alpha), r_mm * np.sin(alpha)
        across_mm = (x_mm, y_mm) if layer.n_alpha > 1 else np.full((2, *layer.shape), np.nan)
        positions.append(np.reshape([*across_mm, r_mm], (3, -1)))
    found = dict(zip("xyr", np.concatenate(positions, axis=1), strict=True))
    return {axis: found[axis] for axis in _axes(geometry)}


def _middles(edges: np.ndarray) -> np.ndarray:
    return (edges[:-1] + edges[1:]) / 2


def _axes(geometry: Geometry) -> str:
    """Axes along which at least one layer is divided."""
    return "xyr" if any(layer.n_alpha > 1 for layer in geometry.layers) else "r"


def _names(layer: CylindricalLayer) -> list[str]:
    """Those of `OF_A_LAYER` that a layer has."""
    return [*(OF_A_LAYER if layer.n_alpha > 1 else _UNDIVIDED)]


def _of_layers(geometry: Geometry) -> list[str]:
    """Those of `OF_A_LAYER` that are profiles of many layers."""
    if layers.are_few(geometry):
        return []
    known = {name for layer in geometry.layers for name in _names(layer)}
    return [name for name in _AGAINST_DEPTH if name in known]


def _same_rings(geometry: Geometry) -> bool:
    return len({layer.r_edges_mm for layer in geometry.layers}) == 1


def _radial(layer: CylindricalLayer, label: str) -> Profile:
    """A profile in the rings of a layer: in mm if they are equally wide, else in their number."""
    edges_mm = layer.edges(1)
    if np.allclose(np.diff(edges_mm), edges_mm[1] - edges_mm[0]):
        return binned(edges_mm, "Distance from the axis", "mm", label, log_y=True)
    return binned(np.arange(len(edges_mm)) - 0.5, "Ring", "1", label, log_y=True)
