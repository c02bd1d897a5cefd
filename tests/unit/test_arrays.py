import math
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.ingest import ingest
from caloforge.ingest.split import SPLITS
from caloforge.showers import ShowerFile

N = 24


def dataset(source, geometry, **changes):
    described = {
        "source": {"format": "arrays", "files": ["unused"], "event": None} | source,
        "geometry": geometry,
        "split": {"train": 0.6, "val": 0.2, "test": 0.2},
        "readout_threshold_MeV": 0.01,
        "chunk_events": 7,
    }
    return DatasetSettings.model_validate(described | changes)


def run(directory, files, config):
    outputs = {split: directory / f"{split}.h5" for split in SPLITS}
    ingest(config, name="calo", files=files, record=directory / "ingest.json", **outputs)
    return read_all(outputs.values())


def read_all(files):
    """Showers, incident energies and conditions of the three files, in the order of the event numbers."""
    parts = []
    for path in files:
        with ShowerFile(path) as file:
            parts.append(file.read())
    event = np.concatenate([part.event for part in parts])
    order = np.argsort(event)
    return (
        np.concatenate([part.showers for part in parts])[order],
        np.concatenate([part.incident_energies for part in parts])[order, 0],
        {
            name: np.concatenate([part.conditions[name] for part in parts])[order]
            for name in parts[0].conditions
        },
        event[order],
    )


def write_hdf5(path, arrays, **options):
    with h5py.File(path, "w") as file:
        for key, values in arrays.items():
            file.create_dataset(key, data=values, **options)
    return path


def write_npz(path, arrays, save=np.savez):
    save(path, **arrays)
    return path


def sparse(rng, shape, highest, dtype=np.float32):
    """Cells of N events, most of them zero, each different."""
    cells = rng.uniform(0.01, 1, (N, *shape)) * (rng.random((N, *shape)) < 30 / math.prod(shape))
    cells.reshape(N, -1)[np.arange(N), rng.integers(math.prod(shape), size=N)] = 0.5
    return (cells * highest).astype(dtype)


def flattened(arrays, number, n_cells, factor=1.0):
    """Showers whose cell `number(key, *indices)` is `factor` times that of array `key` at these indices."""
    showers = np.zeros((N, n_cells))
    for key, cells in arrays.items():
        for row in range(N):
            for index in np.argwhere(cells[row]):
                showers[row, number(key, *index.tolist())] += float(cells[row][tuple(index)]) * factor
    return showers


# ---- the published layouts, and the settings of a user who has them

LAYERS = [
    {"shape": [3, 96], "cell_size_mm": [160, 5], "thickness_mm": 90},
    {"shape": [12, 12], "cell_size_mm": [40, 40], "thickness_mm": 347},
    {"shape": [12, 6], "cell_size_mm": [40, 80], "thickness_mm": 43},
]
CALOGAN = {
    "source": {
        "cells": ["layer_0", "layer_1", "layer_2"],
        "incident_energy": {"column": "energy", "unit": "GeV"},
    },
    "geometry": {"name": "CaloGAN", "layers": LAYERS},
}


def calogan(rng):
    """Of N events: energy [GeV] (N, 1), the cells [MeV] of each layer by row and column, and overflows."""
    cells = {"layer_0": (3, 96), "layer_1": (12, 12), "layer_2": (12, 6)}
    cells = {key: sparse(rng, shape, 100, np.float64) for key, shape in cells.items()}
    starts = {"layer_0": (0, 96), "layer_1": (288, 12), "layer_2": (432, 6)}
    expected = flattened(cells, lambda key, row, column: starts[key][0] + row * starts[key][1] + column, 504)
    energy = rng.uniform(50, 100, (N, 1))
    arrays = {"energy": energy, **cells, "overflow": rng.uniform(0, 9, (N, 3))}
    return arrays, expected, [1000 * e for (e,) in energy]


def calogan_fixed(tmp_path, rng):
    arrays, showers, incident = calogan(rng)
    return write_hdf5(tmp_path / "eplus.hdf5", arrays), dataset(**CALOGAN), showers, incident, {}


def calogan_variable(tmp_path, rng):
    arrays, showers, incident = calogan(rng)
    arrays |= {key: rng.normal(size=(N, 1)) for key in ("x0", "y0", "z0", "t0", "px", "py")}
    arrays["pz"] = rng.uniform(5, 10, (N, 1))
    config = dataset(
        **CALOGAN,
        conditions={
            "theta": {"column": "arccos(py / sqrt(px**2 + py**2 + pz**2))", "unit": "rad"},
            "phi": {"column": "arctan(-px / pz)", "unit": "rad"},
            "x0": {"column": "x0", "unit": "mm"},
        },
    )
    momenta = [tuple(float(arrays[key][row, 0]) for key in ("px", "py", "pz")) for row in range(N)]
    conditions = {
        "theta": [math.acos(py / math.hypot(px, py, pz)) for px, py, pz in momenta],
        "phi": [math.atan2(-px, pz) for px, py, pz in momenta],
        "x0": [float(x0) for (x0,) in arrays["x0"]],
    }
    path = write_hdf5(tmp_path / "gamma.hdf5", arrays, chunks=True, compression="gzip")
    return path, config, showers, incident, conditions


