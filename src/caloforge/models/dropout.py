"""Dropout that costs little on a CPU and repeats with the random state of a training."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 1 << 16


class Dropout(nn.Module):
    """Dropout with 16 random bits per element.

    PyTorch draws a random number of its own for every element, one after the other on a CPU: a fifth of a
    training step of a three-dimensional network. Four elements share a random number here, so that the share
    that is dropped is `p` rounded to 1/65536. On a GPU it is PyTorch's own.

    Shapes: any to the same.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Set a share of the elements to zero and scale the others up, in training mode."""
        if not self.training or x.device.type != "cpu":
            return functional.dropout(x, self.p, self.training)
        dropped = round(self.p * _LEVELS)
        numbers = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = numbers.view(torch.int16)[: x.numel()].as_strided(x.shape, torch.empty_like(x).stride())
        kept = (bits >= dropped - _LEVELS // 2).to(x.dtype)
        return x * kept.mul_(_LEVELS / (_LEVELS - dropped))


def seed_dropout(rng: torch.Generator) -> None:
    """Make dropout, which draws from PyTorch's own random state, depend on that of the training."""
    torch.manual_seed(torch.randint(2**63 - 1, (), generator=rng, device=rng.device).item())
