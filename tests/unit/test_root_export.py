import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.ingest.formats import find_format
from caloforge.root_export import write_root
from caloforge.showers import Showers, ShowerWriter

TWO_LAYERS = {
    "name": "two layers",
    "layers": [{"shape": (2, 3), "cell_size_mm": (1, 1)}, {"shape": (1, 2), "cell_size_mm": (1, 1)}],
}
# the cells of TWO_LAYERS: layer 0 (0,0) (0,1) (0,2) (1,0) (1,1) (1,2), layer 1 (0,0) (0,1)
CELLS_MEV = np.array([[0, 0, 0.5, 0, 0, 0, 0, 1500], [0, 0, 0, 0, 0, 0, 0, 0], [8, 0, 0, 0, 4, 0, 2, 0]])


def dataset(source, **changes) -> DatasetSettings:
    described = {
        "source": {"files": ["unused"]} | source,
        "geometry": TWO_LAYERS,
        "conditions": {"theta": {"column": "angle", "unit": "rad"}},
        "readout_threshold_MeV": 0.1,
    }
    return DatasetSettings.model_validate(described | changes)


def write_canonical(path: Path, config: DatasetSettings, showers: Showers) -> Path:
    units = {name: column.unit for name, column in config.conditions.items()}
    with ShowerWriter(path, config.geometry, units) as file:
        file.append(showers)
    return path


def three_showers(config: DatasetSettings) -> Showers:
    return Showers(
        CELLS_MEV.astype(np.float32),
        np.array([[1000], [2500], [125]], dtype=np.float32),
        {name: np.array([0.25, -1, 7], dtype=np.float32) for name in config.conditions},
        np.array([5, 2**60, -3]),
    )


def export(directory: Path, config: DatasetSettings, showers: Showers | None = None) -> Path:
    """Write showers through the canonical file to ROOT."""
    showers = three_showers(config) if showers is None else showers
    canonical = write_canonical(directory / "samples.h5", config, showers)
    write_root(canonical, config, directory / "samples.root", directory / "samples_root.json")
    return directory / "samples.root"


def read_tree(path: Path, tree: str):
    """The branches of a tree with their C++ types, and their contents."""
    with uproot.open(path) as root:
        return root[tree].typenames(), {name: root[tree][name].array().tolist() for name in root[tree].keys()}  # noqa: SIM118


# ---- what it writes


def test_hits_with_the_names_and_units_of_the_source(tmp_path):
    config = dataset(
        {
            "format": "root_cells",
            "tree": "sim/events",
            "event": "number",
            "incident_energy": {"column": "E", "unit": "GeV"},
            "cells": {"layer": "depth", "x": "i", "y": "j", "energy": "dep", "count": "hits"},
            "cell_energy_unit": "MeV",
        }
    )
    types, columns = read_tree(export(tmp_path, config), "sim/events")
    assert types == {
        "number": "int64_t",
        "E": "double",
        "angle": "float",
        "hits": "int32_t",
        "depth": "uint8_t[]",
        "i": "uint8_t[]",
        "j": "uint8_t[]",
        "dep": "float[]",
    }
    assert columns == {
        "number": [5, 2**60, -3],
        "E": [1, 2.5, 0.125],
        "angle": [0.25, -1, 7],
        "hits": [2, 0, 3],
        "depth": [[0, 1], [], [0, 0, 1]],
        "i": [[0, 0], [], [0, 1, 0]],
        "j": [[2, 1], [], [0, 1, 0]],
        "dep": [[0.5, 1500], [], [8, 4, 2]],
    }
    record = json.loads((tmp_path / "samples_root.json").read_text())
    assert record["stage"] == "export_root"
    assert record["events"] == 3
    assert list(record["inputs"]) == [str(tmp_path / "samples.h5")]


