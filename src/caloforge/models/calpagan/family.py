"""CALPAGAN: losses and steps (Simsek et al. 2024, section 3.1)."""

import operator
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional

from caloforge.geometry import Geometry
from caloforge.models.calpagan.networks import Discriminator, Generator
from caloforge.models.calpagan.scales import LogarithmScale, MaximumScale
from caloforge.models.calpagan.settings import CalpaganSettings
from caloforge.models.family import Family, mixed_precision
from caloforge.preprocessing import Preprocessing


class Calpagan(Family):
    """Generator of full-simulation images from those of a fast simulation, and a discriminator of patches.

    With images x of the fast and y of the full simulation, uniform noise z, G the generated image before its
    negative towers are set to zero and D the logits of patches, the discriminator minimises

        (H(1, D(y)) + H(0, D(max(G, 0)))) / 2

    with the binary cross entropy H, averaged over patches and events, and the generator

        H(1, D(max(G, 0))) + distance_weight * mean |G - y|,

    the mean over towers and events. These are the losses of the public code
    (https://github.com/byrkbrk/calpagan-experiment, loss_functions.py); D judges an image on its own there,
    while the formula of the paper shows it x too, as does `discriminator_input: pair`. Both networks are
    updated once per batch, with the same generated images.

    The distance that the paper does not have is the `energy_score` (T. Gneiting and A. E. Raftery, Strictly
    Proper Scoring Rules, Prediction, and Estimation, J. Am. Stat. Assoc. 102 (2007) 359, section 4.2). With
    a second image G' of the same x and other noise it is the mean of

        |G - y| - |G - G'| / 2

    over towers, over sums in squares of towers as large as the poolings of the generator make them, up to the
    largest, and over both images in the place of G. A tower or a square of given x then costs least if it
    fluctuates as in the full simulation.
    """

    def __init__(self, settings: CalpaganSettings, geometry: Geometry, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.settings = settings
        layer = geometry.layers[0]
        self.image = layer.shape
        if settings.energies == "log":
            self.scale = LogarithmScale(settings.energy_unit_GeV)
        else:
            self.scale = MaximumScale(own=settings.normalisation == "own_maximum")
        edges = torch.from_numpy(layer.edges(0)).float()
        eta = (edges[1:] + edges[:-1]) / 2 / edges.abs().max()
        self.register_buffer("eta", eta[:, None].expand(self.image), persistent=False)
        self.generator = Generator(
            2 + settings.eta_channel,
            settings.channels,
            settings.pools,
            circular=settings.circular_phi,
            initial_scale=settings.initial_scale,
        )
        self.discriminator = Discriminator(
            1 + (settings.discriminator_input == "pair") + settings.eta_channel,
            settings.discriminator_channels,
            circular=settings.circular_phi,
            spectral=settings.discriminator_normalisation == "spectral",
        )
        self.to(memory_format=torch.channels_last)  # convolutions on a CPU take up to a quarter less time

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        rates = {
            "generator": self.settings.learning_rate,
            "discriminator": self.settings.discriminator_learning_rate,
        }
        return {
            name: torch.optim.Adam(getattr(self, name).parameters(), rate, self.settings.adam_betas)
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
        full_GeV, fast_GeV = (images.unflatten(1, self.image) for images in (showers, inputs))
        full, fast = self.scale.full(full_GeV, fast_GeV), self.scale.fast(fast_GeV)
        scored = self.settings.distance == "energy_score"
        with mixed_precision(self.settings.training, full.device):
            made = self._images(torch.cat([fast, fast]) if scored else fast, rng).float()
        judged = made[: len(full)].relu()
        losses = self._update_discriminator(full, judged.detach(), fast, optimisers["discriminator"])
        distance = self._energy_score(full, *made.chunk(2)) if scored else (made - full).abs().mean()
        return losses | self._update_generator(judged, fast, distance, optimisers["generator"])

    def generate(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Images in GeV, shape (B, V), for those of the fast simulation in GeV; no tower is below zero."""
        fast_GeV = inputs.unflatten(1, self.image)
        made = self._images(self.scale.fast(fast_GeV), rng).float()
        return self.scale.energies_GeV(made.relu(), fast_GeV).flatten(1)

    def _images(self, fast: Tensor, rng: torch.Generator) -> Tensor:
        noise = torch.rand(fast.shape, generator=rng, device=fast.device)
        made = self.generator(self._channels(fast, noise))
        return fast + made if self.settings.residual else made

    def _judge(self, images: Tensor, fast: Tensor) -> Tensor:
        pair = self.settings.discriminator_input == "pair"
        with mixed_precision(self.settings.training, images.device):
            return self.discriminator(self._channels(images, *([fast] if pair else []))).float()

    def _channels(self, *images: Tensor) -> Tensor:
        """Input of a network from its images, each (B, eta, phi): shape (B, channels, eta, phi)."""
        coordinate = [self.eta.expand_as(images[0])] if self.settings.eta_channel else []
        return torch.stack([*images, *coordinate], dim=1)

    def _update_discriminator(
        self, real: Tensor, made: Tensor, fast: Tensor, optimiser: torch.optim.Optimizer
    ) -> dict[str, Tensor]:
        optimiser.zero_grad(set_to_none=True)
        loss = (_entropy(1, self._judge(real, fast)) + _entropy(0, self._judge(made, fast))) / 2
        loss.backward()
        optimiser.step()
        return {"discriminator": loss.detach()}

    def _update_generator(
        self, made: Tensor, fast: Tensor, distance: Tensor, optimiser: torch.optim.Optimizer
    ) -> dict[str, Tensor]:
        optimiser.zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)
        adversarial = _entropy(1, self._judge(made, fast))
        (adversarial + self.settings.distance_weight * distance).backward()
        optimiser.step()
        self.discriminator.requires_grad_(True)
        return {"generator": adversarial.detach(), "distance": distance.detach()}

    def _energy_score(self, real: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """See the class. Towers count before negative ones are set to zero, or those would not learn."""
        scores = [_score(real, first, second)]
        for side in accumulate(self.settings.pools, operator.mul):
            images = (self.scale.squares(image.relu(), side) for image in (real, first, second))
            scores.append(_score(*images))
        return torch.stack(scores).mean()


def _entropy(label: float, logits: Tensor) -> Tensor:
    """Binary cross entropy of logits, averaged, when all have the same label."""
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def _score(real: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Energy score of single numbers, averaged over them and over both generated images."""
    return ((first - real).abs() + (second - real).abs() - (first - second).abs()).mean() / 2


FAMILY = Calpagan