def cubes(n_xy, n_layers, cell_size_mm):
    layer = {"shape": [n_xy, n_xy], "cell_size_mm": [cell_size_mm, cell_size_mm], "repeat": n_layers}
    return {"name": "CLIC ECAL", "layers": [layer]}


def clic_fixed(tmp_path, rng):
    cells = sparse(rng, (25, 25, 25), 0.2)
    target = np.stack([np.full(N, 11), rng.uniform(100, 500, N)], axis=1)
    path = write_hdf5(tmp_path / "EleEscan_1_2.h5", {"ECAL": cells, "target": target}, compression="gzip")
    config = dataset(
        {
            "cells": "ECAL",
            "axes": ["x", "y", "layer"],
            "cell_energy_unit": "GeV",
            "incident_energy": {"column": "target[1]", "unit": "GeV"},
        },
        cubes(25, 25, 5.1),
        conditions={"energy": {"column": "target[1]", "unit": "GeV"}},
    )
    showers = flattened({"ECAL": cells}, lambda key, x, y, z: (z * 25 + x) * 25 + y, 25**3, 1000)
    energy = [float(target[row, 1]) for row in range(N)]
    return path, config, showers, [1000 * e for e in energy], {"energy": energy}


def clic_angle(tmp_path, rng):
    cells = sparse(rng, (51, 51, 25), 0.2 * 50)
    arrays = {"ECAL": cells, "energy": rng.uniform(100, 500, N), "theta": rng.uniform(1, 2, N)}
    path = write_hdf5(tmp_path / "Ele_RandomAngle_1.h5", arrays, chunks=True, compression="gzip")
    config = dataset(
        {"cells": "ECAL", "axes": ["x", "y", "layer"], "cell_energy_unit": "GeV", "stored_as": 50},
        cubes(51, 25, 5.1),
        conditions={"theta": {"column": "theta", "unit": "rad"}},
    )
    showers = flattened({"ECAL": cells}, lambda key, x, y, z: (z * 51 + x) * 51 + y, 51 * 51 * 25, 1000 / 50)
    return path, config, showers, [1000 * e for e in arrays["energy"]], {"theta": arrays["theta"]}


def lhcb(rng, shape=(30, 30, 1)):
    """Of n events: deposits [MeV], entry point [cm], momentum [GeV] and the number of the particle."""
    cells = sparse(rng, (30, 30), 100, np.float64)
    arrays = {
        "EnergyDeposit": cells.reshape(N, *shape),
        "ParticlePoint": rng.normal(size=(N, 3)),
        "ParticleMomentum": rng.normal((0, 0, 30), size=(N, 3)),
        "ParticlePDG": rng.choice([11, 22], N),
    }
    config = dataset(
        {
            "cells": "EnergyDeposit",
            "incident_energy": {
                "column": "sqrt(ParticleMomentum[0]**2 + ParticleMomentum[1]**2 + ParticleMomentum[2]**2)",
                "unit": "GeV",
            },
        },
        {"name": "LHCb ECAL", "layers": [{"shape": [30, 30], "cell_size_mm": [20.2, 20.2]}]},
        conditions={
            "x0": {"column": "ParticlePoint[0]", "unit": "cm"},
            "pz": {"column": "ParticleMomentum[2]", "unit": "GeV"},
            "pdg": {"column": "ParticlePDG"},
        },
    )
    incident = [1000 * math.hypot(*momentum) for momentum in arrays["ParticleMomentum"].tolist()]
    conditions = {
        "x0": [point[0] for point in arrays["ParticlePoint"].tolist()],
        "pz": [momentum[2] for momentum in arrays["ParticleMomentum"].tolist()],
        "pdg": arrays["ParticlePDG"].tolist(),
    }
    showers = flattened({"EnergyDeposit": cells}, lambda key, x, y: x * 30 + y, 900)
    return arrays, config, showers, incident, conditions


def lhcb_npz(tmp_path, rng):
    arrays, *expected = lhcb(rng)
    return write_npz(tmp_path / "data.npz", arrays), *expected


def lhcb_flat_npz(tmp_path, rng):
    arrays, *expected = lhcb(rng, (900,))
    return write_npz(tmp_path / "data.npz", arrays, np.savez_compressed), *expected


def challenge(tmp_path, rng, particle, layers, n_layers):
    """CaloChallenge: in each layer the angle alpha is slower than the radius; all energies in MeV."""
    lines = [
        f'<Layer id="{number}" r_edges="{",".join(map(str, range(layers.get(number, (1, 0))[1] + 1)))}" '
        f'n_bin_alpha="{layers.get(number, (1, 0))[0]}"/>'
        for number in range(n_layers)
    ]
    binning = tmp_path / "binning.xml"
    binning.write_text(f'<Bins><Bin pid="1" name="{particle}">{"".join(lines)}</Bin></Bins>')
    cells = {number: sparse(rng, shape, 20) for number, shape in layers.items()}
    starts = dict(zip(layers, np.cumsum([0, *(a * r for a, r in layers.values())]).tolist(), strict=False))
    n_cells = sum(a * r for a, r in layers.values())
    expected = flattened(cells, lambda layer, alpha, r: starts[layer] + alpha * layers[layer][1] + r, n_cells)
    incident = rng.uniform(1e5, 2e5, (N, 1))
    stored = np.concatenate([cells[number].reshape(N, -1) for number in sorted(layers)], axis=1)
    path = write_hdf5(
        tmp_path / "dataset.hdf5", {"incident_energies": incident, "showers": stored}, compression="gzip"
    )
    config = dataset(
        {"cells": "showers", "incident_energy": {"column": "incident_energies", "unit": "MeV"}},
        {"binning": str(binning), "particle": particle},
    )
    return path, config, expected, [e for (e,) in incident], {}


