"""HDF5 files of any origin: what can be wrong with their data sets."""

import math
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import h5py

from caloforge.errors import CaloforgeError

CHUNK_CACHE_BYTES = 32 << 20
"""Decompressed chunks that HDF5 keeps per data set, so that none is read again for every slice of it."""


def check_indices(path: Path) -> None:
    """Refuse an HDF5 file that would end this process, by letting another one open its objects first.

    HDF5 2.0 does so, instead of reporting it, where a version 2 B-tree is damaged, which is the index of the
    chunks of a data set with several unlimited axes. Files with a superblock of version 0, which HDF5 writes
    unless asked for more, have other indices.

    Raises
    ------
    CaloforgeError
        Naming the file.
    """
    with path.open("rb") as stream:
        if stream.read(9)[8:] == b"\0":
            return
    visit = "import h5py, sys; h5py.File(sys.argv[1]).visititems(lambda name, item: None)"
    status = subprocess.run([sys.executable, "-c", visit, str(path)], stderr=subprocess.DEVNULL).returncode
    if status < 0:
        raise CaloforgeError(
            f"{path}: damaged, cannot be read: HDF5 ends with {signal.Signals(-status).name}"
        )


class Hdf5File:
    """The data sets of an HDF5 file.

    Attributes
    ----------
    names
        Of the data sets, with their groups: `group/key`.

    Raises
    ------
    Exception
        Anything that h5py raises about damage.
    """

    def __init__(self, path: Path) -> None:
        names: list[str] = []

        def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset) and name.isprintable():
                names.append(name)

        with ExitStack() as stack:
            self._file = stack.enter_context(h5py.File(path, rdcc_nbytes=CHUNK_CACHE_BYTES))
            self._file.visititems(note)
            self._open = stack.pop_all()
        self.names = tuple(names)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __getitem__(self, name: str) -> h5py.Dataset:
        """A data set whose numbers are all in this file.

        Raises
        ------
        ValueError
            If some are in other files or were never written, or a filter is missing that decompresses them.
        Exception
            Anything that h5py raises about damage.
        """
        dataset = self._file[name]
        properties = dataset.id.get_create_plist()
        for number in range(properties.get_nfilters()):
            code, *_ = properties.get_filter(number)
            if not h5py.h5z.filter_avail(code):
                raise ValueError(f"filter {code} found, which is not installed, expected gzip, lzf or none")
        if dataset.is_virtual or dataset.external:
            raise ValueError("numbers in other files found, expected all in this one")
        if dataset.chunks:
            chunks = [
                -(-length // chunk) for length, chunk in zip(dataset.shape, dataset.chunks, strict=True)
            ]
            sizes: list[int] = []
            dataset.id.chunk_iter(lambda chunk: sizes.append(chunk.size))
            least = 4 if dataset.fletcher32 else 0  # HDF5 ends the process over a chunk without a checksum
            found, expected, what = sum(size > least for size in sizes), math.prod(chunks), "chunks"
        else:
            found, expected, what = dataset.id.get_storage_size(), dataset.nbytes, "bytes"
        if found < expected:
            raise ValueError(f"{found} {what} found, expected {expected}: its writing was not completed")
        return dataset
