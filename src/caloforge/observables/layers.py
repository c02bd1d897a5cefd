"""Observables that a shower in several layers has whatever the cells of the layers are."""

from typing import NamedTuple

import numpy as np

from caloforge.geometry import Geometry
from caloforge.observables.observable import Observable, Profile
from caloforge.observables.shapes import histograms, mean_and_deviation
from caloforge.showers import Showers

MOST_LAYERS_ONE_BY_ONE = 8
"""Stacks of more layers have no figures and distances of single layers."""

_SPECTRUM_EDGES_MEV = np.logspace(-3, 5, 41)


class Hits(NamedTuple):
    """The cells with energy of n showers.

    Attributes
    ----------
    shower, layer, cell
        Of each hit: 0 to n - 1, number of the layer, number of the cell in the shower; shape (hits,).
    energy_MeV
        Of each hit, float64, shape (hits,).
    layer_MeV
        Energy of each layer, float64, shape (n, layers).
    """

    shower: np.ndarray
    layer: np.ndarray
    cell: np.ndarray
    energy_MeV: np.ndarray
    layer_MeV: np.ndarray


def find_hits(batch: Showers, geometry: Geometry) -> Hits:
    """The hits of a batch of showers, in the order of showers and cells."""
    n_layers = len(geometry.layers)
    shower, cell = np.nonzero(batch.showers != 0)
    energy_MeV = batch.showers[shower, cell].astype(np.float64)
    layer = np.repeat(np.arange(n_layers), [layer.n_cells for layer in geometry.layers])[cell]
    return Hits(shower, layer, cell, energy_MeV, histograms(shower, layer, len(batch), n_layers, energy_MeV))


def scalars(geometry: Geometry) -> dict[str, Observable]:
    """The observables with one number per shower; `compute` defines them."""
    found = {
        "total_energy_MeV": Observable("Visible energy", "MeV", log=True),
        "response": Observable("Visible / incident energy", "1"),
        "hit_cells": Observable("Hit cells", "1"),
        "sparsity": Observable("Share of cells hit", "1"),
        "hottest_fraction": Observable("Energy share of the hottest cell", "1"),
        "deepest_layer": Observable("Deepest layer hit", "1"),
        "maximum_layer": Observable("Layer with the most energy", "1"),
    }
    for unit in _depths(geometry):
        found[f"shower_depth_{unit}"] = Observable("Shower depth", unit)
        found[f"shower_depth_width_{unit}"] = Observable("Shower-depth width", unit)
    return found


_DEPTH_LABELS = {"layer": ("Layer", "1"), "mm": ("Depth", "mm"), "X0": ("Depth", "$X_0$")}
"""Text and unit of an axis along the depth."""


def profiles(geometry: Geometry) -> dict[str, Profile]:
    """The observables with several numbers per shower; `compute` defines them."""
    return {
        "longitudinal": along_depth(geometry, "Share of the visible energy", "1"),
        "spectrum": binned(
            _SPECTRUM_EDGES_MEV, "Cell energy", "MeV", "Cells per shower", log_x=True, log_y=True
        ),
    }


def along_depth(geometry: Geometry, label: str, unit: str) -> Profile:
    """A profile with one number per layer.

    Its axis is the depth in average radiation lengths, or in mm where the geometry states none, or the number
    of the layer where not every layer states its thickness.
    """
    edges, depth_unit = geometry.depth_axis()
    return binned(edges, *_DEPTH_LABELS[depth_unit], label, unit)


