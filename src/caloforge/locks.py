"""Locks that say whether a process is alive, also on another host: the kernel frees them however it ends."""

import fcntl
import time
from pathlib import Path

_ATTEMPTS, _WAIT_S = 20, 0.05


def lock_path(log: Path) -> Path:
    """The file that the job with this log holds a lock on, and removes at its end."""
    return Path(f"{log}.lock")


def hold(descriptor: int) -> bool:
    """Lock an open, writable file for as long as it stays open; False if another process holds it.

    One that merely looks, with `is_held`, is waited for.

    Raises
    ------
    OSError
        If the file system knows no locks.
    """
    for attempt in range(_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_WAIT_S if attempt + 1 < _ATTEMPTS else 0)
        else:
            return True
    return False


def is_held(path: Path) -> bool | None:
    """Whether a process holds the lock of a file, here or on another host; None if that cannot be told."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return False
