"""Source files with bytes flipped or cut anywhere: ingest succeeds or ends in one clear error, whatever the damage."""

import io
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.ingest import ingest
from caloforge.ingest.split import SPLITS

N, SIDE = 60, 8
RNG = np.random.default_rng(7)
EVENT = np.arange(N)
ENERGY_GEV = RNG.uniform(1, 100, N).astype(np.float32)
CELLS_MEV = np.where(RNG.random((N, SIDE, SIDE)) < 0.2, RNG.uniform(0, 10, (N, SIDE, SIDE)), 0).astype(
    np.float32
)


def root_tree() -> bytes:
    rows, x, y = CELLS_MEV.nonzero()
    counts = np.bincount(rows, minlength=N)
    lists = {"cell_x": x.astype(np.uint8), "cell_y": y.astype(np.uint8), "cell_energy": CELLS_MEV[rows, x, y]}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "file.root"
        with uproot.recreate(path) as file:
            import awkward as ak

            columns = {"event": EVENT, "energy": ENERGY_GEV, "ncell": counts.astype(np.int32)}
            columns |= {name: ak.unflatten(values, counts) for name, values in lists.items()}
            types = {name: str(ak.type(ak.Array(values)).content) for name, values in columns.items()}
            file.mktree("showers", types)
            file["showers"].extend(columns)
        return path.read_bytes()


def hdf5(**options) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("showers", data=CELLS_MEV, **options)
        file["event"], file["energy"] = EVENT, ENERGY_GEV
    return buffer.getvalue()


def npz(save: Callable) -> bytes:
    buffer = io.BytesIO()
    save(buffer, showers=CELLS_MEV, event=EVENT, energy=ENERGY_GEV)
    return buffer.getvalue()


ARRAYS = {"format": "arrays", "files": ["unused"], "cells": "showers"}
KINDS = {
    "TTree": (
        root_tree,
        "root",
        {"format": "root_cells", "files": ["unused"], "cells": {"layer": None}, "metadata": None},
    ),
    "HDF5": (hdf5, "h5", ARRAYS),
    "HDF5 gzip": (lambda: hdf5(chunks=(16, SIDE, SIDE), compression="gzip"), "h5", ARRAYS),
    "npz": (lambda: npz(np.savez), "npz", ARRAYS),
    "npz deflated": (lambda: npz(np.savez_compressed), "npz", ARRAYS),
}


@cache
def intact(kind: str) -> bytes:
    return KINDS[kind][0]()


def dataset(source: dict) -> DatasetSettings:
    layer = {"shape": [SIDE, SIDE], "cell_size_mm": [10, 10]}
    return DatasetSettings.model_validate(
        {
            "source": source,
            "geometry": {"name": "square", "layers": [layer]},
            "split": {"train": 0.6, "val": 0.2, "test": 0.2},
            "readout_threshold_MeV": 0.1,
        }
    )


def ends_well(content: bytes, suffix: str, source: dict) -> bool:
    """Whether the content can be ingested; if not, it must be refused as it should."""
    with tempfile.TemporaryDirectory() as directory:
        path, out = Path(directory) / f"damaged.{suffix}", Path(directory) / "out"
        path.write_bytes(content)
        outputs = {split: out / f"{split}.h5" for split in SPLITS} | {"record": out / "ingest.json"}
        try:
            ingest(dataset(source), name="square", files=[path], **outputs)
        except CaloforgeError as error:
            assert "\n" not in str(error)
            assert "damaged." in str(error) or "data set square" in str(error)
            assert not out.exists() or not list(out.iterdir())
            return False
        assert sorted(out.iterdir()) == sorted(outputs.values())
        return True


damage = st.one_of(
    st.tuples(st.just("cut"), st.floats(0, 1, exclude_max=True)),
    st.tuples(
        st.just("flip"),
        st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1),
    ),
)


@pytest.mark.parametrize("kind", KINDS)
def test_intact_files_are_ingested(kind):
    assert ends_well(intact(kind), *KINDS[kind][1:])


@pytest.mark.filterwarnings("ignore")  # libraries may warn of what is refused a moment later
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(damage=damage)
def test_damage_is_refused_or_harmless(kind, damage):
    how, where = damage
    content = bytearray(intact(kind))
    if how == "cut":
        del content[int(where * len(content)) :]
    else:
        for place, bits in where:
            content[int(place * len(content))] ^= bits
    ends_well(bytes(content), *KINDS[kind][1:])


def test_a_zip_bomb_is_not_unpacked_whole():
    """A member that claims more events than its neighbours is refused before its numbers are read."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in {"event": EVENT, "energy": ENERGY_GEV}.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.save(member, array)
        with archive.open("showers.npy", "w") as member:
            np.lib.format.write_array_header_1_0(
                member, {"descr": "<f4", "fortran_order": False, "shape": (10**9, SIDE, SIDE)}
            )
            member.write(bytes(10**6))
    assert not ends_well(buffer.getvalue(), "npz", ARRAYS)
