"""Settings of families for stacks of two-dimensional layers of cells."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from caloforge.config.base import Settings
from caloforge.config.dataset import DatasetSettings

START_CHANNELS = 36
"""Maps that every stream of a generator starts with, two rows and columns larger than its layer."""
MOST_START_WEIGHTS = 300_000_000
"""Ten times those of the published layers."""


class LayerStackSettings(Settings):
    """What generators make of the layers, and how large they may become."""

    latent: PositiveInt = Field(default=1024, description="length of the Gaussian latent vector")
    cells: Literal["energies", "shares"] = Field(
        default="energies",
        description="what generators make of cells: `energies`, as published, or their `shares` of a "
        "visible energy, drawn from the fitted response, on top of the mean shower. `shares` are close to "
        "real showers from the first step on",
    )
    shape_weight: NonNegativeFloat = Field(
        default=0,
        description="of the energy score of the shares of the rows and columns of every layer, which "
        "compares generated with real showers of the same primary without a discriminator",
    )

    def misfit(self, dataset: DatasetSettings) -> str | None:
        """Say what keeps these networks from taking the showers of a data set; None if nothing does."""
        geometry = dataset.geometry
        if geometry.kind != "cartesian":
            return f"takes layers of rectangular cells, those of geometry {geometry.name} are {geometry.kind}"
        positions = sum((nx + 2) * (ny + 2) for nx, ny in (layer.shape for layer in geometry.layers))
        n_weights = self.latent * START_CHANNELS * positions
        if n_weights > MOST_START_WEIGHTS:
            return (
                f"every layer has a dense layer of its own: {n_weights:,} weights for geometry "
                f"{geometry.name} with a latent vector of {self.latent}, expected at most "
                f"{MOST_START_WEIGHTS:,}; lower latent or take a family for grids"
            )
        return None
