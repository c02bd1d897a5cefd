"""ROOT files, local and remote: their header, their trees (TTree or RNTuple) and what goes wrong in them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import awkward as ak
import numpy as np
import uproot
from awkward.types import ListType, NumpyType, RegularType, Type
from uproot.behaviors.RNTuple import RNTuple
from uproot.interpretation.identify import UnknownInterpretation
from uproot.interpretation.objects import CannotBeAwkward

from caloforge.config.sources import RootArrays, RootCells
from caloforge.errors import CaloforgeError
from caloforge.ingest.batch import Metadata, SourceFile
from caloforge.ingest.columns import alternatives
from caloforge.ingest.primaries import PrimaryColumns

Tree = uproot.TTree | RNTuple
"""A tree with one entry per event; a branch of an RNTuple is one of its fields."""

NUMBER = "one number"
NUMBERS = "one number or several"
LIST = "a list of numbers"


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
def open_root(path: Path | str) -> Iterator[uproot.ReadOnlyDirectory]:
    """Open a ROOT file, a text being a URL; whatever goes wrong in the block is one error that names it."""
    try:
        with uproot.open(path if isinstance(path, Path) else {path: None}) as root:
            yield root
    except CaloforgeError:
        raise
    except Exception as error:  # a damaged file makes uproot raise anything, from any depth
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        if isinstance(path, Path):
            problem = f"damaged, cannot be read as ROOT: {reason}"
        elif isinstance(error, ImportError):
            problem = f"remote files need more libraries: pip install 'caloforge[remote]' ({reason})"
        else:
            problem = f"cannot be read as ROOT: {reason}"
        raise CaloforgeError(f"{path}: {problem}") from error


def find_tree(root: uproot.ReadOnlyDirectory, path: Path | str, name: str) -> Tree:
    """The tree `name`, or `folder/name`, latest cycle, with at least one entry."""
    if name not in root:
        raise CaloforgeError(f"{path}: no tree {name}{alternatives(name, root.keys(cycle=False))}")
    tree = root[name]
    if not isinstance(tree, Tree):
        raise CaloforgeError(f"{path}: {name} is a {root.classname_of(name)}, expected a TTree or RNTuple")
    if tree.num_entries == 0:
        raise CaloforgeError(f"{path}: tree {name}: 0 events found, expected at least 1")
    return tree


def read_metadata(root: uproot.ReadOnlyDirectory, path: Path | str, name: str | None) -> Metadata | None:
    """The metadata in the text object `name`, or None if there is no such object."""
    if name is None or name not in root:
        return None
    return Metadata.of(str(root[name]), f"{path}: object {name}")


@contextmanager
def open_events(
    path: Path | str, source: RootCells | RootArrays
) -> Iterator[tuple[uproot.ReadOnlyDirectory, Tree, SourceFile]]:
    """Open a ROOT file and find the tree of its events, which has as many as the metadata say."""
    with open_root(path) as root:
        metadata = read_metadata(root, path, source.metadata)
        tree = find_tree(root, path, source.tree)
        if metadata and metadata.events not in (None, tree.num_entries):
            raise CaloforgeError(
                f"{path}: tree {source.tree}: {tree.num_entries} events found, "
                f"{metadata.events} expected by the object {source.metadata}"
            )
        yield root, tree, SourceFile(path, tree.num_entries, metadata)


def check_branches(tree: Tree, where: str, expected: Iterable[tuple[str, str]]) -> None:
    """Refuse a tree without these branches.

    Parameters
    ----------
    tree, where
        The tree; file and tree for the message.
    expected
        Name and what an entry should hold: `NUMBER`, `NUMBERS` (one, an array or a vector) or `LIST`.
        Integers may be stored as floating-point numbers, as some writers do; their values tell.

    Raises
    ------
    CaloforgeError
        Naming the branch, the type found and the type expected.
    """
    present = tree.keys()
    for name, kind in expected:
        if name not in present and name not in tree:
            raise CaloforgeError(f"{where}: no branch {name}{alternatives(name, present)}")
        found = entry_type(tree, name)
        fits = isinstance(found, ListType) if kind == LIST else kind == NUMBERS or found == _innermost(found)
        if not fits or not _is_number(_innermost(found)):
            raise CaloforgeError(
                f"{where}, branch {name}: type {tree[name].typename} found, expected {kind} per event"
            )


def check_primaries(tree: Tree, where: str, primaries: PrimaryColumns) -> None:
    """Refuse a tree in which a branch of the primaries has a type that their formulas cannot take."""
    whole = {formula.text for formula in primaries.formulas}
    check_branches(tree, where, ((name, NUMBER if name in whole else NUMBERS) for name in primaries.columns))


def entry_type(tree: Tree, name: str) -> Type | None:
    """What an entry of a branch holds, None if nobody can tell."""
    if isinstance(tree, RNTuple):
        return tree.to_akform(filter_name=name)[0].content(name).type
    try:
        return tree[name].interpretation.awkward_form(tree.file).type
    except (CannotBeAwkward, UnknownInterpretation):
        return None


def _innermost(found: Type | None) -> Type | None:
    """The type of the numbers in an array or a list of them."""
    if isinstance(found, ListType):
        return found.content
    while isinstance(found, RegularType):
        found = found.content
    return found


def _is_number(found: Type | None) -> bool:
    return isinstance(found, NumpyType) and not found.parameters and np.dtype(found.primitive).kind in "iuf"


def number_batches(
    tree: Tree, where: str, names: Sequence[str], events: int
) -> Iterator[dict[str, np.ndarray]]:
    """Read branches with one number or equally many numbers in every entry.

    Parameters
    ----------
    tree, where
        The tree; file and tree for messages.
    names
        Branches, checked.
    events
        Number of entries to read at a time.

    Yields
    ------
    dict
        Name to array of shape (n,), (n, k) or more for arrays of more dimensions.

    Raises
    ------
    CaloforgeError
        If an entry has another number of numbers than the one before.
    """
    starts = range(0, tree.num_entries, events)
    if not names:
        yield from ({} for _ in starts)
        return
    for start, arrays in zip(starts, tree.iterate(list(names), step_size=events), strict=True):
        yield {name: _rectangle(arrays[name], where, start, name) for name in names}


def _rectangle(values: ak.Array, where: str, first_entry: int, name: str) -> np.ndarray:
    if not isinstance(values.type.content, ListType):
        return values.to_numpy()
    lengths, numbers = lists(values)
    different = lengths != lengths[0]
    if different.any():
        row = int(different.argmax())
        raise CaloforgeError(
            f"{where}, entry {first_entry + row}, branch {name}: {lengths[row]} numbers found, "
            f"expected the {lengths[0]} of entry {first_entry}"
        )
    return numbers.reshape(len(lengths), lengths[0])


def lists(jagged: ak.Array) -> tuple[np.ndarray, np.ndarray]:
    """Length of each list, and the numbers of all lists one after the other."""
    layout = jagged.layout.to_ListOffsetArray64()
    offsets = layout.offsets.data
    return np.diff(offsets), layout.content.data[offsets[0] : offsets[-1]]
