"""Building blocks of CaloGAN and of its conditional form, for any stack of two-dimensional layers of cells.

Those of M. Paganini, L. de Oliveira and B. Nachman, CaloGAN: Simulating 3D high energy particle showers in
multilayer electromagnetic calorimeters with generative adversarial networks, Phys. Rev. D 97 (2018) 014021,
and of its public code, https://github.com/hep-lbdl/CaloGAN.
"""

from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

Pair = tuple[int, int]

CARRY_OVER_BIAS = -10.0
"""Score that the image of the layer before starts with in the attention: a weight of exp(-10)."""

_LEAST_ENERGY = 1e-8
"""Cell energy below which the published soft sparsity has no slope."""


class LocallyConnected2d(nn.Module):
    """A convolution whose kernel is another one at every position of the output.

    LocallyConnected2D of Keras (https://keras.io/2.17/api/layers/locally_connected_layers/), without padding:
    the caller pads. Gradients are once differentiable.

    Parameters
    ----------
    in_channels, out_channels
        Channels of input and output.
    kernel
        Rows and columns of the kernels.
    size
        Rows and columns of the input, padding included.
    stride
        Rows and columns from one position to the next.
    bias
        Whether every output has a bias of its own.

    Attributes
    ----------
    weight
        Shape (positions, kernel rows * kernel columns * in_channels, out_channels), the positions row by row,
        as in Keras; at first within sqrt(6 / (fan in + fan out)) (X. Glorot and Y. Bengio 2010, equation 16),
        where Keras counts `fan_in` and `fan_out`, attributes too, over all positions.
    bias
        Shape (positions, out_channels), zero at first; None without.

    Raises
    ------
    ValueError
        If the kernel is larger than the input.

    Shapes: (B, in_channels, *size) to (B, out_channels, *positions) with (size - kernel) // stride + 1
    positions along each axis.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Pair,
        size: Pair,
        stride: Pair = (1, 1),
        bias: bool = True,
    ) -> None:
        super().__init__()
        if kernel[0] > size[0] or kernel[1] > size[1]:
            raise ValueError(f"kernel: found {kernel}, expected one within the size {size}")
        self.kernel, self.stride = kernel, stride
        self.positions = tuple((s - k) // step + 1 for s, k, step in zip(size, kernel, stride, strict=True))
        n, taps = prod(self.positions), prod(kernel) * in_channels
        self.fan_in, self.fan_out = n * taps, n * out_channels
        self.weight = nn.Parameter(torch.empty(n, taps, out_channels))
        self.bias = nn.Parameter(torch.zeros(n, out_channels)) if bias else None
        bound = sqrt(6 / (self.fan_in + self.fan_out))
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        rows, columns = self.positions
        bias = torch.zeros_like(self.weight[:, 0]) if self.bias is None else self.bias
        by_position = _LocalProducts.apply(
            x.to(self.weight.dtype).permute(2, 3, 1, 0).contiguous(),
            self.weight.view(rows, columns, self.kernel[0], -1, self.weight.shape[-1]),
            bias.view(rows, columns, -1, 1),
            self.stride,
        )
        return by_position.permute(3, 2, 0, 1)


class _LocalProducts(torch.autograd.Function):
    """Products of the weights of every position with what its window shows, the showers last in memory.

    Then the columns of a window are one block of memory, and a row of windows is a batch of matrices that
    overlap: each row of taps takes one batched matrix product and no copy of the windows, which has
    rows * columns of the kernel times the size of the input.

    Shapes: x (H, W, channels, B), weight (rows, columns, kernel rows, kernel columns * channels, out), bias
    (rows, columns, out, 1) to (rows, columns, out, B).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        out = []
        windows, weights = _windows(x, weight, stride), weight.transpose(3, 4)
        for row, row_bias in enumerate(bias):
            products = row_bias
            for tap in range(weight.shape[2]):
                products = torch.baddbmm(products, weights[row, :, tap], windows[row * stride[0] + tap])
            out.append(products)
        return torch.stack(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        rows, columns, taps, _, _ = weight.shape
        slope = slope.to(x.dtype).contiguous()
        windows = _windows(x, weight, ctx.stride)
        by_tap = weight.unflatten(3, (-1, x.shape[2]))
        of_x, of_weight = torch.zeros_like(x), torch.empty_like(weight)
        for row in range(rows):
            for tap in range(taps):
                line = row * ctx.stride[0] + tap
                of_weight[row, :, tap] = torch.bmm(windows[line], slope[row].transpose(1, 2))
                for column in range(by_tap.shape[3]):
                    seen = of_x[line, column :: ctx.stride[1]][:columns]
                    seen.baddbmm_(by_tap[row, :, tap, column], slope[row])
        return of_x, of_weight, slope.sum(dim=-1, keepdim=True), None


def _windows(x: Tensor, weight: Tensor, stride: Pair) -> Tensor:
    """A view of x (H, W, channels, B) with all windows along the columns.

    Shape (H, columns, kernel columns * channels, B).
    """
    kernel_columns = weight.shape[3] // x.shape[2]
    return x.unfold(1, kernel_columns, stride[1]).permute(0, 1, 4, 2, 3).flatten(2, 3)


class MinibatchDiscrimination(nn.Module):
    """How near a shower is to the others of its batch, in learnt projections of its features.

    sum_m exp(-|K_ni - K_mi|_1) for shower n and kernel i over all showers m, n included, with the projections
    K = T f + b (T. Salimans et al., Improved Techniques for Training GANs (2016), section 3.2).

    Shapes: features (B, features) to (B, kernels), between 1 and B.
    """

    def __init__(self, features: int, kernels: int = 10, dimensions: int = 10) -> None:
        super().__init__()
        self.kernels = kernels
        self.project = nn.Linear(features, kernels * dimensions)
        # Keras counts the fans of a kernel of shape (kernels, features, dimensions).
        bound = sqrt(6 / (kernels * (features + dimensions)))
        nn.init.uniform_(self.project.weight, -bound, bound)
        nn.init.zeros_(self.project.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Compare the showers of a batch."""
        projections = self.project(features).float().unflatten(1, (self.kernels, -1)).transpose(0, 1)
        return torch.cdist(projections, projections, p=1).neg().exp().sum(dim=2).T


class Attention(nn.Module):
    """Mixes the image of the layer before into that of a layer: a weighted mean of both in every cell.

    Weights are the softmax of two scores per cell, of which that of the layer before starts at -10, so that a
    layer begins as it is.

    Parameters
    ----------
    scores
        Layer with a 3x3 kernel and a bias, without padding, from 2 channels with a border of zeros around
        them to 2 channels: the image of the layer and the resized one of the layer before.

    Shapes: images (B, rows, columns) and before (B, *of the layer before) to (B, rows, columns).
    """

    def __init__(self, scores: nn.Module) -> None:
        super().__init__()
        self.scores = scores
        with torch.no_grad():
            scores.bias[..., 1] = CARRY_OVER_BIAS

    def forward(self, images: Tensor, before: Tensor) -> Tensor:
        """Mix."""
        both = torch.stack([images, resized(before, images.shape[1:])], dim=1)
        return (both * self.weights(both)).sum(dim=1)

    def weights(self, both: Tensor) -> Tensor:
        """Weights of both images (B, 2, rows, columns), of that shape and with the sum one."""
        return self.scores(functional.pad(both, (1, 1, 1, 1))).softmax(dim=1)


def resized(images: Tensor, shape: Pair) -> Tensor:
    """Images on the cells of another layer: along each axis cells are repeated or averaged.

    Repeated by an integer factor or averaged over one, where one number of cells divides the other; else an
    added cell takes the value of the nearest one, and a coarser cell the mean of all cells that it overlaps.
    Means and not sums: repeating keeps the values of cells, as in the public code.

    Shapes: (B, rows, columns) to (B, *shape).
    """
    finer = tuple(max(sides) for sides in zip(images.shape[1:], shape, strict=True))
    repeated = functional.interpolate(images[:, None], size=finer, mode="nearest-exact")
    return functional.adaptive_avg_pool2d(repeated, shape)[:, 0]


def sparsity(images: Tensor) -> Tensor:
    """Share of the cells with energy: shape (B, ...) to (B,). Has no gradient."""
    return (images > 0).flatten(1).float().mean(dim=1)


def soft_sparsity(images: Tensor, threshold: float, width: float) -> Tensor:
    """Share of the cells above a threshold, made smooth: it passes gradients on.

    The mean of x^a / (x^a + t^a) over cells of energy x >= 0, with the threshold t and a = 1 / width. This is
    the logistic function of (ln x - ln t) / width, continued to x = 0, where it is zero with a finite slope.
    Sparsity itself gives a generator no gradient (L. de Oliveira, M. Paganini and B. Nachman, Controlling
    Physical Attributes in GAN-Accelerated Simulation of Electromagnetic Calorimeters (2018), section 5);
    their own remedy is `published_soft_sparsity`.

    Parameters
    ----------
    images
        Cell energies, shape (B, ...).
    threshold
        Energy of a cell that counts one half, in the unit of `images`.
    width
        Logarithm of the energy over which a cell begins to count, above 0 and at most 1, where the slope at
        zero would become infinite.

    Returns
    -------
    Shape (B,), from 0 to 1.

    Raises
    ------
    ValueError
        If the width is not above 0 and at most 1.
    """
    if not 0 < width <= 1:
        raise ValueError(f"width: found {width:g}, expected it above 0 and at most 1")
    ratio = images / threshold
    below, above = ratio.clamp(max=1) ** (1 / width), ratio.clamp(min=1) ** (-1 / width)
    cells = torch.where(ratio < 1, below / (1 + below), 1 / (1 + above))
    return cells.flatten(1).mean(dim=1)


def published_soft_sparsity(images: Tensor, alpha: float = 6, beta: float = 1.2) -> Tensor:
    """The soft sparsity of the public code: the mean of u / (1 + u) with u = |x|^alpha + |x|^(1 / beta).

    L. de Oliveira, M. Paganini and B. Nachman (2018), section 5, equation 5, prints u = |x|^alpha +
    |x|^(-beta), which has no limit at zero energy and makes an empty cell count as 1; the public code
    (https://github.com/hep-lbdl/CaloGAN, branch explicit-blur) takes the root instead. The slope of that root
    is infinite at zero, where the gradient of the public code is not a number: below 1e-8 cells count 2e-7
    here and have no slope.

    Shapes: cell energies (B, ...), of any sign, to (B,), from 0 to 1.
    """
    size = images.abs().clamp(min=_LEAST_ENERGY)
    u = size**alpha + size ** (1 / beta)
    return (u / (1 + u)).flatten(1).mean(dim=1)
