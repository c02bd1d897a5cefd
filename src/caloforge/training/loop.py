"""The loop every network is trained in: device, data order, checkpoints, resume, history.

Killing a training at any moment and starting it again gives the same bytes (on a CPU with the same number of
threads) as never killing it: weights, optimisers, random state, data order and the running sums of the
history are all in the state that the loop writes to its work folder.
"""

import copy
import csv
import fcntl
import io
import logging
import math
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from caloforge import checkpoint
from caloforge.atomic import write_text
from caloforge.config.stages import TrainingSettings
from caloforge.errors import CaloforgeError
from caloforge.models.family import Trainable
from caloforge.progress import Progress
from caloforge.training.batches import TrainingBatches

logger = logging.getLogger(__name__)

_CHECK_STEPS = 20
"""Steps between two looks at the losses: a look waits for the device."""


class DivergedError(CaloforgeError):
    """A loss or the validation score is no number any more: networks do not learn with these settings.

    Attributes
    ----------
    what
        The message without advice.
    """

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what + advice)
        self.what = what


@dataclass
class State:
    """Everything that changes while a network trains, and the identity of what it is trained with."""

    identity: str
    epoch: int
    step_in_epoch: int
    step: int
    wall_s: float
    sums: dict[str, tuple[Tensor, int]]
    history: list[dict[str, float | None]]
    best: tuple[float, int, dict[str, Tensor]] | None


@dataclass(frozen=True)
class Fit:
    """A finished training: its history, and which epoch the weights are from."""

    history: list[dict[str, float | None]]
    epoch: int
    validation: float
    wall_s: float


def fit(
    network: Trainable,
    settings: TrainingSettings,
    batches: TrainingBatches,
    *,
    validate: Callable[[], Mapping[str, float]],
    seed: int,
    identity: str,
    work: Path,
    validated: Callable[[int, float], None] | None = None,
) -> Fit:
    """Train `network` and leave it with the weights that `settings.keep` chooses.

    Parameters
    ----------
    network
        On its device, freshly initialised; weights are replaced when `work` holds a state to resume from.
    batches
        The training set; knows its own order in every epoch.
    validate
        Numbers for the history about the network as it is, called with the averaged weights in place.
        `validation` is its score, the lower the better; others that are not finite are left empty.
    seed
        Of the random numbers of the training steps.
    identity
        Digest of everything the result depends on; a state of another identity is not resumed.
    work
        Folder of the state of this training, locked while it runs. It is not deleted at the end.
    validated
        Called after an epoch with a validation, with its number and score; what it raises ends the training.

    Raises
    ------
    DivergedError
        If a loss is not finite; the last good state stays in `work`.
    CaloforgeError
        If another process trains in `work`.
    """
    device = next(network.parameters()).device
    rng = torch.Generator(device)
    optimisers = network.optimisers()
    rates = _Rates(optimisers, settings)
    average = _Average(network.product, settings.ema_decay)
    with locked(work):
        keeper = _StateKeeper(work / "state.pt", network, optimisers, average, rng)
        state = keeper.resume(identity)
        if state is None:
            rng.manual_seed(seed)
            state = State(identity, 0, 0, 0, 0.0, {}, [], None)
        started, saved_at = time.monotonic() - state.wall_s, time.monotonic()
        with Progress("training", settings.epochs) as progress:
            for epoch in range(state.epoch, settings.epochs):
                network.train()
                rates.set(epoch)
                in_epoch = batches.in_epoch(epoch)
                for showers, inputs in batches.epoch(epoch, device, start=state.step_in_epoch):
                    losses = network.training_step(state.step, showers, inputs, optimisers, rng)
                    average.update()
                    _accumulate(state.sums, losses)
                    state.step += 1
                    state.step_in_epoch += 1
                    if state.step % _CHECK_STEPS == 0:
                        means = _means(state, work)
                        progress.update(epoch + state.step_in_epoch / in_epoch, means)
                        if time.monotonic() - saved_at > 60 * settings.checkpoint_minutes:
                            state.wall_s = time.monotonic() - started
                            keeper.save(state)
                            saved_at = time.monotonic()
                row: dict[str, float | None] = {"epoch": epoch + 1, "step": state.step, **_means(state, work)}
                row["validation"] = None
                if (epoch + 1) % settings.validate_every == 0 or epoch + 1 == settings.epochs:
                    with average.applied():
                        found = _validate(validate, network)
                        score = found["validation"]
                        if state.best is None or settings.keep == "last" or score < state.best[0]:
                            state.best = (score, epoch + 1, _weights(network.product))
                    row |= {name: value if math.isfinite(value) else None for name, value in found.items()}
                    logger.info(
                        "epoch %d: validation %.4g, best %.4g in epoch %d", epoch + 1, score, *state.best[:2]
                    )
                state.history.append(row)
                state.sums, state.step_in_epoch, state.epoch = {}, 0, epoch + 1
                progress.update(epoch + 1, row)
                if validated and row["validation"] is not None:
                    validated(epoch + 1, row["validation"])
        state.wall_s = time.monotonic() - started
        keeper.save(state)
    assert state.best is not None
    validation, epoch, weights = state.best
    network.product.load_state_dict(weights)
    return Fit(state.history, epoch, validation, state.wall_s)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a work folder; the kernel frees it however the process ends.

    Raises
    ------
    CaloforgeError
        If another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CaloforgeError(f"{folder}: another process trains here; wait for it or stop it") from None
        yield


