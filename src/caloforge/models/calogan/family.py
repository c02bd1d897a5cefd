"""CaloGAN: losses and steps (M. Paganini, L. de Oliveira, B. Nachman, Phys. Rev. D 97 (2018) 014021)."""

import torch
from torch import Tensor
from torch.nn import functional

from caloforge.geometry import Geometry
from caloforge.models.calogan.networks import Discriminator, Generator
from caloforge.models.calogan.settings import CaloGanSettings
from caloforge.models.energy_score import energy_score
from caloforge.models.family import Family, mixed_precision
from caloforge.models.labels import exchanged_labels
from caloforge.models.layer_stack.centre import CentreOfGravity
from caloforge.models.layer_stack.shares import layer_shapes, share_weights
from caloforge.models.primary.conditions import (
    conditioned_latent,
    particle_numbers,
    requested_inputs,
    visible_share,
)
from caloforge.models.primary.shares import VisibleShares
from caloforge.preprocessing import Preprocessing


class CaloGan(Family):
    """Generator and discriminator of showers in stacks of layers, conditioned on the energy of the primary.

    With D the probability that a shower is real and the cross entropy H, the discriminator minimises

        H(label, D)

    in one step for the real and one for the generated showers of a batch, which its minibatch discrimination
    must not mix; the generator, with the energy y of the primary and the sum of all cells S,

        H(1, D) + energy_weight * mean |S - y|.

    With several particle types both also minimise class_weight times the cross entropy of the type. The
    losses and their weights are those of the public code (https://github.com/hep-lbdl/CaloGAN, train), where
    the energy is a loss of the discriminator as well, without an effect: S is not learnt.

    The published calorimeter is read out completely, so that S is the energy of the primary but for what
    leaks. Where only active material is read out, the networks see the cells divided by the fitted share
    R(y) of the energy y that becomes visible: sums, and with them the published scales, losses and
    distances of S from y, are those of the energy of the primary, and S = y is a shower with the mean visible
    energy y R(y).

    With `cells: shares` the generator makes the weights of cells in a visible energy that is drawn from the
    fitted response; see `VisibleShares` and `share_weights`. With `drawn_centre` it is told where the shower
    is, see `CentreOfGravity`. What the papers do not have either, off by default, is shape_weight times the
    `energy_score` of the `layer_shapes` of generated showers beside real ones of the same primaries and, if
    they are drawn, the same centres.

    Unlike the public code, which generates in inference mode what its discriminator learns from, batch
    normalisation always takes the statistics of the batch in training.
    """

    def __init__(self, settings: CaloGanSettings, geometry: Geometry, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.settings, self.response = settings, preprocessing.response
        self.shapes = [layer.shape for layer in geometry.layers]
        n_classes = len(settings.particles)
        self.centre = CentreOfGravity(geometry, preprocessing) if settings.drawn_centre else None
        told = self.centre.n_bumps if self.centre else 0
        self.generator = Generator(self.shapes, settings.latent + told, n_classes)
        self.discriminator = Discriminator(self.shapes, n_classes)
        self.shares = None
        if settings.cells == "shares":
            self.shares = VisibleShares(torch.tensor(preprocessing.mean_shower), preprocessing)

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        rates = {
            "generator": self.settings.learning_rate,
            "discriminator": self.settings.discriminator_learning_rate,
        }
        return {
            name: torch.optim.Adam(
                getattr(self, name).parameters(), rate, self.settings.adam_betas, eps=1e-7, fused=True
            )
            for name, rate in rates.items()
        }

    def training_step(
        self,
        step: int,
        showers: Tensor,
        inputs: Tensor,
        optimisers: dict[str, torch.optim.Optimizer],
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        real = showers / self._visible_share(inputs)
        losses = self._update_discriminator("real", real, inputs, optimisers["discriminator"], rng)
        requested = requested_inputs(inputs, self.settings.energies_GeV, rng)
        with torch.no_grad(), mixed_precision(self.settings.training, real.device):
            generated = self._cells(requested, rng, real)
        losses |= self._update_discriminator(
            "generated", generated, requested, optimisers["discriminator"], rng
        )
        for _ in range(self.settings.generator_steps):
            losses |= self._update_generator(real, inputs, generated, optimisers["generator"], rng)
        return losses

    def generate(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        return self._cells(inputs, rng) * self._visible_share(inputs)

    def _update_discriminator(
        self, kind: str, cells: Tensor, inputs: Tensor, optimiser: torch.optim.Optimizer, rng: torch.Generator
    ) -> dict[str, Tensor]:
        optimiser.zero_grad(set_to_none=True)
        labels = self._labels(kind, len(cells), rng)
        classes = self._classes(inputs)
        if classes is not None and kind == "generated":
            classes = self._exchanged_classes(classes, rng)
        parts = self._losses(cells, inputs, labels, classes)
        sum(parts.values()).backward()
        optimiser.step()
        return {f"discriminator_{kind}_{name}": loss.detach() for name, loss in parts.items()}

    def _update_generator(
        self,
        real: Tensor,
        inputs: Tensor,
        others: Tensor,
        optimiser: torch.optim.Optimizer,
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        """Update the generator; `others` are showers that it made of the inputs from other noise."""
        optimiser.zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)
        requested = requested_inputs(inputs, self.settings.energies_GeV, rng)
        with mixed_precision(self.settings.training, inputs.device):
            cells = self._cells(requested, rng, real)
        labels = torch.ones(len(cells), device=cells.device)
        parts = self._losses(cells, requested, labels, self._classes(requested))
        parts["energy"] = self.settings.energy_weight * (cells.sum(dim=1) - requested[:, 0]).abs().mean()
        if self.settings.shape_weight:
            profiles = (layer_shapes(showers, self.shapes) for showers in (cells, others, real))
            parts["shape"] = self.settings.shape_weight * energy_score(*profiles)
        sum(parts.values()).backward()
        optimiser.step()
        self.discriminator.requires_grad_(True)
        return {f"generator_{name}": loss.detach() for name, loss in parts.items()}

    def _losses(
        self, cells: Tensor, inputs: Tensor, labels: Tensor, classes: Tensor | None
    ) -> dict[str, Tensor]:
        """The losses that both networks share, with their weights."""
        with mixed_precision(self.settings.training, cells.device):
            real, particle = self.discriminator(cells, inputs[:, 0])
        losses = {"adversarial": functional.binary_cross_entropy_with_logits(real.float(), labels)}
        if classes is not None:
            entropy = functional.cross_entropy(particle.float(), classes)
            losses["class"] = self.settings.class_weight * entropy
        return losses

    def _cells(self, inputs: Tensor, rng: torch.Generator, real: Tensor | None = None) -> Tensor:
        """Generated cells in GeV of the energy of the primary, shape (B, V).

        If centres are drawn, they are those of the showers `real` (B, V), where there are any.
        """
        noise = torch.randn(len(inputs), self.settings.latent, generator=rng, device=inputs.device)
        energy_GeV, classes = inputs[:, 0], self._classes(inputs)
        if self.shares is None:
            return self.generator(conditioned_latent(noise, energy_GeV), classes).float()
        latent = self.shares.latent(noise, energy_GeV)
        if self.centre:
            if real is None:
                scores = torch.randn(len(inputs), 2, generator=rng, device=inputs.device)
            else:
                scores = self.centre.normal_scores(real)
            latent = torch.cat([latent, self.centre.bumps(scores)], dim=1)
        output = self.generator(latent, classes, output_relu=False).float()
        weights = share_weights(output, self.shares.mean_shower)
        share = self._visible_share(inputs)
        return self.shares.cells_GeV(weights, noise, energy_GeV * share[:, 0], energy_GeV, rng) / share

    def _visible_share(self, inputs: Tensor) -> Tensor:
        return visible_share(inputs[:, :1], self.response)

    def _labels(self, kind: str, n: int, rng: torch.Generator) -> Tensor:
        return exchanged_labels(float(kind == "real"), n, self.settings.flipped_labels, rng)

    def _classes(self, inputs: Tensor) -> Tensor | None:
        """Number of the particle type of each shower, shape (B,); None for one type."""
        return particle_numbers(inputs[:, 1], self.settings.particles) if self.settings.particles else None

    def _exchanged_classes(self, classes: Tensor, rng: torch.Generator) -> Tensor:
        """Classes of generated showers, a share of them exchanged for another one at random."""
        n = len(self.settings.particles)
        exchanged = torch.rand(len(classes), generator=rng, device=rng.device) < self.settings.flipped_classes
        steps = torch.randint(1, n, (len(classes),), generator=rng, device=rng.device)
        return torch.where(exchanged, (classes + steps) % n, classes)


FAMILY = CaloGan
