"""Showers in stacks of layers as shares of their visible energy."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from caloforge.models.layer_stack.layers import Pair

_LEAST_SHARE = 1e-6
"""Share of a row or column below which its root grows linearly."""
_LEAST_SUM_GeV = 1e-7
_LEAST_PART = 1e-5
"""Share of the shower that every cell, row and column of a layer has beside its own in the summaries."""
_SHIFTS = (1, 2, 4, 8)
_POSITION_SCALE = 4
"""Entry points differ more than showers do, and a generator has to learn both."""


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
    profiles = [image.sum(dim=axis) for image in _images(showers, shapes) for axis in (1, 2)]
    return (torch.cat(profiles, dim=1) + _LEAST_SHARE).sqrt()


def layer_summaries(showers: Tensor, shapes: Sequence[Pair]) -> Tensor:
    """What every layer of a shower looks like, in numbers that do not depend on where it is but for two.

    For each layer the root of its share of the energy; sum_i sqrt(q_i / n) and sqrt(sum_i q_i^2) of the
    shares q of its n cells in its energy, which say over how many it spreads; and for its rows and for its
    columns the centre of gravity, from -1 to 1 and times `_POSITION_SCALE`, the sum of the squares of the
    shares p, and sum_i sqrt(p_i p_(i + k)), the Bhattacharyya coefficient of the profile and itself k = 1, 2,
    4 and 8 further on, as far as the layer has so many: how wide it is.

    Parameters
    ----------
    showers
        Cell energies [GeV], (B, V).
    shapes
        Rows and columns of each layer.

    Returns
    -------
    Shape (B, summaries).
    """
    summaries = []
    for image in _images(showers, shapes):
        cells = image.flatten(1)
        parts = _parts(cells)
        summaries += [
            (cells.sum(dim=1) + _LEAST_PART).sqrt(),
            (parts / parts.shape[1]).sqrt().sum(dim=1),
            parts.square().sum(dim=1).sqrt(),
        ]
        for profile in (_parts(image.sum(dim=2)), _parts(image.sum(dim=1))):
            n = profile.shape[1]
            place = torch.linspace(
                -_POSITION_SCALE, _POSITION_SCALE, n, dtype=profile.dtype, device=profile.device
            )
            roots = profile.sqrt()
            summaries += [profile @ place, profile.square().sum(dim=1)]
            summaries += [(roots[:, k:] * roots[:, :-k]).sum(dim=1) for k in _SHIFTS if k < n]
    return torch.stack(summaries, dim=1)


def _images(showers: Tensor, shapes: Sequence[Pair]) -> list[Tensor]:
    """Shares of the cells in the energy of a shower, (B, rows, columns) for each layer."""
    shares = showers / showers.sum(dim=1, keepdim=True).clamp_min(_LEAST_SUM_GeV)
    layers = shares.split([prod(shape) for shape in shapes], dim=1)
    return [cells.unflatten(1, shape) for cells, shape in zip(layers, shapes, strict=True)]


def _parts(shares: Tensor) -> Tensor:
    """Shares (B, n) in the energy of a shower as shares in that of the layer, even where it is empty."""
    parts = shares + _LEAST_PART
    return parts / parts.sum(dim=1, keepdim=True)