def write_history(path: Path, history: list[dict[str, float | None]]) -> None:
    """Write the history of a training as CSV, one row per epoch; a loss that an epoch lacks is left empty."""
    columns = list(dict.fromkeys(name for row in history for name in row if name != "validation"))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*columns, "validation"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(path, text.getvalue())


class _Rates:
    """Learning rates of every epoch, from the ones the optimisers are made with."""

    def __init__(self, optimisers: dict[str, torch.optim.Optimizer], settings: TrainingSettings) -> None:
        self.settings = settings
        self.initial = [
            (optimiser, [group["lr"] for group in optimiser.param_groups])
            for optimiser in optimisers.values()
        ]

    def set(self, epoch: int) -> None:
        share = 1.0
        if self.settings.schedule == "cosine":
            share = (1 + math.cos(math.pi * epoch / self.settings.epochs)) / 2
        for optimiser, rates in self.initial:
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = share * rate


class _Average:
    """Exponential moving average of a network's parameters; the network itself when the decay is 0.

    Buffers, such as the statistics of batch normalisation, are taken as they are.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = network, decay
        self.averaged = copy.deepcopy(network).requires_grad_(False) if decay else network

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averaged weights into the network for as long as the block lasts."""
        if not self.decay:
            yield
            return
        current = _weights(self.network)
        self.network.load_state_dict(self.averaged.state_dict())
        yield
        self.network.load_state_dict(current)

    @torch.no_grad()
    def update(self) -> None:
        if not self.decay:
            return
        torch._foreach_lerp_(
            list(self.averaged.parameters()), list(self.network.parameters()), 1 - self.decay
        )
        for averaged, current in zip(self.averaged.buffers(), self.network.buffers(), strict=True):
            averaged.copy_(current)


class _StateKeeper:
    """Writes the state of a training and reads it back."""

    def __init__(
        self,
        path: Path,
        network: Trainable,
        optimisers: dict[str, torch.optim.Optimizer],
        average: _Average,
        rng: torch.Generator,
    ) -> None:
        self.path, self.network, self.optimisers, self.average, self.rng = (
            path,
            network,
            optimisers,
            average,
            rng,
        )

    def save(self, state: State) -> None:
        content: dict[str, Any] = vars(state) | {
            "network": self.network.state_dict(),
            "average": self.average.averaged.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "rng": self.rng.get_state(),
        }
        checkpoint.write(self.path, content)

    def resume(self, identity: str) -> State | None:
        """Restore what `save` wrote, or None if there is nothing or it belongs to another identity."""
        if not self.path.exists():
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise CaloforgeError(
                f"{self.path}: unreadable state, delete it to start afresh: {str(error).splitlines()[0]}"
            ) from None
        if content["identity"] != identity:
            logger.info("%s belongs to other settings, code or data: starting afresh", self.path)
            return None
        self.network.load_state_dict(content.pop("network"))
        self.average.averaged.load_state_dict(content.pop("average"))
        for name, optimiser_state in content.pop("optimisers").items():
            self.optimisers[name].load_state_dict(optimiser_state)
        self.rng.set_state(content.pop("rng"))
        device = self.rng.device
        content["sums"] = {name: (total.to(device), n) for name, (total, n) in content["sums"].items()}
        state = State(**content)
        logger.info("resuming after epoch %d, step %d", state.epoch, state.step)
        return state


def _accumulate(sums: dict[str, tuple[Tensor, int]], losses: dict[str, Tensor]) -> None:
    for name, loss in losses.items():
        total, n = sums.get(name, (torch.zeros((), dtype=torch.float64, device=loss.device), 0))
        sums[name] = (total + loss.double(), n + 1)


def _means(state: State, work: Path) -> dict[str, float | None]:
    means = {name: (total / n).item() for name, (total, n) in state.sums.items()}
    for name, mean in means.items():
        if not math.isfinite(mean):
            raise DivergedError(
                f"loss {name} became {mean} in epoch {state.epoch + 1} at step {state.step}",
                f": lower the learning rate or check the data; the last good state is kept in {work}",
            )
    return dict(means)


def _validate(validate: Callable[[], Mapping[str, float]], network: Trainable) -> Mapping[str, float]:
    network.eval()
    with torch.no_grad():
        found = validate()
    network.train()
    if not math.isfinite(found["validation"]):
        raise DivergedError(f"the validation score became {found['validation']}")
    return found


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
