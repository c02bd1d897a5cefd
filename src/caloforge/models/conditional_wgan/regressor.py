"""The regressor behind the conditioning: trained first, then frozen (Chekalina et al. 2019, section 4.2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from caloforge.geometry import Geometry
from caloforge.models.conditional_wgan.networks import Regressor
from caloforge.models.conditional_wgan.settings import RegressorSettings
from caloforge.models.family import Trainable, mixed_precision

KIND = "conditional_wgan regressor"


class RegressorTraining(Trainable):
    """Supervised training of the regressor on the mean squared error of the standardised inputs."""

    def __init__(self, settings: RegressorSettings, geometry: Geometry, n_inputs: int) -> None:
        super().__init__()
        self.settings = settings
        self.regressor = Regressor(settings.channels, n_inputs, geometry.layers[0].shape)
        self.image = geometry.layers[0].shape

    @property
    def product(self) -> nn.Module:
        return self.regressor

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"regressor": torch.optim.Adam(self.regressor.parameters(), lr=self.settings.learning_rate)}

    def training_step(
        self,
        step: int,
        showers: Tensor,
        inputs: Tensor,
        optimisers: dict[str, torch.optim.Optimizer],
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        optimisers["regressor"].zero_grad(set_to_none=True)
        with mixed_precision(self.settings.training, showers.device):
            loss = self.error(showers, inputs)
        loss.backward()
        optimisers["regressor"].step()
        return {"squared_error": loss.detach()}

    def error(self, showers: Tensor, inputs: Tensor) -> Tensor:
        """Mean squared error of the reconstructed inputs, in units of their standard deviations."""
        return functional.mse_loss(self.regressor(showers.unflatten(1, self.image)).float(), inputs)
