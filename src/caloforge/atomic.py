"""Files appear under their final name only when they are complete."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caloforge.errors import CaloforgeError

_STORAGE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a path beside `final` to write a file or directory to; rename it when the block ends well.

    On any exception nothing is left behind and what stood under `final` before is untouched.

    Raises
    ------
    CaloforgeError
        If the storage refuses the write (full, over quota, file-size limit, read-only, I/O error).
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f".{final.name}.partial")
    _remove(partial)
    try:
        yield partial
        if final.is_dir() and partial.is_dir():
            shutil.rmtree(final)
        partial.replace(final)
    except BaseException as error:
        _remove(partial)
        refused = _storage_error(error)
        if refused:
            raise CaloforgeError(f"{final}: cannot be written: {os.strerror(refused)}") from error
        raise


def write_text(final: Path, text: str) -> None:
    """Write `text` to `final` as UTF-8, atomically."""
    with atomic_path(final) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(final: Path, content: Any) -> None:
    """Write `content` to `final` as indented, key-sorted, strictly standard JSON, atomically.

    Raises
    ------
    ValueError
        If `content` holds a NaN or an infinity, which JSON cannot.
    """
    write_text(final, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def _storage_error(error: BaseException | None) -> int | None:
    """Error number of a refused write in a chain of exceptions; HDF5 hides it behind a failing close."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _STORAGE_ERRORS:
            return error.errno
        error = error.__context__
    return None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
