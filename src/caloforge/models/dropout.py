"""Dropout that repeats with the random state of a training."""

import torch


def seed_dropout(rng: torch.Generator) -> None:
    """Make dropout, which draws from PyTorch's own random state, depend on that of the training."""
    torch.manual_seed(torch.randint(2**63 - 1, (), generator=rng, device=rng.device).item())
