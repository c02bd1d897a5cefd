"""Locks that say whether a process is alive, also on another host: the kernel frees them however it ends."""

import fcntl
import time
from pathlib import Path

_ATTEMPTS, _WAIT_S = 20, 0.05


def hold(descriptor: int) -> bool:
    """Lock an open, writable file for as long as it stays open; whether that worked.

    It does not where another process holds it or the file system knows no locks. One that merely looks, with
    `is_held`, is waited for.
    """
    for attempt in range(_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_WAIT_S if attempt + 1 < _ATTEMPTS else 0)
        except OSError:
            return False
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
