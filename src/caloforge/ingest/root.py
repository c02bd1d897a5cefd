"""ROOT files: their header, their trees and what goes wrong in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uproot

from caloforge.errors import CaloforgeError
from caloforge.ingest.batch import Metadata
from caloforge.ingest.columns import alternatives


def check_header(path: Path) -> None:
    """Refuse what is not a ROOT file or shorter than its header says.

    The header begins with the letters root, the version as four bytes, fBEGIN as four and fEND, the size of
    the file, as four or, from version 1000000 on, eight (ROOT reference guide, class TFile, "File header").

    Raises
    ------
    CaloforgeError
        Naming the file.
    """
    try:
        with path.open("rb") as file:
            header = file.read(20)
        size = path.stat().st_size
    except OSError as error:
        raise CaloforgeError(f"{path}: cannot be read: {error.strerror}") from None
    if header[:4] != b"root":
        raise CaloforgeError(f"{path}: not a ROOT file: begins with {header[:4]!r}, expected {b'root'!r}")
    large = int.from_bytes(header[4:8]) >= 1_000_000
    end = int.from_bytes(header[12:20] if large else header[12:16])
    if size < max(end, len(header)):
        raise CaloforgeError(f"{path}: truncated: {size} bytes found, {end} expected by its header")


@contextmanager
def open_root(path: Path) -> Iterator[uproot.ReadOnlyDirectory]:
    """Open a ROOT file; whatever goes wrong inside the block is one error that names the file."""
    try:
        with uproot.open(path) as root:
            yield root
    except CaloforgeError:
        raise
    except Exception as error:  # a damaged file makes uproot raise anything, from any depth
        reason = " ".join(str(error).split())[:200]
        raise CaloforgeError(
            f"{path}: damaged, cannot be read as ROOT: {type(error).__name__}: {reason}"
        ) from error


def find_tree(root: uproot.ReadOnlyDirectory, path: Path, name: str) -> uproot.TTree:
    """The tree `name`, latest cycle, with at least one entry."""
    if name not in root:
        raise CaloforgeError(f"{path}: no tree {name}{alternatives(name, root.keys(cycle=False))}")
    tree = root[name]
    if not isinstance(tree, uproot.TTree):
        raise CaloforgeError(f"{path}: {name} is a {root.classname_of(name)}, expected a TTree")
    if tree.num_entries == 0:
        raise CaloforgeError(f"{path}: tree {name}: 0 events found, expected at least 1")
    return tree


def read_metadata(root: uproot.ReadOnlyDirectory, path: Path, name: str | None) -> Metadata | None:
    """The metadata in the text object `name`, or None if there is no such object."""
    if name is None or name not in root:
        return None
    return Metadata.of(str(root[name]), f"{path}: object {name}")
