"""Networks of CaloGAN (M. Paganini, L. de Oliveira and B. Nachman, Phys. Rev. D 97 (2018) 014021).

Sizes and initial weights are those of the public code, https://github.com/hep-lbdl/CaloGAN. A shower is the
flattened cells of all layers, as in `caloforge.geometry`.
"""

from collections.abc import Callable, Sequence
from math import prod, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from caloforge.models.keras_layers import BATCH_NORM, LEAKY_SLOPE, glorot_uniform, he_uniform, same_padding
from caloforge.models.layer_stack.layers import (
    Attention,
    LocallyConnected2d,
    MinibatchDiscrimination,
    Pair,
    sparsity,
)
from caloforge.models.layer_stack.settings import START_CHANNELS
from caloforge.models.primary.conditions import particle_vectors

KERNELS = 10
"""Kernels of every minibatch discrimination; each has as many dimensions."""

LAYER_UNIT_GeV = 10
"""Energy of a layer that the discriminator sees as 1."""

TOTAL_UNIT_GeV = 100
"""Energy of a shower that the discriminator sees as 1."""

FAR_GeV = 5
"""Distance of the energy of a shower from the expected one that makes it look wrong."""

FAR_SCORE = 10
"""What the discriminator sees of showers that are further away than `FAR_GeV`."""


class Generator(nn.Module):
    """Latent vector to showers: one stream per layer, tied by attention, with a ReLU at the end.

    29,726,280 parameters with the published layers of 3 x 96, 12 x 12 and 12 x 6 cells.

    Shapes: latent (B, latent), see `conditioned_latent`, and classes (B,), see
    `particle_vectors`, to showers (B, V), >= 0.
    """

    def __init__(self, shapes: Sequence[Pair], latent: int = 1024, n_classes: int = 0) -> None:
        super().__init__()
        self.particle = particle_vectors(n_classes, latent)
        self.streams = nn.ModuleList(_stream(latent, shape) for shape in shapes)
        self.attention = nn.ModuleList(
            Attention(LocallyConnected2d(2, 2, (3, 3), (rows + 2, columns + 2)))
            for rows, columns in shapes[1:]
        )

    def forward(self, latent: Tensor, classes: Tensor | None = None, output_relu: bool = True) -> Tensor:
        """Generate showers, of any sign without the ReLU."""
        if self.particle is not None:
            latent = latent * self.particle(classes)
        images = [stream(latent)[:, 0] for stream in self.streams]
        for number, attention in enumerate(self.attention, start=1):
            images[number] = attention(images[number], images[number - 1])
        showers = torch.cat([image.flatten(1) for image in images], dim=1)
        return functional.relu(showers) if output_relu else showers


class LayerFeatures(nn.Module):
    """What the discriminator sees of one layer.

    The maps that a convolution and three locally connected layers make of it, two of which halve the columns;
    how alike they are within the batch; the share of cells with energy and how alike that is. The published
    padding leaves at least 3 x 2 positions of every layer.

    Shapes: cells (B, rows * columns) to (B, n_features).
    """

    def __init__(self, shape: Pair) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Unflatten(1, (1, *shape)),
            nn.ZeroPad2d(same_padding((2, 2))),
            glorot_uniform(nn.Conv2d(1, 64, 2)),
            nn.LeakyReLU(LEAKY_SLOPE),
        )
        sizes = [((3, 3), (1, 2), 64, 16), ((2, 2), (1, 1), 16, 8), ((2, 2), (1, 2), 8, 8)]
        for kernel, stride, wide, narrow in sizes:
            rows, columns = shape
            local = LocallyConnected2d(wide, narrow, kernel, (rows + 2, columns + 2), stride)
            self.maps.extend(
                [
                    nn.ZeroPad2d(1),
                    local,
                    nn.LeakyReLU(LEAKY_SLOPE),
                    nn.BatchNorm2d(narrow, **BATCH_NORM),
                ]
            )
            shape = local.positions
        self.maps.append(nn.Flatten())
        n_maps = narrow * prod(shape)
        self.alike_maps = MinibatchDiscrimination(n_maps, KERNELS, KERNELS)
        self.alike_sparsity = MinibatchDiscrimination(1, KERNELS, KERNELS)
        self.n_features = n_maps + 1 + 2 * KERNELS

    def forward(self, cells: Tensor) -> Tensor:
        """Look at a layer."""
        maps, filled = self.maps(cells), sparsity(cells)[:, None]
        return torch.cat(
            [maps, self.alike_maps(maps).tanh(), filled, self.alike_sparsity(filled).tanh()], dim=1
        )


