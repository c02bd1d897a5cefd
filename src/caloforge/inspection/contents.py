"""What a file holds: its trees or arrays with their types, read without their numbers."""

import json
import pickle
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import uproot

from caloforge.errors import CaloforgeError
from caloforge.ingest.root import check_header, open_root

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""At byte 0 or, behind a user block, at 512, 1024, 2048 and so on (HDF5 file format specification, II.A)."""
LARGEST_USER_BLOCK = 1 << 20
LARGEST_TEXT = 1 << 20
"""Of an object or attribute with text that is looked at [bytes]."""


@dataclass(frozen=True)
class Column:
    """Numbers of one kind that a table has for each event.

    Attributes
    ----------
    type
        As the file's library writes it.
    kind
        Letter of NumPy for the kind of the numbers: i, u, f and so on; empty for anything else.
    shape
        Of the numbers of an event, () for one number; that of an item for lists.
    is_list
        Whether an event has a list of them, as long as it wants.
    """

    type: str
    kind: str
    shape: tuple[int, ...] = ()
    is_list: bool = False

    @property
    def is_number(self) -> bool:
        """Whether it is one number per event."""
        return self.kind in ("i", "u", "f") and not self.is_list and self.shape in ((), (1,))

    @property
    def is_list_of_numbers(self) -> bool:
        """Whether it is one list of numbers per event."""
        return self.kind in ("i", "u", "f") and self.is_list and not self.shape


@dataclass(frozen=True)
class Table:
    """A tree, or all arrays of a file with one row per event."""

    name: str
    events: int
    columns: Mapping[str, Column]

    def has(self, *names: str) -> bool:
        """Whether all these columns are there."""
        return all(name in self.columns for name in names)


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Attributes
    ----------
    container
        ROOT, HDF5, npz or PyTorch.
    tables
        By name; arrays of HDF5 and npz files make one table without a name.
    objects
        Anything else: name to class or type.
    facts
        Metadata: the JSON object of a ROOT file, attributes of an HDF5 file, plain data of a checkpoint.
    """

    path: Path
    container: str
    tables: Mapping[str, Table]
    objects: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arrays(self) -> Table:
        """The only table of an HDF5 or npz file."""
        return self.tables[""]


def describe(path: Path) -> Contents:
    """Find out what a file holds.

    Raises
    ------
    CaloforgeError
        If it cannot be read, is of no known kind or holds nothing.
    """
    contents = _describe(path)
    if not (contents.objects or any(table.columns for table in contents.tables.values()) or contents.facts):
        raise CaloforgeError(f"{path}: {contents.container} file without content: empty or damaged")
    return contents


def _describe(path: Path) -> Contents:
    try:
        with path.open("rb") as file:
            start = file.read(LARGEST_USER_BLOCK)
    except OSError as error:
        raise CaloforgeError(f"{path}: cannot be read: {error.strerror}") from None
    if start.startswith(b"root"):
        return _describe_root(path)
    if any(start[offset : offset + 8] == HDF5_SIGNATURE for offset in (0, *_powers(512, len(start)))):
        return _reading(path, "HDF5", _describe_hdf5)
    if start.startswith(b"PK"):
        return _reading(path, "zip archive (npz, PyTorch)", _describe_zip)
    found = f"begins with {start[:8]!r}" if start else "it is empty"
    raise CaloforgeError(f"{path}: unknown kind of file: {found}, expected ROOT, HDF5 or npz")


def read_lists(
    paths: Iterable[Path], tree: str, branches: Sequence[str], events: int
) -> dict[str, list[np.ndarray]]:
    """Read jagged branches of the first events of ROOT files.

    Returns
    -------
    dict
        Branch to one array per file, the numbers of its lists one after the other.
    """
    found: dict[str, list[np.ndarray]] = {branch: [] for branch in branches}
    for path in paths:
        with open_root(path) as root:
            arrays = root[tree].arrays(list(branches), entry_stop=events)
            for branch in branches:
                found[branch].append(ak.flatten(arrays[branch], axis=None).to_numpy())
    return found


def list_lengths(path: Path, tree: str, branch: str, events: int) -> set[int]:
    """Lengths of the lists in the first events of a jagged branch."""
    with open_root(path) as root:
        return set(ak.num(root[tree][branch].array(entry_stop=events)).to_numpy().tolist())