def challenge_1(tmp_path, rng):
    layers = {0: (1, 8), 1: (10, 16), 2: (10, 19), 3: (1, 5), 12: (1, 5)}
    return challenge(tmp_path, rng, "photon", layers, 24)


def challenge_2(tmp_path, rng):
    return challenge(tmp_path, rng, "electron", dict.fromkeys(range(45), (16, 9)), 45)


def par04(tmp_path, rng):
    cells = sparse(rng, (18, 50, 45), 100)
    incident = rng.uniform(1e4, 1e5, N)
    path = write_hdf5(tmp_path / "par04.h5", {"incident_energy": incident, "showers": cells})
    config = dataset(
        {
            "cells": "showers",
            "axes": ["r", "alpha", "layer"],
            "incident_energy": {"column": "incident_energy", "unit": "MeV"},
        },
        {
            "name": "Par04",
            "layers": [
                {
                    "kind": "cylindrical",
                    "n_alpha": 50,
                    "r_edges_mm": {"bins": 18, "low": 0, "high": 41.85},
                    "repeat": 45,
                }
            ],
        },
    )
    showers = flattened({"showers": cells}, lambda key, r, phi, z: (z * 50 + phi) * 18 + r, 40500)
    return path, config, showers, incident, {}


LAYOUTS = [
    calogan_fixed,
    calogan_variable,
    clic_fixed,
    clic_angle,
    lhcb_npz,
    lhcb_flat_npz,
    challenge_1,
    challenge_2,
    par04,
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_layouts(tmp_path, layout):
    path, config, showers, incident, conditions = layout(tmp_path, np.random.default_rng(3))
    found = run(tmp_path / "out", [path], config)
    np.testing.assert_allclose(found[0], showers, rtol=2e-7, atol=0)
    np.testing.assert_allclose(found[1], incident, rtol=1e-7)
    assert found[2].keys() == conditions.keys()
    for name, values in conditions.items():
        np.testing.assert_allclose(found[2][name], values, rtol=1e-7)
    assert found[3].tolist() == list(range(N))


def test_canonical_files_are_read_back(tmp_path):
    path, config, *_ = lhcb_npz(tmp_path, np.random.default_rng(5))
    showers, incident, conditions, events = run(tmp_path / "first", [path], config)
    again = config.model_dump() | {
        "source": {
            "format": "arrays",
            "files": ["unused"],
            "cells": "showers",
            "incident_energy": {"column": "incident_energies", "unit": "MeV"},
        },
        "conditions": {
            "pz": {"column": "conditions/pz", "unit": "GeV"},
            "slope": {"column": "arctan(conditions/x0 / conditions/pz)", "unit": "rad"},
        },
    }
    files = [tmp_path / "first" / f"{split}.h5" for split in ("test", "train", "val")]
    found = run(tmp_path / "second", files, DatasetSettings.model_validate(again))
    np.testing.assert_array_equal(found[0], showers)
    np.testing.assert_array_equal(found[1], incident)
    np.testing.assert_array_equal(found[2]["pz"], conditions["pz"])
    slopes = np.arctan(conditions["x0"].astype(float) / conditions["pz"])
    np.testing.assert_array_equal(found[2]["slope"], slopes.astype(np.float32))
    np.testing.assert_array_equal(found[3], events)
    for split in SPLITS:
        with (
            ShowerFile(tmp_path / "first" / f"{split}.h5") as one,
            ShowerFile(tmp_path / "second" / f"{split}.h5") as other,
        ):
            assert sorted(one.read().event) == sorted(other.read().event)


# ---- how arrays may be stored


def small(cells, energy=None, source=None, **changes):
    """Arrays and settings of a calorimeter of 2 x 3 cells."""
    arrays = {"cells": cells, "energy": np.full(len(cells), 5.0) if energy is None else energy}
    geometry = {"name": "small", "layers": [{"shape": [2, 3], "cell_size_mm": [1, 1]}]}
    return arrays, dataset({"cells": "cells"} | (source or {}), geometry, **changes)


COUNTS = np.arange(6 * N).reshape(N, 2, 3) % 100


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", "u1", "i2", "i8", "u8", ">f4", ">f8", ">i4"])
@pytest.mark.parametrize("container", ["h5", "npz"])
def test_types_of_numbers(tmp_path, dtype, container):
    arrays, config = small(COUNTS.astype(dtype), source={"cell_energy_unit": "keV", "stored_as": 0.01})
    arrays["energy"] = np.full((N, 1), 100, dtype=dtype)
    write = write_hdf5 if container == "h5" else write_npz
    showers, incident, *_ = run(tmp_path / "out", [write(tmp_path / f"a.{container}", arrays)], config)
    np.testing.assert_allclose(showers, COUNTS.reshape(N, 6) * 0.1, rtol=1e-7)
    np.testing.assert_array_equal(incident, np.full(N, 100_000))


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3), (2, 3, 1), (2, 1, 3)])
def test_axes_of_length_one(tmp_path, shape):
    arrays, config = small(COUNTS.reshape(N, *shape))
    showers, *_ = run(tmp_path / "out", [write_hdf5(tmp_path / "a.h5", arrays)], config)
    np.testing.assert_array_equal(showers, COUNTS.reshape(N, 6))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_in_fortran_order(tmp_path, save):
    arrays, config = small(
        np.asfortranarray(COUNTS.astype(float)), conditions={"py": {"column": "p[1]", "unit": "GeV"}}
    )
    arrays["p"] = np.asfortranarray(np.arange(3.0 * N).reshape(N, 3))
    path = write_npz(tmp_path / "a.npz", arrays, save)
    with zipfile.ZipFile(path) as archive:
        assert b"'fortran_order': True" in archive.read("p.npy")
    showers, _, conditions, _ = run(tmp_path / "out", [path], config)
    np.testing.assert_array_equal(showers, COUNTS.reshape(N, 6))
    np.testing.assert_array_equal(conditions["py"], 3 * np.arange(N) + 1)


