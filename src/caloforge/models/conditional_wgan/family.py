"""The conditional WGAN-GP: losses and steps (Chekalina et al. 2019, section 4.2)."""

from pathlib import Path

import torch
from torch import Tensor

from caloforge import checkpoint
from caloforge.geometry import Geometry
from caloforge.models.conditional_wgan import regressor
from caloforge.models.conditional_wgan.networks import Critic, Generator, Regressor
from caloforge.models.conditional_wgan.settings import ConditionalWGANSettings
from caloforge.models.family import Family, mixed_precision
from caloforge.preprocessing import Preprocessing


class ConditionalWGAN(Family):
    """Generator and critic, conditioned through a frozen regressor.

    With images x, inputs c, noise z, regressor R and fake images G(z, c), the critic D minimises

        E[D(G, R(G), c)] - E[D(x, R(x), c)] + gradient_penalty * E[(|grad D| - 1)^2]

    (I. Gulrajani et al., Improved Training of Wasserstein GANs, 2017, equation 3; the gradient is taken
    with respect to the whole image, through R, at random points between x and G) and the generator
    minimises

        -E[D(G, R(G), c)] + condition_weight * S(R) + perceptual_weight * S(phi)

    where phi are the activations of the coarsest level of R, and S compares what R sees in generated and real
    showers of the same conditions (see `energy_score`). The paper states the regressor, the perceptual loss
    and the penalty, but not how they are combined. A plain distance between R(G) and c, or between the
    features of G and x (J. Johnson et al., Perceptual Losses for Real-Time Style Transfer and
    Super-Resolution, 2016, equation 2), is smallest when all showers of the same conditions look the same
    to R; the energy score is smallest when they fluctuate as real showers do.
    """

    def __init__(
        self, settings: ConditionalWGANSettings, geometry: Geometry, preprocessing: Preprocessing
    ) -> None:
        super().__init__()
        n_inputs = len(preprocessing.inputs)
        self.settings = settings
        self.image = geometry.layers[0].shape
        self.generator = Generator(settings.noise, n_inputs, settings.channels, self.image)
        self.critic = Critic(settings.channels[::-1], n_inputs, self.image)
        self.regressor = Regressor(settings.regressor.channels, n_inputs, self.image).requires_grad_(False)

    def adopt(self, pretrained: Path) -> None:
        content = checkpoint.load(pretrained, regressor.KIND)
        checkpoint.require(pretrained, content, settings=self.settings.regressor.model_dump(mode="json"))
        self.regressor.load_state_dict(
            {name.removeprefix("regressor."): weight for name, weight in content["weights"].items()}
        )

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        betas = self.settings.adam_betas
        return {
            "generator": torch.optim.Adam(self.generator.parameters(), self.settings.learning_rate, betas),
            "critic": torch.optim.Adam(self.critic.parameters(), self.settings.critic_learning_rate, betas),
        }

    def training_step(
        self,
        step: int,
        showers: Tensor,
        inputs: Tensor,
        optimisers: dict[str, torch.optim.Optimizer],
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        real = showers.unflatten(1, self.image)
        losses = self._update_critic(step, real, inputs, optimisers["critic"], rng)
        if (step + 1) % self.settings.critic_steps == 0:
            losses |= self._update_generator(real, inputs, optimisers["generator"], rng)
        return losses

    def generate(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        return self._fake(inputs, rng).flatten(1)

    def reconstruct(self, showers: Tensor) -> Tensor:
        return self.regressor(showers.unflatten(1, self.image))

    def _fake(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        noise = torch.randn(len(inputs), self.settings.noise, generator=rng, device=inputs.device)
        return self.generator(noise, inputs)

    def _score(self, images: Tensor, inputs: Tensor) -> Tensor:
        return self.critic(images, self.regressor(images), inputs)

    def _update_critic(
        self, step: int, real: Tensor, inputs: Tensor, optimiser: torch.optim.Optimizer, rng: torch.Generator
    ) -> dict[str, Tensor]:
        optimiser.zero_grad(set_to_none=True)
        with mixed_precision(self.settings.training, real.device):
            with torch.no_grad():
                fake = self._fake(inputs, rng).float()
            scores = self._score(torch.cat([real, fake]), torch.cat([inputs, inputs])).float()
        distance = scores[: len(real)].mean() - scores[len(real) :].mean()
        losses = {"wasserstein_distance": distance.detach()}
        loss = -distance
        if step % self.settings.penalty_interval == 0:
            penalty = self._gradient_penalty(real, fake, inputs, rng)
            loss = loss + self.settings.penalty_interval * self.settings.gradient_penalty * penalty
            losses["gradient_penalty"] = penalty.detach()
        loss.backward()
        optimiser.step()
        return losses

    def _gradient_penalty(self, real: Tensor, fake: Tensor, inputs: Tensor, rng: torch.Generator) -> Tensor:
        share = torch.rand(len(real), 1, 1, generator=rng, device=real.device, dtype=real.dtype)
        between = torch.lerp(real, fake, share).requires_grad_()
        (gradient,) = torch.autograd.grad(self._score(between, inputs).sum(), between, create_graph=True)
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()

    def _update_generator(
        self, real: Tensor, inputs: Tensor, optimiser: torch.optim.Optimizer, rng: torch.Generator
    ) -> dict[str, Tensor]:
        optimiser.zero_grad(set_to_none=True)
        self.critic.requires_grad_(False)
        twice = torch.cat([inputs, inputs])
        with mixed_precision(self.settings.training, real.device):
            fake = self._fake(twice, rng)
            reconstructed, features = self.regressor.features(fake)
            adversarial = -self.critic(fake, reconstructed, twice).float().mean()
            with torch.no_grad():
                real_reconstructed, real_features = self.regressor.features(real)
        condition = energy_score(real_reconstructed, *reconstructed.chunk(2))
        perceptual = energy_score(real_features, *features.chunk(2))
        total = (
            adversarial
            + self.settings.condition_weight * condition
            + self.settings.perceptual_weight * perceptual
        )
        total.backward()
        optimiser.step()
        self.critic.requires_grad_(True)
        return {
            "generator": adversarial.detach(),
            "condition": condition.detach(),
            "perceptual": perceptual.detach(),
        }


def energy_score(real: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """How far generated vectors are from real ones, given the conditions they share.

    E|Y - x| - E|Y - Y'| / 2 for real x and independent generated Y, Y' of the same conditions, with the
    root mean square over components as the norm: a strictly proper score, lowest in expectation when Y is
    distributed like x for every value of the conditions (T. Gneiting and A. E. Raftery, Strictly Proper
    Scoring Rules, Prediction, and Estimation, J. Am. Stat. Assoc. 102 (2007) 359, equation 22).

    Parameters
    ----------
    real, first, second
        Vectors of the same conditions row by row, shape (B, components).
    """

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return ((a.float() - b.float()).square().mean(dim=1) + 1e-12).sqrt().mean()

    return (distance(first, real) + distance(second, real) - distance(first, second)) / 2


FAMILY = ConditionalWGAN
