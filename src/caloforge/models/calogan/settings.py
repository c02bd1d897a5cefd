"""Settings of CaloGAN, with the values of its public code."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from caloforge.config.dataset import DatasetSettings
from caloforge.config.stages import ModelTrainingSettings
from caloforge.models.primary.settings import PrimarySettings


class CaloGanSettings(PrimarySettings):
    """An adversarial pair for stacks of layers with cells of their own, conditioned on the energy.

    M. Paganini, L. de Oliveira and B. Nachman, CaloGAN: Simulating 3D high energy particle showers in
    multilayer electromagnetic calorimeters with generative adversarial networks, Phys. Rev. D 97 (2018)
    014021; numbers are those of the public code, https://github.com/hep-lbdl/CaloGAN.
    """

    family: Literal["calogan"]
    latent: PositiveInt = Field(default=1024, description="length of the Gaussian latent vector")
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

    def misfit(self, dataset: DatasetSettings) -> str | None:
        """Say what keeps these networks from taking the showers of a data set; None if nothing does."""
        geometry = dataset.geometry
        if geometry.kind != "cartesian":
            return f"takes layers of rectangular cells, those of geometry {geometry.name} are {geometry.kind}"
        return None
