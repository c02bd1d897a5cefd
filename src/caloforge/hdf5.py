"""New HDF5 files that survive a storage which refuses a write."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py


@contextmanager
def create_hdf5(path: Path) -> Iterator[h5py.File]:
    """Create an HDF5 file and close it at the end of the block; the caller makes the write atomic.

    Raises
    ------
    OSError
        With the reason of the storage, when it refuses a write (full, over quota, file-size limit).
    """
    with _Storage(path, "w+b") as storage:
        try:
            with h5py.File(storage, "w") as file:
                try:
                    yield file
                finally:
                    storage.closing = True
        except Exception:
            if storage.error:
                raise storage.error from None
            raise
        if storage.error:
            raise storage.error


class _Storage(io.FileIO):
    """A file whose refusals do not reach HDF5 while it closes.

    HDF5 2.0 that fails to write on closing never closes and crashes when the process ends. So the first
    refusal is kept and raised, which ends the block, and what closing still writes is dropped.
    """

    error: OSError | None = None
    closing = False

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest and not self.error:
            try:
                rest = rest[super().write(rest) :]
            except OSError as error:
                self.error = error
        self._report()
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        if not self.error:
            try:
                return super().truncate(size)
            except OSError as error:
                self.error = error
        self._report()
        return size or 0

    def _report(self) -> None:
        if self.error and not self.closing:
            raise self.error
