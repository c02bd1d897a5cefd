"""Settings of CaloGAN, with the values of its public code."""

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from caloforge.config.stages import ModelTrainingSettings
from caloforge.models.layer_stack.settings import LayerStackSettings
from caloforge.models.primary.settings import PrimarySettings, require_energies_of_the_data


class CaloGanSettings(LayerStackSettings, PrimarySettings):
    """An adversarial pair for stacks of layers with cells of their own, conditioned on the energy.

    M. Paganini, L. de Oliveira and B. Nachman, CaloGAN: Simulating 3D high energy particle showers in
    multilayer electromagnetic calorimeters with generative adversarial networks, Phys. Rev. D 97 (2018)
    014021; numbers are those of the public code, https://github.com/hep-lbdl/CaloGAN.
    """

    family: Literal["calogan"]
    drawn_centre: bool = Field(
        default=False,
        description="draw the centre of gravity of a shower from those of the training set and tell the "
        "generator, which with `cells: shares` then learns how narrow showers are and not, for all at once, "
        "that they are anywhere; not as published",
    )
    energy_weight: NonNegativeFloat = Field(
        default=0.05,
        description="of the error of the visible energy of generated showers, on the scale of the energy of "
        "the primary [GeV], beside one for real against generated",
    )
    class_weight: NonNegativeFloat = Field(default=0.2, description="of the particle type, for several types")
    flipped_labels: float = Field(
        default=0,
        ge=0,
        lt=0.5,
        description="share of exchanged labels, real against generated, when the discriminator learns; the "
        "public code has a function for it that it uses for particle types alone",
    )
    flipped_classes: float = Field(
        default=0.3,
        ge=0,
        lt=1,
        description="share of generated showers with the label of another particle type when the "
        "discriminator learns, for several types",
    )
    generator_steps: PositiveInt = Field(
        default=2, description="generator updates per pair of discriminator updates, real and generated"
    )
    learning_rate: PositiveFloat = 2e-4
    discriminator_learning_rate: PositiveFloat = 2e-5
    adam_betas: tuple[float, float] = (0.5, 0.999)
    training: ModelTrainingSettings = ModelTrainingSettings(epochs=50, batch_size=256)

    @model_validator(mode="after")
    def _centres_are_those_of_shares(self) -> Self:
        if self.drawn_centre and self.cells != "shares":
            raise ValueError(f"drawn_centre: found true with cells {self.cells}, expected cells shares")
        return self

    @model_validator(mode="after")
    def _shapes_are_of_the_same_energy(self) -> Self:
        require_energies_of_the_data(self.shape_weight, self.energies_GeV)
        return self
