"""Settings of the conditional WGAN-GP, with the values of the paper where it gives them."""

from typing import ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from caloforge.config.base import Settings
from caloforge.config.dataset import DatasetSettings
from caloforge.config.stages import ModelTrainingSettings, PreprocessingSettings, TrainingSettings

COARSEST_SIDE = 4
"""Side of the coarsest map in cells; every further level doubles it."""


def finest_side(levels: int) -> int:
    """Side in cells of the finest map of a network with `levels` levels."""
    return COARSEST_SIDE * 2 ** (levels - 1)


class RegressorSettings(Settings):
    """The network that reconstructs the conditions from a shower, trained first and then frozen."""

    channels: tuple[PositiveInt, ...] = Field(default=(32, 64, 128, 256), min_length=2)
    learning_rate: PositiveFloat = 1e-3
    training: TrainingSettings = TrainingSettings(epochs=100)


class ConditionalWGANSettings(Settings):
    """WGAN-GP conditioned on the primary through a frozen regressor.

    V. Chekalina et al., Generative Models for Fast Calorimeter Simulation: the LHCb case (2019), section 4.
    """

    reconstructed_inputs: ClassVar[slice] = slice(None)
    """Every input, which the regressor reads off showers."""

    family: Literal["conditional_wgan"]
    noise: PositiveInt = Field(default=512, description="length of the Gaussian noise vector")
    channels: tuple[PositiveInt, ...] = Field(
        default=(256, 128, 64, 32),
        min_length=2,
        description="channels of the generator from the coarsest map to the finest; the critic mirrors them",
    )
    critic_steps: PositiveInt = Field(default=5, description="critic updates per generator update")
    gradient_penalty: PositiveFloat = Field(default=10, description="weight of the gradient penalty")
    penalty_interval: PositiveInt = Field(
        default=1,
        description="critic updates per gradient penalty, which then weighs as much more: lazy "
        "regularisation, T. Karras et al., Analyzing and Improving the Image Quality of StyleGAN (2020)",
    )
    condition_weight: NonNegativeFloat = Field(
        default=10,
        description="weight of the distance between conditions reconstructed from generated and real showers",
    )
    perceptual_weight: NonNegativeFloat = Field(
        default=1,
        description="weight of the distance between regressor features of generated and real showers",
    )
    learning_rate: PositiveFloat = 1e-4
    critic_learning_rate: PositiveFloat = 1e-4
    adam_betas: tuple[float, float] = (0.0, 0.9)
    preprocessing: PreprocessingSettings = PreprocessingSettings()
    regressor: RegressorSettings = RegressorSettings()
    training: ModelTrainingSettings = ModelTrainingSettings(epochs=3000)

    def misfit(self, dataset: DatasetSettings) -> str | None:
        """Say what keeps these networks from taking the showers of a data set; None if nothing does."""
        geometry = dataset.geometry
        if geometry.kind != "cartesian":
            return f"takes layers of rectangular cells, those of geometry {geometry.name} are {geometry.kind}"
        if not geometry.is_image:
            return f"takes one layer of cells, geometry {geometry.name} has {len(geometry.layers)}"
        if not dataset.conditions:
            return "takes showers with conditions, found none"
        nx, ny = geometry.layers[0].shape
        for key, channels in (("channels", self.channels), ("regressor.channels", self.regressor.channels)):
            side = finest_side(len(channels))
            if side < max(nx, ny):
                return (
                    f"{len(channels)} {key} reach {side} x {side} cells, "
                    f"geometry {geometry.name} has {nx} x {ny}: expected more levels"
                )
        return None