def test_order_and_sum_of_axes(tmp_path):
    rng = np.random.default_rng(2)
    cells = rng.uniform(0, 1, (N, 3, 4, 2)).astype(np.float32)  # y, layer, x
    arrays, config = small(cells, source={"axes": ["y", "layer", "x"], "sum_layers": 4})
    showers, *_ = run(tmp_path / "out", [write_hdf5(tmp_path / "a.h5", arrays)], config)
    for row in range(N):
        for x in range(2):
            for y in range(3):
                total = sum(float(cells[row, y, layer, x]) for layer in range(4))
                assert showers[row, x * 3 + y] == pytest.approx(total, rel=1e-6)


def test_order_of_axes_in_keys_of_layers(tmp_path):
    rng = np.random.default_rng(2)
    arrays = {"front": sparse(rng, (3, 2), 9), "back": sparse(rng, (5, 4), 9), "energy": np.ones(N)}
    layers = [{"shape": [2, 3], "cell_size_mm": [1, 1]}, {"shape": [4, 5], "cell_size_mm": [1, 1]}]
    config = dataset(
        {"cells": ["front", "back"], "axes": ["y", "x"]},
        {"name": "two", "layers": layers},
        visible_fraction=[1e-4, 2],
    )
    showers, *_ = run(tmp_path / "out", [write_hdf5(tmp_path / "a.h5", arrays)], config)
    cells = {key: arrays[key] for key in ("front", "back")}
    number = {"front": lambda y, x: x * 3 + y, "back": lambda y, x: 6 + x * 5 + y}
    np.testing.assert_array_equal(showers, flattened(cells, lambda key, y, x: number[key](y, x), 26))


def test_extra_cells_are_left_out(tmp_path):
    cells = np.concatenate([COUNTS.reshape(N, 6), np.full((N, 3), -1)], axis=1)
    arrays, config = small(cells, source={"extra_cells": 3})
    showers, *_ = run(tmp_path / "out", [write_hdf5(tmp_path / "a.h5", arrays)], config)
    np.testing.assert_array_equal(showers, COUNTS.reshape(N, 6))


def test_keys_in_groups_user_block_and_event_numbers_beyond_doubles(tmp_path):
    arrays, config = small(COUNTS)
    arrays = {"run/sub/cells": arrays["cells"], "run/energy": arrays["energy"]}
    arrays["run/id"] = 2**60 + np.arange(N)
    source = {"cells": "run/sub/cells", "event": "run/id", "incident_energy": {"column": "run/energy * 2"}}
    _, config = small(COUNTS, source=source)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=1024, libver="latest") as file:
        for key, values in arrays.items():
            file[key] = values
    showers, incident, _, events = run(tmp_path / "out", [path], config)
    np.testing.assert_array_equal(showers, COUNTS.reshape(N, 6))
    assert set(incident.tolist()) == {10_000}
    assert events.tolist() == [2**60 + number for number in range(N)]


def test_events_are_counted_over_files_of_both_kinds(tmp_path):
    first, config = small(COUNTS[:10])
    second, _ = small(COUNTS[10:])
    files = [write_hdf5(tmp_path / "a.h5", first), write_npz(tmp_path / "b.npz", second)]
    showers, _, _, events = run(tmp_path / "out", files, config)
    assert events.tolist() == list(range(N))
    np.testing.assert_array_equal(showers, COUNTS.reshape(N, 6))


def test_showers_without_energy(tmp_path):
    cells = COUNTS.copy()
    cells[[3, 20]] = 0
    arrays, _ = small(cells)
    path = write_hdf5(tmp_path / "a.h5", arrays)
    kept = run(tmp_path / "keep", [path], small(cells, empty_showers="keep")[1])
    assert kept[3].tolist() == list(range(N))
    dropped = run(tmp_path / "drop", [path], small(cells, empty_showers="drop")[1])
    assert dropped[3].tolist() == [row for row in range(N) if row not in (3, 20)]
    refused(
        tmp_path,
        [path],
        r"a\.h5, entry 3 \(event 3\): a shower without energy found",
        small(cells, empty_showers="refuse")[1],
    )


# ---- what it refuses


