import hashlib
import json
import subprocess
import sys
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot

from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.ingest import ingest
from caloforge.ingest.formats import root_cells
from caloforge.ingest.split import SPLITS
from caloforge.showers import ShowerFile

SAMPLES = sorted(Path(__file__).parents[2].glob("resources/samples/lhcb_ecal/*.root"))
CONDITIONS = {"px": "GeV", "py": "GeV", "pz": "GeV", "x0": "mm", "y0": "mm"}
SCALARS = ("event", "energy", *CONDITIONS, "ncell")
LISTS = ("cell_layer", "cell_x", "cell_y", "cell_energy")


def settings(**changes) -> DatasetSettings:
    lhcb = {
        "source": {"format": "root_cells", "files": ["unused"]},
        "geometry": {"name": "LHCb-like ECAL", "layers": [{"shape": (30, 30), "cell_size_mm": (20, 20)}]},
        "conditions": {name: {"column": name, "unit": unit} for name, unit in CONDITIONS.items()},
        "split": {"train": 0.6, "val": 0.2, "test": 0.2},
        "axis_check": {},
        "readout_threshold_MeV": 0.5,
    }
    return DatasetSettings.model_validate(lhcb | changes)


def source(**changes):
    return {"format": "root_cells", "files": ["unused"]} | changes


def run(directory, files, config=None, name="lhcb"):
    outputs = {split: directory / f"{split}.h5" for split in SPLITS} | {"record": directory / "ingest.json"}
    ingest(config or settings(), name=name, files=files, **outputs)
    return outputs


def read_all(outputs):
    """Event number to (cells, incident energy, conditions, split), from the three files."""
    found = {}
    for split in SPLITS:
        with ShowerFile(outputs[split]) as file:
            showers = file.read()
        for row, event in enumerate(showers.event.tolist()):
            assert event not in found
            conditions = {name: values[row] for name, values in showers.conditions.items()}
            found[event] = (showers.showers[row], showers.incident_energies[row, 0], conditions, split)
    return found


def events(first=0, n=200):
    """Real events as columns that a test may spoil before it writes them."""
    with uproot.open(SAMPLES[0]) as file:
        arrays = file["showers"].arrays([*SCALARS, *LISTS], entry_start=first, entry_stop=first + n)
    return {name: arrays[name] for name in arrays.fields}


def write_root(path, columns, tree="showers", metadata=None):
    """A ROOT file with a tree of `columns`, each list with a counter of its own."""
    with uproot.recreate(path) as file:
        if columns is not None:
            types = {name: ak.type(values).content for name, values in columns.items()}
            file.mktree(tree, {name: str(kind) for name, kind in types.items()})
            if len(columns["event"]):
                file[tree].extend(columns)
        if metadata is not None:
            file["metadata"] = metadata
    return path


def spoil(values, entry, value):
    """A copy of a scalar column with another number in one entry."""
    changed = values.to_numpy().copy()
    changed[entry] = value
    return ak.Array(changed)


def spoil_hit(lists, entry, hit, value, dtype=None):
    """A copy of a column of lists with another number in one hit."""
    flat = ak.flatten(lists).to_numpy().astype(dtype or ak.flatten(lists).to_numpy().dtype)
    flat[ak.sum(ak.num(lists[:entry])) + hit] = value
    return ak.unflatten(flat, ak.num(lists))


# ---- what it makes of good files


def test_every_hit_of_an_embedded_file_lands_in_its_cell(tmp_path):
    found = read_all(run(tmp_path, SAMPLES[:1]))
    with uproot.open(SAMPLES[0]) as file:
        columns = file["showers"].arrays(library="np")
    assert len(found) == 1000
    for entry in range(1000):
        cells = np.zeros((30, 30), dtype=np.float32)
        for x, y, energy in zip(*(columns[name][entry] for name in LISTS[1:]), strict=True):
            cells[x, y] = energy
        showers, incident, conditions, _ = found[int(columns["event"][entry])]
        np.testing.assert_array_equal(showers, cells.reshape(900))
        assert incident == np.float32(np.float64(columns["energy"][entry]) * 1000)
        assert conditions == {name: columns[name][entry] for name in CONDITIONS}


