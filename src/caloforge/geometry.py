"""Calorimeter geometries: layers of cells and where they are."""

from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import AfterValidator, Discriminator, Field, PositiveInt, Tag, model_validator

from caloforge.config.base import Settings

PositiveMillimetre = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class UniformBins(Settings):
    """Bins of equal width."""

    bins: PositiveInt
    low: float
    high: float

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} and high {self.high:g} found, expected low below high")
        return self


def _as_edges(edges: "tuple[float, ...] | UniformBins") -> tuple[float, ...]:
    if isinstance(edges, UniformBins):
        steps = np.arange(edges.bins + 1) / edges.bins
        return tuple((edges.low + (edges.high - edges.low) * steps).tolist())
    if any(low >= high for low, high in pairwise(edges)):
        raise ValueError("edges must increase")
    return edges


Edges = Annotated[
    Annotated[
        Annotated[tuple[float, ...], Field(min_length=2), Tag("edges")] | Annotated[UniformBins, Tag("bins")],
        Discriminator(lambda value: "bins" if isinstance(value, dict | UniformBins) else "edges"),
    ],
    AfterValidator(_as_edges),
]
"""Edges of bins, increasing; `{bins, low, high}` in the configuration becomes a tuple of edges."""


class _Layer(Settings):
    thickness_mm: PositiveMillimetre | None = Field(
        default=None, description="depth of the layer along the beam, passive material included [mm]"
    )
    label: str = Field(default="", description="name of the layer, where experiments give it one")
    repeat: PositiveInt = Field(default=1, description="this many such layers, one behind the other")

    @property
    def n_cells(self) -> int:
        """Number of cells of the layer."""
        return self.shape[0] * self.shape[1]


class CartesianLayer(_Layer):
    """A rectangular grid of readout cells, centred on the calorimeter axis."""

    kind: Literal["cartesian"] = "cartesian"
    shape: tuple[PositiveInt, PositiveInt] = Field(description="number of cells along x and along y")
    cell_size_mm: tuple[PositiveMillimetre, PositiveMillimetre] = Field(
        description="cell size along x and along y [mm]"
    )

    def centres_mm(self, axis: int) -> np.ndarray:
        """Cell centres along x (axis 0) or y (axis 1) [mm], increasing, (0, 0) in the middle of the face."""
        n = self.shape[axis]
        return (np.arange(n) - (n - 1) / 2) * self.cell_size_mm[axis]

    def edges(self, axis: int) -> np.ndarray:
        """Cell edges along x (axis 0) or y (axis 1) [mm]: shape (cells + 1,)."""
        n = self.shape[axis]
        return (np.arange(n + 1) - n / 2) * self.cell_size_mm[axis]


class EtaPhiLayer(_Layer):
    """A grid of towers in pseudorapidity and azimuth that covers the whole circle."""

    kind: Literal["eta_phi"]
    eta_edges: Edges = Field(description="edges in pseudorapidity, or `{bins, low, high}`")
    n_phi: PositiveInt = Field(description="number of cells in azimuth, from -pi to pi")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells along eta and along phi."""
        return len(self.eta_edges) - 1, self.n_phi

    def edges(self, axis: int) -> np.ndarray:
        """Cell edges in eta (axis 0) or phi [rad] (axis 1): shape (cells + 1,)."""
        return np.asarray(self.eta_edges) if axis == 0 else np.linspace(-np.pi, np.pi, self.n_phi + 1)


class CylindricalLayer(_Layer):
    """Rings of cells around the shower axis, as in the CaloChallenge and in the Geant4 example Par04."""

    kind: Literal["cylindrical"]
    n_alpha: PositiveInt = Field(description="number of cells in the angle around the axis, from -pi to pi")
    r_edges_mm: Edges = Field(description="edges of the rings [mm], or `{bins, low, high}`")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells along alpha and along r."""
        return self.n_alpha, len(self.r_edges_mm) - 1

    def edges(self, axis: int) -> np.ndarray:
        """Cell edges in alpha [rad] (axis 0) or r [mm] (axis 1): shape (cells + 1,)."""
        if axis == 0:
            return np.linspace(-np.pi, np.pi, self.n_alpha + 1)
        return np.asarray(self.r_edges_mm)


def _kind(layer: Any) -> str:
    return layer.get("kind", "cartesian") if isinstance(layer, dict) else getattr(layer, "kind", "cartesian")


Layer = Annotated[
    Annotated[CartesianLayer, Tag("cartesian")]
    | Annotated[EtaPhiLayer, Tag("eta_phi")]
    | Annotated[CylindricalLayer, Tag("cylindrical")],
    Discriminator(_kind),
]