def refused(tmp_path, files, message, config):
    """Ingest must end with `message` in one line, and no file in the output directory."""
    out = tmp_path / "refused"
    out.mkdir()
    with pytest.raises(CaloforgeError, match=message) as error:
        run(out, files, config)
    assert "\n" not in str(error.value)
    assert not list(out.iterdir())


def spoilt(value):
    cells = COUNTS.astype(float)
    cells[17, 1, 2] = value
    return cells


CELL = r"bad\.h5, entry 17 \(event 17\), key cells: {} in cell \[1, 2\] found, expected a finite energy"
BAD_ARRAYS = {
    "missing cells": (lambda a: a.pop("cells"), r"bad\.h5: no key cells, found energy"),
    "missing energy": (
        lambda a: a.update(energie=a.pop("energy")),
        r"bad\.h5: no key energy, did you mean energie\?",
    ),
    "no arrays": (lambda a: a.clear(), r"bad\.h5: no key (cells|energy), found nothing"),
    "fewer energies": (
        lambda a: a.update(energy=np.ones(N - 1)),
        rf"bad\.h5, key energy: {N - 1} events found, expected the {N} of cells",
    ),
    "fewer cells than all the others": (
        lambda a: a.update(cells=COUNTS[1:], px=np.ones(N)),
        rf"bad\.h5, key cells: {N - 1} events found, expected the {N} of energy",
    ),
    "no events": (
        lambda a: a.update(cells=COUNTS[:0], energy=np.ones(0), px=np.ones(0)),
        r"bad\.h5, key cells: 0 events found, expected at least 1",
    ),
    "cells of another calorimeter": (
        lambda a: a.update(cells=np.ones((N, 7))),
        r"bad\.h5, key cells: 7 cells per event found, expected 6",
    ),
    "axes in another order": (
        lambda a: a.update(cells=np.ones((N, 3, 2))),
        r"bad\.h5, key cells: cells of shape \(3, 2\) per event found, expected 6",
    ),
    "one number as cells": (lambda a: a.update(cells=3.0), r"bad\.h5, key cells: a single number found"),
    "text": (
        lambda a: a.update(energy=np.array([b"5"] * N)),
        r"bad\.h5, key energy: type \|S1 found, expected numbers",
    ),
    "text of any length": (
        lambda a: a.update(energy=np.array(["5"] * N, dtype=h5py.string_dtype())),
        r"bad\.h5, key energy: type object found, expected numbers",
    ),
    "records": (
        lambda a: a.update(energy=np.zeros(N, dtype=[("a", "f4"), ("b", "i4")])),
        r"bad\.h5, key energy: type \[\('a'.* found, expected numbers",
    ),
    "complex": (
        lambda a: a.update(cells=COUNTS * 1j),
        r"bad\.h5, key cells: type complex128 found, expected numbers",
    ),
    "true or false": (lambda a: a.update(px=np.ones(N, dtype=bool)), r"bad\.h5, key px: type bool found"),
    "matrix per event": (
        lambda a: a.update(px=np.ones((N, 2, 2))),
        r"bad\.h5, key px: shape \(24, 2, 2\) found, expected \(24,\) or \(24, components\)",
    ),
    "vector": (
        lambda a: a.update(px=np.ones((N, 2))),
        r"bad\.h5, key px: 2 components per event found, expected one number: px\[0\] takes the first",
    ),
    "1e30": (lambda a: a.update(cells=spoilt(1e30)), CELL.format(r"1e\+30")),
    "beyond float32": (lambda a: a.update(cells=spoilt(1e300)), CELL.format(r"1e\+300")),
    "NaN": (lambda a: a.update(cells=spoilt(np.nan)), CELL.format("nan")),
    "infinity": (lambda a: a.update(cells=spoilt(np.inf)), CELL.format("inf")),
    "negative": (lambda a: a.update(cells=spoilt(-0.25)), CELL.format(r"-0\.25")),
    "incident energy of 0": (
        lambda a: a.update(energy=np.arange(N)[::-1]),
        r"bad\.h5, entry 23 \(event 23\), key energy: 0\.0 found, expected an energy above 0",
    ),
    "infinite condition": (
        lambda a: a.update(px=np.where(np.arange(N) == 8, np.inf, 1)),
        r"bad\.h5, entry 8 \(event 8\), key px: inf found, expected a finite number",
    ),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_refuses_bad_arrays(tmp_path, case):
    change, message = BAD_ARRAYS[case]
    arrays, config = small(COUNTS, conditions={"px": {"column": "px", "unit": "GeV"}})
    arrays["px"] = np.ones(N)
    change(arrays)
    refused(tmp_path, [write_hdf5(tmp_path / "bad.h5", arrays)], message, config)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (
            np.arange(N) + 0.5,
            r"entry 0 \(event 0\.5\), key event: 0\.5 found, expected a signed 64-bit integer",
        ),
        (np.where(np.arange(N) == 9, np.nan, 1), r"entry 9 \(event nan\), key event: nan found"),
        (np.full(N, 1e30), r"entry 0 \(event 1e\+30\), key event: 1e\+30 found"),
        (np.where(np.arange(N) == 9, 3, np.arange(N)), "event number 3 occurs more than once"),
    ],
)
def test_refuses_event_numbers(tmp_path, event, message):
    arrays, config = small(COUNTS, source={"event": "event"})
    refused(tmp_path, [write_hdf5(tmp_path / "bad.h5", arrays | {"event": event})], message, config)


