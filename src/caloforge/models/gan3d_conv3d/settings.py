"""Settings of the three-dimensional convolutional GAN, with the values of its public code."""

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from caloforge.models.gan3d.settings import Gan3dSettings, Gan3dTraining


class Conv3dSettings(Gan3dSettings):
    """F. Carminati et al., Three dimensional Generative Adversarial Networks for fast simulation (2018)."""

    family: Literal["gan3d_conv3d"]
    generator_steps: PositiveInt = 2
    optimiser: Literal["adam", "rmsprop"] = "rmsprop"
    learning_rate: PositiveFloat = 1e-3
    discriminator_learning_rate: PositiveFloat = 1e-3
    training: Gan3dTraining = Gan3dTraining(epochs=60)
