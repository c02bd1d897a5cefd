"""Published layouts of ROOT files, written from their descriptions and ingested as a user would."""

import json
import math
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from pydantic import ValidationError

from caloforge.config.dataset import DatasetSettings
from caloforge.config.project import source_files
from caloforge.errors import CaloforgeError
from caloforge.ingest import ingest
from caloforge.ingest.split import SPLITS
from caloforge.showers import ShowerFile

N = 30
CONTAINERS = ("TTree", "RNTuple")


def dataset(source, geometry, **changes) -> DatasetSettings:
    described = {
        "source": {"files": ["unused"]} | source,
        "geometry": geometry,
        "split": {"train": 0.6, "val": 0.2, "test": 0.2},
        "readout_threshold_MeV": 0.1,
    }
    return DatasetSettings.model_validate(described | changes)


def run(directory: Path, files, config: DatasetSettings):
    outputs = {split: directory / f"{split}.h5" for split in SPLITS} | {"record": directory / "ingest.json"}
    ingest(config, name="data", files=files, **outputs)
    return outputs


def read_all(outputs):
    """Event number to (cells, incident energy, conditions), from the three files."""
    found = {}
    for split in SPLITS:
        with ShowerFile(outputs[split]) as file:
            showers = file.read()
        for row, event in enumerate(showers.event.tolist()):
            conditions = {name: values[row] for name, values in showers.conditions.items()}
            found[event] = (showers.showers[row], showers.incident_energies[row, 0], conditions)
    return found


def write(path: Path, trees, container="TTree") -> Path:
    """A ROOT file of trees; each is a mapping of branches, or a list of such to write one after the other."""
    with uproot.recreate(path) as file:
        for name, columns in trees.items():
            if container == "RNTuple":
                file.mkrntuple(name, columns)
            else:
                types = {branch: ak.type(ak.Array(values)).content for branch, values in columns.items()}
                file.mktree(name, types)
                file[name].extend(columns)
    return path


def rng():
    return np.random.default_rng(20)


def deposits(n_cells: int, n: int = N) -> np.ndarray:
    """Energies of cells [MeV], most of them 0, float64 numbers that float32 holds."""
    cells = rng().exponential(10, (n, n_cells)).astype(np.float32).astype(np.float64)
    return cells * (rng().random((n, n_cells)) < 0.3)


# ---- CaloGAN: one branch per cell

CALOGAN_SHAPES = ((3, 96), (12, 12), (12, 6))
CALOGAN_GEOMETRY = {
    "name": "CaloGAN",
    "layers": [
        {"shape": (3, 96), "cell_size_mm": (160, 5), "thickness_mm": 90},
        {"shape": (12, 12), "cell_size_mm": (40, 40), "thickness_mm": 347},
        {"shape": (12, 6), "cell_size_mm": (40, 80), "thickness_mm": 43},
    ],
}
CALOGAN_SOURCE = {
    "format": "root_arrays",
    "tree": "fancy_tree",
    "event": None,
    "incident_energy": {"column": "TotalEnergy", "unit": "GeV"},
    "cells": "cell_*",
    "extra_cells": 3,
}


def calogan(cells: np.ndarray) -> dict:
    """The tree `fancy_tree`, its branches in the order of their names."""
    columns = {f"cell_{number}": cells[:, number] for number in range(cells.shape[1])}
    columns["TotalEnergy"] = rng().uniform(20, 100, len(cells))
    return dict(sorted(columns.items()))


@pytest.mark.parametrize("container", CONTAINERS)
def test_calogan_fixed_incidence(tmp_path, container):
    cells = deposits(507)
    columns = calogan(cells)
    path = write(tmp_path / "eplus.root", {"fancy_tree": columns}, container)
    found = read_all(run(tmp_path, [path], dataset(CALOGAN_SOURCE, CALOGAN_GEOMETRY)))
    assert sorted(found) == list(range(N))
    for event, (showers, incident, _) in found.items():
        number = 0
        for n_x, n_y in CALOGAN_SHAPES:
            start = number
            for x in range(n_x):
                for y in range(n_y):
                    assert showers[start + x * n_y + y] == cells[event, number]
                    number += 1
        assert number == len(showers) == 504
        assert incident == pytest.approx(columns["TotalEnergy"][event] * 1000, rel=1e-7)