@pytest.mark.parametrize("keys", [["cells", "energy"], ["cells", "cells"]])
def test_refuses_other_keys_than_one_per_layer(tmp_path, keys):
    arrays, config = small(COUNTS, source={"cells": keys})
    message = (
        rf"source\.cells: {', '.join(keys)} found, expected one key or a key for each of the 1 layers of the "
        r"geometry small"
    )
    refused(tmp_path, [write_hdf5(tmp_path / "a.h5", arrays)], message, config)


def test_refuses_a_pickled_table_with_the_keys_that_are_there(tmp_path):
    _, config = small(COUNTS)
    names = ("axis0", "axis1", "block0_items", "block0_values")
    path = tmp_path / "table.h5"
    with h5py.File(path, "w") as file:
        for name in names:
            file.create_dataset(f"df/{name}", (1,), h5py.vlen_dtype(np.uint8))[0] = np.arange(9)
    message = r"table\.h5: no key energy, found df/axis0, df/axis1, df/block0_items, df/block0_values"
    refused(tmp_path, [path], message, config)


UNITS = [
    ("keV", "MeV", 1000, r"cells in keV instead of MeV would make it 0\.02"),
    ("MeV", "GeV", 1000, r"cells in MeV instead of GeV would make it 0\.02"),
    ("GeV", "MeV", 0.001, r"cells in GeV instead of MeV would make it 0\.02\)"),
]


@pytest.mark.parametrize(("true", "declared", "factor", "message"), UNITS)
def test_refuses_energies_in_another_unit(tmp_path, true, declared, factor, message):
    cells_MeV = np.full((N, 2, 3), 20 / 6)
    stored = cells_MeV * {"keV": 1000, "MeV": 1, "GeV": 0.001}[true]
    arrays, config = small(stored, np.ones(N), source={"cell_energy_unit": declared})
    refused(tmp_path, [write_hdf5(tmp_path / "a.h5", arrays)], message, config)


def physical(rng, n=60):
    """Electron showers in 25 x 25 x 25 cells (x, y, layer) [MeV] and their energies [GeV].

    Along the depth a gamma distribution with its maximum at ln(E / 8 MeV) - 0.5 radiation lengths, one per
    layer, with fluctuations; across, an exponential around the centre.
    """
    energy = rng.uniform(10, 500, n)
    depth = np.arange(25) + 0.5
    maximum = np.log(energy / 0.008) - 0.5 + rng.normal(scale=0.3, size=n)
    along = depth ** (0.5 * maximum[:, None]) * np.exp(-0.5 * depth)
    across = np.exp(-np.abs(np.arange(25) - 12 - rng.normal(scale=0.3, size=(n, 2))[..., None]))
    cells = np.einsum("nx,ny,nz->nxyz", across[:, 0], across[:, 1], along)
    return 20 * energy[:, None, None, None] * cells / cells.sum(axis=(1, 2, 3), keepdims=True), energy


@pytest.mark.parametrize(
    ("stored", "axes", "message"),
    [
        (lambda cells: cells, ["x", "y", "layer"], None),
        (lambda cells: cells.transpose(0, 3, 2, 1), ["layer", "y", "x"], None),
        (lambda cells: cells.transpose(0, 3, 1, 2), None, None),
        (lambda cells: cells, ["layer", "y", "x"], "x and layer look swapped"),
        (lambda cells: cells, ["x", "layer", "y"], "y and layer look swapped"),
        (lambda cells: cells, None, "y and layer look swapped"),
        (lambda cells: cells[..., ::-1], ["x", "y", "layer"], "the layers look numbered from the back"),
        (lambda cells: cells[..., ::-1], ["layer", "y", "x"], "x and layer look swapped"),
    ],
)
def test_depth_of_showers_tells_the_axes(tmp_path, stored, axes, message):
    cells, energy = physical(np.random.default_rng(8))
    path = write_hdf5(tmp_path / "a.h5", {"ECAL": stored(cells).astype(np.float32), "energy": energy})
    config = dataset({"cells": "ECAL", "axes": axes}, cubes(25, 25, 5.1))
    if message:
        refused(tmp_path, [path], f"data set calo: {message}: correlation", config)
    else:
        run(tmp_path, [path], config)


def test_radius_of_showers_may_follow_the_energy(tmp_path):
    """Showers above a threshold widen with their energy; the depth of hadronic ones fluctuates more."""
    rng = np.random.default_rng(8)
    energy = rng.uniform(10, 500, 60)
    scale = (np.log(energy) / 3)[:, None]
    depth = (2 * scale[:, 0] + rng.normal(scale=1.5, size=60))[:, None]
    across, along = np.exp(-np.arange(9) / scale), np.exp(-((np.arange(12) - 3 - depth) ** 2) / 8)
    cells = np.repeat(np.einsum("nr,nz->nzr", across, along)[:, :, None], 4, axis=2)
    cells *= 100 * energy[:, None, None, None] / cells.sum(axis=(1, 2, 3), keepdims=True)
    layer = {
        "kind": "cylindrical",
        "n_alpha": 4,
        "r_edges_mm": {"bins": 9, "low": 0, "high": 90},
        "repeat": 12,
    }
    path = write_hdf5(tmp_path / "a.h5", {"showers": cells, "energy": energy})
    run(tmp_path, [path], dataset({"cells": "showers"}, {"name": "rings", "layers": [layer]}))


