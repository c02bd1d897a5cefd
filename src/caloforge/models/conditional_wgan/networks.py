"""Networks of the conditional WGAN-GP (Chekalina et al. 2019, section 4.1).

The paper gives the sizes of the maps; kernels (3x3), batch normalisation in the generator and slopes are
ours. Images are preprocessed cell energies, inputs are preprocessed conditions.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from caloforge.models.conditional_wgan.settings import COARSEST_SIDE, finest_side
from caloforge.models.upsampling import UpsampleConv2d


class Generator(nn.Module):
    """Noise and inputs to an image: a linear layer to the coarsest map, then upsampling convolutions.

    With the paper's sizes: 512 + 5 -> 256x4x4 -> 128x8x8 -> 64x16x16 -> 32x32x32 -> 1x32x32, cropped to
    30x30.

    Shapes: noise (B, noise), inputs (B, n_inputs) to images (B, *image), >= 0.
    """

    def __init__(self, noise: int, n_inputs: int, channels: tuple[int, ...], image: tuple[int, int]) -> None:
        super().__init__()
        self.image = image
        self.start = nn.Sequential(
            nn.Linear(noise + n_inputs, channels[0] * COARSEST_SIDE**2),
            nn.Unflatten(1, (channels[0], COARSEST_SIDE, COARSEST_SIDE)),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(inplace=True),
        )
        self.levels = nn.Sequential(
            *(
                nn.Sequential(
                    UpsampleConv2d(wide, narrow, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(inplace=True)
                )
                for wide, narrow in pairwise(channels)
            )
        )
        self.end = nn.Conv2d(channels[-1], 1, 3, padding=1)

    def forward(self, noise: Tensor, inputs: Tensor) -> Tensor:
        """Generate images."""
        maps = self.end(self.levels(self.start(torch.cat([noise, inputs], dim=1))))[:, 0]
        return functional.relu(_crop(maps, self.image))


class _Body(nn.Module):
    """The generator mirrored: an image, padded to the finest map, down to the flattened coarsest map.

    Shapes: (B, *image) to (B, width).
    """

    def __init__(self, channels: tuple[int, ...], image: tuple[int, int]) -> None:
        super().__init__()
        side = finest_side(len(channels))
        self.padding = _centred_padding(image, side)
        self.first = nn.Conv2d(1, channels[0], 3, padding=1)
        self.levels = nn.ModuleList(
            nn.Conv2d(narrow, wide, 3, stride=2, padding=1) for narrow, wide in pairwise(channels)
        )
        self.width = channels[-1] * COARSEST_SIDE**2

    def forward(self, images: Tensor) -> Tensor:
        """Flattened activations of the coarsest level."""
        maps = functional.leaky_relu(self.first(functional.pad(images, self.padding)[:, None]), 0.2)
        for level in self.levels:
            maps = functional.leaky_relu(level(maps), 0.2)
        return maps.flatten(1)


class Regressor(nn.Module):
    """Reconstructs the inputs from an image; same body as the critic (section 4.2).

    Shapes: (B, *image) to (B, n_inputs).
    """

    def __init__(self, channels: tuple[int, ...], n_inputs: int, image: tuple[int, int]) -> None:
        super().__init__()
        self.body = _Body(channels, image)
        self.head = nn.Linear(self.body.width, n_inputs)

    def forward(self, images: Tensor) -> Tensor:
        """Reconstructed inputs."""
        return self.head(self.body(images))

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstructed inputs, and the features (B, width) that they are read from."""
        features = self.body(images)
        return self.head(features), features


class Critic(nn.Module):
    """Scores an image together with what the regressor reads from it and what was asked for.

    Shapes: images (B, *image), reconstructed (B, n_inputs), inputs (B, n_inputs) to scores (B,).
    """

    def __init__(self, channels: tuple[int, ...], n_inputs: int, image: tuple[int, int]) -> None:
        super().__init__()
        self.body = _Body(channels, image)
        self.head = nn.Sequential(
            nn.Linear(self.body.width + 2 * n_inputs, channels[-1]),
            nn.LeakyReLU(0.2),
            nn.Linear(channels[-1], 1),
        )

    def forward(self, images: Tensor, reconstructed: Tensor, inputs: Tensor) -> Tensor:
        """Score images."""
        return self.head(torch.cat([self.body(images), reconstructed, reconstructed - inputs], dim=1))[:, 0]


def _centred_padding(image: tuple[int, int], side: int) -> tuple[int, int, int, int]:
    rows, columns = side - image[0], side - image[1]
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2


def _crop(maps: Tensor, image: tuple[int, int]) -> Tensor:
    left, _, top, _ = _centred_padding(image, maps.shape[-1])
    return maps[..., top : top + image[0], left : left + image[1]]
