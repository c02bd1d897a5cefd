"""Being asked to stop, which is what batch systems do some time before they kill a job."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What SLURM and HTCondor send at a time limit or a preemption, and what `sbatch --signal` often asks for."""


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collect the stop signals that arrive while the block runs, instead of dying of the first one."""
    received: list[int] = []
    with on_stop_signals(received.append):
        yield received


@contextmanager
def on_stop_signals(react: Callable[[int], None]) -> Iterator[None]:
    """Call `react` with the number of every stop signal that arrives while the block runs.

    Only the main thread of a process can; in another one the signals do what they did before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda number, _frame: react(number)) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
