"""Building blocks that look at energies."""

import torch
from torch import Tensor, nn

from caloforge.preprocessing import Preprocessing


class LogEnergy(nn.Module):
    """Standardised logarithm of the visible energy of preprocessed showers.

    Inverts the Box-Cox transform of `Preprocessing`, sums what each cell holds above the readout threshold
    and takes ln(1 + sum / threshold), less its mean over the training set, over its standard deviation.
    Smooth, also where a cell is empty. Networks with small kernels hardly find this sum on their own.

    Shapes: (B, ...) to (B, 1).
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.power, self.scale = preprocessing.power, preprocessing.scale
        self.mean, self.std = preprocessing.log_energy_mean, preprocessing.log_energy_std

    def forward(self, showers: Tensor) -> Tensor:
        """Sum and take the logarithm, in float32."""
        box_cox = showers.float().flatten(1) * self.scale
        above = (
            torch.expm1(box_cox) if self.power == 0 else (self.power * box_cox + 1) ** (1 / self.power) - 1
        )
        return (torch.log1p(above.sum(dim=1, keepdim=True)) - self.mean) / self.std
