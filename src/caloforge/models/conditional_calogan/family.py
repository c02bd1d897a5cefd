"""The conditional CaloGAN: losses and steps (L. de Oliveira, M. Paganini, B. Nachman 2017, section 4)."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from caloforge.geometry import Geometry
from caloforge.models.calogan.networks import Discriminator
from caloforge.models.conditional_calogan.networks import AttributeHead, Generator, LayerFeatures
from caloforge.models.conditional_calogan.settings import ConditionalCaloGanSettings
from caloforge.models.dropout import seed_dropout
from caloforge.models.energy_score import energy_score
from caloforge.models.family import Family, mixed_precision
from caloforge.models.labels import exchanged_labels
from caloforge.models.layer_stack.layers import published_soft_sparsity, soft_sparsity
from caloforge.models.layer_stack.shares import layer_shapes, share_weights
from caloforge.models.primary.conditions import conditioned_latent, visible_share
from caloforge.models.primary.shares import VisibleShares
from caloforge.preprocessing import Preprocessing

SPARSITY_WIDTH = 0.5
"""Range of the logarithm of its energy over which a cell begins to count as hit; a choice of ours."""


class ConditionalCaloGan(Family):
    """Generator, discriminator and a head that reads attributes, such as the entry point, off a shower.

    With D the probability that a shower is real, the cross entropy H, the attributes a in units of their
    standard deviations, their reconstruction Xi and the weights lambda, the discriminator and the head
    minimise

        H(label, D) + sum_i lambda_i mean |a_i - Xi_i|

    in one step for the real showers of a batch and one, as a rule without the second term, for the generated
    ones, which minibatch discrimination must not mix; the generator, with the head frozen, the sum of all
    cells S and its expected value R,

        H(1, D) + sum_i lambda_i mean |a_i - Xi_i| + energy_weight * mean |S - R|

    (equations 2 and 3 and the text below them). S is not learnt, so its error is no loss of the
    discriminator. Generated showers have the energies and attributes of the real ones of the batch, whose
    correlations the public code breaks by drawing each attribute by itself. The penalty on kernels is the
    `weight_decay` of Adam, whose gradient is that of half the sum of squares.

    The published calorimeter is read out completely, so that S is close to the energy of the primary. Where
    only active material is read out, the networks see cells divided by the visible share at the mean energy
    of the training set, so that sums have the published magnitude; not at the energy of the primary, which
    the head does not know.

    With `cells: shares` the generator makes the weights of cells in a visible energy that is drawn from the
    fitted response; see `VisibleShares` and `share_weights`. It is given the attributes times the square root
    of the length of the noise, so that each moves the first layer as much as all the noise does. What the
    paper does not have either is shape_weight times the `energy_score` of the `layer_shapes` of generated
    showers beside the real ones of the same primaries, off by default.

    Unlike the public code, which generates in inference mode what its discriminator learns from, batch
    normalisation always takes the statistics of the batch in training.
    """

    def __init__(
        self, settings: ConditionalCaloGanSettings, geometry: Geometry, preprocessing: Preprocessing
    ) -> None:
        super().__init__()
        self.settings, self.preprocessing = settings, preprocessing
        self.visible_share = visible_share(torch.tensor(preprocessing.mean[0]), preprocessing.response).item()
        self.shapes = [layer.shape for layer in geometry.layers]
        n_attributes = len(settings.attributes)
        self.generator = Generator(self.shapes, settings.latent + n_attributes, settings.blurred_layers)
        layer_features = partial(LayerFeatures, sparsity=self._sparsity())
        self.discriminator = Discriminator(self.shapes, layer_features=layer_features)
        self.attribute_head = AttributeHead(geometry.n_cells, n_attributes)
        self.shares = None
        if settings.cells == "shares":
            self.shares = VisibleShares(torch.tensor(preprocessing.mean_shower), preprocessing)
        self.register_buffer("attribute_weights", torch.tensor(settings.weights), persistent=False)

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        judging = nn.ModuleList([self.discriminator, self.attribute_head])
        return {
            "generator": self._optimiser(self.generator, self.settings.learning_rate),
            "discriminator": self._optimiser(judging, self.settings.discriminator_learning_rate),
        }

    def training_step(
        self,
        step: int,
        showers: Tensor,
        inputs: Tensor,
        optimisers: dict[str, torch.optim.Optimizer],
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        seed_dropout(rng)
        real = showers / self.visible_share
        with torch.no_grad(), mixed_precision(self.settings.training, real.device):
            generated = self._cells(inputs, rng).float()
        losses = self._update_discriminator("real", real, inputs, optimisers["discriminator"], rng)
        losses |= self._update_discriminator("generated", generated, inputs, optimisers["discriminator"], rng)
        for _ in range(self.settings.generator_steps):
            losses |= self._update_generator(real, inputs, generated, optimisers["generator"], rng)
        return losses

    def generate(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        return self._cells(inputs, rng) * self.visible_share

    def reconstruct(self, showers: Tensor) -> Tensor:
        return self.attribute_head(showers / self.visible_share)

    def _sparsity(self) -> Callable[[Tensor], Tensor]:
        if self.settings.sparsity == "published":
            return published_soft_sparsity
        threshold_GeV = self.preprocessing.readout_threshold_MeV / self.preprocessing.scale
        return partial(soft_sparsity, threshold=threshold_GeV / self.visible_share, width=SPARSITY_WIDTH)

    def _optimiser(self, networks: nn.Module, rate: float) -> torch.optim.Adam:
        """With a penalty on kernels but not on biases and normalisations."""
        kernels = [parameter for parameter in networks.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in networks.parameters() if parameter.ndim <= 1]
        return torch.optim.Adam(
            [{"params": kernels, "weight_decay": 2 * self.settings.kernel_penalty}, {"params": others}],
            rate,
            self.settings.adam_betas,
            eps=1e-7,
            fused=True,
        )

    def _update_discriminator(
        self, kind: str, cells: Tensor, inputs: Tensor, optimiser: torch.optim.Optimizer, rng: torch.Generator
    ) -> dict[str, Tensor]:
        optimiser.zero_grad(set_to_none=True)
        labels = self._labels(kind, len(cells), rng)
        parts = {"adversarial": self._adversarial_loss(cells, inputs, labels)}
        if kind == "real" or self.settings.head_learns_from == "both":
            parts["attributes"] = self._attribute_loss(cells, inputs)
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
        for network in (self.discriminator, self.attribute_head):
            network.requires_grad_(False)
        with mixed_precision(self.settings.training, inputs.device):
            cells = self._cells(inputs, rng).float()
        miss_GeV = functional.l1_loss(cells.sum(dim=1), self._expected_GeV(inputs))
        parts = {
            "adversarial": self._adversarial_loss(cells, inputs, torch.ones_like(cells[:, 0])),
            "attributes": self._attribute_loss(cells, inputs),
            "energy": self.settings.energy_weight * miss_GeV,
        }
        if self.settings.shape_weight:
            profiles = (layer_shapes(showers, self.shapes) for showers in (cells, others, real))
            parts["shape"] = self.settings.shape_weight * energy_score(*profiles)
        sum(parts.values()).backward()
        optimiser.step()
        for network in (self.discriminator, self.attribute_head):
            network.requires_grad_(True)
        return {f"generator_{name}": loss.detach() for name, loss in parts.items()}

    def _adversarial_loss(self, cells: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        with mixed_precision(self.settings.training, cells.device):
            real, _ = self.discriminator(cells, self._expected_GeV(inputs))
        return functional.binary_cross_entropy_with_logits(real.float(), labels)

    def _attribute_loss(self, cells: Tensor, inputs: Tensor) -> Tensor:
        with mixed_precision(self.settings.training, cells.device):
            attributes = self.attribute_head(cells)
        errors = (attributes.float() - inputs[:, 1:]).abs().mean(dim=0)
        return (self.attribute_weights * errors).sum()

    def _cells(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Generated showers (B, V) in units of the energy of the primary [GeV]."""
        noise = torch.randn(len(inputs), self.settings.latent, generator=rng, device=inputs.device)
        energy_GeV, attributes = self._energy_GeV(inputs), inputs[:, 1:]
        if self.shares is None:
            return self.generator(torch.cat([conditioned_latent(noise, energy_GeV), attributes], dim=1))
        attributes = attributes * self.settings.latent**0.5
        latent = torch.cat([self.shares.latent(noise, energy_GeV), attributes], dim=1)
        weights = share_weights(self.generator(latent, output_relu=False).float(), self.shares.mean_shower)
        mean_GeV = energy_GeV * visible_share(energy_GeV, self.preprocessing.response)
        return self.shares.cells_GeV(weights, noise, mean_GeV, energy_GeV, rng) / self.visible_share

    def _energy_GeV(self, inputs: Tensor) -> Tensor:
        return inputs[:, 0] * self.preprocessing.std[0] + self.preprocessing.mean[0]

    def _expected_GeV(self, inputs: Tensor) -> Tensor:
        """Fitted mean of the sum of all cells, in units of the energy of the primary [GeV]."""
        energy_GeV = self._energy_GeV(inputs)
        return energy_GeV * visible_share(energy_GeV, self.preprocessing.response) / self.visible_share

    def _labels(self, kind: str, n: int, rng: torch.Generator) -> Tensor:
        return exchanged_labels(float(kind == "real"), n, self.settings.flipped_labels, rng)


FAMILY = ConditionalCaloGan
