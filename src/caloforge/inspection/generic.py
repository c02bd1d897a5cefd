"""Layouts that nobody published: told by types, shapes and names of columns."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from caloforge.inspection.columns import find_conditions, find_event, find_incident_energy
from caloforge.inspection.contents import Contents, Table, read_lists
from caloforge.inspection.entry import Noted
from caloforge.inspection.guess import EVENTS, LARGEST_INDEX, Guess, entry, rounded, stack, vector_length

LEAST_CELLS = 9
"""Numbers per event below which a vector or a row of branches is no image of a calorimeter."""
LAYERS_OF_A_GRID = 5
"""Layers from which on all are taken to have the cells of the largest."""
MOST_CELLS = 10_000_000
"""Cells of a shower beyond which lists of integers are no indices."""
FILL_IN = "FILL IN the size of a cell, 1 mm is a placeholder"
GUESSED_UNIT = "guessed, the file does not say"

_INDEX = r"(^|_|cell|hit|tower)[in]?_?({})(_?(cell|idx|index|id))?$"
_LAYER = _INDEX.format("layer|depth|plane|z")
_FIRST = _INDEX.format("x|row|eta|alpha")
_SECOND = _INDEX.format("y|col|column|phi|rho|r")
_ENERGY = r"(^|_)(e|em|had|edep)$|energy|deposit"


def hit_lists(group: Sequence[Contents]) -> Guess | None:
    """ROOT trees with lists of cell indices and energies."""
    for tree in _trees(group):
        lists = {name: column for name, column in tree.columns.items() if column.is_list_of_numbers}
        energies = [name for name, column in lists.items() if column.kind == "f"]
        energies = [name for name in energies if re.search(_ENERGY, name.lower())] or energies[:1]
        indices = _indices(group, tree, [name for name, column in lists.items() if column.kind in ("i", "u")])
        layer = next((name for name in indices if re.search(_LAYER, name.lower())), None)
        axes = _axes([name for name in indices if name != layer])
        if axes and energies:
            shapes = _shapes(indices[layer] if layer else None, indices[axes[0]], indices[axes[1]])
            if sum(math.prod(shape) for shape in shapes) <= MOST_CELLS:
                return _hit_lists(group, tree, layer, axes, shapes, energies)
    return None


def _trees(group: Sequence[Contents]) -> Iterable[Table]:
    return group[0].tables.values() if group[0].container == "ROOT" else ()


def _indices(group: Sequence[Contents], tree: Table, branches: list[str]) -> dict[str, np.ndarray]:
    """Those lists of integers that may count cells, of the first events of all files, as one array each."""
    if not branches:
        return {}
    found = read_lists([contents.path for contents in group], tree.name, branches, EVENTS)
    joined = {branch: np.concatenate(values).astype(np.int64) for branch, values in found.items()}
    lengths = Counter(map(len, joined.values()))
    return {
        branch: values
        for branch, values in joined.items()
        if len(values) == lengths.most_common(1)[0][0] and ((values >= 0) & (values < LARGEST_INDEX)).all()
    }


def _axes(indices: list[str]) -> tuple[str, str] | None:
    """The two lists of indices within a layer, by their names or else in the order of the tree."""
    first = [name for name in indices if re.search(_FIRST, name.lower())]
    second = [name for name in indices if re.search(_SECOND, name.lower())]
    if first and second:
        return first[0], second[0]
    if len(second) == 2:  # azimuth and radius
        return tuple(sorted(second, key=lambda name: "phi" not in name.lower()))
    return (indices[0], indices[1]) if len(indices) >= 2 else None


def _hit_lists(
    group: Sequence[Contents],
    tree: Table,
    layer: str | None,
    axes: tuple[str, str],
    shapes: Sequence[tuple[int, int]],
    energies: list[str],
) -> Guess:
    source = {
        "format": "root_cells",
        "tree": tree.name,
        "event": find_event(tree),
        "incident_energy": find_incident_energy(tree, {}),
        "cells": {
            "layer": layer,
            "x": axes[0],
            "y": axes[1],
            "energy": energies if len(energies) > 1 else energies[0],
            "count": None,
        },
        "cell_energy_unit": Noted("MeV", GUESSED_UNIT),
        "metadata": "metadata" if "metadata" in group[0].objects else None,
    }
    kind = _kind(axes)
    note = f"guessed: as many cells as the largest indices; {FILL_IN}"
    layers = Noted(stack([_layer(kind, shape) for shape in shapes]), note)
    geometry = {"name": group[0].path.stem, "layers": layers}
    return Guess(
        "ROOT tree with lists of hit cells",
        entry(group, source, geometry, find_conditions(tree, {})),
        (f"geometry {note}",),
    )


def _shapes(layer: np.ndarray | None, first: np.ndarray, second: np.ndarray) -> list[tuple[int, int]]:
    """Cells along both axes of each layer, so that all indices fit."""
    layer = np.zeros_like(first) if layer is None else layer
    largest = np.zeros((1 + layer.max(initial=0), 2), dtype=np.int64)
    np.maximum.at(largest, layer, np.stack([first, second], axis=1))
    if len(largest) >= LAYERS_OF_A_GRID:
        largest[:] = largest.max(axis=0)
    return [(1 + x, 1 + y) for x, y in largest.tolist()]


def _kind(axes: tuple[str, str]) -> str:
    first, second = (axis.lower() for axis in axes)
    if "eta" in first:
        return "eta_phi"
    return "cylindrical" if re.search("phi|alpha", first) and "r" in second else "cartesian"


def _layer(kind: str, shape: tuple[int, int]) -> dict[str, Any]:
    first, second = shape
    match kind:
        case "eta_phi":
            high = rounded(first / 20)
            edges = {"bins": first, "low": -high, "high": high}
            return {"kind": kind, "eta_edges": edges, "n_phi": second}
        case "cylindrical":
            return {
                "kind": kind,
                "n_alpha": first,
                "r_edges_mm": {"bins": second, "low": 0, "high": second},
            }
        case _:
            return {"shape": [first, second], "cell_size_mm": [1, 1]}


def numbered_branches(group: Sequence[Contents]) -> Guess | None:
    """ROOT trees with one branch per cell, such as cell_0, cell_1 and so on."""
    for tree in _trees(group):
        prefixes: dict[str, int] = {}
        for name, column in tree.columns.items():
            match = re.fullmatch(r"(.*?)(\d+)", name)
            if match and column.is_number:
                prefixes[match[1]] = prefixes.get(match[1], 0) + 1
        prefix = max(prefixes, key=prefixes.__getitem__, default="")
        if prefixes.get(prefix, 0) >= LEAST_CELLS:
            source = {"format": "root_arrays", "tree": tree.name, "cells": f"{prefix}*"}
            return _dense(group, "ROOT tree with one branch per cell", tree, source, (prefixes[prefix],))
    return None


def vector_branch(group: Sequence[Contents]) -> Guess | None:
    """ROOT trees with all cells of an event in one vector or fixed array."""
    for tree in _trees(group):
        lengths = {
            name: vector_length(group[0], tree, name)
            for name, column in tree.columns.items()
            if column.kind == "f" and (column.is_list or column.shape)
        }
        lengths = {name: length for name, length in lengths.items() if length and length >= LEAST_CELLS}
        if lengths:
            name = max(lengths, key=lambda name: (bool(re.search(_ENERGY, name.lower())), lengths[name]))
            column = tree.columns[name]
            shape = (lengths[name],) if column.is_list else column.shape
            source = {"format": "root_arrays", "tree": tree.name, "cells": name}
            return _dense(group, "ROOT tree with a vector of cells", tree, source, shape)
    return None


def arrays(group: Sequence[Contents]) -> Guess | None:
    """HDF5 and npz files with one large array of cells, or one per layer."""
    table = group[0].tables.get("")
    if table is None:
        return None
    dense = {
        name: column.shape
        for name, column in table.columns.items()
        if column.kind in ("i", "u", "f") and math.prod(column.shape) >= LEAST_CELLS
    }
    if not dense:
        return None
    largest = max(dense, key=lambda name: math.prod(dense[name]))
    images = {
        name: column.shape
        for name, column in table.columns.items()
        if column.kind in ("i", "u", "f") and len(column.shape) == 2
    }
    layers = _numbered_alike(largest, images)
    if largest in layers and len(layers) > 1:
        source = {"format": "arrays", "cells": layers}
        return _dense(group, "arrays, one per layer", table, source, None, [images[name] for name in layers])
    source = {"format": "arrays", "cells": largest}
    return _dense(group, "arrays", table, source, dense[largest])


def _numbered_alike(name: str, names: Iterable[str]) -> list[str]:
    """The names that differ from `name` in their number alone, by number."""
    prefix = re.sub(r"\d+$", "", name)
    alike = [other for other in names if re.fullmatch(rf"{re.escape(prefix)}\d+", other)]
    return sorted(alike, key=lambda other: int(other[len(prefix) :]))


def _dense(
    group: Sequence[Contents],
    layout: str,
    table: Table,
    source: dict[str, Any],
    shape: tuple[int, ...] | None,
    layers: Sequence[tuple[int, int]] = (),
) -> Guess:
    axes, layers = (None, layers) if shape is None else _grid(shape)
    source |= {"axes": Noted(axes, "guessed, slowest first")} if axes else {}
    source |= {
        "event": find_event(table),
        "incident_energy": find_incident_energy(table, {}),
        "cell_energy_unit": Noted("MeV", GUESSED_UNIT),
    }
    note = f"guessed from the shape {tuple(shape)}; {FILL_IN}" if shape else f"as the arrays; {FILL_IN}"
    stacked = stack([{"shape": list(layer), "cell_size_mm": [1, 1]} for layer in layers])
    geometry = {"name": group[0].path.stem, "layers": Noted(stacked, note)}
    return Guess(
        layout,
        entry(group, source, geometry, find_conditions(table, {})),
        (f"geometry {note}",),
    )


def _grid(shape: tuple[int, ...]) -> tuple[list[str] | None, list[tuple[int, int]]]:
    """Order of the axes and shape of each layer of an array of cells."""
    shape = tuple(size for size in shape if size > 1)
    if len(shape) == 3:
        depth = 0 if shape[1] == shape[2] != shape[0] else 2  # the odd one out, else the last
        nx, ny = (size for axis, size in enumerate(shape) if axis != depth)
        axes = ["layer", "x", "y"] if depth == 0 else ["x", "y", "layer"]
        return (None if depth == 0 else axes), [(nx, ny)] * shape[depth]
    if len(shape) == 2:
        return None, [shape]
    cells = math.prod(shape)
    side = math.isqrt(cells)
    return None, [(side, side) if side * side == cells else (1, cells)]
