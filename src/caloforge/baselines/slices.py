"""Slices of a calorimeter along its depth, in which inclined showers are at different places."""

from typing import NamedTuple

import numpy as np

from caloforge.geometry import Geometry

_SLICES = 10
"""A slice is at most this part of the depth of a calorimeter."""
_USUAL_DEPTH_X0 = 25
_BLOCK_CELLS = 1 << 20
"""Cells held in memory at a time."""


class Calorimeter(NamedTuple):
    """A calorimeter in slices along its depth, of which a layer is one or several.

    Attributes
    ----------
    geometry
        Its layers.
    layer_of_slice
        Number of the layer of each slice, shape (S,).
    edges
        Of the slices, from 0, in radiation lengths where they are known: shape (S + 1,).
    depth_mm
        Of the middle of the slices [mm], 0 where it is not known: shape (S,).
    """

    geometry: Geometry
    layer_of_slice: np.ndarray
    edges: np.ndarray
    depth_mm: np.ndarray

    def block_showers(self) -> int:
        """Showers held in memory at a time."""
        return max(1, _BLOCK_CELLS // self.geometry.n_cells)

    def layer_edges(self) -> np.ndarray:
        """Edges of the layers, shape (L + 1,)."""
        return self.edges[np.append(self._first(), -1)]

    def layer_sums(self, slices: np.ndarray) -> np.ndarray:
        """Sums over the slices of each layer: shape (n, S) to (n, L)."""
        return np.add.reduceat(slices, self._first(), axis=1)

    def _first(self) -> np.ndarray:
        return np.flatnonzero(np.diff(self.layer_of_slice, prepend=-1))


def sliced(geometry: Geometry, *, inclined: bool) -> Calorimeter:
    """Slices of a calorimeter: its layers, or parts of them if showers are `inclined` and the depth is known.

    A single layer without stated thickness is as deep as usual, 25 radiation lengths; one without critical
    energy, from which the shape of showers in it follows, is one slice.
    """
    edges, unit = geometry.depth_axis()
    mm = {"X0": geometry.radiation_length_mm, "mm": 1.0, "layer": 0.0}[unit]
    has_shape = None not in (geometry.radiation_length_mm, geometry.critical_energy_MeV)
    if geometry.is_image and has_shape and unit == "layer":
        edges, mm = np.array([0.0, _USUAL_DEPTH_X0]), geometry.radiation_length_mm
    edges = edges - edges[0]
    parts = np.ones(len(geometry.layers), int)
    if inclined and mm and (has_shape or not geometry.is_image):
        parts = np.ceil(np.diff(edges) * _SLICES / edges[-1] * (1 - 1e-9)).astype(int)
    layer_of_slice = np.repeat(np.arange(len(parts)), parts)
    inner = [
        np.linspace(low, high, n, endpoint=False)
        for low, high, n in zip(edges[:-1], edges[1:], parts, strict=True)
    ]
    edges = np.append(np.concatenate(inner), edges[-1])
    return Calorimeter(geometry, layer_of_slice, edges, mm * (edges[:-1] + edges[1:]) / 2)
