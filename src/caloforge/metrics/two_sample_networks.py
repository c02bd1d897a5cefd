"""Classifiers of a two-sample test: small networks for observables and cells."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor, nn

from caloforge.metrics.classifier import auc
from caloforge.metrics.two_sample import Fold, Score

WIDTH = 64
"""Units of each of the two hidden layers; the CaloChallenge has 2048."""
CHANNELS = (8, 16, 32)
"""Of convolutions that halve an image each."""
BATCH_SHOWERS, LEAST_STEPS = 64, 10
"""Showers of a batch, at most, and batches of an epoch, at least."""
LEARNING_RATE = 2e-3
IMPROVEMENT, PATIENCE = 1e-3, 4
"""A training ends after so many epochs in which the validated area has not grown by so much."""
_SCORED_AT_A_TIME = 512


def fit_network(
    build: Callable[[], nn.Module],
    epochs: int,
    features: np.ndarray,
    labels: np.ndarray,
    fold: Fold,
    seed: int,
) -> Score:
    """Train a network by its cross-entropy, in batches, and keep the epoch with the largest validated area.

    Parameters
    ----------
    build
        Makes the network: features, shape (m, k), to the log odds that each shower is not of the full
        simulation, shape (m,).
    epochs
        At most; the training ends earlier when the area under the ROC curve of the validation has not grown
        by `IMPROVEMENT` for `PATIENCE` epochs.
    features
        float32, shape (2 n, k).
    labels, fold, seed
        As for `two_sample.Fit`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build()
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    wanted = torch.from_numpy(labels.astype(np.float32))
    batch = min(BATCH_SHOWERS, -(-len(fold.train) // LEAST_STEPS))
    best, unimproved = -np.inf, 0
    for _ in range(epochs):
        order = rng.permutation(fold.train)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            log_odds = network(torch.from_numpy(features[rows]))
            loss = nn.functional.binary_cross_entropy_with_logits(log_odds, wanted[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        validated = auc(_probabilities(network, features[fold.validation]), labels[fold.validation])
        unimproved += 1
        if validated > best + IMPROVEMENT:
            best, unimproved, kept = validated, 0, copy.deepcopy(network.state_dict())
        if unimproved == PATIENCE:
            break
    network.load_state_dict(kept)
    return lambda shown: _probabilities(network, shown)


@torch.no_grad()
def _probabilities(network: nn.Module, features: np.ndarray) -> np.ndarray:
    parts = (
        network(torch.from_numpy(features[start : start + _SCORED_AT_A_TIME]))
        for start in range(0, len(features), _SCORED_AT_A_TIME)
    )
    return expit(torch.cat([*parts]).numpy().astype(np.float64))


class Dense(nn.Sequential):
    """A network that sees numbers: two hidden layers, as the classifiers of the CaloChallenge have.

    Parameters
    ----------
    inputs
        Numbers per shower.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__(
            nn.Linear(inputs, WIDTH),
            nn.LeakyReLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.LeakyReLU(),
            nn.Linear(WIDTH, 1),
            nn.Flatten(0),
        )


class Convolutional(nn.Module):
    """A network that sees a stack of images of the same cells, as the channels of one image.

    Parameters
    ----------
    others
        Numbers in front of the cells, which the last layers see beside the image.
    images
        Layers and cells along both axes of each.
    """

    def __init__(self, others: int, images: tuple[int, int, int]) -> None:
        super().__init__()
        self.others, self.images = others, images
        self.convolutions = nn.Sequential(*_halving(images[0]), nn.Flatten())
        with torch.no_grad():
            outputs = self.convolutions(torch.zeros(1, *images)).shape[1]
        self.head = Dense(others + outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Log odds, shape (m,), of features, shape (m, others + cells)."""
        others, cells = features[:, : self.others], features[:, self.others :]
        seen = self.convolutions(cells.reshape(-1, *self.images))
        return self.head(torch.cat([others, seen], dim=1))


def _halving(channels: int) -> Sequence[nn.Module]:
    modules: list[nn.Module] = []
    for wanted in CHANNELS:
        modules += [nn.Conv2d(channels, wanted, 3, stride=2, padding=1), nn.LeakyReLU()]
        channels = wanted
    return modules
