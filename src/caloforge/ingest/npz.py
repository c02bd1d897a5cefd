"""npz files: zip archives with one array per member, read in slices of events."""

import math
import shutil
import tempfile
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import numpy as np

from caloforge.errors import CaloforgeError

_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class NpzFile:
    """The arrays of an npz file.

    Attributes
    ----------
    names
        Of the arrays.

    Raises
    ------
    Exception
        Anything that `zipfile` raises about damage.
    """

    def __init__(self, path: Path, allow_pickle: bool = False) -> None:
        self._path, self._allow_pickle = path, allow_pickle
        self._open = ExitStack()
        self._archive = self._open.enter_context(zipfile.ZipFile(path))
        members = filter(str.isprintable, self._archive.namelist())
        self.names = tuple(name.removesuffix(".npy") for name in members if name.endswith(".npy"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __getitem__(self, name: str) -> "np.ndarray | NpzMember":
        """An array, of which slices along the first axis can be read, each behind the one before it.

        Raises
        ------
        CaloforgeError
            For an array of Python objects that may not be read, as doing so can run any code, or whose events
            have different shapes. With `allow_pickle`, such an array is held in memory as a whole.
        Exception
            Anything that `zipfile` and NumPy raise about damage.
        """
        member = self._archive.getinfo(f"{name}.npy")
        stream = self._open.enter_context(self._archive.open(member))
        version = np.lib.format.read_magic(stream)
        if version not in _READ_HEADER:
            raise ValueError(f"version {version} of the npy format found, expected (1, 0) or (2, 0)")
        shape, fortran_order, dtype = _READ_HEADER[version](stream)
        if dtype.hasobject:
            return self._unpickled(name)
        found, expected = member.file_size - stream.tell(), math.prod(shape) * dtype.itemsize
        if found != expected:
            raise ValueError(f"{found} bytes found, expected {expected} for shape {shape} of {dtype}")
        if fortran_order and len(shape) > 1:
            return _mapped(stream, shape, dtype)
        return NpzMember(stream, shape, dtype)

    def _unpickled(self, name: str) -> np.ndarray:
        """An array of objects, such as one array per event, as an array of numbers."""
        if not self._allow_pickle:
            raise CaloforgeError(
                f"{self._path}, key {name}: an array of Python objects found, expected numbers: reading it "
                f"can run any code; if the file is your own, set source.allow_pickle: true"
            )
        with self._archive.open(f"{name}.npy") as stream:
            objects = np.lib.format.read_array(stream, allow_pickle=True)
        try:
            return np.array(objects.tolist())
        except ValueError:
            raise CaloforgeError(
                f"{self._path}, key {name}: events of different shapes found, expected one shape"
            ) from None


@dataclass(frozen=True)
class NpzMember:
    """An array in an npz file, of which slices of events can be read, each behind the one before it."""

    _stream: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        shape = (rows.stop - rows.start, *self.shape[1:])
        values = np.frombuffer(self._stream.read(math.prod(shape) * self.dtype.itemsize), self.dtype)
        if rows.stop == self.shape[0]:
            self._stream.read(1)  # lets zipfile check its sum
        return values.reshape(shape)


def _mapped(stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array in Fortran order, where the numbers of an event lie apart: a copy on disk, not in memory."""
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy)
        copy.flush()
        return np.memmap(copy, dtype, mode="r", shape=shape, order="F")
