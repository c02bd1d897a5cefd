"""Networks of the GAN of two-dimensional convolutions in three directions (F. Rehm et al., Validation of Deep
Convolutional Generative Adversarial Networks for High Energy Physics Calorimeter Simulations, 2021).

Sizes are those of the public code, https://github.com/svalleco/3Dgan (branch frehm/Conv2D, PTF_m4_1_ReLU).

A branch sees the grid along one axis: the cells along it are the channels, the other two axes the rows and
columns of two-dimensional maps. The three branches of a network see it along z, y and x.
"""

from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from caloforge.models.cropping import centre
from caloforge.models.dropout import Dropout
from caloforge.models.gan3d.networks import Verdict
from caloforge.models.keras_layers import (
    BATCH_NORM,
    LEAKY_SLOPE,
    SameConvTranspose2d,
    glorot_uniform,
    he_uniform,
    same_padding,
)
from caloforge.models.primary.conditions import particle_vectors

ROTATIONS = ((2, 0, 1), (1, 2, 0), (0, 1, 2))
"""Axes of the grid that are the channels, rows and columns of each branch."""

SHRINKING_KERNELS = (6, 5, 4, 3, 3)
"""Kernels of the discriminator after its first convolution."""

SHORTEST_SIDE = 9
"""Cells along an axis that the discriminator does not shrink any further."""

DROPOUT = 0.2


class Generator(nn.Module):
    """Latent vector to images: a linear layer to the start grid, three branches, a convolution that joins
    them.

    With the published sizes: 200 -> 5x5x5; in each branch 32x5x5 -> 64x15x15 -> 64x30x30 -> 64x26x26 ->
    32x26x26 -> 32x26x26 -> 25x25x25; 75x25x25 -> 25x25x25. 2,053,446 trainable parameters.

    Kernels, strides and padding are the published ones for any grid. They make 6 s - 5 cells from s of the
    start grid along each axis; the start grid is the smallest that makes enough, and a branch passes on the
    middle of what it makes. 25 cells a side start from 5 with nothing to cut off.

    Shapes: latent (B, latent), see `conditioned_latent`, and classes (B,), see `particle_vectors`, to images
    (B, *shape), >= 0 unless `output_relu` is off, as the published training has it at first.
    """

    def __init__(
        self, shape: tuple[int, int, int] = (25, 25, 25), latent: int = 200, n_classes: int = 0
    ) -> None:
        super().__init__()
        self.shape = shape
        self.particle = particle_vectors(n_classes, latent)
        start = start_grid(shape)
        self.start = nn.Sequential(
            glorot_uniform(nn.Linear(latent, prod(start))),
            nn.Unflatten(1, start),
        )
        self.branches = nn.ModuleList(
            _generator_branch(start[channels], shape[channels]) for channels, _, _ in ROTATIONS
        )
        nz = shape[2]
        self.join = he_uniform(nn.Conv2d(len(ROTATIONS) * nz, nz, 3, padding=1, bias=False))

    def forward(self, latent: Tensor, classes: Tensor | None = None, *, output_relu: bool = True) -> Tensor:
        """Generate images."""
        if self.particle is not None:
            latent = latent * self.particle(classes)
        start = self.start(latent)
        maps = torch.cat(
            [
                self._seen_along_z(branch(_rotated(start, axes)), axes)
                for branch, axes in zip(self.branches, ROTATIONS, strict=True)
            ],
            dim=1,
        )
        images = self.join(maps).permute(0, 2, 3, 1)
        return functional.relu(images) if output_relu else images

    def _seen_along_z(self, maps: Tensor, axes: tuple[int, int, int]) -> Tensor:
        _, rows, columns = axes
        images = _rotated_back(centre(maps, (self.shape[rows], self.shape[columns])), axes)
        return _rotated(images, ROTATIONS[0])