# ---- damaged files and files of another kind


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a\.h5: neither HDF5 nor npz: begins with b''"),
        (b"root\0\0\0\0" * 9, r"a\.h5: neither HDF5 nor npz: begins with b'root"),
        (b"\x93NUMPY\x01\x00" * 9, r"a\.h5: neither HDF5 nor npz: begins with b'\\x93NUMPY"),
        (b"\x89HDF\r\n\x1a\n", r"a\.h5: cannot be read: "),
        (b"PK\x03\x04" * 9, r"a\.h5: cannot be read: BadZipFile"),
    ],
)
def test_refuses_other_files(tmp_path, content, message):
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    refused(tmp_path, [path], message, small(COUNTS)[1])


def test_refuses_files_that_are_not_there(tmp_path):
    refused(tmp_path, [tmp_path / "no.h5"], r"no\.h5: cannot be read: No such file", small(COUNTS)[1])
    (tmp_path / "refused").rmdir()
    refused(tmp_path, [tmp_path], r"cannot be read: Is a directory", small(COUNTS)[1])


@pytest.mark.parametrize("container", ["h5", "npz"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_refuses_a_truncated_file_before_it_reads_any(tmp_path, container, share):
    arrays, config = small(COUNTS)
    write = write_hdf5 if container == "h5" else write_npz
    content = write(tmp_path / f"whole.{container}", arrays).read_bytes()
    path = tmp_path / f"cut.{container}"
    path.write_bytes(content[: int(share * len(content))])
    spoilt_first = write(tmp_path / f"first.{container}", arrays | {"cells": spoilt(-1)})
    message = rf"cut\.{container}: cannot be read: .*(truncated file: eof = \d+|not a zip file)"
    refused(tmp_path, [spoilt_first, path], message, config)


def test_refuses_a_damaged_chunk(tmp_path):
    arrays, config = small(COUNTS)
    path = write_hdf5(tmp_path / "bad.h5", arrays, chunks=True, compression="gzip")
    path.unlink()
    with h5py.File(path, "w") as file:
        file["energy"] = arrays["energy"]
        cells = file.create_dataset("cells", data=COUNTS, chunks=(5, 2, 3), compression="gzip")
        chunk = cells.id.get_chunk_info(2)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + 4 : chunk.byte_offset + chunk.size] = bytes(chunk.size - 4)
    path.write_bytes(content)
    # the chunk holds the events 10 to 14, of which 7 at a time are read
    message = r"bad\.h5, key cells, events 7 to 13: cannot be read: OSError: .*filter returned failure"
    refused(tmp_path, [path], message, config)


def test_refuses_a_chunk_without_its_checksum(tmp_path):
    """HDF5 2.0 ends the process when it reads one."""
    arrays, config = small(COUNTS)
    path = tmp_path / "bad.h5"
    with h5py.File(path, "w") as file:
        file["energy"] = arrays["energy"]
        cells = file.create_dataset(
            "cells", data=COUNTS, chunks=(5, 2, 3), compression="lzf", fletcher32=True
        )
        chunk = cells.id.get_chunk_info(2)
    content = bytearray(path.read_bytes())
    # the key of a chunk in its B-tree: size, filters left out (none), offsets of the chunk in all dimensions
    key = chunk.size.to_bytes(4, "little") + bytes(4) + (10).to_bytes(8, "little")
    assert content.count(key) == 1
    content[content.index(key) : content.index(key) + 4] = bytes(4)
    path.write_bytes(content)
    refused(
        tmp_path,
        [path],
        r"bad\.h5, key cells: cannot be read: ValueError: 4 chunks found, expected 5",
        config,
    )


def test_refuses_damage_on_which_hdf5_ends_the_process(tmp_path):
    arrays, config = small(COUNTS)
    path = tmp_path / "bad.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["energy"] = arrays["energy"]
        file.create_dataset("cells", data=COUNTS, chunks=(5, 2, 3), maxshape=(None, None, 3))
    content = bytearray(path.read_bytes())
    content[content.index(b"BTHD") + 8] ^= 0xFF  # in the header of the tree that finds the chunks
    path.write_bytes(content)
    refused(tmp_path, [path], r"bad\.h5: (damaged, )?cannot be read: ", config)


def test_refuses_a_chunk_whose_filter_is_not_installed(tmp_path):
    arrays, config = small(COUNTS)
    path = tmp_path / "bad.h5"
    with h5py.File(path, "w") as file:
        file["energy"] = arrays["energy"]
        kind = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        kind.set_chunk((N, 2, 3))
        kind.set_filter(32099, h5py.h5z.FLAG_OPTIONAL, ())
        space, dtype = h5py.h5s.create_simple((N, 2, 3)), h5py.h5t.NATIVE_INT64
        cells = h5py.h5d.create(file.id, b"cells", dtype, space, dcpl=kind)
        cells.write_direct_chunk((0, 0, 0), COUNTS.tobytes())
    refused(
        tmp_path,
        [path],
        r"bad\.h5, key cells: cannot be read: ValueError: filter 32099 found, which is not installed",
        config,
    )


def test_refuses_numbers_that_were_never_written_or_are_elsewhere(tmp_path):
    arrays, config = small(COUNTS)
    path = tmp_path / "bad.h5"
    with h5py.File(path, "w") as file:
        file["energy"] = arrays["energy"]
        file.create_dataset("cells", (10, 2, 3), "f4", chunks=(5, 2, 3), maxshape=(None, 2, 3))[:] = COUNTS[
            :10
        ]
        file["cells"].resize(N, axis=0)
    message = (
        r"bad\.h5, key cells: cannot be read: ValueError: 2 chunks found, expected 5: its writing was not"
    )
    refused(tmp_path, [path], message, config)
    (tmp_path / "refused").rmdir()
    with h5py.File(path, "w") as file:
        file["energy"] = arrays["energy"]
        layout = h5py.VirtualLayout((N, 2, 3), "f4")
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "cells", (N, 2, 3))
        file.create_virtual_dataset("cells", layout)
    refused(tmp_path, [path], r"bad\.h5, key cells: .*numbers in other files found", config)


