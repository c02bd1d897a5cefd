"""Where showers are, told to generators that are not asked for it."""

import torch
from torch import Tensor, nn

from caloforge.geometry import Geometry
from caloforge.preprocessing import Preprocessing

_BUMPS = 16
_FURTHEST = 2.4
"""Centre of the last bump; a normally distributed number is further out in 1.6 % of the cases."""
_HEIGHT = 3
"""Then the bumps of a number add about as much to what a layer makes as 16 numbers of the noise."""
_LEAST_RANK = 0.002


class CentreOfGravity(nn.Module):
    """Centres of gravity in the plane of the face as two normally distributed numbers.

    Showers of one energy differ most by where they are. A generator that learns this with everything else
    makes narrow showers at a few places: a cell that gets little in all of them has next to no gradient.
    Here, as with the visible energy in `VisibleShares`, the distribution is fitted beforehand. The normal
    score of a centre is z = Phi^-1(F), for x and for y, with the quantiles F of the centres in the training
    set; a generator is told two numbers z, those of the real shower that its own is compared with, and
    independent normally distributed ones when there is none. How x, y and the conditions of the primary are
    correlated in the training set is lost.

    What it is told is `bumps(z)`, since a narrow shower is a function of z that rises and falls.

    Parameters
    ----------
    geometry
        A stack of layers of rectangular cells.
    preprocessing
        For the quantiles.
    """

    n_bumps = 2 * _BUMPS

    def __init__(self, geometry: Geometry, preprocessing: Preprocessing) -> None:
        super().__init__()
        quantiles_mm = [preprocessing.centre_x_quantiles_mm, preprocessing.centre_y_quantiles_mm]
        cells_mm = torch.from_numpy(geometry.cell_centres_mm().T).float().contiguous()
        self.register_buffer("cells_mm", cells_mm, persistent=False)
        self.register_buffer("quantiles_mm", torch.tensor(quantiles_mm), persistent=False)

    def normal_scores(self, showers: Tensor) -> Tensor:
        """Numbers z of showers: cell energies (B, V) in any unit to (B, 2).

        Between quantiles, ranks are interpolated; a shower without energy is in the middle of the face. In
        float32 also where networks run with bfloat16, which products of matrices would be rounded to.
        """
        total = showers.sum(dim=1).clamp_min(torch.finfo(showers.dtype).tiny)
        centres_mm = (showers * self.cells_mm[:, None]).sum(dim=2) / total
        last = self.quantiles_mm.shape[1] - 1
        above = torch.searchsorted(self.quantiles_mm, centres_mm).clamp(1, last)
        low_mm, high_mm = (self.quantiles_mm.gather(1, index) for index in (above - 1, above))
        steps = ((centres_mm - low_mm) / (high_mm - low_mm).clamp_min(1e-6)).clamp(0, 1)
        ranks = (above - 1 + steps) / last
        return torch.special.ndtri(ranks.clamp(_LEAST_RANK, 1 - _LEAST_RANK)).T

    def bumps(self, scores: Tensor) -> Tensor:
        """A constant times exp(-(z - c)^2 / 2 w^2) with c at equal steps w: z (B, 2) to (B, n_bumps)."""
        centres = torch.linspace(-_FURTHEST, _FURTHEST, _BUMPS, device=scores.device)
        width = 2 * _FURTHEST / (_BUMPS - 1)
        return _HEIGHT * (-((scores[..., None] - centres) ** 2) / (2 * width**2)).exp().flatten(1)