def test_two_trees_and_no_number_of_the_event(tmp_path):
    config = dataset(
        {
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
            "cell_energy_unit": "GeV",
        },
        conditions={},
    )
    path = export(tmp_path, config)
    _, columns = read_tree(path, "global")
    assert columns == {"event": [5, 2**60, -3], "EnergyMC": [1000, 2500, 125]}
    types, columns = read_tree(path, "virtualReadout")
    assert types["EnergyCell"] == "double[]"
    assert columns["ncell"] == [2, 0, 3]
    assert columns["zCell"] == [[0, 1], [], [0, 0, 1]]
    assert columns["EnergyCell"] == [[0.0005, 1.5], [], [0.008, 0.004, 0.002]]


def test_energies_that_add_up_and_events_without_a_primary(tmp_path):
    config = dataset(
        {
            "format": "root_cells",
            "tree": "calotowers",
            "incident_energy": None,
            "cells": {"layer": "l", "x": "ieta", "y": "iphi", "energy": ["em", "had"], "count": "ntower"},
        },
        conditions={},
    )
    _, columns = read_tree(export(tmp_path, config), "calotowers")
    assert columns.keys() == {"event", "ntower", "l", "ieta", "iphi", "cell_energy"}
    assert columns["cell_energy"] == [[0.5, 1500], [], [8, 4, 2]]


def test_formulas_and_components_get_names_of_their_own(tmp_path):
    config = dataset(
        {
            "format": "root_cells",
            "event": "run * 1000 + number",
            "incident_energy": {"column": "sqrt(P[0]**2 + P[1]**2 + P[2]**2)", "unit": "GeV"},
        },
        conditions={
            "x0": {"column": "Point[0]", "unit": "cm"},
            "pt": {"column": "Jet.PT", "unit": "GeV"},
        },
    )
    _, columns = read_tree(export(tmp_path, config), "showers")
    assert columns["event"] == [5, 2**60, -3]
    assert columns["energy"] == [1, 2.5, 0.125]
    assert columns["x0"] == columns["Jet.PT"] == [0.25, -1, 7]
    assert columns["cell_energy"] == [[0.5, 1500], [], [8, 4, 2]]


def test_a_vector_in_the_order_of_the_source(tmp_path):
    layers = [{"shape": (2, 3), "cell_size_mm": (1, 1), "repeat": 2}]
    config = dataset(
        {
            "format": "root_arrays",
            "tree": "ecalNT",
            "cells": "EnergyDeposit",
            "axes": ["x", "y", "layer"],
            "extra_cells": 1,
        },
        geometry={"name": "grid", "layers": layers},
    )
    showers = three_showers(config)
    cells = np.arange(1, 37).reshape(3, 12).astype(np.float32)
    showers = Showers(cells, showers.incident_energies, showers.conditions, showers.event)
    types, columns = read_tree(export(tmp_path, config, showers), "ecalNT")
    assert types["EnergyDeposit"] == "float[13]"
    # cell (x, y) of layer z is number 6 z + 3 x + y of the flattened shower and (3 x + y) 2 + z of the source
    assert columns["EnergyDeposit"][0] == [1, 7, 2, 8, 3, 9, 4, 10, 5, 11, 6, 12, 0]


def test_one_branch_per_cell(tmp_path):
    config = dataset(
        {
            "format": "root_arrays",
            "tree": "fancy_tree",
            "event": None,
            "incident_energy": {"column": "TotalEnergy", "unit": "GeV"},
            "cells": "cell_*",
            "extra_cells": 3,
            "cell_energy_unit": "keV",
        }
    )
    _, columns = read_tree(export(tmp_path, config), "fancy_tree")
    assert columns["TotalEnergy"] == [1, 2.5, 0.125]
    assert columns["angle"] == [0.25, -1, 7]
    cells = [columns[f"cell_{number}"] for number in range(11)]
    assert np.transpose(cells).tolist() == [[*shower, 0, 0, 0] for shower in (CELLS_MEV * 1000).tolist()]


