"""Networks of the conditional CaloGAN (L. de Oliveira, M. Paganini, B. Nachman 2017, sections 4 to 6).

Sizes are those of the public code, https://github.com/hep-lbdl/CaloGAN, in its latest branch with
convolutions and attributes. A shower is the flattened cells of all layers, as in `caloforge.geometry`.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from caloforge.models.calogan.networks import KERNELS
from caloforge.models.keras_layers import BATCH_NORM, LEAKY_SLOPE, Layer
from caloforge.models.layer_stack.layers import Attention, MinibatchDiscrimination, Pair
from caloforge.models.layer_stack.settings import START_CHANNELS


class Generator(nn.Module):
    """Latent vector to a shower: one stream of convolutions per layer, tied by attention.

    A stream goes from a linear layer, 36 maps with two rows and columns more than the layer, to the layer's
    image. Attention mixes into every image but the first what the layer before it suggests. A ReLU ends all.

    With the published layers of 3 x 96, 12 x 12 and 12 x 6 cells and a latent vector of 1024 + 4: 29,639,802
    parameters. The public code also starts its middle layer at 3 GeV a cell, behind a ReLU of its own; here
    all layers are alike.

    Shapes: (B, latent), noise times the energy of the primary in units of 100 GeV followed by the attributes,
    to showers (B, V), >= 0.
    """

    def __init__(self, shapes: Sequence[Pair], latent: int, blurred_layers: Sequence[int] = ()) -> None:
        super().__init__()
        self.streams = nn.ModuleList(_stream(latent, shape) for shape in shapes)
        self.attention = nn.ModuleList(Attention(_initialised(nn.Conv2d(2, 2, 3))) for _ in shapes[1:])
        self.blurred_layers = frozenset(blurred_layers)

    def forward(self, latent: Tensor, output_relu: bool = True) -> Tensor:
        """Generate showers, of any sign without the ReLU."""
        images = [stream(latent)[:, 0] for stream in self.streams]
        for number, attention in enumerate(self.attention, start=1):
            images[number] = attention(images[number], images[number - 1])
        showers = torch.cat(
            [
                (blurred(image) if number in self.blurred_layers else image).flatten(1)
                for number, image in enumerate(images)
            ],
            dim=1,
        )
        return functional.relu(showers) if output_relu else showers


class LayerFeatures(nn.Module):
    """What the discriminator sees of one layer: `calogan.networks.LayerFeatures` with convolutions.

    The maps that three convolutions make of it, one of which halves the columns; how alike they are within
    the batch; the soft sparsity and how alike that is. A `calogan.networks.Discriminator` that sees them has
    2,233,188 parameters with the published layers.

    Shapes: cells (B, rows * columns) to (B, n_features).
    """

    def __init__(self, shape: Pair, sparsity: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.sparsity = sparsity
        self.maps = nn.Sequential(
            nn.Unflatten(1, (1, *shape)),
            _initialised(nn.Conv2d(1, 16, 5, padding=2)),
            nn.LeakyReLU(LEAKY_SLOPE),
            _initialised(nn.Conv2d(16, 32, 3, stride=(1, 2), padding=1)),
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.BatchNorm2d(32, **BATCH_NORM),
            _initialised(nn.Conv2d(32, 64, 2, padding=1)),
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.BatchNorm2d(64, **BATCH_NORM),
            nn.Flatten(),
        )
        rows, columns = shape[0] + 1, (shape[1] + 1) // 2 + 1
        n_maps = 64 * rows * columns
        self.alike_maps = MinibatchDiscrimination(n_maps, KERNELS, KERNELS)
        self.alike_sparsity = MinibatchDiscrimination(1, KERNELS, KERNELS)
        self.n_features = n_maps + 1 + 2 * KERNELS

    def forward(self, cells: Tensor) -> Tensor:
        """Look at a layer."""
        maps, filled = self.maps(cells), self.sparsity(cells)[:, None]
        return torch.cat(
            [maps, self.alike_maps(maps).tanh(), filled, self.alike_sparsity(filled).tanh()], dim=1
        )


class AttributeHead(nn.Module):
    """Reads the attributes of the primary off the cells of a shower; called Xi in the paper.

    1,965,188 parameters for 504 cells and four attributes.

    Shapes: showers (B, V) to (B, attributes).
    """

    def __init__(self, n_cells: int, n_attributes: int) -> None:
        super().__init__()
        widths = (n_cells, 512, 1024, 1024, 128)
        layers = []
        for (wide, narrow), dropout in zip(pairwise(widths), (0.2, 0.5, 0.5, 0.5), strict=True):
            layers += [
                _initialised(nn.Linear(wide, narrow)),
                nn.LeakyReLU(LEAKY_SLOPE),
                nn.Dropout(dropout),
            ]
        self.layers = nn.Sequential(*layers, _initialised(nn.Linear(widths[-1], n_attributes)))

    def forward(self, showers: Tensor) -> Tensor:
        """Reconstruct the attributes."""
        return self.layers(showers)


def blurred(image: Tensor) -> Tensor:
    """Every cell as the mean of the 3 x 3 cells around it, zero beyond the border: (B, rows, columns)."""
    return functional.avg_pool2d(image, 3, stride=1, padding=1)


def refining_kernels(shape: Pair) -> tuple[Pair, Pair]:
    """Taps of the two convolutions that refine the image of a layer, along rows and columns.

    The first has the least odd number of taps from log2(cells) on along each axis, three at least; the second
    three taps, five along the longer of two unequal axes. The public code has these for its layers: 3 x 7 and
    3 x 5 for 3 x 96 cells, 5 x 5 and 3 x 3 for 12 x 12, twice 5 x 3 for 12 x 6.
    """
    rows, columns = shape
    wide = tuple(max(3, (cells - 1).bit_length() | 1) for cells in shape)
    return wide, (5 if rows > columns else 3, 5 if columns > rows else 3)


def _stream(latent: int, shape: Pair) -> nn.Sequential:
    start = START_CHANNELS, shape[0] + 2, shape[1] + 2
    wide, narrow = refining_kernels(shape)
    return nn.Sequential(
        _initialised(nn.Linear(latent, prod(start))),
        nn.Unflatten(1, start),
        _initialised(nn.Conv2d(START_CHANNELS, 64, 3, padding=1)),
        nn.LeakyReLU(LEAKY_SLOPE),
        nn.BatchNorm2d(64, **BATCH_NORM),
        _initialised(nn.Conv2d(64, 16, 2)),
        nn.LeakyReLU(LEAKY_SLOPE),
        _initialised(nn.Conv2d(16, 1, 2)),
        _initialised(nn.Conv2d(1, 32, wide, padding=tuple(taps // 2 for taps in wide))),
        nn.LeakyReLU(LEAKY_SLOPE),
        _initialised(nn.Conv2d(32, 1, narrow, padding=tuple(taps // 2 for taps in narrow))),
    )


def _initialised(layer: Layer) -> Layer:
    """Weights from a normal distribution of width 0.02 cut off at twice that, biases zero."""
    nn.init.trunc_normal_(layer.weight, std=0.02, a=-0.04, b=0.04)
    nn.init.zeros_(layer.bias)
    return layer
