"""Networks of the GAN of three-dimensional convolutions (F. Carminati et al., Three dimensional Generative
Adversarial Networks for fast simulation, J. Phys. Conf. Ser. 1085 (2018) 032016).

Sizes are those of the public code, https://github.com/svalleco/3Dgan (EcalEnergyGan): the paper gives the
number of convolutions, not their sizes.
"""

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from caloforge.models.cropping import centre
from caloforge.models.dropout import Dropout
from caloforge.models.gan3d.networks import Verdict
from caloforge.models.keras_layers import BATCH_NORM, LEAKY_SLOPE, glorot_uniform, he_uniform, same_padding
from caloforge.models.primary.conditions import particle_vectors

START_CHANNELS = 8
DROPOUT = 0.2


class UpsampleConv3d(nn.Module):
    """Nearest-neighbour upsampling by `factors`, `padding` zeros on either side, then a convolution with
    `kernel`, computed as one transposed convolution.

    Upsampling is a transposed convolution with a box of ones in steps of `factors`, and the convolution one
    with the mirrored kernel in steps of one. Convolved with the box, the mirrored kernel does both at once:
    for 6x5x8 taps after upsampling by two, with a fifth of the arithmetic.

    Shapes: (B, in_channels, *sides) to (B, out_channels, *outputs), along each axis with factor * side
    + 2 * padding - kernel + 1 outputs; padding < kernel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int, int],
        factors: tuple[int, int, int],
        padding: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.factors = factors
        self.crop = tuple(taps - 1 - zeros for taps, zeros in zip(kernel, padding, strict=True))
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")
        self.register_buffer("box", torch.ones(1, 1, *factors), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample, pad and convolve."""
        channels = self.weight.shape[:2]
        mirrored = self.weight.flip(2, 3, 4).flatten(0, 1)[:, None]
        combined = functional.conv3d(mirrored, self.box, padding=[factor - 1 for factor in self.factors])
        kernel = combined[:, 0].unflatten(0, channels).transpose(0, 1)
        return functional.conv_transpose3d(x, kernel, self.bias, stride=self.factors, padding=self.crop)


class Generator(nn.Module):
    """Latent vector to images: a linear layer to the start grid, then convolutions and upsampling.

    With the published sizes: 200 -> 8x7x7x8 -> 64x7x7x8 -> 6x13x14x9 -> 6x26x26x26 -> 25x25x25; 872,808
    trainable parameters.

    Kernels, upsampling and padding are the published ones for any grid. They make 4 s - 3 cells from s of the
    start grid along x and y, and 6 s - 23 along z; the start grid is the smallest that makes enough, and the
    images are the middle of what it makes. 25 cells a side start from (7, 7, 8) with nothing to cut off.

    Shapes: latent (B, latent), see `conditioned_latent`, and classes (B,), see `particle_vectors`, to images
    (B, *shape), >= 0 unless `output_relu` is off.
    """

    def __init__(
        self, shape: tuple[int, int, int] = (25, 25, 25), latent: int = 200, n_classes: int = 0
    ) -> None:
        super().__init__()
        self.shape = shape
        self.particle = particle_vectors(n_classes, latent)
        start = start_grid(shape)
        self.layers = nn.Sequential(
            glorot_uniform(nn.Linear(latent, START_CHANNELS * prod(start))),
            nn.Unflatten(1, (START_CHANNELS, *start)),
            nn.ZeroPad3d(same_padding((6, 6, 8))),
            he_uniform(nn.Conv3d(START_CHANNELS, 64, (6, 6, 8))),
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.BatchNorm3d(64, **BATCH_NORM),
            he_uniform(UpsampleConv3d(64, 6, (6, 5, 8), factors=(2, 2, 2), padding=(2, 2, 0))),
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.BatchNorm3d(6, **BATCH_NORM),
            he_uniform(UpsampleConv3d(6, 6, (3, 3, 8), factors=(2, 2, 3), padding=(1, 0, 3))),
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.Conv3d(6, 1, 2, bias=False),
        )
        nn.init.xavier_normal_(self.layers[-1].weight)

    def forward(self, latent: Tensor, classes: Tensor | None = None, *, output_relu: bool = True) -> Tensor:
        """Generate images."""
        if self.particle is not None:
            latent = latent * self.particle(classes)
        images = centre(self.layers(latent)[:, 0], self.shape)
        return functional.relu(images) if output_relu else images


class Discriminator(nn.Module):
    """Tells real from generated images and reconstructs the energy and the class of the primary.

    With the published sizes: 32x25x25x25 -> 8x25x25x25 -> 8x25x25x25 -> 8x23x23x23 -> 8x11x11x11; 73,402
    trainable parameters without classes. Any grid of at least four cells a side.

    Shapes: images (B, *shape) to a verdict on each.
    """

    def __init__(self, shape: tuple[int, int, int] = (25, 25, 25), n_classes: int = 0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            glorot_uniform(nn.Conv3d(1, 32, 5, padding=2)),
            nn.LeakyReLU(LEAKY_SLOPE),
            Dropout(DROPOUT),
            *_normalised_convolution(32, padding=2),
            *_normalised_convolution(8, padding=2),
            *_normalised_convolution(8, padding=1),
            nn.AvgPool3d(2),
            nn.Flatten(),
        )
        features = 8 * prod((side - 2) // 2 for side in shape)
        self.real = glorot_uniform(nn.Linear(features, 1))
        self.energy = glorot_uniform(nn.Linear(features, 1))
        self.particle = glorot_uniform(nn.Linear(features, n_classes)) if n_classes > 1 else None
        # Ten times faster on CPUs: oneDNN has no fast gradient of kernels of 8 x 8 channels the usual way.
        self.to(memory_format=torch.channels_last_3d)

    def forward(self, images: Tensor) -> Verdict:
        """Judge images."""
        features = self.body(images[:, None])
        return Verdict(
            self.real(features)[:, 0],
            self.energy(features)[:, 0],
            images.sum(dim=(1, 2, 3)),
            self.particle(features) if self.particle is not None else None,
        )


def start_grid(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Cells of the start grid along x, y and z from which a generator makes at least `shape`."""
    nx, ny, nz = shape
    return _ceil_divide(nx + 3, 4), _ceil_divide(ny + 3, 4), _ceil_divide(nz + 23, 6)


def _ceil_divide(number: int, by: int) -> int:
    return -(-number // by)


def _normalised_convolution(in_channels: int, padding: int) -> list[nn.Module]:
    return [
        glorot_uniform(nn.Conv3d(in_channels, 8, 5, padding=padding)),
        nn.LeakyReLU(LEAKY_SLOPE),
        nn.BatchNorm3d(8, **BATCH_NORM),
        Dropout(DROPOUT),
    ]
