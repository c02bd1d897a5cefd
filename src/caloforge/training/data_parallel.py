"""One training in several processes of a machine that share every batch, each with a GPU of its own.

All processes hold the same networks. Each takes its part of the same batch, and the gradients of an optimiser
are averaged over the processes just before its step, so that the networks stay the same. A family trains as
it does alone: nothing is wrapped, and any number of networks, optimisers and steps may alternate.

A loss that is a mean over the showers of a batch has the gradient that one process has with the whole batch:
the supervised losses, cross entropies, energy scores and gradient penalties of all families. What couples the
showers of a batch sees those of its own process only: the statistics of batch normalisation in training,
minibatch discrimination. There the number of processes acts like a smaller batch.

Losses and the buffers of the networks, such as the running statistics of batch normalisation, are averaged
after every step. Between two steps all processes therefore have the same state, and the first one alone
validates, writes checkpoints and results. The processes talk by NCCL about what is on GPUs and by Gloo about
the rest.
"""

import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, distributed

from caloforge.errors import CaloforgeError
from caloforge.training.stopping import on_stop_signals

Value = TypeVar("Value")

_TIMEOUT = timedelta(hours=2)
"""How long a process waits for another one, such as the first one while it validates."""

_GRACE_S = 10
"""How long processes may take to end by themselves [s] when one of them has failed."""

_LONGEST_REPORT = 20_000
"""Characters of a traceback that are reported, less than a pipe holds."""


def n_processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def process_number() -> int:
    """Which of them this one is, from 0 on."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def my_part(batch: Tensor) -> Tensor:
    """The rows of a batch that are for this process; their number is a multiple of that of the processes."""
    return batch.chunk(n_processes())[process_number()]


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its mean over all processes, which have tensors of the same shapes."""
    if n_processes() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(flat)
    parts = flat.div_(n_processes()).split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))


def average_gradients(optimiser: torch.optim.Optimizer, *_: Any) -> None:
    """Average the gradients of an optimiser: a hook to register before its steps."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    average([weight.grad for weight in weights if weight.grad is not None])


def any_process(flag: bool) -> bool:
    """Whether `flag` is set in any process, known to all of them; waits for all of them."""
    if n_processes() == 1:
        return flag
    flags = torch.tensor([int(flag)])
    distributed.all_reduce(flags, distributed.ReduceOp.MAX)
    return bool(flags.item())


def wait_for_all() -> None:
    """Go on when every process is here."""
    any_process(False)


def of_the_first(value: Value) -> Value:
    """The value that the first process gives."""
    values = [value]
    if n_processes() > 1:
        distributed.broadcast_object_list(values)
    return values[0]


def in_processes(n: int, device: str, train: Callable[[], None]) -> None:
    """Call `train` in `n` new processes that train together, or here if that is one.

    CUDA must not be in use here before. Signals that ask to stop are passed on. If a process fails, or this
    one is killed, all end.

    Parameters
    ----------
    n
        Number of processes; as many GPUs are needed, if any are used.
    device
        Where to train, as for `choose_device`.
    train
        Logs and writes results where it is in the first process.

    Raises
    ------
    CaloforgeError
        What `train` raised in any process; if there are too few GPUs; if a process was killed.
    """
    if n == 1:
        train()
        return
    fork = multiprocessing.get_context("fork")
    lifeline, held = os.pipe()
    with tempfile.TemporaryDirectory(prefix="caloforge-") as folder:
        processes, reports = [], []
        for number in range(n):
            receiver, sender = fork.Pipe(duplex=False)
            process = fork.Process(
                target=_take_part,
                args=(number, n, device, train, Path(folder, "meeting"), (lifeline, held), sender),
                daemon=True,
            )
            process.start()
            sender.close()
            processes.append(process)
            reports.append(receiver)
        try:
            with on_stop_signals(lambda number: _pass_on(number, processes)):
                _wait(processes)
            failure = _failure(processes, reports)
        finally:
            for process in processes:
                process.kill()
                process.join()
            os.close(lifeline)
            os.close(held)
    if failure:
        raise failure


class _Report(NamedTuple):
    """Why a process failed."""

    at_s: float
    error: CaloforgeError | None
    text: str


def _take_part(
    number: int,
    n: int,
    device: str,
    train: Callable[[], None],
    meeting: Path,
    pipe: tuple[int, int],
    report: connection.Connection,
) -> None:
    """Be one of the processes."""
    lifeline, held = pipe
    os.close(held)
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt ends the parent, which ends all
    if number > 0:
        logging.getLogger().setLevel(logging.WARNING)
    try:
        _meet(number, n, device, meeting)
        train()
        wait_for_all()
        distributed.destroy_process_group()
    except Exception as error:
        known = error if isinstance(error, CaloforgeError) else None
        report.send(_Report(time.monotonic(), known, traceback.format_exc()[-_LONGEST_REPORT:]))
        raise SystemExit(1) from None


def _die_with_parent(lifeline: int) -> None:
    """Wait until the other end of the pipe, which only the parent holds, is closed."""
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def _meet(number: int, n: int, device: str, meeting: Path) -> None:
    backend = "gloo"
    if device != "cpu" and torch.cuda.is_available():
        if torch.cuda.device_count() < n:
            raise CaloforgeError(
                f"devices: {n} GPUs are wanted, {torch.cuda.device_count()} can be used here: allow more, "
                f"with snakemake --resources gpu={n}, or lower the devices of the run"
            )
        torch.cuda.set_device(number)
        backend = "cpu:gloo,cuda:nccl"
    if "lo" in (name for _, name in socket.if_nameindex()):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nobody else can connect
    distributed.init_process_group(
        backend, init_method=f"file://{meeting}", rank=number, world_size=n, timeout=_TIMEOUT
    )


def _pass_on(number: int, processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _wait(processes: Sequence[BaseProcess]) -> None:
    """Wait until all have ended well or, some time ago, one has not."""
    deadline_s = None
    while running := [process.sentinel for process in processes if process.is_alive()]:
        if deadline_s is None and any(process.exitcode for process in processes):
            deadline_s = time.monotonic() + _GRACE_S
        left_s = None if deadline_s is None else deadline_s - time.monotonic()
        if left_s is not None and left_s <= 0:
            return
        connection.wait(running, left_s)


def _failure(processes: Sequence[BaseProcess], reports: Sequence[connection.Connection]) -> Exception | None:
    """What ended the training, if not all went well: what others die of when one fails is not told."""
    if all(process.exitcode == 0 for process in processes):
        return None
    received = sorted(filter(None, map(_received, reports)), key=lambda report: report.at_s)
    for report in received:
        if report.error:
            return report.error
    for number, process in enumerate(processes, start=1):
        if (process.exitcode or 0) < 0:
            name = signal.Signals(-process.exitcode).name
            return CaloforgeError(f"process {number} of {len(processes)} of the training was ended by {name}")
    return RuntimeError(received[0].text if received else "a process of the training ended early")


def _received(report: connection.Connection) -> _Report | None:
    try:
        return report.recv() if report.poll() else None
    except EOFError:
        return None
