"""Conditions of showers of one primary, its energy, its type and the energy that becomes visible, and how
generators are told of them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from caloforge.errors import CaloforgeError

ENERGY_UNIT_GeV = 100
"""Energy of the primary that counts as one, in the latent vector and in what discriminators reconstruct."""


def visible_share(energy_GeV: Tensor, response: Sequence[float]) -> Tensor:
    """Fitted mean of the visible over the incident energy, for energies of the primary [GeV] of any shape.

    `response` is that of `caloforge.preprocessing.Preprocessing`.
    """
    logarithm = energy_GeV.log()
    return sum(c * logarithm**power for power, c in enumerate(response))


def requested_inputs(
    inputs: Tensor, energies_GeV: tuple[float, float] | None, rng: torch.Generator
) -> Tensor:
    """Inputs of generated showers in training: those of the data, with energies from a range if there is one.

    Shapes: inputs (B, number of inputs), the energy [GeV] first, to the same.
    """
    if energies_GeV is None:
        return inputs
    low, high = energies_GeV
    energy_GeV = low + (high - low) * torch.rand(len(inputs), 1, generator=rng, device=inputs.device)
    return torch.cat([energy_GeV, inputs[:, 1:]], dim=1)


def particle_numbers(codes: Tensor, particles: Sequence[int]) -> Tensor:
    """Number, in `particles`, of the particle type of each shower: PDG codes (B,) to (B,).

    Raises
    ------
    CaloforgeError
        If a code is not among `particles`.
    """
    matches = codes[:, None] == torch.tensor(particles, device=codes.device)
    unknown = codes[~matches.any(dim=1)]
    if len(unknown):
        raise CaloforgeError(
            f"a shower of the particle {unknown[0].item():g} found, expected one of the particles of the "
            f"model: {', '.join(map(str, particles))}"
        )
    return matches.int().argmax(dim=1)


def conditioned_latent(noise: Tensor, energy_GeV: Tensor) -> Tensor:
    """Noise times the energy of the primary in units of 100 GeV: the input of generators that make energies.

    Shapes: noise (B, L), energy_GeV (B,) to (B, L).
    """
    return noise * (energy_GeV / ENERGY_UNIT_GeV)[:, None]


def particle_vectors(n_classes: int, latent: int) -> nn.Embedding | None:
    """Learnt vectors, one per class of particles, that a generator multiplies the latent vector by.

    As in CaloGAN (M. Paganini, L. de Oliveira, B. Nachman 2018), except that they start at one, like a
    network without classes, and not at random. None for fewer than two classes.
    """
    return nn.Embedding(n_classes, latent, _weight=torch.ones(n_classes, latent)) if n_classes > 1 else None