def test_other_sources_become_lists_of_hits(tmp_path):
    config = dataset(
        {"format": "arrays", "cells": "ECAL", "incident_energy": {"column": "target[1]", "unit": "TeV"}}
    )
    _, columns = read_tree(export(tmp_path, config), "showers")
    assert columns == {
        "event": [5, 2**60, -3],
        "energy": [1, 2.5, 0.125],
        "theta": [0.25, -1, 7],
        "ncell": [2, 0, 3],
        "cell_layer": [[0, 1], [], [0, 0, 1]],
        "cell_x": [[0, 0], [], [0, 1, 0]],
        "cell_y": [[2, 1], [], [0, 1, 0]],
        "cell_energy": [[0.5, 1500], [], [8, 4, 2]],
    }


def test_a_file_without_showers_has_its_branches(tmp_path):
    config = dataset({"format": "root_cells"})
    _, columns = read_tree(export(tmp_path, config, three_showers(config)[:0]), "showers")
    assert set(columns) == {
        *("event", "energy", "angle", "ncell"),
        *("cell_layer", "cell_x", "cell_y", "cell_energy"),
    }
    assert not any(columns.values())


def test_portions_do_not_show(tmp_path):
    config = dataset({"format": "root_cells"})
    whole = read_tree(export(tmp_path, config), "showers")
    assert read_tree(export(tmp_path, config.model_copy(update={"chunk_events": 1})), "showers") == whole


# ---- and back again

CONDITION = st.floats(allow_nan=False, allow_infinity=False, width=32)
ENERGY_MEV = st.floats(min_value=2.0**-149, max_value=9e8, width=32)
CELL_MEV = st.just(0.0) | ENERGY_MEV
EDGES = st.lists(st.integers(-50, 50), min_size=2, max_size=5, unique=True).map(sorted)
SIZE = st.integers(1, 4)
LAYERS = {
    "cartesian": st.fixed_dictionaries({"shape": st.tuples(SIZE, SIZE), "cell_size_mm": st.just((5, 7))}),
    "eta_phi": st.fixed_dictionaries({"kind": st.just("eta_phi"), "eta_edges": EDGES, "n_phi": SIZE}),
    "cylindrical": st.fixed_dictionaries(
        {"kind": st.just("cylindrical"), "n_alpha": SIZE, "r_edges_mm": EDGES}
    ),
}
AXES = {"cartesian": ["x", "y"], "eta_phi": ["eta", "phi"], "cylindrical": ["alpha", "r"]}
UNIT = st.sampled_from(["eV", "keV", "MeV", "GeV", "TeV"])
PRIMARIES = st.fixed_dictionaries(
    {
        "files": st.just(["unused"]),
        "incident_energy": st.fixed_dictionaries({"column": st.just("E"), "unit": UNIT}),
        "cell_energy_unit": UNIT,
        "tree": st.sampled_from(["showers", "folder/tree"]),
    }
)


@st.composite
def geometries(draw, alike: bool):
    layer = LAYERS[draw(st.sampled_from(sorted(LAYERS)))]
    if alike:
        return {"name": "g", "layers": [draw(layer) | {"repeat": draw(st.integers(1, 3))}]}
    return {"name": "g", "layers": draw(st.lists(layer, min_size=1, max_size=3))}


@st.composite
def cell_lists(draw):
    geometry = draw(geometries(alike=False))
    cells = {"tree": draw(st.sampled_from([None, "beside"])), "count": draw(st.sampled_from([None, "n"]))}
    if len(geometry["layers"]) == 1:
        cells["layer"] = draw(st.sampled_from([None, "depth"]))
    return draw(PRIMARIES) | {"format": "root_cells", "cells": cells}, geometry


@st.composite
def cell_arrays(draw):
    alike = draw(st.booleans())
    geometry = draw(geometries(alike))
    own = AXES[geometry["layers"][0].get("kind", "cartesian")]
    orders = st.permutations(own) | st.permutations([*own, "layer"]) if alike else st.permutations(own)
    source = {
        "format": "root_arrays",
        "cells": draw(st.sampled_from(["deposit", "cell_*", "c*_MeV"])),
        "axes": draw(st.none() | orders),
        "extra_cells": draw(st.integers(0, 2)),
    }
    return draw(PRIMARIES) | source, geometry


