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
from caloforge.observables import layers
from caloforge.observables.layers import binned, or_nan
from caloforge.observables.observable import Observable, Profile
from caloforge.observables.shapes import histograms, mean_and_deviation, ring_sums_MeV, two_hottest_MeV
from caloforge.showers import ShowerFile, Showers

CONDITIONS = {"x0": "mm", "y0": "mm"}
"""The conditions that observables use where there are any, and their units: entry point of the primary."""

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
    found = layers.scalars(geometry)
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


def profiles(geometry: Geometry) -> dict[str, Profile]:
    """The observables with several numbers per shower; `compute` defines them."""
    share = "Share of the visible energy"
    found = layers.profiles(geometry)
    found["radial"] = binned(
        _radial_edges_mm(geometry), "Distance from the centre of gravity", "mm", share, log_y=True
    )
    for axis, name in enumerate("xy"):
        position = f"Position along {name}"
        if _same_columns(geometry, axis):
            edges_mm = geometry.layers[0].edges(axis)
            found[f"transverse_{name}"] = binned(edges_mm, position, "mm", share, log_y=True)
            continue
        for number, (key, layer) in enumerate(_single_layers(geometry)):
            edges_mm = geometry.layers[number].edges(axis)
            share_of_layer = f"Share of the energy of {layer}"
            found[f"{key}_transverse_{name}"] = binned(edges_mm, position, "mm", share_of_layer, log_y=True)
    return found


def check(_file: ShowerFile) -> None:
    """Nothing to check: every file of showers in a stack has what the observables need."""


def compute(batch: Showers, geometry: Geometry) -> dict[str, np.ndarray]:
    """All observables of a batch of n showers.

    Those of `layers.compute` and the following. Layers are numbered from 0 at the front. E is the visible
    energy, E_l that of layer l. The cells of a layer at the same x are a column along x, likewise along y.
    Positions are those of the cell centres.

    - `centre_x_mm`, `width_x_mm`: energy-weighted mean and standard deviation of x, all cells; likewise y.
    - `shift_x_mm`: `centre_x_mm` less the entry point of the primary, where it is a condition; likewise y.
    - `radial`: share of E in rings around the centre of gravity, by the distance of the cell centres in the
      plane of the face. The 24 rings reach out to half the shorter side of the smallest layer.
    - `transverse_x`: share of E in each column along x, where all layers have the same; likewise y.

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
    hits = layers.find_hits(batch, geometry)
    found = layers.compute(batch, geometry, hits)
    n, n_layers = hits.layer_MeV.shape
    visible_MeV = or_nan(found["total_energy_MeV"])
    first_cell = geometry.offsets()

    if _single_layers(geometry):
        found["lateral_depth_MeV"] = hits.layer_MeV @ np.arange(n_layers)
    for number, (key, _) in enumerate(_single_layers(geometry)):
        cells_MeV = batch.showers[:, first_cell[number] : first_cell[number + 1]]
        hottest_MeV, second_MeV = two_hottest_MeV(cells_MeV)
        found[f"{key}_energy_MeV"] = hits.layer_MeV[:, number]
        found[f"{key}_fraction"] = hits.layer_MeV[:, number] / visible_MeV
        found[f"{key}_sparsity"] = np.count_nonzero(cells_MeV, axis=1) / cells_MeV.shape[1]
        found[f"{key}_e_ratio"] = (hottest_MeV - second_MeV) / or_nan(hottest_MeV + second_MeV)

    distance_mm2 = np.zeros(len(hits.cell))
    for axis, name in enumerate("xy"):
        of_cell, centres_mm, first = _columns(geometry, axis)
        column_MeV = histograms(hits.shower, of_cell[hits.cell], n, len(centres_mm), hits.energy_MeV)
        centre_mm, width_mm = mean_and_deviation(centres_mm, column_MeV)
        found |= {f"centre_{name}_mm": centre_mm, f"width_{name}_mm": width_mm}
        if f"{name}0" in batch.conditions:
            found[f"shift_{name}_mm"] = centre_mm - batch.conditions[f"{name}0"]
        distance_mm2 += (centres_mm[of_cell[hits.cell]] - centre_mm[hits.shower]) ** 2
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
                    column_MeV[:, of_layer] / or_nan(hits.layer_MeV[:, number])[:, None]
                )
    ring_MeV = ring_sums_MeV(
        np.sqrt(distance_mm2), hits.energy_MeV, hits.shower, n, _radial_edges_mm(geometry)
    )
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
    first = np.cumsum([0, *(layer.shape[axis] for layer in geometry.layers)])
    numbers = [np.indices(layer.shape)[axis].ravel() for layer in geometry.layers]
    return _Columns(
        np.concatenate([start + number for start, number in zip(first[:-1], numbers, strict=True)]),
        np.concatenate([layer.centres_mm(axis) for layer in geometry.layers]),
        first,
    )


def _same_columns(geometry: Geometry, axis: int) -> bool:
    return len({(layer.shape[axis], layer.cell_size_mm[axis]) for layer in geometry.layers}) == 1


def _single_layers(geometry: Geometry) -> list[tuple[str, str]]:
    """Start of the names and text for each layer, where layers have observables of their own."""
    return layers.named(geometry) if layers.are_few(geometry) else []


def _radial_edges_mm(geometry: Geometry) -> np.ndarray:
    reach_mm = min(layer.edges(axis)[-1] for layer in geometry.layers for axis in (0, 1))
    return np.linspace(0, reach_mm, _RINGS + 1)
