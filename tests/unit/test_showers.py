import json
import subprocess
import sys
import zlib

import h5py
import numpy as np
import pytest

from caloforge.errors import CaloforgeError
from caloforge.geometry import CartesianLayer, Geometry
from caloforge.showers import CHUNK_BYTES, CHUNKS_AT_A_TIME, ShowerFile, Showers, ShowerWriter, read_out

UNITS = {"pz": "GeV", "angle": "rad"}


def geometry(*shapes) -> Geometry:
    return Geometry(
        name="test", layers=tuple(CartesianLayer(shape=shape, cell_size_mm=(5, 5)) for shape in shapes)
    )


def random_showers(n, n_cells, seed=0) -> Showers:
    rng = np.random.default_rng(seed)
    cells = rng.exponential(size=(n, n_cells)).astype(np.float32)
    cells[rng.random(cells.shape) < 0.8] = 0
    return Showers(
        cells,
        rng.uniform(1e3, 1e5, size=(n, 1)).astype(np.float32),
        {name: rng.normal(size=n).astype(np.float32) for name in UNITS},
        rng.permutation(n) - n // 2,
    )


def write(path, shape, *batches, **attributes):
    with ShowerWriter(path, shape, UNITS, attributes) as writer:
        for batch in batches:
            writer.append(batch)
    return path


def assert_same(found: Showers, expected: Showers):
    assert found.showers.dtype == found.incident_energies.dtype == np.float32
    assert found.event.dtype == np.int64
    np.testing.assert_array_equal(found.showers, expected.showers)
    np.testing.assert_array_equal(found.incident_energies, expected.incident_energies)
    np.testing.assert_array_equal(found.event, expected.event)
    assert list(found.conditions) == list(expected.conditions)
    for name, values in expected.conditions.items():
        np.testing.assert_array_equal(found.conditions[name], values)


@pytest.fixture
def small(tmp_path):
    return write(tmp_path / "small.h5", geometry((3, 4)), random_showers(10, 12))


