"""Settings of CaloGAN, with the values of its public code."""

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

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
    leading_noise: NonNegativeInt = Field(
        default=0,
        description="numbers of the latent vector that each move the first layers as much as all of it, for "
        "what showers of one energy differ by most, such as entry point and direction; none as published",
    )
    summary_weight: NonNegativeFloat = Field(
        default=0,
        description="of the energy scores of single numbers that say what each layer looks like wherever the "
        "shower is, to which `shape_weight` leaves too much freedom where no entry point is asked for",
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
    generator_adam_epsilon: PositiveFloat = Field(
        default=1e-7,
        description="root mean square of a gradient below which a weight moves less than by the learning "
        "rate; with next to none, weights that hardly matter go astray at random",
    )
    training: ModelTrainingSettings = ModelTrainingSettings(epochs=50, batch_size=256)

    @model_validator(mode="after")
    def _leading_noise_is_of_the_latent_vector(self) -> Self:
        if self.leading_noise >= self.latent:
            raise ValueError(
                f"leading_noise: found {self.leading_noise}, expected less than latent, {self.latent}"
            )
        return self

    @model_validator(mode="after")
    def _shapes_are_of_the_same_energy(self) -> Self:
        for name in ("shape_weight", "summary_weight"):
            require_energies_of_the_data(name, getattr(self, name), self.energies_GeV)
        return self
