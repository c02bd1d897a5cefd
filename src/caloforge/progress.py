"""How far a long stage is: lines in the log where one is kept, or else a live bar on a terminal.

A line of the log carries the same in numbers, in the attribute `progress` of its record: `title`, `done` and
`total`, the seconds that are `left_s`, None at first, and the values `watched`.
"""

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
            disable=not shown or logger.isEnabledFor(logging.INFO) or not sys.stderr.isatty(),
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
        known = {name: value for name, value in watched.items() if value is not None}
        values = ", ".join(f"{name} {value:.4g}" for name, value in known.items())
        self._bar.update(self._task, completed=done, watched=values)
        if now - self._logged_at >= _LOG_SECONDS or done >= self.total:
            self._logged_at = now
            left_s = self._left_s(now, done)
            left = "? min left" if left_s is None else f"{left_s / 60:.1f} min left"
            progress = {"title": self.title, "done": done, "total": self.total}
            logger.info(
                "%s %.2f of %g, %s",
                self.title,
                done,
                self.total,
                ": ".join(filter(None, (left, values))),
                extra={"progress": progress | {"left_s": left_s, "watched": known}},
            )

    def _left_s(self, now: float, done: float) -> float | None:
        assert self._began is not None
        began, from_ = self._began
        return (now - began) / (done - from_) * (self.total - done) if done > from_ else None
