"""Labels that discriminators learn from."""

import torch
from torch import Tensor


def exchanged_labels(label: float, n: int, share: float, rng: torch.Generator) -> Tensor:
    """Labels of n showers of one kind, a share of them exchanged: real ones to 0, generated ones, 0, to 1.

    Shape (n,), on the device of `rng`.
    """
    exchanged = torch.rand(n, generator=rng, device=rng.device) < share
    return torch.where(exchanged, 0.0 if label else 1.0, label)