def test_refuses_a_damaged_member(tmp_path):
    arrays, config = small(np.ones((N, 2, 3)))
    path = write_npz(tmp_path / "bad.npz", arrays)
    content = path.read_bytes()
    number = np.float64(1).tobytes()
    path.write_bytes(content.replace(number, np.float64(2).tobytes(), 1))
    refused(tmp_path, [path], r"bad\.npz, key cells: cannot be read: BadZipFile: Bad CRC", config)


STORED = COUNTS.tobytes()


def npy(version=(1, 0), header=None, data=STORED):
    header = header or "{'descr': '<i8', 'fortran_order': False, 'shape': (24, 2, 3), }"
    size = len(header).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + size + header.encode() + data


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (npy(data=COUNTS[1:].tobytes()), r"1104 bytes found, expected 1152 for shape \(24, 2, 3\) of int64"),
        (npy(data=STORED + b"x"), r"1153 bytes found, expected 1152"),
        (npy(version=(3, 0)), r"version \(3, 0\) of the npy format found, expected \(1, 0\) or \(2, 0\)"),
        (npy(header="nonsense"), "ValueError: malformed"),
        (b"text", "ValueError: .*magic"),
        (b"", "ValueError: "),
    ],
)
def test_refuses_a_member_that_is_no_array(tmp_path, member, message):
    arrays, config = small(COUNTS)
    path = tmp_path / "bad.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cells.npy", member)
        archive.writestr("readme.txt", "not an array")
    with zipfile.ZipFile(write_npz(tmp_path / "good.npz", arrays)) as good, zipfile.ZipFile(path, "a") as bad:
        bad.writestr("energy.npy", good.read("energy.npy"))
    refused(tmp_path, [path], rf"bad\.npz, key cells: cannot be read: .*{message}", config)


def test_npy_headers_of_both_versions(tmp_path):
    arrays, config = small(COUNTS)
    path = write_npz(tmp_path / "a.npz", {"energy": arrays["energy"]})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("cells.npy", npy(version=(2, 0)))
    showers, *_ = run(tmp_path / "out", [path], config)
    np.testing.assert_array_equal(showers, COUNTS.reshape(N, 6))


# ---- arrays of Python objects


def objects(values):
    """One array per event in an array of objects, as older scripts save them."""
    array = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        array[row] = value
    return array


@pytest.mark.parametrize("pack", [objects, lambda values: values.astype(object)])
def test_object_arrays_are_read_where_that_is_allowed(tmp_path, pack):
    arrays, config, showers, incident, conditions = lhcb(np.random.default_rng(3))
    for key in ("EnergyDeposit", "ParticleMomentum"):
        arrays[key] = pack(arrays[key])
    path = write_npz(tmp_path / "data.npz", arrays)
    message = (
        r"data\.npz, key EnergyDeposit: an array of Python objects found, expected numbers: reading it can "
        r"run any code; if the file is your own, set source\.allow_pickle: true"
    )
    refused(tmp_path, [path], message, config)
    allowed = config.model_dump()
    allowed["source"]["allow_pickle"] = True
    found = run(tmp_path / "out", [path], DatasetSettings.model_validate(allowed))
    np.testing.assert_allclose(found[0], showers, rtol=1e-7)
    np.testing.assert_allclose(found[1], incident, rtol=1e-7)
    np.testing.assert_allclose(found[2]["pz"], conditions["pz"], rtol=1e-7)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            objects([np.ones(6)] * (N - 1) + [np.ones(5)]),
            "events of different shapes found, expected one shape",
        ),
        (objects([None] * N), "type object found, expected numbers"),
        (objects(["text"] * N), "type <U4 found, expected numbers"),
    ],
)
def test_refuses_objects_that_are_no_numbers(tmp_path, values, message):
    arrays, config = small(values, source={"allow_pickle": True})
    refused(tmp_path, [write_npz(tmp_path / "a.npz", arrays)], rf"a\.npz, key cells: {message}", config)


def test_pickles_do_not_run_unless_allowed(tmp_path):
    class Writes:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    arrays, config = small(objects([Writes()] * N))
    refused(tmp_path, [write_npz(tmp_path / "a.npz", arrays)], "set source.allow_pickle: true", config)
    assert not (tmp_path / "ran").exists()
