"""Order of the cells in sources that hold every cell of an event, and in the canonical file."""

import math
from collections.abc import Mapping

import numpy as np

from caloforge.errors import CaloforgeError
from caloforge.geometry import AXES, Geometry


def canonical(
    cells: np.ndarray, axes: tuple[str, ...] | None, geometry: Geometry, sum_layers: int = 0
) -> np.ndarray:
    """Put the cells of a source into the order of a flattened shower.

    Parameters
    ----------
    cells
        Of n events, in a shape that `check_shape` takes: (n, K) or one axis for each of `axes`.
    axes
        Order of the axes in the source, slowest first. Without `layer` among them, the cells stand layer by
        layer, each layer in this order. None for the order of the canonical file.
    geometry
        Of the data set.
    sum_layers
        Number of layers of the source that become the only one of the geometry, or 0.

    Returns
    -------
    np.ndarray
        Shape (n, V), of the same type; a view where the order is canonical already.
    """
    n, own = len(cells), AXES[geometry.kind]
    flat = cells.reshape(n, -1)
    axes = axes or (("layer", *own) if sum_layers else own)
    if "layer" in axes:
        sizes = _sizes(geometry, sum_layers)
        grid = flat.reshape(n, *(sizes[axis] for axis in axes))
        grid = grid.transpose(0, *(1 + axes.index(axis) for axis in ("layer", *own)))
        if sum_layers:
            grid = grid.sum(axis=1, dtype=np.float64).astype(cells.dtype)
        return grid.reshape(n, -1)
    if axes == own:
        return flat
    layers = []
    for layer, start in zip(geometry.layers, geometry.offsets(), strict=False):
        first, second = layer.shape
        grid = flat[:, start : start + layer.n_cells].reshape(n, second, first)
        layers.append(grid.transpose(0, 2, 1).reshape(n, -1))
    return np.concatenate(layers, axis=1)


def check_shape(
    shape: tuple[int, ...],
    axes: tuple[str, ...] | None,
    geometry: Geometry,
    sum_layers: int,
    place: str,
    extra_cells: int = 0,
) -> None:
    """Refuse cells that are not those of the geometry.

    Parameters
    ----------
    shape
        Of the cells of one event: (K,), or one number per axis, those of length 1 left in or out.
    axes, geometry, sum_layers
        As for `canonical`.
    place
        File, and branch or key, for the message.
    extra_cells
        Numbers behind the cells that do not count.

    Raises
    ------
    CaloforgeError
        Saying how many cells were found and how many the geometry has.
    """
    own = AXES[geometry.kind]
    if sum_layers or geometry.is_grid:
        sizes = _sizes(geometry, sum_layers)
        order = axes or own
        order = order if "layer" in order else ("layer", *order)
        names = tuple(name for name in order if name != "layer" or sizes[name] > 1)
        expected = tuple(sizes[name] for name in names)
        n_cells, product = math.prod(expected), " x ".join(map(str, expected))
    else:
        expected, n_cells = None, geometry.n_cells
        product = " + ".join(" x ".join(map(str, layer.shape)) for layer in geometry.layers)
    if len(shape) == 1:
        if shape[0] != n_cells + extra_cells:
            extra = f" and {extra_cells} extra" if extra_cells else ""
            raise CaloforgeError(
                f"{place}: {shape[0]} cells per event found, expected {n_cells}{extra} ({product})"
            )
    elif expected is None or extra_cells or _longer_than_1(shape) != _longer_than_1(expected):
        along = f" or {expected} along {', '.join(names)}" if expected and not extra_cells else ""
        raise CaloforgeError(
            f"{place}: cells of shape {shape} per event found, expected {n_cells + extra_cells}{along}"
        )


def _sizes(geometry: Geometry, sum_layers: int) -> Mapping[str, int]:
    """Number of cells along each axis of a source whose layers are all the same."""
    lengths = (sum_layers or len(geometry.layers), *geometry.layers[0].shape)
    return dict(zip(("layer", *AXES[geometry.kind]), lengths, strict=True))


def _longer_than_1(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(length for length in shape if length > 1)
