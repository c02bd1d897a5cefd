"""The GAN of three-dimensional convolutions: its networks under the losses and steps of `gan3d`."""

from caloforge.models.gan3d.family import Gan3d
from caloforge.models.gan3d_conv3d.networks import Discriminator, Generator


class Conv3dGan(Gan3d):
    """Generator and discriminator of three-dimensional convolutions."""

    generator_class = Generator
    discriminator_class = Discriminator


FAMILY = Conv3dGan