def test_layers_units_and_missing_count(tmp_path):
    path = tmp_path / "layers.root"
    columns = {
        "number": ak.Array(np.arange(40, dtype=np.int32)),
        "E": ak.Array(np.full(40, 5000.0)),
        "angle": ak.Array(np.linspace(0, 1, 40)),
        "depth": ak.Array([[0, 1]] * 39 + [[]]),
        "i": ak.Array([[1, 0]] * 39 + [[]]),
        "j": ak.Array([[2, 1]] * 39 + [[]]),
        "e": ak.Array([[0.25, 1.5]] * 39 + [[]]),
    }
    with uproot.recreate(path) as file:
        file.mktree("events", {name: str(ak.type(values).content) for name, values in columns.items()})
        file["events"].extend(columns)
    config = settings(
        source=source(
            tree="events",
            event="number",
            incident_energy={"column": "E", "unit": "MeV"},
            cells={"layer": "depth", "x": "i", "y": "j", "energy": "e", "count": None},
            cell_energy_unit="GeV",
            metadata=None,
        ),
        geometry={
            "name": "two layers",
            "layers": [{"shape": (2, 3), "cell_size_mm": (1, 1)}, {"shape": (1, 2), "cell_size_mm": (1, 1)}],
        },
        conditions={"theta": {"column": "angle", "unit": "rad"}},
        axis_check=None,
    )
    outputs = run(tmp_path / "out", [path], config)
    found = read_all(outputs)
    # layer 0, cell (1, 2) of 2 x 3 is number 5; layer 1, cell (0, 1) of 1 x 2 is number 6 + 1
    for number in range(39):
        assert found[number][0].tolist() == [0, 0, 0, 0, 0, 250, 0, 1500]
        assert found[number][1] == 5000
    assert not found[39][0].any()
    with ShowerFile(outputs["train"]) as file:
        assert file.units == {"theta": "rad"}
    record = json.loads(outputs["record"].read_text())
    assert record["summary"]["events_without_hits"] == 1
    assert record["summary"]["conditions"]["theta"] == {"unit": "rad", "range": [0, 1]}
    assert record["summary"]["axis_check"] is None
    assert record["geant4_cpu_s_per_event"] is None


def test_bytes_do_not_depend_on_the_chunk_size(tmp_path):
    contents = []
    for chunk_events in (100, 337, 5000):
        outputs = run(tmp_path / str(chunk_events), SAMPLES[:2], settings(chunk_events=chunk_events))
        contents.append([outputs[split].read_bytes() for split in SPLITS])
    assert contents[0] == contents[1] == contents[2]


def test_an_event_stays_in_its_split_whatever_the_files(tmp_path):
    splits = [
        {event: shower[3] for event, shower in read_all(run(tmp_path / str(k), files)).items()}
        for k, files in enumerate((SAMPLES[:2], SAMPLES[1::-1], SAMPLES[1:2]))
    ]
    assert splits[0] == splits[1]
    assert splits[2].items() <= splits[0].items()


