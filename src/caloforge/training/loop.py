"""The loop every network is trained in: device, data order, checkpoints, resume, history.

Killing a training at any moment and starting it again gives the same bytes (on a CPU with the same number of
threads) as never killing it: weights, optimisers, position in the data and the running sums of the history
are all in the state that the loop writes to its work folder, and random numbers depend on the seed and the
number of the step. Nothing in the state belongs to one of several processes, so that another number of them
can take it up.
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
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from caloforge import checkpoint
from caloforge.atomic import write_text
from caloforge.config.stages import TrainingSettings
from caloforge.errors import CaloforgeError, StoppedError
from caloforge.models.family import Trainable
from caloforge.progress import Progress
from caloforge.seeds import derive_seed
from caloforge.training.batches import TrainingBatches
from caloforge.training.data_parallel import (
    any_process,
    average,
    average_gradients,
    my_part,
    n_processes,
    of_the_first,
    process_number,
    wait_for_all,
)
from caloforge.training.stopping import stop_requests

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
    processes: list[tuple[int, int]]


@dataclass(frozen=True)
class Fit:
    """A finished training: its history, which epoch the weights are from, and how many processes it had.

    `processes` lists numbers of processes, each with the first step that so many took.
    """

    history: list[dict[str, float | None]]
    epoch: int
    validation: float
    wall_s: float
    processes: list[tuple[int, int]]


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
) -> Fit | None:
    """Train `network` and leave it with the weights that `settings.keep` chooses.

    With several processes (see `data_parallel`) each calls it. The first one validates, writes and returns
    what came out, the others return None.

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
        Of the random numbers of the training steps, which also depend on step and process.
    identity
        Digest of everything the result depends on; a state of another identity is not resumed. That of the
        first process counts.
    work
        Folder of the state of this training, locked while it runs. It is not deleted at the end.
    validated
        Called after an epoch with a validation, with its number and score; what it raises ends the training.

    Raises
    ------
    DivergedError
        If a loss is not finite; the last good state stays in `work`.
    CaloforgeError
        If another training runs in `work`.
    StoppedError
        If a signal asks to stop: after the step that it arrives in, or the validation, with the state saved.
    """
    device = next(network.parameters()).device
    is_first = process_number() == 0
    rng = torch.Generator(device)
    optimisers = network.optimisers()
    for optimiser in optimisers.values():
        optimiser.register_step_pre_hook(average_gradients)
    rates = _Rates(optimisers, settings)
    moving_average = _MovingAverage(network.product, settings.ema_decay)
    with stop_requests() as stop, locked(work) if is_first else nullcontext():
        keeper = _StateKeeper(work / "state.pt", network, optimisers, moving_average)
        identity = of_the_first(identity)
        state = keeper.resume(identity, device) or State(identity, 0, 0, 0, 0.0, {}, [], None, [])
        if state.epoch < settings.epochs and [n for _, n in state.processes[-1:]] != [n_processes()]:
            state.processes.append((state.step, n_processes()))
        statistics = _statistics(network)
        started, saved_at = time.monotonic() - state.wall_s, time.monotonic()

        def save() -> None:
            state.wall_s = time.monotonic() - started
            if is_first:
                keeper.save(state)

        with Progress("training", settings.epochs, shown=is_first) as progress:
            for epoch in range(state.epoch, settings.epochs):
                network.train()
                rates.set(epoch)
                in_epoch = batches.in_epoch(epoch)
                for showers, inputs in batches.epoch(epoch, device, start=state.step_in_epoch):
                    rng.manual_seed(derive_seed(seed, state.step, process_number()))
                    losses = network.training_step(
                        state.step, my_part(showers), my_part(inputs), optimisers, rng
                    )
                    average([*losses.values(), *statistics])
                    moving_average.update()
                    _accumulate(state.sums, losses)
                    state.step += 1
                    state.step_in_epoch += 1
                    stopping = any_process(bool(stop))
                    if stopping or state.step % _CHECK_STEPS == 0:
                        means = _means(state, work)
                        progress.update(epoch + state.step_in_epoch / in_epoch, means)
                        if stopping or time.monotonic() - saved_at > 60 * settings.checkpoint_minutes:
                            save()
                            saved_at = time.monotonic()
                    if stopping:
                        wait_for_all()
                        raise StoppedError(
                            f"asked to stop in epoch {epoch + 1} after step {state.step}: the state is saved "
                            f"in {work}, the training goes on from there when it is started again"
                        )
                row: dict[str, float | None] = {"epoch": epoch + 1, "step": state.step, **_means(state, work)}
                row["validation"] = None
                if (epoch + 1) % settings.validate_every == 0 or epoch + 1 == settings.epochs:
                    if is_first:
                        with moving_average.applied():
                            found = _validate(validate, network)
                            score = found["validation"]
                            if state.best is None or settings.keep == "last" or score < state.best[0]:
                                state.best = (score, epoch + 1, _weights(network.product))
                        row |= {
                            name: value if math.isfinite(value) else None for name, value in found.items()
                        }
                        text = "epoch %d: validation %.4g, best %.4g in epoch %d"
                        logger.info(text, epoch + 1, score, *state.best[:2], extra={"best": _best(state)})
                    wait_for_all()
                state.history.append(row)
                state.sums, state.step_in_epoch, state.epoch = {}, 0, epoch + 1
                progress.update(epoch + 1, row)
                if validated and row["validation"] is not None:
                    validated(epoch + 1, row["validation"])
        save()
    if not is_first:
        return None
    assert state.best is not None
    validation, epoch, weights = state.best
    network.product.load_state_dict(weights)
    return Fit(state.history, epoch, validation, state.wall_s, state.processes)


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


class _MovingAverage:
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
        average: _MovingAverage,
    ) -> None:
        self.path, self.network, self.optimisers, self.average = path, network, optimisers, average

    def save(self, state: State) -> None:
        content: dict[str, Any] = vars(state) | {
            "network": self.network.state_dict(),
            "average": self.average.averaged.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
        }
        checkpoint.write(self.path, content)

    def resume(self, identity: str, device: torch.device) -> State | None:
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
        content["sums"] = {name: (total.to(device), n) for name, (total, n) in content["sums"].items()}
        state = State(**content)
        logger.info("resuming after epoch %d, step %d", state.epoch, state.step, extra={"best": _best(state)})
        return state


def _best(state: State) -> dict[str, float] | None:
    """The best validation so far, for those who watch the log."""
    return state.best and {"validation": state.best[0], "epoch": state.best[1]}


def _statistics(network: nn.Module) -> list[Tensor]:
    """What the network keeps besides its weights, such as the statistics of batch normalisation."""
    kept = network.state_dict(keep_vars=True).values()
    return [tensor for tensor in kept if not isinstance(tensor, nn.Parameter) and tensor.is_floating_point()]


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