class Discriminator(nn.Module):
    """Tells real from generated images and reconstructs the energy and the class of the primary.

    With the published sizes, in each of three branches: 64x25x25 -> 32x20x20 -> 32x16x16 -> 32x13x13 ->
    32x11x11 -> 9x9x9; 2187 -> 10 features. 712,888 trainable parameters without
    classes.

    Convolutions after the first shrink the maps, along each axis as long as nine cells remain; where fewer
    would, zeros keep the size. A branch ends with as many channels as cells remain along its axis.

    Shapes: images (B, *shape) to a verdict on each.
    """

    def __init__(self, shape: tuple[int, int, int] = (25, 25, 25), n_classes: int = 0) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            _discriminator_branch(*(shape[axis] for axis in axes)) for axes in ROTATIONS
        )
        remaining = prod(_shrinking(side)[-1] for side in shape)
        self.features = nn.Sequential(
            glorot_uniform(nn.Linear(len(ROTATIONS) * remaining, 10)),
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.BatchNorm1d(10, **BATCH_NORM),
        )
        self.real = glorot_uniform(nn.Linear(10, 1))
        self.energy = glorot_uniform(nn.Linear(10, 1))
        self.particle = glorot_uniform(nn.Linear(10, n_classes)) if n_classes > 1 else None

    def forward(self, images: Tensor) -> Verdict:
        """Judge images."""
        maps = [
            branch(_rotated(images, axes)).flatten(1)
            for branch, axes in zip(self.branches, ROTATIONS, strict=True)
        ]
        features = self.features(torch.cat(maps, dim=1))
        return Verdict(
            self.real(features)[:, 0],
            self.energy(features)[:, 0],
            images.sum(dim=(1, 2, 3)),
            self.particle(features) if self.particle is not None else None,
        )


def start_grid(shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Cells of the start grid along x, y and z from which a generator makes at least `shape`."""
    return tuple(-(-(side + 5) // 6) for side in shape)


def _rotated(images: Tensor, axes: tuple[int, int, int]) -> Tensor:
    """Images (B, x, y, z) as the maps (B, channels, rows, columns) of a branch."""
    return images.permute(0, *(axis + 1 for axis in axes))


def _rotated_back(maps: Tensor, axes: tuple[int, int, int]) -> Tensor:
    return maps.permute(0, *(axes.index(axis) + 1 for axis in range(3)))


def _generator_branch(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        *_followed(glorot_uniform(nn.Conv2d(in_channels, 32, 5, padding=2, bias=False))),
        glorot_uniform(SameConvTranspose2d(32, 64, 5, stride=3)),
        *_followed(he_uniform(nn.Conv2d(64, 64, 5, padding=2, bias=False))),
        glorot_uniform(SameConvTranspose2d(64, 64, 5, stride=2)),
        nn.ZeroPad2d(same_padding((8, 8))),
        *_followed(he_uniform(nn.Conv2d(64, 64, 8, bias=False))),
        *_followed(he_uniform(nn.Conv2d(64, 64, 5, bias=False))),
        nn.ZeroPad2d(same_padding((4, 4))),
        *_followed(he_uniform(nn.Conv2d(64, 32, 4, bias=False))),
        *_followed(he_uniform(nn.Conv2d(32, 32, 3, padding=1, bias=False))),
        *_followed(he_uniform(nn.Conv2d(32, out_channels, 2, bias=False))),
    )


def _discriminator_branch(in_channels: int, rows: int, columns: int) -> nn.Sequential:
    widths = (64, 32, 32, 32, 32, _shrinking(in_channels)[-1])
    layers = [
        nn.ZeroPad2d(same_padding((8, 8))),
        *_followed(glorot_uniform(nn.Conv2d(in_channels, widths[0], 8, bias=False))),
    ]
    sides = zip(pairwise(_shrinking(rows)), pairwise(_shrinking(columns)), strict=True)
    for kernel, (wide, narrow), per_axis in zip(SHRINKING_KERNELS, pairwise(widths), sides, strict=True):
        layers += [
            nn.ZeroPad2d(same_padding([kernel if before == after else 1 for before, after in per_axis])),
            *_followed(he_uniform(nn.Conv2d(wide, narrow, kernel, bias=False))),
        ]
    return nn.Sequential(*layers)


def _followed(convolution: nn.Conv2d) -> list[nn.Module]:
    """A convolution and what follows every one of them."""
    return [
        convolution,
        nn.LeakyReLU(LEAKY_SLOPE),
        nn.BatchNorm2d(convolution.out_channels, **BATCH_NORM),
        Dropout(DROPOUT),
    ]


def _shrinking(side: int) -> list[int]:
    """Cells along an axis before and after each of the shrinking convolutions of the discriminator."""
    sides = [side]
    for kernel in SHRINKING_KERNELS:
        shrunk = sides[-1] - kernel + 1
        sides.append(shrunk if shrunk >= SHORTEST_SIDE else sides[-1])
    return sides
