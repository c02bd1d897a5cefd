"""Calorimeter geometries: layers of cells and where they are."""

from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt

from caloforge.config.base import Settings

PositiveMillimetre = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Layer(Settings):
    """A rectangular grid of readout cells, centred on the calorimeter axis."""

    shape: tuple[PositiveInt, PositiveInt] = Field(description="number of cells along x and along y")
    cell_size_mm: tuple[PositiveMillimetre, PositiveMillimetre] = Field(
        description="cell size along x and along y [mm]"
    )

    @property
    def n_cells(self) -> int:
        """Number of cells of the layer."""
        return self.shape[0] * self.shape[1]

    def centres_mm(self, axis: int) -> np.ndarray:
        """Cell centres along x (axis 0) or y (axis 1) [mm], increasing, (0, 0) in the middle of the face."""
        n = self.shape[axis]
        return (np.arange(n) - (n - 1) / 2) * self.cell_size_mm[axis]


class Geometry(Settings):
    """A stack of layers along z, the direction into the calorimeter.

    A flattened shower holds the cells layer by layer, each layer row-major in (x, y): the cell (ix, iy)
    of a layer with shape (nx, ny) is number ix * ny + iy of it.
    """

    name: str = Field(min_length=1, description="name of the detector")
    layers: tuple[Layer, ...] = Field(min_length=1, description="layers from the front to the back")
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
    def is_image(self) -> bool:
        """Whether a shower is one two-dimensional image."""
        return len(self.layers) == 1

    def offsets(self) -> np.ndarray:
        """Index of the first cell of each layer in a flattened shower, and the total: shape (layers + 1,)."""
        return np.cumsum([0, *(layer.n_cells for layer in self.layers)])

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
