"""Networks of CALPAGAN (Simsek et al. 2024, section 3.1), U-Net and patch discriminator.

Images have the shape (B, eta, phi). What the paper leaves open, such as how maps are cropped, is that of the
public code, https://github.com/byrkbrk/calpagan-experiment. Its blocks apply one batch normalisation twice;
here each has two, as the text says.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from caloforge.models.cropping import centre

_SLOPE = 0.2
_OUTPUT_SLOPE = 0.5
_DISCRIMINATOR_LEVELS = 3
_INITIAL_SPREAD = 0.02


class TowerConv2d(nn.Conv2d):
    """Convolution of maps over eta and phi; the edges in phi see zeros or, `circular`, each other.

    With an even kernel and a padding, maps grow by one along eta, and keep their number of columns in phi if
    `circular`.

    Shapes: (B, in_channels, eta, phi) to (B, out_channels, eta', phi').
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, padding: int, *, circular: bool
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=(padding, 0 if circular else padding))
        self.wrapped = (kernel // 2, (kernel - 1) // 2) if circular and padding else None

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        if self.wrapped:
            x = functional.pad(x, (*self.wrapped, 0, 0), mode="circular")
        return super().forward(x)


class Upsampling(nn.Module):
    """Bilinear upsampling, followed by a convolution with 2 x 2 taps that halves the channels.

    The corners of a map keep their values (align_corners of PyTorch), and the convolution leaves one row and
    one column fewer. If `circular`, the map continues across phi = pi: upsampled columns are `factor` to one
    of before, all the way round, and none is lost.

    Shapes: (B, C, eta, phi) to (B, C // 2, factor * eta - 1, factor * phi - 1, or factor * phi if circular).
    """

    def __init__(self, channels: int, factor: int, *, circular: bool) -> None:
        super().__init__()
        self.factor, self.circular = factor, circular
        self.convolution = nn.Conv2d(channels, channels // 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample and convolve."""
        rows, columns = (self.factor * side for side in x.shape[2:])
        if not self.circular:
            return self.convolution(_bilinear(x, (rows, columns)))
        around = functional.pad(x, (1, 1, 0, 0), mode="circular")
        fine = _bilinear(around, (rows, columns + self.factor + 1))
        return self.convolution(fine.narrow(3, self.factor // 2, columns + 1))


class Contracting(nn.Sequential):
    """Two convolutions, the first of which doubles the channels, with normalisations; then a pooling.

    Shapes: (B, C, eta, phi) to (B, 2 C, eta // pool, phi // pool).
    """

    def __init__(
        self, channels: int, pool: int, normalisation: Callable[[int], nn.Module], *, circular: bool
    ) -> None:
        wide = 2 * channels
        super().__init__(
            TowerConv2d(channels, wide, 3, 1, circular=circular),
            normalisation(wide),
            nn.LeakyReLU(_SLOPE),
            TowerConv2d(wide, wide, 3, 1, circular=circular),
            normalisation(wide),
            nn.LeakyReLU(_SLOPE),
            nn.MaxPool2d(pool),
        )


class Expanding(nn.Module):
    """Upsampling, beside it the middle of the map from the way down, and two convolutions.

    Shapes: (B, C, eta, phi) and (B, C / 2, factor * eta, factor * phi) to the shape of the latter.
    """

    def __init__(self, channels: int, factor: int, *, circular: bool) -> None:
        super().__init__()
        narrow = channels // 2
        self.upsampling = Upsampling(channels, factor, circular=circular)
        self.convolutions = nn.Sequential(
            TowerConv2d(channels, narrow, 3, 1, circular=circular),
            nn.BatchNorm2d(narrow),
            nn.LeakyReLU(_SLOPE),
            TowerConv2d(narrow, narrow, 2, 1, circular=circular),
            nn.BatchNorm2d(narrow),
            nn.LeakyReLU(_SLOPE),
        )

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        """Expand."""
        fine = self.upsampling(x)
        return self.convolutions(torch.cat([fine, centre(skipped, fine.shape[2:])], dim=1))


class Generator(nn.Module):
    """U-Net from the channels of an input to an image, as large as the input.

    With the published sizes: 2 x 72 x 72 -> 16 x 72 x 72 -> 32 x 36 x 36 -> 64 x 18 x 18 -> 128 x 9 x 9 ->
    256 x 3 x 3 -> 512 x 1 x 1 and back.

    Shapes: (B, inputs, eta, phi) to (B, eta, phi), of either sign.
    """

    def __init__(
        self, inputs: int, channels: int, pools: tuple[int, ...], *, circular: bool, initial_scale: float
    ) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(len(pools) + 1)]
        self.start = nn.Conv2d(inputs, channels, 1)
        self.down = nn.ModuleList(
            Contracting(width, pool, nn.BatchNorm2d, circular=circular)
            for width, pool in zip(widths, pools, strict=False)
        )
        self.up = nn.ModuleList(
            Expanding(width, pool, circular=circular)
            for width, pool in zip(widths[:0:-1], pools[::-1], strict=True)
        )
        self.end = nn.Conv2d(channels, 1, 1)
        _initialise(self, initial_scale)

    def forward(self, inputs: Tensor) -> Tensor:
        """Make images."""
        x = self.start(inputs)
        skipped = []
        for level in self.down:
            skipped.append(x)
            x = level(x)
        for level in self.up:
            x = level(x, skipped.pop())
        return functional.leaky_relu(self.end(x)[:, 0], _OUTPUT_SLOPE)


class Discriminator(nn.Sequential):
    """Says of patches of an image how real they are.

    With the published sizes: 1 x 72 x 72 -> 8 x 72 x 72 -> 16 x 36 x 36 -> 32 x 18 x 18 -> 64 x 9 x 9 ->
    1 x 9 x 9.

    Shapes: (B, inputs, eta, phi) to logits (B, 1, eta // 8, phi // 8).
    """

    def __init__(self, inputs: int, channels: int, *, circular: bool, spectral: bool) -> None:
        normalisation = (lambda _: nn.Identity()) if spectral else nn.InstanceNorm2d
        super().__init__(
            nn.Conv2d(inputs, channels, 1),
            *(
                Contracting(channels * 2**level, 2, normalisation, circular=circular)
                for level in range(_DISCRIMINATOR_LEVELS)
            ),
            nn.Conv2d(channels * 2**_DISCRIMINATOR_LEVELS, 1, 1),
        )
        _initialise(self)
        if spectral:
            for layer in [layer for layer in self.modules() if isinstance(layer, nn.Conv2d)]:
                parametrizations.spectral_norm(layer)


def _initialise(network: nn.Module, scale: float = 0) -> None:
    """Draw the initial weights of convolutions and of batch normalisations, around 0 and `scale`."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, 0, _INITIAL_SPREAD)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, scale, _INITIAL_SPREAD)


def _bilinear(x: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(x, size, mode="bilinear", align_corners=True)
