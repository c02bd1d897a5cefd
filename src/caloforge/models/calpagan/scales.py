"""Scales on which the networks see the energies of towers.

Images have the shape (B, eta, phi).
"""

import torch
from torch import Tensor
from torch.nn import functional


class MaximumScale:
    """Energies over the energy of the hottest tower of an image (section 3.1 of the paper).

    Of the fast image in both images of a pair, as in the public code, so that generation can undo it; or,
    with `own`, of each image itself, as in the paper. A fast image without energy has no scale: such an event
    is a pair of empty images to the networks, and what is generated for it is empty.
    """

    def __init__(self, *, own: bool) -> None:
        self.own = own

    def fast(self, fast_GeV: Tensor) -> Tensor:
        """Images of the fast simulation as the networks see them."""
        return fast_GeV / _positive(_maximum(fast_GeV))

    def full(self, full_GeV: Tensor, fast_GeV: Tensor) -> Tensor:
        """Images of the full simulation as the networks see them, with the fast ones of the same events."""
        seen = _maximum(fast_GeV)
        maximum = torch.where(seen > 0, _maximum(full_GeV), 0) if self.own else seen
        return full_GeV / _positive(maximum)

    def energies_GeV(self, images: Tensor, fast_GeV: Tensor) -> Tensor:
        """Undo `full`: energies of generated images, exact if the scale is that of the fast image."""
        return images * _maximum(fast_GeV)

    def squares(self, images: Tensor, side: int) -> Tensor:
        """Sums over squares of `side` towers, over `side`: shape (B, eta / side, phi / side)."""
        return side * functional.avg_pool2d(images, side)


class LogarithmScale:
    """log(1 + E / unit), the same for all images."""

    def __init__(self, unit_GeV: float) -> None:
        self.unit_GeV = unit_GeV

    def fast(self, fast_GeV: Tensor) -> Tensor:
        """Images of the fast simulation as the networks see them."""
        return (fast_GeV / self.unit_GeV).log1p()

    def full(self, full_GeV: Tensor, _fast_GeV: Tensor) -> Tensor:
        """Images of the full simulation as the networks see them."""
        return self.fast(full_GeV)

    def energies_GeV(self, images: Tensor, _fast_GeV: Tensor) -> Tensor:
        """Undo `full`: energies of generated images."""
        return images.expm1() * self.unit_GeV

    def squares(self, images: Tensor, side: int) -> Tensor:
        """Sums of energies over squares of `side` towers, over `side`, on the scale; as in `MaximumScale`."""
        return (side * functional.avg_pool2d(images.expm1(), side)).log1p()


def _maximum(images: Tensor) -> Tensor:
    """Energy of the hottest tower: shape (B, 1, 1)."""
    return images.amax(dim=(1, 2), keepdim=True)


def _positive(maximum: Tensor) -> Tensor:
    """Divisors that make an image zero where its maximum is not above zero."""
    return torch.where(maximum > 0, maximum, torch.inf)