def test_calogan_variable_incidence(tmp_path):
    columns = calogan(deposits(507))
    momentum = rng().normal(0, 20, (3, N))
    position = rng().uniform(-50, 50, (3, N))
    columns |= dict(zip(("Px", "Py", "Pz", "X0", "Y0", "Z0"), (*momentum, *position), strict=True))
    conditions = {
        "theta": {"column": "arccos(Py / sqrt(Px**2 + Py**2 + Pz**2))", "unit": "rad"},
        "phi": {"column": "arctan(-Px / Pz)", "unit": "rad"},
        "x0": {"column": "X0", "unit": "mm"},
    }
    config = dataset(CALOGAN_SOURCE, CALOGAN_GEOMETRY, conditions=conditions)
    path = write(tmp_path / "eplus.root", {"fancy_tree": columns})
    for event, (_, _, found) in read_all(run(tmp_path, [path], config)).items():
        px, py, pz = momentum[:, event]
        assert found["theta"] == pytest.approx(math.acos(py / math.sqrt(px**2 + py**2 + pz**2)), rel=1e-6)
        assert found["phi"] == pytest.approx(math.atan(-px / pz), rel=1e-6)
        assert found["x0"] == np.float32(position[0, event])


# ---- LHCb: a vector per event, with layers

LHCB_GEOMETRY = {"name": "LHCb", "layers": [{"shape": (30, 30), "cell_size_mm": (20.2, 20.2)}]}
LHCB_CONDITIONS = {
    **{axis: {"column": f"ParticlePoint[{k}]", "unit": "cm"} for k, axis in enumerate(("x0", "y0"))},
    **{
        axis: {"column": f"ParticleMomentum[{k}]", "unit": "GeV"} for k, axis in enumerate(("px", "py", "pz"))
    },
}
LHCB_SOURCE = {
    "format": "root_arrays",
    "tree": "ecalNT",
    "event": None,
    "incident_energy": {
        "column": "sqrt(ParticleMomentum[0]**2 + ParticleMomentum[1]**2 + ParticleMomentum[2]**2)",
        "unit": "GeV",
    },
    "cells": "EnergyDeposit",
}


def lhcb(cells: np.ndarray, as_vectors: bool) -> dict:
    """The tree `ecalNT`; `std::vector`s or arrays of one length."""
    momentum = rng().uniform((1, 1, 100), (100, 100, 200), (len(cells), 3))
    columns = {
        "EnergyDeposit": cells,
        "ParticlePoint": rng().uniform(-1, 1, (len(cells), 3)),
        "ParticleMomentum": momentum,
        "ParticlePDG": np.full((len(cells), 1), 11.0),
    }
    if as_vectors:
        return {name: ak.from_regular(ak.Array(values)) for name, values in columns.items()}
    return columns


@pytest.mark.parametrize("n_layers", [1, 66])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("as_vectors", [False, True])
def test_lhcb(tmp_path, n_layers, container, as_vectors):
    cells = deposits(900 * n_layers) / n_layers
    columns = lhcb(cells, as_vectors)
    path = write(tmp_path / "ecal.root", {"ecalNT": columns}, container)
    layers = {"axes": ["x", "y", "layer"], "sum_layers": 66} if n_layers == 66 else {}
    config = dataset(LHCB_SOURCE | layers, LHCB_GEOMETRY, conditions=LHCB_CONDITIONS, chunk_events=13)
    found = read_all(run(tmp_path, [path], config))
    assert sorted(found) == list(range(N))
    for event, (showers, incident, conditions) in found.items():
        for x in range(30):
            for y in range(30):
                start = (x * 30 + y) * n_layers
                expected = math.fsum(cells[event, start : start + n_layers])
                assert showers[x * 30 + y] == pytest.approx(expected, rel=1e-6)
        momentum = columns["ParticleMomentum"][event]
        assert incident == pytest.approx(math.hypot(*momentum) * 1000, rel=1e-6)
        assert conditions["py"] == np.float32(momentum[1])
        assert conditions["x0"] == np.float32(columns["ParticlePoint"][event][0])


