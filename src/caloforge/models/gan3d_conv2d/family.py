"""The GAN of two-dimensional convolutions: its networks under the losses and steps of `gan3d`."""

from caloforge.models.gan3d.family import Gan3d
from caloforge.models.gan3d_conv2d.networks import Discriminator, Generator


class Conv2dGan(Gan3d):
    """Generator and discriminator of two-dimensional convolutions in three directions."""

    generator_class = Generator
    discriminator_class = Discriminator


FAMILY = Conv2dGan