def compute(batch: Showers, geometry: Geometry, hits: Hits) -> dict[str, np.ndarray]:
    """The observables of a batch of n showers that do not depend on where the cells of a layer are.

    Layers are numbered from 0 at the front. E is the visible energy, E_l that of layer l.

    - `total_energy_MeV`, `response`: E; E over the incident energy.
    - `hit_cells`, `sparsity`: number of cells that are not zero; this number over that of all cells.
    - `hottest_fraction`: share of E in the cell with the most energy.
    - `deepest_layer`, `maximum_layer`: the last layer with energy; the one with most of it, the first of
      equals.
    - `shower_depth_layers`, `shower_depth_width_layers`: energy-weighted mean s = Σ l E_l / E and standard
      deviation √(Σ (l - s)² E_l / E) of the layer number. With `_mm`, where every layer states its thickness:
      the same of the depth of the middle of the layer.
    - `longitudinal`: E_l / E.
    - `spectrum`: number of cells by their energy; the outermost bins also hold what lies beyond.

    Parameters
    ----------
    batch
        Showers after the readout threshold [MeV].
    geometry
        Of any layers.
    hits
        What `find_hits` finds in the batch.

    Returns
    -------
    dict
        Name to values: shape (n,) for `scalars`, (n, K) for `profiles`. For a shower without energy, its
        energy, response, number of cells, sparsity and spectrum are 0 and all else is NaN.
    """
    n, n_layers = hits.layer_MeV.shape
    hit_cells = np.bincount(hits.shower, minlength=n)
    total_MeV = hits.layer_MeV.sum(axis=1)
    visible_MeV = or_nan(total_MeV)
    spectrum_bin = np.searchsorted(_SPECTRUM_EDGES_MEV[1:-1], hits.energy_MeV, side="right")
    found = {
        "total_energy_MeV": total_MeV,
        "response": total_MeV / batch.incident_energies[:, 0],
        "hit_cells": hit_cells,
        "sparsity": hit_cells / geometry.n_cells,
        "hottest_fraction": batch.showers.max(axis=1) / visible_MeV,
        "deepest_layer": np.where(
            hit_cells, n_layers - 1 - np.argmax(hits.layer_MeV[:, ::-1] > 0, axis=1), np.nan
        ),
        "maximum_layer": np.where(hit_cells, np.argmax(hits.layer_MeV, axis=1), np.nan),
        "longitudinal": hits.layer_MeV / visible_MeV[:, None],
        "spectrum": histograms(hits.shower, spectrum_bin, n, len(_SPECTRUM_EDGES_MEV) - 1),
    }
    for unit, depth in _depths(geometry).items():
        mean, deviation = mean_and_deviation(depth, hits.layer_MeV)
        found |= {f"shower_depth_{unit}": mean, f"shower_depth_width_{unit}": deviation}
    return found


def named(geometry: Geometry) -> list[tuple[str, str]]:
    """Of each layer, the start of the names of its observables and text for it."""
    return [
        (f"layer{number}", f"layer {number} ({layer.label})" if layer.label else f"layer {number}")
        for number, layer in enumerate(geometry.layers)
    ]


def are_few(geometry: Geometry) -> bool:
    """Whether layers are looked at one by one."""
    return len(geometry.layers) <= MOST_LAYERS_ONE_BY_ONE


def binned(
    edges: np.ndarray,
    x_label: str,
    x_unit: str,
    label: str,
    unit: str = "1",
    *,
    log_x: bool = False,
    log_y: bool = False,
) -> Profile:
    """A profile in bins."""
    return Profile(
        x=edges,
        edges=True,
        x_label=x_label,
        x_unit=x_unit,
        label=label,
        unit=unit,
        log_x=log_x,
        log_y=log_y,
    )


def or_nan(energy_MeV: np.ndarray) -> np.ndarray:
    """Energies, NaN where there is none."""
    return np.where(energy_MeV > 0, energy_MeV, np.nan)


def _depths(geometry: Geometry) -> dict[str, np.ndarray]:
    """Depth of every layer, shape (layers,): by number and, where it is known, in mm."""
    depths = {"layers": np.arange(len(geometry.layers))}
    edges_mm = geometry.depth_edges_mm()
    if edges_mm is not None:
        depths["mm"] = (edges_mm[:-1] + edges_mm[1:]) / 2
    return depths
