"""What a model family offers, and where to find one by its name."""

import importlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from caloforge.config.stages import TrainingSettings
from caloforge.devices import choose_precision
from caloforge.geometry import Geometry
from caloforge.preprocessing import Preprocessing


class Trainable(nn.Module, ABC):
    """One or several networks that train together in the loop of `caloforge.training.fit`."""

    @property
    @abstractmethod
    def product(self) -> nn.Module:
        """The network that training is for: what is averaged, validated and used afterwards."""

    @abstractmethod
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Fresh optimisers, by name."""

    @abstractmethod
    def training_step(
        self,
        step: int,
        showers: Tensor,
        inputs: Tensor,
        optimisers: dict[str, torch.optim.Optimizer],
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        """Update the networks with one batch, by steps of the optimisers and nothing else.

        Before each step gradients are averaged over the processes that share the batch, which have a part of
        it each (see `caloforge.training.data_parallel`).

        Parameters
        ----------
        step
            Number of batches seen before this one.
        showers
            Preprocessed showers, shape (B, V).
        inputs
            Preprocessed conditions, shape (B, number of inputs).
        optimisers
            What `optimisers` returned.
        rng
            The only source of random numbers; on the device of the networks.

        Returns
        -------
        The losses of this step by name, detached.
        """


class Family(Trainable):
    """A generative model of showers.

    A family is a package `caloforge.models.<name>` with its settings in `settings.py` and, in `family.py`,
    its class under the name `FAMILY`, made from its settings, the geometry and the preprocessing.
    """

    generator: nn.Module
    """Makes showers; the other networks are there to train it."""

    @property
    def product(self) -> nn.Module:
        """The generator."""
        return self.generator

    def adopt(self, pretrained: Path) -> None:
        """Take over a network that was trained before, for families that need one."""
        raise NotImplementedError(f"{type(self).__name__} needs no pretrained network: {pretrained}")

    @abstractmethod
    def generate(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Preprocessed showers, shape (B, V), for preprocessed conditions of shape (B, number of inputs).

        The random numbers depend on `rng` and B alone, so that the same noise can be given other conditions.
        """

    def reconstruct(self, showers: Tensor) -> Tensor:
        """Preprocessed inputs as a network of the family reads them off showers.

        The settings of families that have such a network say which inputs in `reconstructed_inputs`, a slice
        of those of the preprocessing. Shapes: preprocessed showers (B, V) to (B, inputs in the slice).
        """
        raise NotImplementedError(f"{type(self).__name__} reads no inputs off showers")


def build(settings: Any, geometry: Geometry, preprocessing: Preprocessing) -> Family:
    """The model that `settings`, with its field `family`, describes."""
    module = importlib.import_module(f"caloforge.models.{settings.family}.family")
    return module.FAMILY(settings, geometry, preprocessing)


def mixed_precision(settings: TrainingSettings, device: torch.device) -> torch.autocast:
    """Context in which forward passes run in the precision of `settings`."""
    precision = choose_precision(settings.precision, device)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