class Discriminator(nn.Module):
    """Tells real from generated showers and classes of primaries.

    It sees the features of every layer, those of `LayerFeatures` or other ones; the energies of the layers
    and how alike they are within the batch; their sum and how far that is from the expected one. 2,744,332
    parameters with the published layers and without classes.

    Showers of a batch affect each other: it must be all real or all generated.

    Shapes: showers (B, V) and their expected sums (B,), in GeV of the energy of the primary, to the logits of
    being real (B,), whose sigmoid ends the published network, and those of the classes (B, classes) or None.
    """

    def __init__(
        self,
        shapes: Sequence[Pair],
        n_classes: int = 0,
        layer_features: Callable[[Pair], nn.Module] = LayerFeatures,
    ) -> None:
        super().__init__()
        self.n_cells = [prod(shape) for shape in shapes]
        self.layers = nn.ModuleList(layer_features(shape) for shape in shapes)
        self.alike_energies = MinibatchDiscrimination(len(shapes), KERNELS, KERNELS)
        n_features = sum(layer.n_features for layer in self.layers) + len(shapes) + 3 + KERNELS
        self.real = glorot_uniform(nn.Linear(n_features, 1))
        self.particle = glorot_uniform(nn.Linear(n_features, n_classes)) if n_classes > 1 else None

    def forward(self, showers: Tensor, expected_GeV: Tensor) -> tuple[Tensor, Tensor | None]:
        """Judge showers."""
        layers = showers.split(self.n_cells, dim=1)
        energies_GeV = torch.stack([cells.sum(dim=1) for cells in layers], dim=1)
        total_GeV = energies_GeV.sum(dim=1, keepdim=True)
        away_GeV = (total_GeV - expected_GeV[:, None]).abs()
        features = torch.cat(
            [
                *(see(cells) for see, cells in zip(self.layers, layers, strict=True)),
                energies_GeV / LAYER_UNIT_GeV,
                total_GeV / TOTAL_UNIT_GeV,
                away_GeV,
                FAR_SCORE * (away_GeV > FAR_GeV),
                self.alike_energies(energies_GeV).tanh(),
            ],
            dim=1,
        )
        return self.real(features)[:, 0], None if self.particle is None else self.particle(features)


def _stream(latent: int, shape: Pair) -> nn.Sequential:
    """Latent vectors (B, latent) to the image of a layer (B, 1, *shape), before attention and ReLU."""
    rows, columns = shape
    start = START_CHANNELS, rows + 2, columns + 2
    first = LocallyConnected2d(16, 6, (2, 2), (rows + 2, columns + 2))
    last = LocallyConnected2d(6, 1, (2, 2), (rows + 1, columns + 1), bias=False)
    bound = sqrt(6 / first.fan_in)  # he_uniform
    nn.init.uniform_(first.weight, -bound, bound)
    width = sqrt(2 / (last.fan_in + last.fan_out))  # glorot_normal
    nn.init.trunc_normal_(last.weight, std=width, a=-2 * width, b=2 * width)
    return nn.Sequential(
        glorot_uniform(nn.Linear(latent, prod(start))),
        nn.Unflatten(1, start),
        nn.ZeroPad2d(same_padding((2, 2))),
        he_uniform(nn.Conv2d(START_CHANNELS, 16, 2)),
        nn.LeakyReLU(LEAKY_SLOPE),
        nn.BatchNorm2d(16, **BATCH_NORM),
        first,
        nn.LeakyReLU(LEAKY_SLOPE),
        last,
    )