@pytest.mark.parametrize("n", [0, 1, 95, 96, 97, 250])
def test_round_trip(tmp_path, n):
    # 40000 cells: 6 showers a chunk, 96 written together
    assert CHUNK_BYTES // 160_000 * CHUNKS_AT_A_TIME == 96
    shape = geometry((200, 100), (100, 200))
    showers = random_showers(n, 40_000)
    path = write(tmp_path / "showers.h5", shape, showers, note="x")
    with ShowerFile(path) as file:
        assert len(file) == n
        assert file.geometry == shape
        assert file.units == UNITS
        assert_same(file.read(), showers)
        assert_same(file.read(n // 3, n // 2), showers[n // 3 : n // 2])
        for block, start in zip(file.blocks(60), range(0, n, 60), strict=True):
            assert_same(block, showers[start : start + 60])
        assert [number for block in file.event_blocks(60) for number in block] == showers.event.tolist()


def test_bytes_do_not_depend_on_the_batches(tmp_path):
    shape = geometry((200, 200))
    showers = random_showers(220, 40_000)
    whole = write(tmp_path / "whole.h5", shape, showers).read_bytes()
    for size in (1, 7, 96, 150):
        batches = [showers[start : start + size] for start in range(0, 220, size)]
        assert write(tmp_path / "parts.h5", shape, *batches).read_bytes() == whole


def test_any_reader_of_gzip_reads_it(small):
    with h5py.File(small) as file:
        showers = file["showers"]
        assert showers.compression == "gzip"
        assert {file[name].attrs["unit"] for name in ("showers", "incident_energies")} == {"MeV"}
        _, chunk = showers.id.read_direct_chunk((0, 0))
        cells = np.frombuffer(zlib.decompress(chunk), np.float32).reshape(-1, 12)
        np.testing.assert_array_equal(cells[:10], random_showers(10, 12).showers)


def test_selection():
    showers = random_showers(6, 4)
    rows = np.array([True, False, True, False, False, True])
    assert_same(showers[rows], showers[np.array([0, 2, 5])])


def test_reading_out_empties_cells_up_to_the_threshold():
    np.testing.assert_array_equal(read_out(np.array([[0, 0.4], [0.5, 0.6]]), 0.5), [[0, 0], [0, 0.6]])


def test_attributes_stand_in_the_file(tmp_path):
    path = write(tmp_path / "a.h5", geometry((3, 4)), random_showers(2, 12), dataset="lhcb")
    with h5py.File(path) as file:
        assert file.attrs["dataset"] == "lhcb"
        assert json.loads(file.attrs["geometry"])["layers"][0]["shape"] == [3, 4]


def change(path, edit):
    with h5py.File(path, "r+") as file:
        edit(file)


def replace(file, name, values):
    del file[name]
    file[name] = values


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda file: file.pop("event"), "not a canonical shower file: no event"),
        (lambda file: file.attrs.pop("geometry"), "not a canonical shower file: no attribute geometry"),
        (lambda file: file.attrs.modify("schema_version", 99), "schema version 99 found, 1 expected"),
        (lambda file: file.attrs.modify("geometry", "{}"), "attribute geometry.name: Field required"),
        (lambda file: file.attrs.modify("geometry", "{"), "attribute geometry: Invalid JSON"),
        (lambda file: file["conditions/pz"].attrs.pop("unit"), "conditions/pz has no attribute unit"),
        (
            lambda file: replace(file, "showers", np.zeros((10, 11))),
            r"showers has shape \(10, 11\), expected \(10, 12\)",
        ),
        (
            lambda file: replace(file, "incident_energies", np.zeros((9, 1))),
            r"incident_energies has shape \(9, 1\), expected \(10, 1\)",
        ),
        (
            lambda file: file["conditions/angle"].resize(4, axis=0),
            r"conditions/angle has shape \(4,\), expected \(10,\)",
        ),
    ],
)
def test_refuses_a_file_that_is_not_canonical(small, edit, message):
    change(small, edit)
    with pytest.raises(CaloforgeError, match=message) as error:
        ShowerFile(small)
    assert str(small) in str(error.value)
    assert "\n" not in str(error.value)


def test_refuses_what_is_not_hdf5(tmp_path, small):
    with pytest.raises(CaloforgeError, match=r"none\.h5: no such file"):
        ShowerFile(tmp_path / "none.h5")
    text = tmp_path / "text.h5"
    text.write_text("not HDF5")
    with pytest.raises(CaloforgeError, match=r"text\.h5: not a readable HDF5 file"):
        ShowerFile(text)
    small.write_bytes(small.read_bytes()[:-100])
    with pytest.raises(CaloforgeError, match=r"small\.h5: not a readable HDF5 file"):
        ShowerFile(small)


def test_damaged_chunk_is_named(small):
    with h5py.File(small) as file:
        chunk = file["showers"].id.get_chunk_info(0)
    content = bytearray(small.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    small.write_bytes(content)
    with ShowerFile(small) as file, pytest.raises(CaloforgeError, match="showers 0 to 10 cannot be read"):
        file.read()


REFUSED = """
import resource, sys
import numpy as np
from caloforge.geometry import CartesianLayer, Geometry
from caloforge.showers import Showers, ShowerWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
cells = np.random.default_rng(0).random((50, 40000), dtype=np.float32)
batch = Showers(cells, cells[:, :1], {}, np.arange(50))
geometry = Geometry(name="test", layers=(CartesianLayer(shape=(200, 200), cell_size_mm=(5, 5)),))
try:
    with ShowerWriter(sys.argv[1], geometry, {}) as writer:
        for _ in range(4):
            writer.append(batch)
except OSError as error:
    print("OSError", error.errno)
"""


@pytest.mark.parametrize("limit", [100, 5_000, 1_000_000, 20_000_000])
def test_storage_that_refuses_is_an_error_and_not_a_crash(tmp_path, limit):
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, str(tmp_path / "full.h5"), str(limit)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "OSError 27\n", "")
