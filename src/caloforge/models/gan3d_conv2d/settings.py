"""Settings of the three-branch GAN of two-dimensional convolutions, with the values of its public code."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat

from caloforge.models.gan3d.settings import Gan3dSettings, Gan3dTraining


class Conv2dSettings(Gan3dSettings):
    """F. Rehm et al., Validation of Deep Convolutional Generative Adversarial Networks (2021).

    The public code also lowers the learning rates, exponentially after 80 files of 10,000 showers; here they
    follow `training.schedule`.
    """

    family: Literal["gan3d_conv2d"]
    real_label: float = Field(
        default=0.9, gt=0.5, le=1, description="what the discriminator is to say of real showers"
    )
    free_output_steps: NonNegativeInt = Field(
        default=3125,
        description="batches at the start without the ReLU at the end of the generator, for energies in "
        "`free_output_energies_GeV` alone; two epochs of 200,000 showers in batches of 128",
    )
    optimiser: Literal["adam", "rmsprop"] = "adam"
    learning_rate: PositiveFloat = 5e-4
    discriminator_learning_rate: PositiveFloat = 1e-4
    training: Gan3dTraining = Gan3dTraining(epochs=30)
