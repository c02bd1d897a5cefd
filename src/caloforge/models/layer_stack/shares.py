"""Showers in stacks of layers as shares of their visible energy."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from caloforge.models.layer_stack.layers import Pair

_LEAST_SHARE = 1e-6
"""Share of a row or column below which its root grows linearly."""
_LEAST_SUM_GeV = 1e-7


def share_weights(output: Tensor, mean_shower: Tensor) -> Tensor:
    """Weights of cells with the mean shares m for what a generator makes of them, softmax(ln m + g).

    A generator that gives zeros makes mean showers; a cell that no shower of the training set reaches stays
    empty. Unlike a factor max(0, 1 + g), which suits showers that stay at one place, the exponential lets a
    narrow shower stand out anywhere where the mean of many is wide.

    Shapes: output (B, V) and mean shower (V,) to (B, V), with the sum one.
    """
    return torch.softmax(mean_shower.log() + output, dim=1)


def layer_shapes(showers: Tensor, shapes: Sequence[Pair]) -> Tensor:
    """Roots of the shares of the energy in the rows and in the columns of every layer.

    Distances of such roots are Hellinger distances of profiles, in which weak rows and columns count.

    Parameters
    ----------
    showers
        Cell energies [GeV], (B, V).
    shapes
        Rows and columns of each layer.

    Returns
    -------
    Shape (B, sum of the rows and columns of all layers).
    """
    shares = showers / showers.sum(dim=1, keepdim=True).clamp_min(_LEAST_SUM_GeV)
    images = [
        cells.unflatten(1, shape)
        for cells, shape in zip(shares.split([prod(shape) for shape in shapes], dim=1), shapes, strict=True)
    ]
    profiles = [image.sum(dim=axis) for image in images for axis in (1, 2)]
    return (torch.cat(profiles, dim=1) + _LEAST_SHARE).sqrt()
