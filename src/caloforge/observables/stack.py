"""Observables of a shower in two or more layers of rectangular cells, which may differ from layer to layer.

Deepest layer, lateral depth, shower depth and its width, and of each layer the energy, its share, lateral
width, ratio of the two hottest cells and sparsity are those of M. Paganini, L. de Oliveira and B. Nachman,
CaloGAN, Phys. Rev. D 97 (2018) 014021, section on shower shapes, as their published analysis code
(https://github.com/hep-lbdl/CaloGAN, analysis/feats1d.py) defines them. There, the lateral width is taken
along x alone, and empty layers and showers have zeros where they are undefined here.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from caloforge.geometry import Geometry
from caloforge.observables.observable import Observable, Profile
from caloforge.observables.shapes import histograms, mean_and_deviation, ring_sums_MeV, two_hottest_MeV
from caloforge.showers import ShowerFile, Showers

CONDITIONS = {"x0": "mm", "y0": "mm"}
"""The conditions that observables use where there are any, and their units: entry point of the primary."""

MOST_LAYERS_ONE_BY_ONE = 8
"""Stacks of more layers have no observables of single layers, and no lateral depth."""

_SPECTRUM_EDGES_MEV = np.logspace(-3, 5, 41)
_RINGS = 24


def scalars(geometry: Geometry, conditions: Collection[str]) -> dict[str, Observable]:
    """The observables with one number per shower; `compute` defines them.

    Parameters
    ----------
    geometry
        A stack of layers.
    conditions
        Names of the conditions that the showers have.
    """
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
    for axis in "xy":
        found[f"centre_{axis}_mm"] = Observable(f"Centre of gravity in {axis}", "mm")
        found[f"width_{axis}_mm"] = Observable(f"Width along {axis}", "mm")
        if f"{axis}0" in conditions:
            found[f"shift_{axis}_mm"] = Observable(f"Centre of gravity − entry point in {axis}", "mm")
    if _single_layers(geometry):
        found["lateral_depth_MeV"] = Observable("Lateral depth", "MeV", log=True)
    for key, layer in _single_layers(geometry):
        found[f"{key}_energy_MeV"] = Observable(f"Energy in {layer}", "MeV", log=True)
        found[f"{key}_fraction"] = Observable(f"Energy share of {layer}", "1")
        found[f"{key}_sparsity"] = Observable(f"Share of cells hit in {layer}", "1")
        found[f"{key}_e_ratio"] = Observable(f"Contrast of the two hottest cells in {layer}", "1")
        for axis in "xy":
            found[f"{key}_width_{axis}_mm"] = Observable(f"Width along {axis} in {layer}", "mm")
    return found


_DEPTH_LABELS = {"layer": ("Layer", "1"), "mm": ("Depth", "mm"), "X0": ("Depth", "$X_0$")}
"""Text and unit of the axis of the longitudinal profile."""


def profiles(geometry: Geometry) -> dict[str, Profile]:
    """The observables with several numbers per shower; `compute` defines them.

    The axis of `longitudinal` is the depth in average radiation lengths, or in mm where the geometry states
    none, or the number of the layer where not every layer states its thickness.
    """
    share = "Share of the visible energy"
    depth, unit = geometry.depth_axis()
    found = {
        "longitudinal": _profile(depth, *_DEPTH_LABELS[unit], share),
        "radial": _profile(
            _radial_edges_mm(geometry), "Distance from the centre of gravity", "mm", share, log_y=True
        ),
        "spectrum": _profile(
            _SPECTRUM_EDGES_MEV, "Cell energy", "MeV", "Cells per shower", log_x=True, log_y=True
        ),
    }
    for axis, name in enumerate("xy"):
        position = f"Position along {name}"
        if _same_columns(geometry, axis):
            edges_mm = geometry.layers[0].edges(axis)
            found[f"transverse_{name}"] = _profile(edges_mm, position, "mm", share, log_y=True)
            continue
        for number, (key, layer) in enumerate(_single_layers(geometry)):
            edges_mm = geometry.layers[number].edges(axis)
            share_of_layer = f"Share of the energy of {layer}"
            found[f"{key}_transverse_{name}"] = _profile(edges_mm, position, "mm", share_of_layer, log_y=True)
    return found


def check(_file: ShowerFile) -> None:
    """Nothing to check: every file of showers in a stack has what the observables need."""


def compute(batch: Showers, geometry: Geometry) -> dict[str, np.ndarray]:
    """All observables of a batch of n showers.

    Layers are numbered from 0 at the front. E is the visible energy, E_l that of layer l. The cells of a
    layer at the same x are a column along x, likewise along y. Positions are those of the cell centres.

    - `total_energy_MeV`, `response`: E; E over the incident energy.
    - `hit_cells`, `sparsity`: number of cells that are not zero; this number over that of all cells.
    - `hottest_fraction`: share of E in the cell with the most energy.
    - `deepest_layer`, `maximum_layer`: the last layer with energy; the one with most of it, the first of
      equals.
    - `shower_depth_layers`, `shower_depth_width_layers`: energy-weighted mean s = Σ l E_l / E and standard
      deviation √(Σ (l - s)² E_l / E) of the layer number. With `_mm`, where every layer states its thickness:
      the same of the depth of the middle of the layer.
    - `centre_x_mm`, `width_x_mm`: energy-weighted mean and standard deviation of x, all cells; likewise y.
    - `shift_x_mm`: `centre_x_mm` less the entry point of the primary, where it is a condition; likewise y.
    - `radial`: share of E in rings around the centre of gravity, by the distance of the cell centres in the
      plane of the face. The 24 rings reach out to half the shorter side of the smallest layer.
    - `longitudinal`: E_l / E.
    - `transverse_x`: share of E in each column along x, where all layers have the same; likewise y.
    - `spectrum`: number of cells by their energy; the outermost bins also hold what lies beyond.

    Stacks of at most 8 layers have `lateral_depth_MeV`, Σ l E_l, and for each layer l, after `layer<l>_`:

    - `energy_MeV`, `fraction`: E_l; E_l / E.
    - `sparsity`: share of its cells that are not zero.
    - `e_ratio`: (E1 - E2) / (E1 + E2) of its hottest and second hottest cell.
    - `width_x_mm`, `width_y_mm`: as above, of the cells of the layer alone.
    - `transverse_x`, `transverse_y`: share of E_l in each column, where layers differ in their columns.

    Parameters
    ----------
    batch
        Showers after the readout threshold [MeV], with x0 and y0 [mm] or without.
    geometry
        A stack of layers of rectangular cells.

    Returns
    -------
    dict
        Name to values: shape (n,) for `scalars`, (n, K) for `profiles`. For a shower or layer without
        energy, energies, the response, numbers of cells, sparsities and the spectrum are 0 and all else is
        NaN; but the share of an empty layer in a shower with energy is 0. A single hit has widths of 0 and
        an `e_ratio` of 1.
    """
    n, n_layers = len(batch), len(geometry.layers)
    shower, cell = np.nonzero(batch.showers != 0)
    hit_MeV = batch.showers[shower, cell].astype(np.float64)
    hit_cells = np.bincount(shower, minlength=n)
    layer_of_cell = np.repeat(np.arange(n_layers), [layer.n_cells for layer in geometry.layers])
    layer_MeV = histograms(shower, layer_of_cell[cell], n, n_layers, hit_MeV)
    total_MeV = layer_MeV.sum(axis=1)
    visible_MeV = _or_nan(total_MeV)
    found = {
        "total_energy_MeV": total_MeV,
        "response": total_MeV / batch.incident_energies[:, 0],
        "hit_cells": hit_cells,
        "sparsity": hit_cells / geometry.n_cells,
        "hottest_fraction": batch.showers.max(axis=1) / visible_MeV,
        "deepest_layer": np.where(
            hit_cells, n_layers - 1 - np.argmax(layer_MeV[:, ::-1] > 0, axis=1), np.nan
        ),
        "maximum_layer": np.where(hit_cells, np.argmax(layer_MeV, axis=1), np.nan),
        "longitudinal": layer_MeV / visible_MeV[:, None],
        "spectrum": histograms(shower, _spectrum_bin(hit_MeV), n, len(_SPECTRUM_EDGES_MEV) - 1),
    }

    for unit, depth in _depths(geometry).items():
        mean, deviation = mean_and_deviation(depth, layer_MeV)
        found |= {f"shower_depth_{unit}": mean, f"shower_depth_width_{unit}": deviation}

    if _single_layers(geometry):
        found["lateral_depth_MeV"] = layer_MeV @ np.arange(n_layers)
    for number, (key, _) in enumerate(_single_layers(geometry)):
        cells_MeV = batch.showers[:, layer_of_cell == number]
        hottest_MeV, second_MeV = two_hottest_MeV(cells_MeV)
        found[f"{key}_energy_MeV"] = layer_MeV[:, number]
        found[f"{key}_fraction"] = layer_MeV[:, number] / visible_MeV
        found[f"{key}_sparsity"] = np.count_nonzero(cells_MeV, axis=1) / cells_MeV.shape[1]
        found[f"{key}_e_ratio"] = (hottest_MeV - second_MeV) / _or_nan(hottest_MeV + second_MeV)

    distance_mm2 = np.zeros(len(cell))
    for axis, name in enumerate("xy"):
        of_cell, centres_mm, first = _columns(geometry, axis)
        column_MeV = histograms(shower, of_cell[cell], n, len(centres_mm), hit_MeV)
        centre_mm, width_mm = mean_and_deviation(centres_mm, column_MeV)
        found |= {f"centre_{name}_mm": centre_mm, f"width_{name}_mm": width_mm}
        if f"{name}0" in batch.conditions:
            found[f"shift_{name}_mm"] = centre_mm - batch.conditions[f"{name}0"]
        distance_mm2 += (centres_mm[of_cell[cell]] - centre_mm[shower]) ** 2
        same_columns = _same_columns(geometry, axis)
        if same_columns:
            summed_MeV = column_MeV.reshape(n, n_layers, -1).sum(axis=1)
            found[f"transverse_{name}"] = summed_MeV / visible_MeV[:, None]
        for number, (key, _) in enumerate(_single_layers(geometry)):
            of_layer = slice(first[number], first[number + 1])
            _, width_mm = mean_and_deviation(centres_mm[of_layer], column_MeV[:, of_layer])
            found[f"{key}_width_{name}_mm"] = width_mm
            if not same_columns:
                found[f"{key}_transverse_{name}"] = (
                    column_MeV[:, of_layer] / _or_nan(layer_MeV[:, number])[:, None]
                )
    ring_MeV = ring_sums_MeV(np.sqrt(distance_mm2), hit_MeV, shower, n, _radial_edges_mm(geometry))
    found["radial"] = ring_MeV / visible_MeV[:, None]
    return found


class _Columns(NamedTuple):
    """The columns of cells of all layers along one axis, counted through the stack.

    `of_cell` is the column of each cell, shape (V,); `centres_mm` the position of each column, shape (C,);
    `first` the first column of each layer, and C, shape (layers + 1,).
    """

    of_cell: np.ndarray
    centres_mm: np.ndarray
    first: np.ndarray


def _columns(geometry: Geometry, axis: int) -> _Columns:
    layers = geometry.layers
    first = np.cumsum([0, *(layer.shape[axis] for layer in layers)])
    numbers = [np.indices(layer.shape)[axis].ravel() for layer in layers]
    return _Columns(
        np.concatenate([start + number for start, number in zip(first[:-1], numbers, strict=True)]),
        np.concatenate([layer.centres_mm(axis) for layer in layers]),
        first,
    )


def _same_columns(geometry: Geometry, axis: int) -> bool:
    return len({(layer.shape[axis], layer.cell_size_mm[axis]) for layer in geometry.layers}) == 1


def _single_layers(geometry: Geometry) -> list[tuple[str, str]]:
    """Start of the names and text for each layer, where layers have observables of their own."""
    if len(geometry.layers) > MOST_LAYERS_ONE_BY_ONE:
        return []
    return [
        (f"layer{number}", f"layer {number} ({layer.label})" if layer.label else f"layer {number}")
        for number, layer in enumerate(geometry.layers)
    ]


def _depths(geometry: Geometry) -> dict[str, np.ndarray]:
    """Depth of every layer, shape (layers,): by number and, where it is known, in mm."""
    depths = {"layers": np.arange(len(geometry.layers))}
    edges_mm = geometry.depth_edges_mm()
    if edges_mm is not None:
        depths["mm"] = (edges_mm[:-1] + edges_mm[1:]) / 2
    return depths


def _radial_edges_mm(geometry: Geometry) -> np.ndarray:
    reach_mm = min(layer.edges(axis)[-1] for layer in geometry.layers for axis in (0, 1))
    return np.linspace(0, reach_mm, _RINGS + 1)


def _spectrum_bin(hit_MeV: np.ndarray) -> np.ndarray:
    inner_edges_MeV = _SPECTRUM_EDGES_MEV[1:-1]
    return np.searchsorted(inner_edges_MeV, hit_MeV, side="right")


def _profile(
    edges: np.ndarray, x_label: str, x_unit: str, label: str, *, log_x: bool = False, log_y: bool = False
) -> Profile:
    return Profile(
        x=edges,
        edges=True,
        x_label=x_label,
        x_unit=x_unit,
        label=label,
        unit="1",
        log_x=log_x,
        log_y=log_y,
    )


def _or_nan(energy_MeV: np.ndarray) -> np.ndarray:
    return np.where(energy_MeV > 0, energy_MeV, np.nan)
