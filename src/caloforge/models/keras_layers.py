"""Layers with the conventions of Keras, for networks that were published in it.

Defaults of Keras that PyTorch does not share: https://keras.io/api/layers/, pages LeakyReLU,
BatchNormalization, Conv2D and Conv2DTranspose.
"""

from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor, nn

Layer = TypeVar("Layer", bound=nn.Module)

LEAKY_SLOPE = 0.3
"""Slope of LeakyReLU below zero."""

BATCH_NORM = {"momentum": 0.01, "eps": 1e-3}
"""Batch normalisation; what Keras calls a momentum of 0.99 is one of 0.01 here."""


def same_padding(kernel: Sequence[int]) -> tuple[int, ...]:
    """Zeros that keep the size of an image under a convolution with `kernel` taps, stride 1.

    kernel - 1 zeros along each axis: half of them, rounded down, before the image and the rest after it.

    Returns
    -------
    Zeros before and after, last axis first, as `torch.nn.functional.pad` and `torch.nn.ZeroPad2d` take them.
    """
    return tuple(zeros for taps in reversed(kernel) for zeros in ((taps - 1) // 2, taps // 2))


class SameConvTranspose2d(nn.ConvTranspose2d):
    """Transposed convolution with padding "same": `stride` times as many rows and columns.

    The full transposed convolution has kernel - stride more of each: half of them, rounded down, are cropped
    before the image and the rest after it; kernel >= stride.

    Shapes: (B, in_channels, H, W) to (B, out_channels, stride * H, stride * W).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding=(kernel - stride) // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        rows, columns = (stride * side for stride, side in zip(self.stride, x.shape[2:], strict=True))
        return super().forward(x)[:, :, :rows, :columns]


def glorot_uniform(layer: Layer) -> Layer:
    """Initialise as Keras does by default: weights within sqrt(6 / (fan in + fan out)), biases zero.

    X. Glorot and Y. Bengio, Understanding the difficulty of training deep feedforward neural networks (2010),
    equation 16.
    """
    nn.init.xavier_uniform_(layer.weight)
    return _without_bias(layer)


def he_uniform(layer: Layer) -> Layer:
    """Initialise with weights within sqrt(6 / fan in), biases zero.

    The variance of K. He et al., Delving Deep into Rectifiers (2015), equation 10.
    """
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    return _without_bias(layer)


def _without_bias(layer: Layer) -> Layer:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
