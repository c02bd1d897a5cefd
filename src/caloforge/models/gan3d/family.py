"""Losses and steps of both GANs for three-dimensional grids."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from caloforge.geometry import Geometry
from caloforge.models.family import Family, mixed_precision
from caloforge.models.gan3d.settings import Gan3dSettings
from caloforge.preprocessing import Preprocessing

ENERGY_UNIT_GEV = 100.0
"""Networks see the incident energy in this unit."""


class Gan3d(Family):
    """Generator and discriminator of grids in GeV, conditioned on the incident energy.

    With D the probability that a shower is real, y the incident energy and e its reconstruction by the
    discriminator, both in 100 GeV, S the sum of all cells and R(y) the fitted mean of S, the discriminator
    minimises

        adversarial_weight * H(label, D) + energy_weight * P(e, y)

    on a batch of real and then on one of generated showers, and the generator

        adversarial_weight * H(1, D) + energy_weight * P(e, y) + total_weight * P(S, R(y))

    with the cross entropy H and the mean relative error in percent P. The sum is not learned by the
    discriminator, so its error does not enter there. Labels are exchanged at random in a small share of the
    showers. Showers enter the networks as (B, nx, ny, nz); canonical ones are (B, nz * nx * ny).

    Parameters
    ----------
    generator
        (B, latent) to showers (B, nx, ny, nz); its keyword `output_relu` switches the last ReLU.
    discriminator
        Showers to logits (B,), energies (B,) in 100 GeV, sums (B,) in GeV and, for several particle types,
        logits (B, types).
    """

    def __init__(
        self,
        settings: Gan3dSettings,
        geometry: Geometry,
        preprocessing: Preprocessing,
        generator: nn.Module,
        discriminator: nn.Module,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.layers, self.face = len(geometry.layers), geometry.layers[0].shape
        self.response = preprocessing.response
        self.generator, self.discriminator = generator, discriminator

    @property
    def product(self) -> nn.Module:
        return self.generator

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        rates = {
            "generator": self.settings.learning_rate,
            "discriminator": self.settings.discriminator_learning_rate,
        }
        return {name: self._optimiser(getattr(self, name), rate) for name, rate in rates.items()}

    def training_step(
        self,
        step: int,
        showers: Tensor,
        inputs: Tensor,
        optimisers: dict[str, torch.optim.Optimizer],
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        if self.settings.as_published:
            self.eval()
        free = step < self.settings.free_output_steps
        losses = self._update_discriminator(self.to_grid(showers), inputs, free, optimisers["discriminator"], rng)
        for _ in range(self.settings.generator_steps):
            losses |= self._update_generator(inputs, free, optimisers["generator"], rng)
        return losses

    def generate(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        return self.from_grid(self._fake(inputs, rng))

    def to_grid(self, showers: Tensor) -> Tensor:
        """Canonical showers (B, V) as (B, nx, ny, nz)."""
        return showers.unflatten(1, (self.layers, *self.face)).permute(0, 2, 3, 1)

    def from_grid(self, grids: Tensor) -> Tensor:
        """Undo `to_grid`."""
        return grids.permute(0, 3, 1, 2).flatten(1)

    def mean_visible_GeV(self, energy_GeV: Tensor) -> Tensor:
        """Fitted mean of the visible energy [GeV] at an incident energy [GeV]; any shape."""
        logarithm = energy_GeV.log()
        return energy_GeV * sum(c * logarithm**k for k, c in enumerate(self.response))

    def _optimiser(self, network: nn.Module, rate: float) -> torch.optim.Optimizer:
        if self.settings.optimiser == "adam":
            return torch.optim.Adam(network.parameters(), rate, eps=1e-7)
        return torch.optim.RMSprop(network.parameters(), rate, alpha=0.9, eps=1e-7)

    def _fake(self, inputs: Tensor, rng: torch.Generator, free: bool = False) -> Tensor:
        noise = torch.randn(len(inputs), self.settings.latent, generator=rng, device=inputs.device)
        latent = noise * (inputs[:, :1] / ENERGY_UNIT_GEV)
        if self.settings.particles:
            return self.generator(latent, self._particle(inputs), output_relu=not free)
        return self.generator(latent, output_relu=not free)

    def _particle(self, inputs: Tensor) -> Tensor:
        """Number of the particle type of each shower: (B,)."""
        codes = torch.tensor(self.settings.particles, device=inputs.device)
        return (inputs[:, 1:2].round() == codes).int().argmax(dim=1)

    def _requested(self, inputs: Tensor, free: bool, rng: torch.Generator) -> Tensor:
        """Inputs to generate showers for while training."""
        settings = self.settings
        energies_GeV = settings.free_output_energies_GeV if free else settings.energies_GeV
        if energies_GeV is None:
            return inputs
        low, high = energies_GeV
        energy = low + (high - low) * torch.rand(len(inputs), 1, generator=rng, device=inputs.device)
        return torch.cat([energy, inputs[:, 1:]], dim=1)

    def _labels(self, label: float, n: int, rng: torch.Generator) -> Tensor:
        """Labels of a batch, a share of them exchanged: real ones become 0, generated ones 1."""
        labels = torch.full((n,), label, device=rng.device)
        flipped = torch.rand(n, generator=rng, device=rng.device) < self.settings.flipped_labels
        return torch.where(flipped, 1.0 if label == 0 else 0.0, labels)

    def _judged(self, showers: Tensor, inputs: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """What the discriminator makes of showers: weighted loss, its parts by name, and their sums [GeV]."""
        settings = self.settings
        with mixed_precision(settings.training, showers.device):
            logits, energies, totals, *classes = self.discriminator(showers)
        parts = {
            "adversarial": functional.binary_cross_entropy_with_logits(logits.float(), labels),
            "energy": _percent_error(energies.float(), inputs[:, 0] / ENERGY_UNIT_GEV),
        }
        loss = settings.adversarial_weight * parts["adversarial"] + settings.energy_weight * parts["energy"]
        if classes:
            parts["class"] = functional.cross_entropy(classes[0].float(), self._particle(inputs))
            loss = loss + settings.class_weight * parts["class"]
        return loss, parts, totals.float()

    def _update_discriminator(
        self, real: Tensor, inputs: Tensor, free: bool, optimiser: torch.optim.Optimizer, rng: torch.Generator
    ) -> dict[str, Tensor]:
        requested = self._requested(inputs, free, rng)
        with torch.no_grad(), mixed_precision(self.settings.training, real.device):
            fake = self._fake(requested, rng, free).float()
        losses = {}
        for kind, showers, conditions, label in (
            ("real", real, inputs, self.settings.real_label),
            ("generated", fake, requested, 0.0),
        ):
            optimiser.zero_grad(set_to_none=True)
            loss, parts, _ = self._judged(showers, conditions, self._labels(label, len(showers), rng))
            loss.backward()
            optimiser.step()
            losses |= {f"discriminator_{kind}_{name}": part.detach() for name, part in parts.items()}
        return losses

    def _update_generator(
        self, inputs: Tensor, free: bool, optimiser: torch.optim.Optimizer, rng: torch.Generator
    ) -> dict[str, Tensor]:
        requested = self._requested(inputs, free, rng)
        self.discriminator.requires_grad_(False)
        optimiser.zero_grad(set_to_none=True)
        with mixed_precision(self.settings.training, inputs.device):
            fake = self._fake(requested, rng, free)
        loss, parts, totals_GeV = self._judged(fake, requested, torch.ones(len(inputs), device=inputs.device))
        parts["total"] = _percent_error(totals_GeV, self.mean_visible_GeV(requested[:, 0]))
        (loss + self.settings.total_weight * parts["total"]).backward()
        optimiser.step()
        self.discriminator.requires_grad_(True)
        return {f"generator_{name}": part.detach() for name, part in parts.items()}


def _percent_error(found: Tensor, expected: Tensor) -> Tensor:
    """Mean absolute relative error in percent, as Keras defines it: 100 mean |found - expected| / |expected|."""
    return 100 * ((found - expected).abs() / expected.abs().clamp_min(1e-7)).mean()