AXES = {"cartesian": ("x", "y"), "eta_phi": ("eta", "phi"), "cylindrical": ("alpha", "r")}
"""Names of the two axes of a layer of each kind, in the order in which its cells are stored."""


def _one_kind(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The layers one by one, those that repeat written out."""
    kinds = sorted({layer.kind for layer in layers})
    if len(kinds) > 1:
        raise ValueError(f"layers of the kinds {' and '.join(kinds)} found, expected one kind")
    return tuple(layer.model_copy(update={"repeat": 1}) for layer in layers for _ in range(layer.repeat))


class Geometry(Settings):
    """A stack of layers along z, the direction into the calorimeter.

    A flattened shower holds the cells layer by layer, each layer row-major in its two axes (x, y), (eta, phi)
    or (alpha, r): the cell (i, j) of a layer with shape (n, m) is number i * m + j of it.
    """

    name: str = Field(min_length=1, description="name of the detector")
    layers: Annotated[tuple[Layer, ...], Field(min_length=1), AfterValidator(_one_kind)] = Field(
        description="layers from the front to the back"
    )
    radiation_length_mm: PositiveMillimetre | None = Field(
        default=None, description="average radiation length of the calorimeter [mm]"
    )
    critical_energy_MeV: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="average critical energy of the calorimeter [MeV]"
    )
    note: str = Field(default="", description="materials, readout, anything a reader should know")

    @cached_property
    def n_cells(self) -> int:
        """Number of cells of all layers, the length of a flattened shower."""
        return sum(layer.n_cells for layer in self.layers)

    @property
    def kind(self) -> str:
        """Kind of the layers: cartesian, eta_phi or cylindrical."""
        return self.layers[0].kind

    @property
    def is_image(self) -> bool:
        """Whether a shower is one two-dimensional image on the face of a calorimeter."""
        return self.kind == "cartesian" and len(self.layers) == 1

    @property
    def is_grid(self) -> bool:
        """Whether all layers have the same cells, so that a shower is a regular grid in three dimensions."""
        cells = [layer.model_dump(exclude={"label", "thickness_mm"}) for layer in self.layers]
        return all(other == cells[0] for other in cells)

    def offsets(self) -> np.ndarray:
        """Index of the first cell of each layer in a flattened shower, and the total: shape (layers + 1,)."""
        return np.cumsum([0, *(layer.n_cells for layer in self.layers)])

    def cell_centres_mm(self) -> np.ndarray:
        """Where rectangular cells are in the plane of the face, x and y [mm]: shape (V, 2)."""
        grids = [
            np.meshgrid(layer.centres_mm(0), layer.centres_mm(1), indexing="ij") for layer in self.layers
        ]
        return np.concatenate([np.stack(grid, axis=-1).reshape(-1, 2) for grid in grids])

    def depth_edges_mm(self) -> np.ndarray | None:
        """Where layers begin and end along the depth [mm], shape (layers + 1,).

        None if not every layer states its thickness.
        """
        thickness_mm = [layer.thickness_mm for layer in self.layers]
        return None if None in thickness_mm else np.cumsum([0, *thickness_mm])

    def depth_axis(self) -> tuple[np.ndarray, str]:
        """Edges of the layers along the depth, shape (layers + 1,), and their unit.

        The unit is `X0` in average radiation lengths, `mm` where the geometry states none, or `layer`, around
        its number, where not every layer states its thickness.
        """
        depth_mm = self.depth_edges_mm()
        if depth_mm is None:
            return np.arange(len(self.layers) + 1) - 0.5, "layer"
        if self.radiation_length_mm is None:
            return depth_mm, "mm"
        return depth_mm / self.radiation_length_mm, "X0"

    def shower_maximum_mm(self, energy_GeV: np.ndarray) -> np.ndarray:
        """Path length [mm] from the front face to the maximum of an electron shower.

        t_max / X0 = ln(E / Ec) - 0.5 for electrons (Particle Data Group, Review of Particle Physics,
        "Passage of particles through matter", section on electromagnetic cascades); never below zero.

        Parameters
        ----------
        energy_GeV
            Energy of the primary [GeV], any shape.

        Raises
        ------
        ValueError
            If the geometry does not state its radiation length and critical energy.
        """
        if self.radiation_length_mm is None or self.critical_energy_MeV is None:
            raise ValueError(f"geometry {self.name} states no radiation_length_mm and critical_energy_MeV")
        depth_X0 = np.log(np.asarray(energy_GeV) * 1000 / self.critical_energy_MeV) - 0.5
        return np.maximum(depth_X0, 0) * self.radiation_length_mm