def test_a_grid_of_layers_in_any_order(tmp_path):
    cells = deposits(2 * 3 * 5).reshape(N, 5, 2, 3)
    path = write(tmp_path / "grid.root", {"t": {"E": np.full(N, 1.0), "event": np.arange(N), "cells": cells}})
    geometry = {"name": "grid", "layers": [{"shape": (3, 5), "cell_size_mm": (1, 1), "repeat": 2}]}
    source = {
        "format": "root_arrays",
        "tree": "t",
        "cells": "cells",
        "axes": ["y", "layer", "x"],
        "incident_energy": {"column": "E", "unit": "GeV"},
    }
    for event, (showers, _, _) in read_all(run(tmp_path, [path], dataset(source, geometry))).items():
        for layer, x, y in np.ndindex(2, 3, 5):
            assert showers[layer * 15 + x * 5 + y] == cells[event, y, layer, x]


def test_layers_of_different_size_along_the_other_axis_first(tmp_path):
    cells = deposits(8)
    path = write(tmp_path / "t.root", {"t": {"E": np.full(N, 1.0), "cells": cells}})
    source = {
        "format": "root_arrays",
        "tree": "t",
        "event": None,
        "incident_energy": {"column": "E", "unit": "GeV"},
        "cells": "cells",
        "axes": ["y", "x"],
    }
    for event, (showers, _, _) in read_all(run(tmp_path, [path], dataset(source, SMALL_GEOMETRY))).items():
        # layer 0 of 2 x 3 cells stands as (0,0) (1,0) (0,1) (1,1) (0,2) (1,2), layer 1 of 1 x 2 as it is
        assert showers.tolist() == cells[event, [0, 2, 4, 1, 3, 5, 6, 7]].tolist()


# ---- Geant4 Par04: two trees side by side

PAR04_GEOMETRY = {
    "name": "Par04",
    "layers": [{"kind": "cylindrical", "n_alpha": 5, "r_edges_mm": [0, 2, 5, 9], "repeat": 4}],
}
PAR04_SOURCE = {
    "format": "root_cells",
    "tree": "global",
    "event": None,
    "incident_energy": {"column": "EnergyMC", "unit": "MeV"},
    "cells": {
        "tree": "virtualReadout",
        "layer": "zCell",
        "x": "phiCell",
        "y": "rhoCell",
        "energy": "EnergyCell",
        "count": None,
    },
}


