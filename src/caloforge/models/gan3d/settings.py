"""Settings of both GANs for three-dimensional grids."""

from typing import ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from caloforge.config.dataset import DatasetSettings
from caloforge.config.stages import ModelTrainingSettings
from caloforge.models.primary.settings import (
    EnergyRange,
    PrimarySettings,
    require_energies_of_the_data,
    require_increasing,
)

LEAST_SIDE = 8
"""Cells along the shortest side of a grid that the networks can make."""


class Gan3dTraining(ModelTrainingSettings):
    """The training loop with the batches and the choice of the epoch of the public code."""

    batch_size: PositiveInt = 128
    validation: Literal["observables", "shower_shapes"] = "shower_shapes"


class Gan3dSettings(PrimarySettings):
    """An adversarial pair conditioned on the energy, with an auxiliary regression of it.

    F. Carminati et al., Three dimensional Generative Adversarial Networks for fast simulation, J. Phys. Conf.
    Ser. 1085 (2018) 032016, section 5, and F. Rehm et al., Validation of Deep Convolutional Generative
    Adversarial Networks for High Energy Physics Calorimeter Simulations (2021); weights, labels and rates are
    those of the group's public code.
    """

    reconstructed_inputs: ClassVar[slice] = slice(0, 1)
    """The energy, which the discriminator reads off showers."""

    latent: PositiveInt = Field(default=200, description="length of the Gaussian latent vector")
    cell_unit_GeV: PositiveFloat = Field(
        default=1,
        description="cell energy that the networks see as 1 [GeV]; with 0.01, as in the public code for any "
        "angle, generators begin closer to real showers",
    )
    cells: Literal["energies", "shares"] = Field(
        default="energies",
        description="what generators make of cells: `energies`, as published, or how their `shares` of a "
        "visible energy, drawn from the fitted response, differ from those of the mean shower. `shares` are "
        "close to real showers from the first step on, and need no `free_output_steps`",
    )
    discriminator_power: float = Field(
        default=1,
        gt=0,
        le=1,
        description="power of the cell energies in their unit that the discriminator sees; below 1, weak "
        "cells count more",
    )
    normalisation_momentum: float = Field(
        default=0.01,
        gt=0,
        le=1,
        description="share of a batch in the running statistics of batch normalisation, which generation "
        "uses; what Keras calls a momentum of 0.99 is one of 0.01 here",
    )
    adversarial_weight: NonNegativeFloat = Field(default=6, description="of real against generated")
    energy_weight: NonNegativeFloat = Field(
        default=0.2, description="of the relative error [%] of the energy that the discriminator reads"
    )
    total_weight: NonNegativeFloat = Field(
        default=0.1,
        description="of the relative error [%] of the visible energy, compared with the fitted response",
    )
    shape_weight: NonNegativeFloat = Field(
        default=0,
        description="of the energy score of the shower shapes along the axes, which compares generated with "
        "real showers of the same energy without a discriminator; needs `energies_GeV: null`",
    )
    class_weight: NonNegativeFloat = Field(default=1, description="of the particle type, for several types")
    real_label: float = Field(
        default=1, gt=0.5, le=1, description="what the discriminator is to say of real showers"
    )
    flipped_labels: float = Field(default=0.05, ge=0, lt=0.5, description="share of exchanged labels")
    generator_steps: PositiveInt = Field(default=1, description="generator updates per discriminator update")
    optimiser: Literal["adam", "rmsprop"]
    adam_betas: tuple[float, float] = (0.9, 0.999)
    learning_rate: PositiveFloat
    discriminator_learning_rate: PositiveFloat
    free_output_steps: NonNegativeInt = Field(
        default=0,
        description="batches at the start without the ReLU at the end of the generator, for energies in "
        "`free_output_energies_GeV` alone: a ReLU that begins with nothing but zeros stays there",
    )
    free_output_energies_GeV: EnergyRange = (100, 400)
    as_published: bool = Field(
        default=False,
        description="train with normalisation and dropout in inference mode, as the public code does by "
        "calling its models without training=True",
    )

    @model_validator(mode="after")
    def _shapes_are_of_the_same_energy(self) -> Self:
        require_energies_of_the_data(self.shape_weight, self.energies_GeV)
        return self

    @model_validator(mode="after")
    def _free_output_energies_increase(self) -> Self:
        require_increasing("free_output_energies_GeV", self.free_output_energies_GeV)
        return self

    def misfit(self, dataset: DatasetSettings) -> str | None:
        """Say what keeps these networks from taking the showers of a data set; None if nothing does."""
        geometry = dataset.geometry
        if geometry.kind != "cartesian" or not geometry.is_grid or len(geometry.layers) < 2:
            return f"takes layers of equal rectangular cells, geometry {geometry.name} is no such grid"
        sides = (*geometry.layers[0].shape, len(geometry.layers))
        if min(sides) < LEAST_SIDE:
            return (
                f"takes grids of at least {LEAST_SIDE} cells a side, geometry {geometry.name} has "
                f"{' x '.join(map(str, sides))}"
            )
        return None
