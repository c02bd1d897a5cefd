"""Cells as shares of a visible energy that is drawn on its own."""

import torch
from torch import Tensor, nn

from caloforge.models.gan3d.networks import ENERGY_UNIT_GeV, images_of
from caloforge.preprocessing import Preprocessing


class VisibleShares(nn.Module):
    """The energy of a shower, and how it is shared out over the cells.

    A generator that makes energies, as published, has to learn from nothing how much a shower deposits and
    where, over five orders of magnitude. Here both are fitted to the training set beforehand, and the
    generator learns how showers differ: with the fitted mean R(y) of the visible energy of a primary of
    energy y, its fitted relative spread s(y), the mean share m_i of cell i, a normally distributed number n
    and the output g_i of a generator,

        E = R(y) (1 + s(y) n),    w_i = m_i max(0, 1 + g_i),    E_i = E w_i / sum_j w_j.

    A generator that gives zeros makes mean showers. Cells at or below the readout threshold are empty, as
    they are in the showers it learns from, and the others share their energy.
    """

    def __init__(self, shape: tuple[int, int, int], preprocessing: Preprocessing) -> None:
        super().__init__()
        self.spread = preprocessing.response_spread
        self.threshold_GeV = preprocessing.readout_threshold_MeV / 1000
        mean_shower = images_of(torch.tensor([preprocessing.mean_shower]), shape)
        self.register_buffer("mean_shower", mean_shower, persistent=False)

    def latent(self, noise: Tensor, energy_GeV: Tensor) -> Tensor:
        """Noise (B, L) with the logarithm of the energy, y / 100 GeV, in the first place."""
        return torch.cat([(energy_GeV / ENERGY_UNIT_GeV).log()[:, None], noise[:, 1:]], dim=1)

    def images_GeV(
        self, output: Tensor, noise: Tensor, mean_visible_GeV: Tensor, energy_GeV: Tensor
    ) -> Tensor:
        """Images of cell energies.

        Parameters
        ----------
        output
            Of a generator without its last ReLU, (B, *shape).
        noise
            The latent noise, (B, L), whose first number is n.
        mean_visible_GeV, energy_GeV
            R(y) and y, (B,).
        """
        stochastic, constant = self.spread
        spread = (stochastic**2 / energy_GeV + constant**2).sqrt()
        visible_GeV = (mean_visible_GeV * (1 + spread * noise[:, 0]).clamp_min(0))[:, None, None, None]
        images_GeV = visible_GeV * _normalised(self.mean_shower * (1 + output).relu())
        return visible_GeV * _normalised(images_GeV * (images_GeV > self.threshold_GeV))


def _normalised(weights: Tensor) -> Tensor:
    """Weights (B, nx, ny, nz) over their sum; zeros where all are zero."""
    return weights / weights.sum(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
