"""How far a long stage is: a live bar on a terminal, plain lines in the log."""

import logging
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

logger = logging.getLogger(__name__)

_LOG_SECONDS = 15


class Progress:
    """Progress towards `total` units of work, with values to watch.

    Parameters
    ----------
    title
        What is being done.
    total
        Units of work, for example epochs.
    shown
        Whether there is a bar; one of several processes that do the same work shows it.
    """

    def __init__(self, title: str, total: float, shown: bool = True) -> None:
        self.title, self.total = title, total
        self._logged_at = -float("inf")
        self._began: tuple[float, float] | None = None
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[watched]}"),
            console=Console(stderr=True),
            disable=not (shown and sys.stderr.isatty()),
            transient=True,
        )
        self._task = self._bar.add_task(title, total=total, watched="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, done: float, watched: Mapping[str, float | None]) -> None:
        """Say that `done` of the total is done, and what the watched values are."""
        now = time.monotonic()
        self._began = self._began or (now, done)
        values = ", ".join(f"{name} {value:.4g}" for name, value in watched.items() if value is not None)
        self._bar.update(self._task, completed=done, watched=values)
        if now - self._logged_at >= _LOG_SECONDS or done >= self.total:
            self._logged_at = now
            left = f"{self._remaining(now, done)} left"
            text = ": ".join(filter(None, (left, values)))
            logger.info("%s %.2f of %g, %s", self.title, done, self.total, text)

    def _remaining(self, now: float, done: float) -> str:
        assert self._began is not None
        began, from_ = self._began
        if done <= from_:
            return "? min"
        return f"{(now - began) / (done - from_) * (self.total - done) / 60:.1f} min"
