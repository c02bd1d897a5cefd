"""Training showers in a shuffled order that depends on nothing but seed and epoch."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from caloforge.errors import CaloforgeError
from caloforge.preprocessing import Preprocessing
from caloforge.seeds import derive_seed
from caloforge.showers import ShowerFile

BLOCK_EVENTS = 1024


class TrainingBatches:
    """Preprocessed batches of a shower file.

    The file is taken in blocks of 1024 showers. Each epoch puts the blocks in a random order, reads as many
    of them as the memory budget allows, shuffles their showers together, and goes on to the next ones. A
    file that fits the budget is one such group: read once, kept, and shuffled completely in every epoch.
    Showers that do not fill a last batch of a group wait for another epoch.

    Raises
    ------
    CaloforgeError
        If the file holds fewer showers than one batch, or lacks the images that inputs are made of.
    """

    def __init__(
        self, path: Path, preprocessing: Preprocessing, *, batch_size: int, seed: int, memory_budget_MB: int
    ) -> None:
        self.path, self.preprocessing, self.batch_size, self.seed = path, preprocessing, batch_size, seed
        with ShowerFile(path) as file:
            preprocessing.require_inputs(file)
            self.n, n_cells = len(file), file.geometry.n_cells
            n_inputs = n_cells if preprocessing.paired else len(preprocessing.inputs)
            block_MB = BLOCK_EVENTS * (n_cells + n_inputs) * 4 / 1e6
        if self.n < batch_size:
            raise CaloforgeError(
                f"{path}: {self.n} showers found, expected at least one batch of {batch_size}"
            )
        self.n_blocks = -(-self.n // BLOCK_EVENTS)
        self.blocks_per_group = max(1, int(memory_budget_MB / block_MB))
        self._kept: tuple[Tensor, Tensor] | None = None

    def in_epoch(self, epoch: int) -> int:
        """Number of batches in an epoch."""
        return sum(self._n_batches(group) for group in self._groups(epoch)[0])

    def epoch(self, epoch: int, device: torch.device, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of showers (batch_size, V) and inputs (batch_size, inputs), from number `start` on."""
        groups, rng = self._groups(epoch)
        for group in groups:
            order = torch.from_numpy(rng.permutation(sum(self._block_events(block) for block in group)))
            n_batches = self._n_batches(group)
            if start >= n_batches:
                start -= n_batches
                continue
            showers, inputs = self._load(group, device)
            for rows in order.to(device).split(self.batch_size)[start:n_batches]:
                yield showers[rows], inputs[rows]
            start = 0

    def _groups(self, epoch: int) -> tuple[list[np.ndarray], np.random.Generator]:
        rng = np.random.default_rng(derive_seed(self.seed, "order", epoch))
        blocks = rng.permutation(self.n_blocks)
        if self.n_blocks <= self.blocks_per_group:
            return [np.sort(blocks)], rng
        return np.split(blocks, range(self.blocks_per_group, self.n_blocks, self.blocks_per_group)), rng

    def _n_batches(self, group: np.ndarray) -> int:
        return sum(self._block_events(block) for block in group) // self.batch_size

    def _block_events(self, block: int) -> int:
        return min(BLOCK_EVENTS, self.n - int(block) * BLOCK_EVENTS)

    def _load(self, group: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
        if self._kept is None or len(group) < self.n_blocks:
            showers, inputs = [], []
            with ShowerFile(self.path) as file:
                for block in group:
                    start = int(block) * BLOCK_EVENTS
                    batch = file.read(start, start + self._block_events(block))
                    showers.append(torch.from_numpy(self.preprocessing.forward(batch.showers)))
                    inputs.append(torch.from_numpy(self.preprocessing.network_inputs(batch)))
            loaded = torch.cat(showers).to(device), torch.cat(inputs).to(device)
            if len(group) < self.n_blocks:
                return loaded
            self._kept = loaded
        return self._kept