@hypothesis_settings(max_examples=50, deadline=None)
@given(data=st.data(), described=cell_lists() | cell_arrays(), n=st.integers(1, 5))
def test_ingest_finds_the_same_showers_again(data, described, n):
    source, geometry = described
    names = data.draw(st.lists(st.sampled_from(["px", "x0", "theta"]), unique=True))
    config = dataset(
        source,
        geometry=geometry,
        conditions={name: {"column": f"{name}.{name}", "unit": "1"} for name in names},
        chunk_events=data.draw(st.integers(1, 3)),
    )
    showers = Showers(
        data.draw(arrays(np.float32, (n, config.geometry.n_cells), elements=CELL_MEV)),
        data.draw(arrays(np.float32, (n, 1), elements=ENERGY_MEV)),
        {name: data.draw(arrays(np.float32, n, elements=CONDITION)) for name in names},
        data.draw(arrays(np.int64, n, unique=True)),
    )
    with tempfile.TemporaryDirectory() as directory:
        path = export(Path(directory), config, showers)
        batches = [batch.showers for batch in find_format(config.source.format).read(config, [path], [])]
    for field in ("showers", "incident_energies", "event"):
        found = np.concatenate([getattr(batch, field) for batch in batches])
        np.testing.assert_array_equal(found, getattr(showers, field))
        assert found.dtype == getattr(showers, field).dtype
    for name in names:
        found = np.concatenate([batch.conditions[name] for batch in batches])
        np.testing.assert_array_equal(found, showers.conditions[name])


# ---- what it refuses


def refused(tmp_path, config, message, written=None):
    """Export of showers made for `written` must end with `message` in one line and without a file."""
    written = written or config
    canonical = write_canonical(tmp_path / "samples.h5", written, three_showers(written))
    with pytest.raises(CaloforgeError, match=message) as error:
        write_root(canonical, config, tmp_path / "out" / "samples.root", tmp_path / "out" / "record.json")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_refuses_showers_of_another_geometry(tmp_path):
    config = dataset({"format": "root_cells"})
    other = dataset({"format": "root_cells"}, geometry=TWO_LAYERS | {"name": "other"})
    refused(
        tmp_path,
        config,
        r"samples\.h5: geometry other found, expected that of the data set, two layers",
        other,
    )


def test_refuses_showers_with_other_conditions(tmp_path):
    config = dataset({"format": "root_cells"})
    other = dataset({"format": "root_cells"}, conditions={"theta": {"column": "angle", "unit": "deg"}})
    refused(tmp_path, config, r"conditions theta \[deg\] found, expected theta \[rad\]", other)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"n": {"column": "ncell"}}, "tree showers: branch ncell found twice"),
        ({"a": {"column": "cell_x"}}, "tree showers: branch cell_x found twice"),
        ({"px": {"column": "p[0]"}, "q": {"column": "px"}}, r"branch px: both p\[0\] and px found"),
        ({"event": {"column": "n[0]"}}, r"branch event: both event and n\[0\] found"),
    ],
)
def test_refuses_two_quantities_in_one_branch(tmp_path, conditions, message):
    refused(tmp_path, dataset({"format": "root_cells"}, conditions=conditions), message)


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_root_export import dataset, three_showers, write_canonical
from caloforge.errors import CaloforgeError
from caloforge.root_export import write_root
directory = Path(sys.argv[2])
config = dataset({"format": "root_arrays", "cells": "cell_*"})
canonical = write_canonical(directory / "samples.h5", config, three_showers(config))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    write_root(canonical, config, directory / "out" / "samples.root", directory / "out" / "record.json")
except CaloforgeError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [100, 4_000])
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path, limit):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(Path(__file__).parent), str(tmp_path), str(limit)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("samples.root: cannot be written: File too large\n")
    assert done.stdout.count("\n") == 1
    assert list((tmp_path / "out").iterdir()) == []