def par04(n: int = N) -> tuple[dict, dict]:
    """The trees `global` and `virtualReadout`."""
    random = rng()
    hits = [random.permutation(60)[: random.integers(1, 40)] for _ in range(n)]
    columns = {
        "EnergyCell": [random.exponential(20, len(cells)) for cells in hits],
        "rhoCell": [cells % 3 for cells in hits],
        "phiCell": [cells // 3 % 5 for cells in hits],
        "zCell": [cells // 15 for cells in hits],
    }
    lists = {name: ak.Array(values) for name, values in columns.items()}
    return {"EnergyMC": random.uniform(1e3, 1e5, n), "SimTime": random.random(n)}, lists


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("index", [np.int32, np.float64])
def test_par04(tmp_path, container, index):
    events, lists = par04()
    written = {
        name: values if name == "EnergyCell" else ak.values_astype(values, index)
        for name, values in lists.items()
    }
    path = write(tmp_path / "par04.root", {"global": events, "virtualReadout": written}, container)
    config = dataset(PAR04_SOURCE, PAR04_GEOMETRY, chunk_events=7)
    found = read_all(run(tmp_path, [path], config))
    assert sorted(found) == list(range(N))
    for event, (showers, incident, _) in found.items():
        expected = np.zeros((4, 5, 3))
        for z, phi, rho, energy in zip(
            *(lists[name][event] for name in ("zCell", "phiCell", "rhoCell", "EnergyCell")), strict=True
        ):
            expected[z, phi, rho] = energy
        np.testing.assert_array_equal(showers, expected.reshape(60).astype(np.float32))
        assert incident == np.float32(events["EnergyMC"][event])


def test_refuses_a_second_tree_with_other_events(tmp_path):
    events, lists = par04()
    shorter = {name: values[:-1] for name, values in lists.items()}
    path = write(tmp_path / "par04.root", {"global": events, "virtualReadout": shorter})
    message = r"par04\.root: tree virtualReadout: 29 events found, expected the 30 of tree global"
    refused(tmp_path, path, dataset(PAR04_SOURCE, PAR04_GEOMETRY), message)


def test_errors_name_the_tree_of_the_branch(tmp_path):
    events, lists = par04()
    lists["zCell"] = lists["zCell"] + 4
    path = write(tmp_path / "par04.root", {"global": events, "virtualReadout": lists})
    message = (
        r"tree virtualReadout, entry 0 \(event 0\), branch zCell: index \d found, expected one from 0 to 3"
    )
    refused(tmp_path, path, dataset(PAR04_SOURCE, PAR04_GEOMETRY), message)


# ---- towers of collision events

TOWERS_GEOMETRY = {
    "name": "towers",
    "layers": [
        {"kind": "eta_phi", "eta_edges": {"bins": 72, "low": -3.132, "high": 3.132}, "n_phi": 72},
    ],
}
TOWERS_SOURCE = {
    "format": "root_cells",
    "tree": "calotowers",
    "incident_energy": None,
    "cells": {
        "layer": None,
        "x": "tower_ieta",
        "y": "tower_iphi",
        "energy": ["tower_em", "tower_had"],
        "count": "ntower",
    },
    "cell_energy_unit": "GeV",
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_towers_of_collision_events(tmp_path, container):
    random = rng()
    towers = [random.permutation(72 * 72)[: random.integers(0, 200)] for _ in range(N)]
    columns = {
        "event": np.arange(N, dtype=np.int64) + 2500,
        "ntower": np.array([len(tower) for tower in towers], dtype=np.int32),
        "tower_ieta": ak.Array([(tower // 72).astype(np.int16) for tower in towers]),
        "tower_iphi": ak.Array([(tower % 72).astype(np.int16) for tower in towers]),
        "tower_em": ak.Array(
            [random.integers(0, 640, len(tower)).astype(np.float32) / 64 for tower in towers]
        ),
        "tower_had": ak.Array(
            [random.integers(0, 640, len(tower)).astype(np.float32) / 64 for tower in towers]
        ),
    }
    path = tmp_path / "fullsim.root"
    if container == "TTree":
        with uproot.recreate(path) as file:
            types = {name: ak.type(ak.Array(values)).content for name, values in columns.items()}
            types.pop("ntower")
            file.mktree("calotowers", types, counter_name=lambda _: "ntower")
            file["calotowers"].extend({name: columns[name] for name in types})
    else:
        write(path, {"calotowers": columns}, container)
    found = read_all(run(tmp_path, [path], dataset(TOWERS_SOURCE, TOWERS_GEOMETRY)))
    assert sorted(found) == [*range(2500, 2500 + N)]
    for event in range(N):
        expected = np.zeros((72, 72))
        for eta, phi, em, had in zip(
            *(columns[f"tower_{k}"][event] for k in ("ieta", "iphi", "em", "had")), strict=True
        ):
            expected[eta, phi] = (em + had) * 1000
        showers, incident, conditions = found[2500 + event]
        np.testing.assert_array_equal(showers, expected.reshape(-1))
        assert incident == pytest.approx(expected.sum(), rel=1e-6)
        assert conditions == {}


# ---- containers, folders, cycles, portions


def hit_columns(n: int = N) -> dict:
    """The default branches of `root_cells` for one layer of 4 x 5 cells, and two vectors."""
    random = rng()
    cells = [random.permutation(20)[: random.integers(1, 9)] for _ in range(n)]
    return {
        "event": np.arange(n),
        "energy": random.uniform(1, 2, n),
        "point": random.normal(0, 1, (n, 3)),
        "spin": ak.from_regular(ak.Array(random.normal(0, 1, (n, 2)))),
        "cell_layer": ak.Array([np.zeros(len(c), np.uint8) for c in cells]),
        "cell_x": ak.Array([(c // 5).astype(np.uint8) for c in cells]),
        "cell_y": ak.Array([(c % 5).astype(np.uint8) for c in cells]),
        "cell_energy": ak.Array([random.exponential(30, len(c)).astype(np.float32) for c in cells]),
    }


HITS_GEOMETRY = {"name": "small", "layers": [{"shape": (4, 5), "cell_size_mm": (1, 1)}]}
HITS_SOURCE = {"format": "root_cells", "cells": {"count": None}}


def check_hits(found, columns):
    assert sorted(found) == list(columns["event"])
    for event, (showers, incident, _) in found.items():
        expected = np.zeros((4, 5), np.float32)
        for x, y, energy in zip(*(columns[f"cell_{k}"][event] for k in ("x", "y", "energy")), strict=True):
            expected[x, y] = energy
        np.testing.assert_array_equal(showers, expected.reshape(-1))
        assert incident == np.float32(columns["energy"][event] * 1000)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("chunk_events", [1, 7, 100])
def test_trees_in_folders(tmp_path, container, chunk_events):
    columns = hit_columns()
    path = write(tmp_path / "folders.root", {"a/b/tree": columns, "other": hit_columns(3)}, container)
    config = dataset(HITS_SOURCE | {"tree": "a/b/tree"}, HITS_GEOMETRY, chunk_events=chunk_events)
    check_hits(read_all(run(tmp_path, [path], config)), columns)


def test_an_ntuple_of_several_clusters(tmp_path):
    columns = hit_columns()
    with uproot.recreate(tmp_path / "clusters.root") as file:
        ntuple = file.mkrntuple("showers", {name: values[:11] for name, values in columns.items()})
        ntuple.extend({name: values[11:12] for name, values in columns.items()})
        ntuple.extend({name: values[12:] for name, values in columns.items()})
    for chunk_events in (5, 12, 100):
        config = dataset(HITS_SOURCE, HITS_GEOMETRY, chunk_events=chunk_events)
        outputs = run(tmp_path / str(chunk_events), [tmp_path / "clusters.root"], config)
        check_hits(read_all(outputs), columns)


def test_latest_cycle_of_an_ntuple_counts(tmp_path):
    columns = hit_columns()
    with uproot.recreate(tmp_path / "cycles.root") as file:
        file.mkrntuple("showers", columns | {"energy": columns["energy"] + 5})
        file.mkrntuple("showers", columns)
    config = dataset(HITS_SOURCE, HITS_GEOMETRY)
    check_hits(read_all(run(tmp_path, [tmp_path / "cycles.root"], config)), columns)


@pytest.mark.parametrize("container", CONTAINERS)
def test_components_of_arrays_and_vectors(tmp_path, container):
    columns = hit_columns()
    path = write(tmp_path / "vectors.root", {"showers": columns}, container)
    conditions = {"z": {"column": "point[2]", "unit": "mm"}, "s": {"column": "2 * spin[1] + energy"}}
    config = dataset(HITS_SOURCE, HITS_GEOMETRY, conditions=conditions)
    for event, (_, _, found) in read_all(run(tmp_path, [path], config)).items():
        assert found["z"] == np.float32(columns["point"][event, 2])
        expected = 2 * columns["spin"][event, 1] + columns["energy"][event]
        assert found["s"] == pytest.approx(expected, rel=1e-6)


# ---- what they refuse


def refused(tmp_path, file, config, message):
    """Ingest must end with `message` in one line and write nothing."""
    with pytest.raises(CaloforgeError, match=message) as error:
        run(tmp_path / "out", [file], config)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


BAD_CONDITIONS = {
    "no such branch": ("pont[0]", "no branch pont, did you mean point"),
    "vector as number": ("point", r"branch point: type \S+ found, expected one number per event"),
    "vector in a formula": ("2 * point", "branch point: 3 components per event found, expected one number"),
    "component of a number": ("energy[1]", "branch energy: one number per event found, expected more than 1"),
    "component too far": ("spin[2]", "branch spin: 2 components per event found, expected more than 2"),
    "text": ("2 * label", r"branch label: type \S+ found, expected one number or several per event"),
    "lists of different lengths": (
        "cell_energy[0]",
        r"tree showers, entry 1, branch cell_energy: \d numbers found, expected the \d of entry 0",
    ),
    "square root of less than 0": (
        "sqrt(-energy)",
        r"entry 0 \(event 0\), branch sqrt\(-energy\): nan found",
    ),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("case", BAD_CONDITIONS)
def test_refuses_conditions(tmp_path, container, case):
    column, message = BAD_CONDITIONS[case]
    columns = hit_columns()
    columns["label"] = ak.Array(["electron"] * N)
    path = write(tmp_path / "bad.root", {"showers": columns}, container)
    config = dataset(HITS_SOURCE, HITS_GEOMETRY, conditions={"c": {"column": column}})
    refused(tmp_path, path, config, rf"bad\.root: .*{message}")


@pytest.mark.parametrize(
    ("container", "values"),
    [
        *((container, np.arange(N)) for container in CONTAINERS),
        *((container, np.zeros((N, 3))) for container in CONTAINERS),
        *((container, ak.Array(["a"] * N)) for container in CONTAINERS),
        ("RNTuple", ak.Array([[[1.0]]] * N)),
    ],
)
@pytest.mark.parametrize("name", ["cell_x", "cell_energy"])
def test_refuses_cells_that_are_no_lists_of_numbers(tmp_path, container, name, values):
    path = write(tmp_path / "bad.root", {"showers": hit_columns() | {name: values}}, container)
    message = rf"tree showers, branch {name}: type .* found, expected a list of numbers per event"
    refused(tmp_path, path, dataset(HITS_SOURCE, HITS_GEOMETRY), message)


def test_refuses_whole_numbers_that_are_none(tmp_path):
    columns = hit_columns()
    columns["cell_y"] = ak.concatenate([columns["cell_y"][:4] * 1.0, columns["cell_y"][4:] + np.nan])
    path = write(tmp_path / "bad.root", {"showers": columns})
    message = r"entry 4 \(event 4\), branch cell_y: index nan found, expected one from 0 to 4"
    refused(tmp_path, path, dataset(HITS_SOURCE, HITS_GEOMETRY), message)


def change_cell(event: int, cell: int, value: float):
    def change(columns):
        columns[f"cell_{cell}"][event] = value

    return change


SMALL_GEOMETRY = {
    "name": "small",
    "layers": [{"shape": (2, 3), "cell_size_mm": (1, 1)}, {"shape": (1, 2), "cell_size_mm": (1, 1)}],
}
BAD_BRANCHES = {
    "missing number": (
        lambda c: c.pop("cell_7"),
        r"tree fancy_tree: 10 branches cell_\* with numbers from 0 to 10 found, expected every number once",
    ),
    "missing end": (
        lambda c: c.pop("cell_10"),
        r"branch cell_\*: 10 cells per event found, expected 8 and 3 extra \(2 x 3 \+ 1 x 2\)",
    ),
    "no cells": (
        lambda c: [c.pop(f"cell_{number}") for number in range(11)],
        r"tree fancy_tree: no branch cell_\*, found TotalEnergy",
    ),
    "vector": (
        lambda c: c.update(cell_3=np.zeros((N, 2))),
        r"branch cell_3: type double\[2\] found, expected one number per event",
    ),
    "negative": (
        change_cell(9, 6, -0.25),
        r"entry 9 \(event 9\), branch cell_6: -0\.25 found, expected a finite energy, not below 0",
    ),
    "not a number": (change_cell(29, 7, np.nan), r"entry 29 \(event 29\), branch cell_7: nan found"),
    "huge": (change_cell(0, 0, 1e300), r"entry 0 \(event 0\), branch cell_0: 1e\+300 found"),
}


@pytest.mark.parametrize("case", BAD_BRANCHES)
def test_refuses_branches_of_cells(tmp_path, case):
    change, message = BAD_BRANCHES[case]
    columns = calogan(deposits(11))
    change(columns)
    path = write(tmp_path / "bad.root", {"fancy_tree": columns})
    config = dataset(CALOGAN_SOURCE, SMALL_GEOMETRY, chunk_events=8)
    refused(tmp_path, path, config, rf"bad\.root: .*{message}")


def test_extra_cells_may_hold_anything(tmp_path):
    columns = calogan(deposits(11))
    columns["cell_9"][:] = -1
    path = write(tmp_path / "eplus.root", {"fancy_tree": columns})
    assert len(read_all(run(tmp_path, [path], dataset(CALOGAN_SOURCE, SMALL_GEOMETRY)))) == N


BAD_LHCB = {
    "too few": (
        lambda cells: cells[:, :-1],
        r"branch EnergyDeposit: 899 cells per event found, expected 900 \(30 x 30\)",
    ),
    "layers": (
        lambda cells: np.tile(cells, 2),
        r"branch EnergyDeposit: 1800 cells per event found, expected 900",
    ),
    "axes": (
        lambda cells: cells.reshape(N, 60, 15),
        r"cells of shape \(60, 15\) per event found, expected 900 or \(30, 30\) along x, y",
    ),
    "lengths": (
        lambda cells: ak.Array([*cells[:20], *cells[20:, :5]]),
        r"entry 20, branch EnergyDeposit: 5 numbers found, expected the 900 of entry 0",
    ),
    "negative": (
        lambda cells: np.where(np.arange(900) == 77, -1.0, cells),
        r"entry 0 \(event 0\), branch EnergyDeposit\[77\]: -1\.0 found, expected a finite energy",
    ),
    "text": (
        lambda cells: ak.Array(["a"] * N),
        r"branch EnergyDeposit: type \S+ found, expected one number or several",
    ),
}


@pytest.mark.parametrize("case", BAD_LHCB)
def test_refuses_vectors_of_cells(tmp_path, case):
    change, message = BAD_LHCB[case]
    cells = deposits(900)
    columns = lhcb(cells, as_vectors=False) | {"EnergyDeposit": change(cells)}
    path = write(tmp_path / "bad.root", {"ecalNT": columns})
    refused(tmp_path, path, dataset(LHCB_SOURCE, LHCB_GEOMETRY), message)


@pytest.mark.parametrize(
    ("source", "geometry", "message"),
    [
        ({"axes": ["x", "eta"]}, LHCB_GEOMETRY, "source.axes is x, eta, expected each of x, y once"),
        ({"axes": ["x", "x"]}, LHCB_GEOMETRY, "source.axes is x, x, expected each of x, y once"),
        ({"axes": ["layer", "x"]}, LHCB_GEOMETRY, "expected each of layer, x, y once"),
        ({"axes": ["x", "y"], "sum_layers": 66}, LHCB_GEOMETRY, "expected each of layer, x, y once"),
        ({"axes": ["x", "y", "layer"]}, CALOGAN_GEOMETRY, "source.axes has layer, but the layers .* differ"),
        ({"sum_layers": 66}, CALOGAN_GEOMETRY, "source.sum_layers is 66, but the geometry has 3 layers"),
    ],
)
def test_refuses_axes_that_the_geometry_does_not_have(source, geometry, message):
    with pytest.raises(ValidationError, match=message):
        dataset(LHCB_SOURCE | source, geometry)


@pytest.mark.parametrize("axes", [["y", "x"], ["layer", "y", "x"]])
def test_axes_that_a_geometry_has(axes):
    dataset(LHCB_SOURCE | {"axes": axes}, LHCB_GEOMETRY)


# ---- files on servers


class _RangeHandler(BaseHTTPRequestHandler):
    """Serves the files of `directory`, whole or by byte ranges."""

    directory: Path

    def do_HEAD(self):
        self._answer(head=True)

    def do_GET(self):
        self._answer(head=False)

    def _answer(self, head: bool):
        file = self.directory / self.path.lstrip("/")
        if not file.is_file():
            self.send_error(404)
            return
        content, size = file.read_bytes(), file.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        self.send_response(206 if asked else 200)
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
            content = content[first : last + 1]
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not head:
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path) -> Iterator[str]:
    """Address of a server for the files of `tmp_path`."""
    handler = type("Handler", (_RangeHandler,), {"directory": tmp_path})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_file_on_a_server(tmp_path, server, container):
    columns = hit_columns()
    write(tmp_path / "remote.root", {"showers": columns}, container)
    url = f"{server}/remote.root"
    outputs = run(tmp_path / "out", [url], dataset(HITS_SOURCE, HITS_GEOMETRY))
    check_hits(read_all(outputs), columns)
    record = json.loads(outputs["record"].read_text())
    assert record["inputs"] == {url: None}
    assert record["files"][0]["file"] == url


def test_a_local_file_and_one_on_a_server(tmp_path, server):
    columns = hit_columns()
    write(tmp_path / "remote.root", {"showers": {name: values[20:] for name, values in columns.items()}})
    local = write(
        tmp_path / "local.root", {"showers": {name: values[:20] for name, values in columns.items()}}
    )
    outputs = run(tmp_path / "out", [local, f"{server}/remote.root"], dataset(HITS_SOURCE, HITS_GEOMETRY))
    check_hits(read_all(outputs), columns)


def test_refuses_what_a_server_does_not_have(tmp_path, server):
    config = dataset(HITS_SOURCE, HITS_GEOMETRY)
    (tmp_path / "text.root").write_text("not ROOT at all" * 100)
    refused(
        tmp_path,
        f"{server}/none.root",
        config,
        r"^http://\S+/none\.root: cannot be read as ROOT: .*none\.root",
    )
    refused(tmp_path, f"{server}/text.root", config, r"^http://\S+/text\.root: cannot be read as ROOT: ")


def test_refuses_a_url_listed_twice(tmp_path):
    with pytest.raises(CaloforgeError, match=r"data set data: https://a/b\.root is listed twice"):
        run(tmp_path, ["https://a/b.root"] * 2, dataset(HITS_SOURCE, HITS_GEOMETRY))


def test_says_what_remote_files_need(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec_xrootd", None)
    message = r"^root://host//b\.root: remote files need more libraries: pip install 'caloforge\[remote\]'"
    refused(tmp_path, "root://host//b.root", dataset(HITS_SOURCE, HITS_GEOMETRY), message)


def test_urls_are_no_local_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.root").touch()
    config = dataset(HITS_SOURCE | {"files": ["https://host/b*.root", "*.root"]}, HITS_GEOMETRY)
    assert source_files(config) == ["a.root"]
    assert config.source.urls == ("https://host/b*.root",)


def test_only_root_files_are_read_from_servers():
    with pytest.raises(ValidationError, match=r"found 'https://host/a\.h5', expected a local file"):
        dataset({"format": "arrays", "cells": "E", "files": ["https://host/a.h5"]}, HITS_GEOMETRY)
