"""Cells as shares of a visible energy that is drawn on its own."""

import torch
from torch import Tensor, nn

from caloforge.models.primary.conditions import ENERGY_UNIT_GeV
from caloforge.preprocessing import Preprocessing


class VisibleShares(nn.Module):
    """The energy of a shower, and how it is shared out over the cells.

    A generator that makes energies, as published, has to learn from nothing how much a shower deposits and
    where, over five orders of magnitude. Here both are fitted to the training set beforehand, and the
    generator learns how showers differ: with the fitted mean R(y) of the visible energy of a primary of
    energy y, its fitted relative spread s(y), a normally distributed number n and the weights w_i that a
    generator gives the cells, starting from their mean shares,

        E = R(y) (1 + s(y) n),    E_i = E w_i / sum_j w_j.

    Far from its axis a shower is single particles that hit few cells, while E_i is a mean. With the readout
    threshold t and the mean excess h over it of hits in cells that are rarely hit, a cell with E_i < t + h is
    hit with the probability E_i / (t + h) and reads t + h x then, x exponentially distributed with mean one:
    E_i on average, and empty otherwise. At last all cells are scaled to the sum E. Gradients pass as if cells
    read E_i, the straight-through estimator of Y. Bengio, N. Léonard and A. Courville, arXiv:1308.3432.

    Parameters
    ----------
    mean_shower
        Mean share of each cell, as the cells of a shower are arranged, (*cells).
    preprocessing
        For the spread, the threshold and the excess.
    """

    def __init__(self, mean_shower: Tensor, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.spread = preprocessing.response_spread
        self.threshold_GeV = preprocessing.readout_threshold_MeV / 1000
        self.rare_hit_GeV = preprocessing.rare_hit_MeV / 1000
        self.register_buffer("mean_shower", mean_shower, persistent=False)

    def latent(self, noise: Tensor, energy_GeV: Tensor) -> Tensor:
        """Noise (B, L) with the logarithm of the energy, y / 100 GeV, in the first place."""
        return torch.cat([(energy_GeV / ENERGY_UNIT_GeV).log()[:, None], noise[:, 1:]], dim=1)

    def cells_GeV(
        self,
        weights: Tensor,
        noise: Tensor,
        mean_visible_GeV: Tensor,
        energy_GeV: Tensor,
        rng: torch.Generator,
    ) -> Tensor:
        """Cell energies, in the shape of the weights.

        Parameters
        ----------
        weights
            Of the cells, >= 0, (B, *cells).
        noise
            The latent noise, (B, L), whose first number is n.
        mean_visible_GeV, energy_GeV
            R(y) and y, (B,).
        rng
            Of the hits.
        """
        stochastic, constant = self.spread
        spread = (stochastic**2 / energy_GeV + constant**2).sqrt()
        visible_GeV = mean_visible_GeV * (1 + spread * noise[:, 0]).clamp_min(0)
        visible_GeV = visible_GeV.unflatten(0, (-1, *(1,) * (weights.ndim - 1)))
        mean_GeV = visible_GeV * _normalised(weights)
        read_GeV = visible_GeV * _normalised(self._hits(mean_GeV.detach(), rng))
        return read_GeV + (mean_GeV - mean_GeV.detach())

    def _hits(self, mean_GeV: Tensor, rng: torch.Generator) -> Tensor:
        hit_GeV = self.threshold_GeV + self.rare_hit_GeV
        is_hit = torch.rand(mean_GeV.shape, generator=rng, device=mean_GeV.device) * hit_GeV < mean_GeV
        excess_GeV = self.rare_hit_GeV * torch.empty_like(mean_GeV).exponential_(generator=rng)
        return torch.where(mean_GeV < hit_GeV, is_hit * (self.threshold_GeV + excess_GeV), mean_GeV)


def _normalised(weights: Tensor) -> Tensor:
    """Weights (B, *cells) over their sum; zeros where all are zero."""
    total = weights.flatten(1).sum(dim=1).clamp_min(torch.finfo(weights.dtype).tiny)
    return weights / total.unflatten(0, (-1, *(1,) * (weights.ndim - 1)))
