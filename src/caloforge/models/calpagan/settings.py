"""Settings of CALPAGAN, with the values of its public code."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from caloforge.config.base import Settings
from caloforge.config.dataset import DatasetSettings
from caloforge.config.stages import ModelTrainingSettings, PreprocessingSettings

LEAST_SIDE = 8
"""Towers along the shorter side of an image that the discriminator can take."""


class PairedPreprocessing(PreprocessingSettings):
    """Energies in GeV as they are, and the image of the fast simulation as the input of the networks."""

    energies: Literal["linear"] = "linear"
    inputs: tuple[Literal["reference"]] = Field(
        default=("reference",), description="the image of the fast simulation of the same event"
    )
    standardise: Literal[False] = False


class CalpaganSettings(Settings):
    """An image-to-image GAN in the manner of pix2pix.

    E. Simsek et al., CALPAGAN: Calorimetry for Particles using GANs (2024), section 3; numbers and what the
    paper leaves open are those of the public code, https://github.com/byrkbrk/calpagan-experiment.
    """

    family: Literal["calpagan"]
    channels: PositiveInt = Field(
        default=16, description="channels of the finest maps of the generator, doubled at every pooling"
    )
    pools: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        default=(2, 2, 2, 3, 3),
        min_length=1,
        description="factors by which the generator makes an image coarser, one after the other; their "
        "product must divide the number of towers along eta and along phi",
    )
    discriminator_channels: PositiveInt = Field(
        default=8, description="channels of the finest maps of the discriminator"
    )
    energies: Literal["linear", "log"] = Field(
        default="linear",
        description="what networks see of tower energies: `linear`, divided by a maximum (see "
        "`normalisation`), or `log`, log(1 + energy / energy_unit_GeV)",
    )
    normalisation: Literal["fast_maximum", "own_maximum"] = Field(
        default="fast_maximum",
        description="what linear energies of the full simulation are divided by in training: the maximum of "
        "the fast image as in the public code, or its own as in the paper, in the place of which generation "
        "has to take that of the fast image",
    )
    energy_unit_GeV: PositiveFloat = Field(default=1, description="energy in `log` [GeV]")
    residual: bool = Field(
        default=False,
        description="add the fast image to what the generator makes, as in figure 2 of the paper",
    )
    circular_phi: bool = Field(
        default=False, description="let convolutions see across phi = pi, where an image closes on itself"
    )
    eta_channel: bool = Field(
        default=False, description="eta of each tower as a further channel of the input of both networks"
    )
    discriminator_input: Literal["image", "pair"] = Field(
        default="image",
        description="what the discriminator judges: an image as in the public code, or an image with the "
        "fast one that it belongs to, as in the formula of the paper",
    )
    discriminator_normalisation: Literal["instance", "spectral"] = Field(
        default="instance",
        description="instance normalisation of the maps, as published, which hides from the discriminator "
        "how many towers are hit; or spectral normalisation of the weights",
    )
    distance: Literal["l1", "energy_score"] = Field(
        default="l1",
        description="between the generated and the full image: mean absolute difference, as published, which "
        "is least when every tower has its median energy; or the energy score, which is least when energies "
        "fluctuate as in the full simulation",
    )
    distance_weight: NonNegativeFloat = Field(
        default=400, description="of the distance beside the adversarial loss; pix2pix has 100"
    )
    learning_rate: PositiveFloat = 2e-4
    discriminator_learning_rate: PositiveFloat = 2e-4
    adam_betas: tuple[float, float] = (0.9, 0.999)
    initial_scale: NonNegativeFloat = Field(
        default=0,
        description="mean of the initial scales of batch normalisation, of standard deviation 0.02; 0 in the "
        "public code, 1 in pix2pix",
    )
    preprocessing: PairedPreprocessing = PairedPreprocessing()
    training: ModelTrainingSettings = ModelTrainingSettings(epochs=100, batch_size=64)

    @model_validator(mode="after")
    def _logarithms_need_no_maximum(self) -> Self:
        if self.energies == "log" and self.normalisation != "fast_maximum":
            raise ValueError(
                f"normalisation: found {self.normalisation!r} with energies 'log', expected it left out: "
                "logarithms are not divided by a maximum"
            )
        return self

    def misfit(self, dataset: DatasetSettings) -> str | None:
        """Say what keeps these networks from taking the events of a data set; None if nothing does."""
        geometry = dataset.geometry
        if not dataset.paired:
            return "takes pairs of images of the fast and of the full simulation, found no pairs"
        if geometry.kind != "eta_phi" or len(geometry.layers) != 1:
            return (
                f"takes one layer of towers in eta and phi, geometry {geometry.name} has "
                f"{len(geometry.layers)} of the kind {geometry.kind}"
            )
        sides, factor = geometry.layers[0].shape, math.prod(self.pools)
        if any(side % factor for side in sides) or min(sides) < LEAST_SIDE:
            return (
                f"takes sides of at least {LEAST_SIDE} towers that are multiples of {factor}, the product of "
                f"pools, geometry {geometry.name} has {' x '.join(map(str, sides))}"
            )
        return None
