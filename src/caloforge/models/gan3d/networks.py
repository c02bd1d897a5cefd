"""What the two three-dimensional GANs share: axes, and what a discriminator says.

Showers on a regular grid are images of shape (B, nx, ny, nz) inside the networks, with cell energies as they
come. Both families are those of https://github.com/svalleco/3Dgan.
"""

from typing import NamedTuple

from torch import Tensor


class Verdict(NamedTuple):
    """What a discriminator says about images."""

    real: Tensor
    """Logit of the probability that the image is a real one, shape (B,); the published networks end in its
    sigmoid."""

    energy: Tensor
    """Reconstructed energy of the primary [100 GeV], shape (B,)."""

    total_energy: Tensor
    """Sum over the cells, in their unit, shape (B,): computed, not learnt."""

    particle: Tensor | None = None
    """Logits of the classes of particles, shape (B, classes)."""


def images_of(showers: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Flattened showers (layer, x, y) of shape (B, nx * ny * nz) as images (B, nx, ny, nz)."""
    nx, ny, nz = shape
    return showers.unflatten(1, (nz, nx, ny)).permute(0, 2, 3, 1)


def showers_of(images: Tensor) -> Tensor:
    """Images (B, nx, ny, nz) as flattened showers (layer, x, y) of shape (B, nx * ny * nz)."""
    return images.permute(0, 3, 1, 2).flatten(1)
