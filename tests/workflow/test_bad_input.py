"""Broken source files through the real rule: one clear error each, and nothing under a final name."""

from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from analysis import SAMPLES, Analysis, tiny_config

SAMPLE = SAMPLES / "lhcb_ecal_e-_000.root"
Events = dict[str, ak.Array]


def write(path: Path, events: Events, tree: str = "showers") -> None:
    with uproot.recreate(path) as file:
        types = {name: ak.type(values).content for name, values in events.items()}
        file.mktree(tree, {name: str(kind) for name, kind in types.items()}).extend(events)


def replaced(values: ak.Array, index: int, new: float) -> ak.Array:
    """The same lists with entry `index` of all their numbers replaced."""
    flat = ak.to_numpy(ak.flatten(values, axis=None)).copy()
    flat[index] = new
    return ak.unflatten(flat, ak.num(values)) if values.ndim > 1 else ak.Array(flat)


def changed(name: str, index: int, new: float) -> Callable[[Path, Events], None]:
    """Write the events with one number of one branch replaced."""
    return lambda path, events: write(path, events | {name: replaced(events[name], index, new)})


def truncated(path: Path, _: Events) -> None:
    path.write_bytes(SAMPLE.read_bytes()[: SAMPLE.stat().st_size // 2])


def not_root(path: Path, _: Events) -> None:
    path.write_text("event,energy\n1,10.5\n")


def other_tree(path: Path, events: Events) -> None:
    write(path, events, tree="events")


def no_branch(path: Path, events: Events) -> None:
    write(path, {name: values for name, values in events.items() if name != "px"})


def scalar_energy(path: Path, events: Events) -> None:
    write(path, events | {"cell_energy": events["energy"]})


def ragged(path: Path, events: Events) -> None:
    write(path, events | {"cell_x": ak.concatenate([events["cell_x"][:1, 1:], events["cell_x"][1:]])})


def no_events(path: Path, events: Events) -> None:
    write(path, {name: values[:0] for name, values in events.items()})


def one_event(path: Path, events: Events) -> None:
    write(path, {name: values[:1] for name, values in events.items()})


CASES = {
    "truncated": (truncated, ["truncated"]),
    "not_root": (not_root, ["not a ROOT file"]),
    "other_tree": (other_tree, ["showers", "events"]),
    "no_branch": (no_branch, ["showers", "no branch px"]),
    "scalar_energy": (scalar_energy, ["showers", "cell_energy"]),
    "ragged": (ragged, ["showers", "cell_x", "entry 0"]),
    "outside": (changed("cell_x", 0, 30), ["showers", "cell_x", "30 found", "entry 0"]),
    "negative": (changed("cell_energy", 0, -1.0), ["showers", "cell_energy", "-1.0 found", "entry 0"]),
    "nan": (changed("cell_energy", 0, np.nan), ["showers", "cell_energy", "nan found", "entry 0"]),
    "incident": (changed("energy", 3, -5.0), ["showers", "energy", "-5000.0 found", "entry 3"]),
    "no_events": (no_events, ["showers", "0 events"]),
    "duplicate": (changed("event", 1, 0), ["event number 0"]),
    "one_event": (one_event, ["split train", "0 events found"]),
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[Analysis, int]:
    """One run of the ingest of every broken file, and its exit status."""
    analysis = Analysis(tmp_path_factory.mktemp("bad_input"))
    config = tiny_config()
    dataset = config["datasets"].pop("ecal") | {"axis_check": None}
    with uproot.open(SAMPLE) as file:
        arrays = file["showers"].arrays(entry_stop=60)
    events = {name: arrays[name] for name in arrays.fields}
    for name, (make, _) in CASES.items():
        make(analysis.path / f"{name}.root", events)
        config["datasets"][name] = dataset | {"source": {"format": "root_cells", "files": [f"{name}.root"]}}
    config["runs"][0]["dataset"] = next(iter(CASES))
    analysis.configure(config)
    status, _ = analysis.snakemake("--keep-going", *(f"results/{name}/data/ingest.json" for name in CASES))
    return analysis, status


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_error_and_leaves_no_result(refused: tuple[Analysis, int], name: str):
    analysis, status = refused
    assert status != 0
    log = (analysis.path / f"logs/ingest/{name}.log").read_text()
    assert "Traceback" not in log
    (error,) = [line for line in log.splitlines() if line.startswith("error: ")]
    assert name in error
    for word in CASES[name][1]:
        assert word in error
    assert not list((analysis.path / f"results/{name}").rglob("*.*"))
