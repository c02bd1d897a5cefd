"""The cells of a calorimeter in words."""

from itertools import groupby

from caloforge.geometry import Geometry, Layer


def describe(geometry: Geometry) -> str:
    """Layers from the front to the back, equal ones together: `25 layers of 25 × 25 cells of 5 × 5 mm`."""
    parts = []
    for text, layers in groupby(map(_cells, geometry.layers)):
        n = len(list(layers))
        parts.append(f"{n} layers of {text}" if n > 1 else text)
    return "; ".join(parts)


def _cells(layer: Layer) -> str:
    first, second = layer.shape
    match layer.kind:
        case "cartesian":
            text = f"{first} × {second} cells of {layer.cell_size_mm[0]:g} × {layer.cell_size_mm[1]:g} mm"
        case "eta_phi":
            low, high = layer.eta_edges[0], layer.eta_edges[-1]
            text = f"{first} × {second} cells in η from {low:g} to {high:g} and in φ"
        case "cylindrical":
            low, high = layer.r_edges_mm[0], layer.r_edges_mm[-1]
            text = f"{first} × {second} cells in α and in r from {low:g} to {high:g} mm"
    return text if layer.thickness_mm is None else f"{text}, {layer.thickness_mm:g} mm deep"
