"""Upsampling building blocks."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class UpsampleConv2d(nn.Module):
    """Nearest-neighbour upsampling by two followed by a 3x3 convolution, computed as one transposed
    convolution.

    An output pixel of upsample-then-convolve sees only 2x2 distinct input pixels, so the 3x3 kernel W folds
    into the 4x4 kernel F W F^T of a transposed convolution of stride 2 with the same result for 4/9 of the
    arithmetic.

    Shapes: (B, in_channels, H, W) to (B, out_channels, 2H, 2W).
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        fold = torch.tensor([[0.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
        self.register_buffer("fold", fold, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample and convolve."""
        kernel = torch.einsum("ai,ocij,bj->coab", self.fold, self.weight, self.fold)
        return functional.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)