def histogram_edges(path: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the bins of a two-dimensional histogram along its two axes."""
    with open_root(path) as root:
        histogram = root[name]
        return histogram.axis(0).edges(), histogram.axis(1).edges()


def _powers(start: int, end: int) -> Iterable[int]:
    while start < end:
        yield start
        start *= 2


def _reading(path: Path, kind: str, describe_file: Callable[[Path], Contents]) -> Contents:
    """Describe a file; whatever its library raises about damage is one error that names the file."""
    try:
        return describe_file(path)
    except CaloforgeError:
        raise
    except Exception as error:  # a damaged file makes the libraries raise anything, from any depth
        reason = " ".join(str(error).split())[:200]
        raise CaloforgeError(
            f"{path}: damaged, cannot be read as {kind}: {type(error).__name__}: {reason}"
        ) from error


# ---- ROOT


def _describe_root(path: Path) -> Contents:
    check_header(path)
    with open_root(path) as root:
        tables, objects, facts = {}, {}, {}
        for name, class_name in root.classnames(cycle=False).items():
            if class_name in ("TTree", "ROOT::RNTuple", "ROOT::Experimental::RNTuple"):
                tree = root[name]
                tables[name] = Table(name, tree.num_entries, _branches(tree))
            elif class_name not in ("TDirectory", "TDirectoryFile"):
                objects[name] = class_name
            if class_name == "TObjString":
                facts |= _parsed(str(root[name]))
    return Contents(path, "ROOT", tables, objects, facts)


def _branches(tree: Any) -> dict[str, Column]:
    """Columns of a TTree or RNTuple by name, `Tower.E` and not `Tower/Tower.E`."""
    if isinstance(tree, uproot.TTree):
        branches = {name: branch for name, branch in tree.items() if branch.interpretation is not None}
        types = {name: _type_of(branch) for name, branch in branches.items()}
    else:
        form = tree.to_akform()
        form = form[0] if isinstance(form, tuple) else form
        types = {name: form.content(name).type for name in form.fields}
    columns = {}
    for name, content in types.items():
        owner, _, leaf = name.rpartition("/")
        columns[leaf if leaf.startswith(f"{owner}.") else name] = _branch(tree[name].typename, content)
    return columns


def _type_of(branch: uproot.TBranch) -> Any:
    try:
        return branch.interpretation.awkward_form(branch.file).type
    except Exception:  # classes that uproot cannot interpret are listed by their name alone
        return None


def _branch(type_name: str, content: Any) -> Column:
    shape: list[int] = []
    lists = 0
    while isinstance(content, ak.types.ListType | ak.types.RegularType):
        if content.parameter("__array__"):  # text
            return Column(type_name, "")
        if isinstance(content, ak.types.ListType):
            lists += 1
        else:
            shape.append(content.size)
        content = content.content
    if not isinstance(content, ak.types.NumpyType) or lists > 1:
        return Column(type_name, "")
    return Column(type_name, np.dtype(content.primitive).kind, tuple(shape), lists == 1)


def _parsed(text: str) -> dict[str, Any]:
    try:
        facts = json.loads(text) if len(text) < LARGEST_TEXT else None
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


# ---- HDF5 and npz


def _describe_hdf5(path: Path) -> Contents:
    arrays: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}

    def note(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = item.dtype, item.shape or ()

    with h5py.File(path, "r") as file:
        file.visititems(note)
        facts = {name: _attribute(value) for name, value in file.attrs.items()}
        if isinstance(file.get("conditions"), h5py.Group):
            facts["condition_units"] = {
                name: _attribute(values.attrs.get("unit", "1")) for name, values in file["conditions"].items()
            }
    return _arrays(path, "HDF5", arrays, facts)


def _attribute(value: Any) -> str | int | float:
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, int | float) else str(value)


def _describe_zip(path: Path) -> Contents:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if pickles:
            return Contents(path, "PyTorch", {}, {}, _checkpoint(archive, pickles[0]))
        members = [name for name in names if name.endswith(".npy")]
        if not members:
            raise CaloforgeError(f"{path}: a zip archive without arrays, expected npz")
        arrays = {}
        for name in members:
            with archive.open(name) as member:
                version = np.lib.format.read_magic(member)
                read = np.lib.format.read_array_header_1_0
                shape, _, dtype = (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(member)
            arrays[name.removesuffix(".npy")] = dtype, shape
    return _arrays(path, "npz", arrays, {})


def _arrays(
    path: Path, container: str, arrays: Mapping[str, tuple[np.dtype, tuple[int, ...]]], facts: dict[str, Any]
) -> Contents:
    """Contents of a file of arrays: those of the most common length have one row per event."""
    lengths = Counter(shape[0] for _, shape in arrays.values() if shape)
    events = max(lengths, key=lambda length: (lengths[length], length), default=0)
    rows = {name: a for name, a in arrays.items() if a[1] and a[1][0] == events}
    return Contents(
        path,
        container,
        {
            "": Table(
                "",
                events,
                {name: Column(str(dtype), dtype.kind, shape[1:]) for name, (dtype, shape) in rows.items()},
            )
        },
        {name: f"{dtype} {shape}" for name, (dtype, shape) in arrays.items() if name not in rows},
        facts,
    )


class _Inert(pickle.Unpickler):
    """Reads the plain data of a checkpoint; whatever would be code or a tensor becomes `_Nothing`."""

    def find_class(self, *_: str) -> type:
        return _Nothing

    def persistent_load(self, _: Any) -> Any:
        return _Nothing()


class _Nothing(dict):
    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass


def _checkpoint(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    """Plain data of a file of PyTorch, read without PyTorch and without running any of its code."""
    with archive.open(name) as file:
        content = _Inert(file).load()
    return content if isinstance(content, dict) else {}
