"""Losses and steps of both GANs for three-dimensional grids."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from caloforge.geometry import Geometry
from caloforge.models.dropout import seed_dropout
from caloforge.models.energy_score import energy_score
from caloforge.models.family import Family, mixed_precision
from caloforge.models.gan3d.networks import (
    Verdict,
    images_of,
    showers_of,
)
from caloforge.models.gan3d.settings import Gan3dSettings
from caloforge.models.labels import exchanged_labels
from caloforge.models.primary.conditions import (
    ENERGY_UNIT_GeV,
    conditioned_latent,
    particle_numbers,
    requested_inputs,
    visible_share,
)
from caloforge.models.primary.shares import VisibleShares
from caloforge.preprocessing import Preprocessing

_LEAST_SEEN = 0.1
"""Cell energy in its unit below which a power of it grows linearly."""
_LEAST_SHARE = 1e-6
"""Share of a slice below which its root grows linearly."""


class Gan3d(Family):
    """Generator and discriminator of showers in GeV, conditioned on the energy of the primary.

    With D the probability that a shower is real, y the energy of the primary and e its reconstruction by the
    discriminator, the cross entropy H and the mean relative error in percent P, the discriminator minimises

        adversarial_weight * H(label, D) + energy_weight * P(e, y)

    and the generator, with the sum of all cells S and the fitted mean R(y) of the visible energy,

        adversarial_weight * H(1, D) + energy_weight * P(e, y) + total_weight * P(S, R(y))

    which are the losses of the public code (https://github.com/svalleco/3Dgan, EcalEnergyTrain and
    PTF_m4_1_ReLU). S is not learnt, so its error is no loss of the discriminator; R is fitted to the training
    set where the public code has a polynomial for its own. With several particle types both also minimise
    class_weight times the cross entropy of the type. When the discriminator learns, the labels of a small
    share of the showers are exchanged. What the papers do not have is shape_weight times the `energy_score`
    of the `shapes` of generated showers beside real ones of the same energies, off by default.

    With `cells: shares` the weight of a cell with the mean share m is m max(0, 1 + g), where g is what the
    generator makes of it before the ReLU: one that gives zeros makes mean showers; see `VisibleShares`.

    The discriminator sees real and generated showers in one batch, both when it learns and when the generator
    does. The public code shows it one kind at a time; then a batch normalisation just before the heads takes
    away what the showers of a batch have in common, which is whether they are real. With `as_published`
    normalisation uses its initial statistics, as in the public code, and the showers of a batch do not affect
    each other; the discriminator still learns both kinds in one step.
    """

    generator_class: ClassVar[type[nn.Module]]
    """(latent, classes, output_relu) to images; see `caloforge.models.gan3d_conv3d.networks`."""

    discriminator_class: ClassVar[type[nn.Module]]
    """Images to a `Verdict`."""

    def __init__(self, settings: Gan3dSettings, geometry: Geometry, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.settings = settings
        self.shape = (*geometry.layers[0].shape, len(geometry.layers))
        self.response = preprocessing.response
        self.generator = self.generator_class(self.shape, settings.latent, len(settings.particles))
        self.discriminator = self.discriminator_class(self.shape, len(settings.particles))
        self.shares = None
        if settings.cells == "shares":
            mean_shower = images_of(torch.tensor([preprocessing.mean_shower]), self.shape)[0]
            self.shares = VisibleShares(mean_shower, preprocessing)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = settings.normalisation_momentum

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
        seed_dropout(rng)
        real = images_of(showers, self.shape) / self.settings.cell_unit_GeV
        free = step < self.settings.free_output_steps and self.shares is None
        requested = self._requested(inputs, free, rng)
        with torch.no_grad(), mixed_precision(self.settings.training, real.device):
            generated = self._images(requested, rng, free).float()
        losses = self._update_discriminator(
            real, inputs, generated, requested, optimisers["discriminator"], rng
        )
        for _ in range(self.settings.generator_steps):
            losses |= self._update_generator(real, inputs, generated, free, optimisers["generator"], rng)
        return losses

    def generate(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        return showers_of(self._images(inputs, rng)) * self.settings.cell_unit_GeV

    def reconstruct(self, showers: Tensor) -> Tensor:
        """Energies [GeV] that the discriminator, of the last epoch always, reads off showers in GeV."""
        images = images_of(showers, self.shape) / self.settings.cell_unit_GeV
        return ENERGY_UNIT_GeV * self._judge(images).energy[:, None]

    def mean_visible_GeV(self, energy_GeV: Tensor) -> Tensor:
        """Fitted mean of the visible energy [GeV] for energies of the primary [GeV] of any shape."""
        return energy_GeV * visible_share(energy_GeV, self.response)

    def _optimiser(self, network: nn.Module, rate: float) -> torch.optim.Optimizer:
        """With the defaults of Keras for what the public code does not state."""
        if self.settings.optimiser == "adam":
            return torch.optim.Adam(network.parameters(), rate, self.settings.adam_betas, eps=1e-7)
        return torch.optim.RMSprop(network.parameters(), rate, alpha=0.9, eps=1e-7)

    def _update_discriminator(
        self,
        real: Tensor,
        inputs: Tensor,
        generated: Tensor,
        requested: Tensor,
        optimiser: torch.optim.Optimizer,
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        optimiser.zero_grad(set_to_none=True)
        labels = torch.cat([self._labels(label, len(real), rng) for label in (self.settings.real_label, 0.0)])
        with mixed_precision(self.settings.training, real.device):
            verdict = self._judge(torch.cat([real, generated]))
        parts = self._losses(verdict, torch.cat([inputs, requested]), labels)
        self._weighted(parts).backward()
        optimiser.step()
        return {f"discriminator_{name}": loss.detach() for name, loss in parts.items()}

    def _update_generator(
        self,
        real: Tensor,
        inputs: Tensor,
        others: Tensor,
        free: bool,
        optimiser: torch.optim.Optimizer,
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        """Update the generator; `others` are images that it made of the inputs from other noise."""
        optimiser.zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)
        requested = self._requested(inputs, free, rng)
        with mixed_precision(self.settings.training, real.device):
            generated = self._images(requested, rng, free).float()
            verdict = self._judge(torch.cat([generated, real]))
        verdict = Verdict(*(said if said is None else said[: len(generated)] for said in verdict))
        parts = self._losses(verdict, requested, torch.ones(len(requested), device=real.device))
        total_GeV = verdict.total_energy * self.settings.cell_unit_GeV
        parts["total"] = percent_error(total_GeV, self.mean_visible_GeV(requested[:, 0]))
        if self.settings.shape_weight and not free:
            parts["shape"] = energy_score(*map(shapes, (generated, others, real)))
        self._weighted(parts).backward()
        optimiser.step()
        self.discriminator.requires_grad_(True)
        return {f"generator_{name}": loss.detach() for name, loss in parts.items()}

    def _losses(self, verdict: Verdict, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        losses = {
            "adversarial": functional.binary_cross_entropy_with_logits(verdict.real.float(), labels),
            "energy": percent_error(verdict.energy.float(), inputs[:, 0] / ENERGY_UNIT_GeV),
        }
        if verdict.particle is not None:
            losses["class"] = functional.cross_entropy(verdict.particle.float(), self._classes(inputs))
        return losses

    def _weighted(self, losses: dict[str, Tensor]) -> Tensor:
        return sum(getattr(self.settings, f"{name}_weight") * loss for name, loss in losses.items())

    def _images(self, inputs: Tensor, rng: torch.Generator, free: bool = False) -> Tensor:
        noise = torch.randn(len(inputs), self.settings.latent, generator=rng, device=inputs.device)
        classes = self._classes(inputs) if self.settings.particles else None
        energy_GeV = inputs[:, 0]
        if self.shares is None:
            return self.generator(conditioned_latent(noise, energy_GeV), classes, output_relu=not free)
        output = self.generator(self.shares.latent(noise, energy_GeV), classes, output_relu=False).float()
        weights = self.shares.mean_shower * (1 + output).relu()
        mean_GeV = self.mean_visible_GeV(energy_GeV)
        return self.shares.cells_GeV(weights, noise, mean_GeV, energy_GeV, rng) / self.settings.cell_unit_GeV

    def _judge(self, images: Tensor) -> Verdict:
        """What the discriminator says of images of cells in their unit, and the sum of these cells."""
        power = self.settings.discriminator_power
        if power == 1:
            return self.discriminator(images)
        seen = (images + _LEAST_SEEN) ** power - _LEAST_SEEN**power
        return self.discriminator(seen)._replace(total_energy=images.sum(dim=(1, 2, 3)))

    def _requested(self, inputs: Tensor, free: bool, rng: torch.Generator) -> Tensor:
        """Inputs of generated showers in training: those of the data, with energies from a range if set."""
        settings = self.settings
        energies_GeV = settings.free_output_energies_GeV if free else settings.energies_GeV
        return requested_inputs(inputs, energies_GeV, rng)

    def _labels(self, label: float, n: int, rng: torch.Generator) -> Tensor:
        return exchanged_labels(label, n, self.settings.flipped_labels, rng)

    def _classes(self, inputs: Tensor) -> Tensor:
        """Number of the particle type of each shower, shape (B,)."""
        return particle_numbers(inputs[:, 1], self.settings.particles)


def shapes(images: Tensor) -> Tensor:
    """Roots of the shares of the energy in the slices along each axis, axis by axis.

    Distances of such roots are Hellinger distances of the profiles, in which weak slices at the ends count.

    Shapes: (B, nx, ny, nz) to (B, nx + ny + nz).
    """
    slices = torch.cat([images.sum(dim=other) for other in ((2, 3), (1, 3), (1, 2))], dim=1)
    shares = slices / images.sum(dim=(1, 2, 3))[:, None].clamp_min(1e-7)
    return (shares + _LEAST_SHARE).sqrt()


def percent_error(found: Tensor, expected: Tensor) -> Tensor:
    """Mean relative error in percent, 100 mean |found - expected| / |expected|, of tensors of one shape.

    MeanAbsolutePercentageError of Keras (https://keras.io/api/losses/regression_losses/), with its least
    denominator of 1e-7.
    """
    return 100 * ((found - expected).abs() / expected.abs().clamp_min(1e-7)).mean()