def test_record_tells_where_the_data_come_from_and_what_they_are(tmp_path):
    files = SAMPLES[:2]
    record = json.loads(run(tmp_path, files)["record"].read_text())
    assert record["stage"] == "ingest"
    assert record["dataset"] == "lhcb"
    assert record["inputs"] == {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    metadata = []
    for file in files:
        with uproot.open(file) as root:
            metadata.append(json.loads(str(root["metadata"])))
    assert [file["seed"] for file in record["files"]] == [entry["seed"] for entry in metadata]
    assert record["files"][0] == {
        "file": str(files[0]),
        "events": 1000,
        "metadata": True,
        "seed": metadata[0]["seed"],
        "geant4": metadata[0]["geant4"],
        "physics": metadata[0]["physics"],
        "geant4_cpu_s_per_event": pytest.approx(metadata[0]["cpu_s"] / 1000),
    }
    assert record["geant4_cpu_s_per_event"] == pytest.approx(
        (metadata[0]["cpu_s"] + metadata[1]["cpu_s"]) / 2000
    )
    assert sum(record["events"].values()) == 2000
    for split, count in record["events"].items():
        with ShowerFile(tmp_path / f"{split}.h5") as file:
            assert len(file) == count

    data = uproot.concatenate([f"{file}:showers" for file in files], [*SCALARS, *LISTS])
    summary = record["summary"]
    assert summary["incident_energy_GeV"] == pytest.approx([ak.min(data.energy), ak.max(data.energy)])
    assert summary["conditions"]["x0"] == {"unit": "mm", "range": [ak.min(data.x0), ak.max(data.x0)]}
    visible = ak.sum(data.cell_energy, axis=1).to_numpy().astype(float)
    for q, value in summary["visible_fraction_quantiles"].items():
        expected = np.quantile(visible / (data.energy.to_numpy() * 1000.0), float(q), method="inverted_cdf")
        assert value == pytest.approx(expected, abs=2e-5)
    assert summary["zero_cells"] == pytest.approx(1 - ak.sum(data.ncell) / (2000 * 900))
    assert summary["events_without_hits"] == 0
    centre = {
        axis: ak.sum(data.cell_energy * (data[f"cell_{axis}"] * 20.0 - 290), axis=1) / visible
        for axis in "xy"
    }
    slope = {axis: data[f"p{axis}"] / data.pz for axis in "xy"}
    for key, pair in {"x": "xx", "x_crossed": "xy", "y": "yy", "y_crossed": "yx"}.items():
        expected = np.corrcoef(centre[pair[0]].to_numpy(), slope[pair[1]].to_numpy())[0, 1]
        assert summary["axis_check"][key] == pytest.approx(expected, abs=1e-4)


def test_canonical_files_name_their_source(tmp_path):
    outputs = run(tmp_path, SAMPLES[:1])
    with h5py.File(outputs["val"]) as file:
        assert (file.attrs["dataset"], file.attrs["split"]) == ("lhcb", "val")
        digest = hashlib.sha256(SAMPLES[0].read_bytes()).hexdigest()
        assert json.loads(file.attrs["source"]) == {SAMPLES[0].name: digest}


def test_file_without_metadata_is_noted(tmp_path):
    path = write_root(tmp_path / "plain.root", events())
    record = json.loads(run(tmp_path / "out", [SAMPLES[1], path])["record"].read_text())
    assert [file["metadata"] for file in record["files"]] == [True, False]
    assert record["files"][1]["seed"] is None
    assert record["geant4_cpu_s_per_event"] is None


def test_latest_cycle_counts(tmp_path):
    path = tmp_path / "cycles.root"
    columns = events()
    types = {name: str(ak.type(values).content) for name, values in columns.items()}
    with uproot.recreate(path) as file:
        for start in (500, 0):
            file.mktree("showers", types)
            file["showers"].extend(columns | {"event": columns["event"] + start})
    with uproot.open(path) as file:
        assert len(file.keys()) == 2
    found = read_all(run(tmp_path / "out", [path]))
    assert sorted(found) == columns["event"].tolist()


def test_branch_names_with_dots(tmp_path):
    columns = events()
    columns["cell.x"] = columns.pop("cell_x")
    path = write_root(tmp_path / "dots.root", columns)
    config = settings(source=source(cells={"x": "cell.x"}))
    found, expected = read_all(run(tmp_path / "dots", [path], config)), read_all(run(tmp_path, SAMPLES[:1]))
    assert all((shower[0] == expected[event][0]).all() for event, shower in found.items())


# ---- what it refuses


def refused(tmp_path, files, message, config=None):
    """Ingest must end with `message` in one line, and nothing new in the output directory."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "val.h5").write_text("from an earlier run")
    with pytest.raises(CaloforgeError, match=message) as error:
        run(out, files, config)
    assert "\n" not in str(error.value)
    assert [(file.name, file.read_text()) for file in out.iterdir()] == [("val.h5", "from an earlier run")]
    return str(error.value)


BAD_COLUMNS = {
    "missing branch": (
        lambda c: c.pop("cell_energy"),
        r"bad\.root: tree showers: no branch cell_energy, did you mean energy",
    ),
    "jagged instead of scalar": (
        lambda c: c.update(energy=c["cell_energy"]),
        r"tree showers, branch energy: type float\[\] found, expected one number per event",
    ),
    "scalar instead of jagged": (
        lambda c: c.update(cell_x=c["ncell"]),
        r"tree showers, branch cell_x: type int32_t found, expected a list of numbers per event",
    ),
    "fractional index": (
        lambda c: c.update(cell_y=c["cell_y"] + 0.5),
        r"entry 0 \(event 0\), branch cell_y: index \d+\.5 found, expected one from 0 to 29",
    ),
    "fractional event number": (
        lambda c: c.update(event=c["event"] + 0.5),
        r"entry 0 \(event 0\.5\), branch event: 0\.5 found, expected a signed 64-bit integer",
    ),
    "array per event": (
        lambda c: c.update(px=ak.Array(np.zeros((200, 3)))),
        r"branch px: type double\[3\] found, expected one number per event",
    ),
    "true or false": (
        lambda c: c.update(pz=c["pz"] > 5),
        "branch pz: type bool found, expected one number per event",
    ),
    "shorter list": (
        lambda c: c.update(cell_x=ak.concatenate([c["cell_x"][:7], c["cell_x"][7:8, 1:], c["cell_x"][8:]])),
        r"entry 7 \(event 7\), branch cell_x: \d+ cells found, expected the \d+ of cell_energy",
    ),
    "wrong count": (
        lambda c: c.update(ncell=spoil(c["ncell"], 9, 3)),
        r"entry 9 \(event 9\), branch ncell: 3 cells found, expected the \d+ of cell_energy",
    ),
    "index above": (
        lambda c: c.update(cell_x=spoil_hit(c["cell_x"], 150, 4, 30)),
        r"entry 150 \(event 150\), branch cell_x: index 30 found, expected one from 0 to 29",
    ),
    "index below": (
        lambda c: c.update(cell_y=spoil_hit(c["cell_y"], 0, 0, -1, np.int16)),
        r"entry 0 \(event 0\), branch cell_y: index -1 found, expected one from 0 to 29",
    ),
    "layer": (
        lambda c: c.update(cell_layer=spoil_hit(c["cell_layer"], 199, 2, 1)),
        r"entry 199 \(event 199\), branch cell_layer: index 1 found, expected one from 0 to 0",
    ),
    "negative cell": (
        lambda c: c.update(cell_energy=spoil_hit(c["cell_energy"], 42, 3, -0.25)),
        r"entry 42 \(event 42\), branch cell_energy: -0.25 found, expected a finite energy, not below 0",
    ),
    "NaN cell": (
        lambda c: c.update(cell_energy=spoil_hit(c["cell_energy"], 42, 3, np.nan)),
        r"entry 42 \(event 42\), branch cell_energy: nan found",
    ),
    "infinite cell": (
        lambda c: c.update(cell_energy=spoil_hit(c["cell_energy"], 42, 3, np.inf)),
        r"entry 42 \(event 42\), branch cell_energy: inf found",
    ),
    "cell beyond float32": (
        lambda c: c.update(cell_energy=spoil_hit(c["cell_energy"], 42, 3, 1e39, np.float64)),
        r"entry 42 \(event 42\), branch cell_energy: 1e\+39 found",
    ),
    "cell twice": (
        lambda c: c.update({n: spoil_hit(c[n], 5, 1, c[n][5, 0]) for n in ("cell_x", "cell_y")}),
        r"entry 5 \(event 5\), branch cell_x: cell \d+ of the flattened shower twice found",
    ),
    "no incident energy": (
        lambda c: c.update(energy=spoil(c["energy"], 17, 0)),
        r"entry 17 \(event 17\), branch energy: 0.0 found, expected an energy above 0",
    ),
    "negative incident energy": (
        lambda c: c.update(energy=spoil(c["energy"], 17, -3)),
        r"entry 17 \(event 17\), branch energy: -3000.0 found, expected an energy above 0",
    ),
    "NaN incident energy": (
        lambda c: c.update(energy=spoil(c["energy"], 17, np.nan)),
        r"entry 17 \(event 17\), branch energy: nan found, expected a finite number",
    ),
    "infinite condition": (
        lambda c: c.update(y0=spoil(c["y0"], 18, -np.inf)),
        r"entry 18 \(event 18\), branch y0: -inf found, expected a finite number",
    ),
    "event number beyond int64": (
        lambda c: c.update(event=ak.Array(np.arange(200, dtype=np.uint64) + np.uint64(2**63 - 1))),
        r"entry 1 \(event 9223372036854775808\), branch event: .* expected a signed 64-bit integer",
    ),
    "event number twice": (
        lambda c: c.update(event=spoil(c["event"], 199, 3)),
        r"event number 3 occurs more than once.*entry 3 .event 3., .*bad\.root: tree showers, entry 199",
    ),
    "swapped axes": (
        lambda c: c.update(cell_x=c["cell_y"], cell_y=c["cell_x"]),
        "data set lhcb: axis_check: x and y look swapped: correlation",
    ),
    "mirrored axis": (lambda c: c.update(cell_y=29 - c["cell_y"]), "axis_check: y looks mirrored"),
    "mirrored axes": (lambda c: c.update(px=-c["px"], py=-c["py"]), "axis_check: x and y look mirrored"),
    "unrelated axes": (
        lambda c: c.update(px=c["px"][::-1], py=c["py"][::-1]),
        "axis_check: the showers do not follow the conditions",
    ),
    "constant direction": (
        lambda c: c.update(px=0.1 * c["pz"]),
        r"axis_check: the showers do not follow the conditions: .* px/pz -?0\.00 ",
    ),
    "MeV taken as GeV": (
        lambda c: c.update(energy=c["energy"] / 1000),
        r"bad\.root: tree showers, entry \d+ \(event \d+\): .* MeV visible found, "
        r"expected at most 1.05 of the incident .*cell_energy_unit",
    ),
}


@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_refuses_bad_columns(tmp_path, case):
    change, message = BAD_COLUMNS[case]
    columns = events()
    change(columns)
    refused(tmp_path, [write_root(tmp_path / "bad.root", columns)], message)


def test_entry_is_counted_from_the_start_of_the_file(tmp_path):
    columns = events()
    columns["cell_x"] = spoil_hit(columns["cell_x"], 150, 4, 30)
    path = write_root(tmp_path / "bad.root", columns)
    refused(tmp_path, [path], r"entry 150 \(event 150\), branch cell_x", settings(chunk_events=40))


@pytest.mark.parametrize("size", [0, 3, 15, 200, 100_000, 460_000, -1])
def test_refuses_a_truncated_file(tmp_path, size):
    path = tmp_path / "cut.root"
    path.write_bytes(SAMPLES[0].read_bytes()[:size])
    refused(tmp_path, [SAMPLES[1], path], r"cut\.root: (truncated: \d+ bytes found|not a ROOT file)")


@pytest.mark.parametrize("branch", ["event", "cell_x", "cell_energy"])
def test_refuses_a_damaged_file(tmp_path, branch):
    with uproot.open(SAMPLES[0]) as file:
        basket = int(file["showers"][branch].member("fBasketSeek")[0])
    content = bytearray(SAMPLES[0].read_bytes())
    content[basket : basket + 300] = b"\x07" * 300
    path = tmp_path / "damaged.root"
    path.write_bytes(content)
    refused(tmp_path, [path], r"damaged\.root: damaged, cannot be read as ROOT")


def test_refuses_files_that_are_not_there_or_not_root(tmp_path):
    text = tmp_path / "text.root"
    text.write_text("not ROOT at all, but long enough")
    refused(tmp_path, [text], r"text\.root: not a ROOT file: begins with b'not ', expected b'root'")
    (tmp_path / "out/val.h5").unlink()
    (tmp_path / "out").rmdir()
    refused(tmp_path, [tmp_path / "none.root"], r"none\.root: cannot be read: No such file")


@pytest.mark.parametrize(
    ("tree", "message"),
    [("shower", r"no tree showers, did you mean shower\?"), ("data", "no tree showers, found data")],
)
def test_refuses_a_missing_tree(tmp_path, tree, message):
    refused(tmp_path, [write_root(tmp_path / "other.root", events(), tree=tree)], rf"other\.root: {message}")


def test_refuses_an_object_that_is_no_tree(tmp_path):
    config = settings(source=source(tree="metadata"))
    refused(tmp_path, SAMPLES[:1], r"root: metadata is a TObjString, expected a TTree", config)


def test_refuses_an_empty_tree_among_others(tmp_path):
    columns = {name: values[:0] for name, values in events().items()}
    empty = write_root(tmp_path / "empty.root", columns)
    refused(tmp_path, [SAMPLES[0], empty], r"empty\.root: tree showers: 0 events found, expected at least 1")


def test_refuses_no_files(tmp_path):
    refused(tmp_path, [], "data set lhcb: no source file")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("{not JSON", r"m\.root: object metadata: Invalid JSON"),
        ("[1, 2]", r"m\.root: object metadata: .*object"),
        ('{"cpu_s": "fast"}', r"m\.root: object metadata: cpu_s: .*number"),
        ('{"cpu_s": NaN}', r"m\.root: object metadata: cpu_s: .*finite"),
        (
            '{"events": 1000}',
            r"m\.root: tree showers: 200 events found, 1000 expected by the object metadata",
        ),
    ],
)
def test_refuses_metadata(tmp_path, metadata, message):
    refused(tmp_path, [write_root(tmp_path / "m.root", events(), metadata=metadata)], message)


def test_refuses_a_file_listed_twice(tmp_path):
    again = tmp_path / "again.root"
    again.symlink_to(SAMPLES[0])
    refused(tmp_path, [SAMPLES[0], again], r"again\.root is listed twice")


def test_refuses_event_numbers_that_two_files_share(tmp_path):
    first = write_root(tmp_path / "first.root", events())
    second = write_root(tmp_path / "second.root", events(199))
    message = refused(tmp_path, [first, second], "event number 199 occurs more than once")
    assert f"{first}: tree showers, entry 199 (event 199), {second}: tree showers, entry 0" in message


def test_search_for_duplicates_in_several_passes(tmp_path, monkeypatch):
    monkeypatch.setattr("caloforge.ingest.checks.EVENTS_AT_A_TIME", 50)
    columns = events(n=600)
    run(tmp_path / "fine", [write_root(tmp_path / "fine.root", columns)])
    columns["event"] = spoil(columns["event"], 599, 111)
    refused(tmp_path, [write_root(tmp_path / "bad.root", columns)], "event number 111 occurs more than once")


def test_refuses_an_empty_split(tmp_path):
    columns = {name: values[:2] for name, values in events().items()}
    path = write_root(tmp_path / "few.root", columns)
    refused(
        tmp_path,
        [path],
        r"data set lhcb: split (train|val|test): 0 events found, expected at least 1: "
        r"its share of 2 events is 0\.\d",
        settings(axis_check=None),
    )


def test_files_set_aside_for_the_test(tmp_path):
    files = [write_root(tmp_path / f"part_{n}.root", events(200 * n)) for n in range(3)]
    shares = {"train": 0.75, "val": 0.25, "test": 0, "test_files": ["part_1.root"]}
    found = read_all(run(tmp_path / "accepted", files, settings(split=shares)))
    assert {event for event, (*_, split) in found.items() if split == "test"} == {*range(200, 400)}
    assert len(found) == 600
    trained = sum(split == "train" for *_, split in found.values())
    assert abs(trained - 300) < 5 * np.sqrt(400 * 0.75 * 0.25)

    refused(
        tmp_path,
        files,
        r"split\.test_files: 'part_9\*' names none of its files, expected one or more of \S+part_0\.root, ",
        settings(split=shares | {"test_files": ["part_9*"]}),
    )


def test_refuses_an_event_of_the_training_in_a_test_file(tmp_path):
    files = [write_root(tmp_path / f"{n}.root", events(n, 200)) for n in (0, 199)]
    shares = {"train": 0.75, "val": 0.25, "test": 0, "test_files": ["199.root"]}
    refused(tmp_path, files, "event number 199 occurs more than once", settings(split=shares))


def test_refuses_a_branch_with_two_meanings(tmp_path):
    config = settings(source=source(incident_energy={"column": "cell_energy", "unit": "GeV"}))
    message = r"branch cell_energy: type float\[\] found, expected one number per event"
    refused(tmp_path, SAMPLES[:1], message, config)


def test_refuses_layers_without_a_branch_that_tells_them(tmp_path):
    layer = {"shape": (30, 30), "cell_size_mm": (20, 20)}
    config = settings(
        geometry={"name": "two", "layers": [layer, layer]}, source=source(cells={"layer": None})
    )
    refused(tmp_path, SAMPLES[:1], r"source\.cells\.layer is null, but the geometry two has 2 layers", config)


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_ingest import SAMPLES, run
from caloforge.errors import CaloforgeError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    run(Path(sys.argv[2]), SAMPLES[:1])
except CaloforgeError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [1_000, 200_000])
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path, limit):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(Path(__file__).parent), str(tmp_path / "out"), str(limit)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("cannot be written: File too large\n")
    assert done.stdout.count("\n") == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_refuses_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    path = write_root(tmp_path / "growing.root", events())
    read = root_cells.read

    def meanwhile(*arguments):
        yield from read(*arguments)
        write_root(path, events(200))

    monkeypatch.setattr(root_cells, "read", meanwhile)
    refused(tmp_path, [path], r"growing\.root: changed while it was read")
