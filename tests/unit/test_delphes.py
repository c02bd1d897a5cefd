import json
from collections import Counter
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from pydantic import ValidationError

from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.ingest import ingest
from caloforge.ingest.formats import delphes
from caloforge.ingest.split import SPLITS
from caloforge.showers import ShowerFile

SAMPLES = Path(__file__).parents[2] / "resources/samples/jets"
ETA_EDGES = [-3.0, -1.5, -0.5, 0.0, 0.5, 1.5, 3.0]
N_PHI = 8
TOWER = ("Eta", "Phi", "E", "Eem", "Ehad")


def settings(**changes):
    jets = {
        "source": source(),
        "geometry": grid(ETA_EDGES, N_PHI),
        "split": {"train": 0.6, "val": 0.2, "test": 0.2},
        "readout_threshold_MeV": 1,
    }
    return DatasetSettings.model_validate(jets | changes)


def source(**changes):
    return {"format": "delphes", "files": ["unused"], "full_simulation": {"files": ["unused"]}} | changes


ALONE = source(full_simulation=None)


def grid(eta_edges, n_phi):
    return {
        "name": "grid",
        "layers": [{"kind": "eta_phi", "eta_edges": eta_edges, "n_phi": n_phi}],
    }


def run(directory, fast, full=(), config=None):
    config = config or settings(**({} if full else {"source": ALONE}))
    outputs = {split: directory / f"{split}.h5" for split in SPLITS} | {"record": directory / "ingest.json"}
    ingest(config, name="jets", files=fast, paired=full, **outputs)
    return outputs


def read_all(outputs):
    """Event number to (image, incident energy, reference or None), from the three files."""
    found = {}
    for split in SPLITS:
        with ShowerFile(outputs[split]) as file:
            showers = file.read()
        for row, event in enumerate(showers.event.tolist()):
            reference = None if showers.reference is None else showers.reference[row]
            found[event] = showers.showers[row], showers.incident_energies[row, 0], reference
    return found


def counts(outputs):
    return json.loads(outputs["record"].read_text())["summary"]["counts"]


def fast_events(n=60, first=0, seed=1):
    """Random events of Delphes as columns, some pixels twice, a third of the towers outside the grid."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 30, n)
    m = lengths.sum()
    is_ecal = rng.random(m) < 0.5
    energy = rng.exponential(10, m).astype(np.float32)
    towers = {
        "Eta": rng.uniform(-4.5, 4.5, m).astype(np.float32),
        "Phi": rng.uniform(-3.14159, 3.14159, m).astype(np.float32),
        "E": energy,
        "Eem": np.where(is_ecal, energy, 0).astype(np.float32),
        "Ehad": np.where(is_ecal, 0, energy).astype(np.float32),
    }
    number = ak.Array(np.arange(first, first + n, dtype=np.int64)[:, None])
    return {"Event.Number": ak.from_regular(number)} | {
        f"Tower.{name}": ak.unflatten(values, lengths) for name, values in towers.items()
    }


def full_events(n=60, first=0, seed=2):
    """Random events of the full simulation as columns, some pixels listed twice."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 40, n)
    m = lengths.sum()
    towers = {
        "tower_ieta": rng.integers(0, len(ETA_EDGES) - 1, m).astype(np.int16),
        "tower_iphi": rng.integers(0, N_PHI, m).astype(np.int16),
        "tower_em": rng.exponential(1, m).astype(np.float32),
        "tower_had": rng.exponential(3, m).astype(np.float32),
    }
    return {"event": ak.Array(np.arange(first, first + n))} | {
        name: ak.unflatten(values, lengths) for name, values in towers.items()
    }


def write(path, columns, tree, baskets=1):
    with uproot.recreate(path) as file:
        file.mktree(tree, {name: str(ak.type(values).content) for name, values in columns.items()})
        n = len(next(iter(columns.values())))
        for k in range(baskets):
            part = slice(k * n // baskets, (k + 1) * n // baskets)
            if part.stop > part.start:
                file[tree].extend({name: values[part] for name, values in columns.items()})
    return path


def write_fast(path, columns):
    return write(path, columns, "Delphes")


def write_full(path, columns, baskets=1):
    return write(path, columns, "calotowers", baskets)


def chosen(columns, rows):
    return {name: values[rows] for name, values in columns.items()}


def spoil(lists, entry, place, value, dtype=None):
    """A copy of a column of lists with another number in one place."""
    flat = ak.flatten(lists).to_numpy().astype(dtype or ak.flatten(lists).to_numpy().dtype)
    flat[ak.sum(ak.num(lists[:entry])) + place] = value
    return ak.unflatten(flat, ak.num(lists))


def fast_images_MeV(columns, eta_edges=ETA_EDGES, n_phi=N_PHI):
    """Event number to image, by numpy's histogram."""
    images = {}
    for entry in range(len(columns["Event.Number"])):
        eta, phi, total, ecal, hcal = (columns[f"Tower.{name}"][entry].to_numpy() for name in TOWER)
        energy = np.where(ecal + hcal > 0, ecal.astype(float) + hcal, total)
        wrapped = (phi.astype(float) + np.pi) % (2 * np.pi) - np.pi
        edges = [eta_edges, np.linspace(-np.pi, np.pi, n_phi + 1)]
        image = np.histogram2d(eta, wrapped, bins=edges, weights=energy * 1000)[0]
        images[int(columns["Event.Number"][entry, 0])] = image.ravel()
    return images


def full_images_MeV(columns, shape=(6, 8)):
    images = {}
    for entry in range(len(columns["event"])):
        eta, phi, ecal, hcal = (
            columns[f"tower_{k}"][entry].to_numpy() for k in ("ieta", "iphi", "em", "had")
        )
        bins = [np.arange(n + 1) - 0.5 for n in shape]
        image = np.histogram2d(eta, phi, bins=bins, weights=(ecal.astype(float) + hcal) * 1000)[0]
        images[int(columns["event"][entry])] = image.ravel()
    return images


def assert_images(found, showers, reference=None):
    assert sorted(found) == sorted(showers)
    for event, (image, incident, paired) in found.items():
        np.testing.assert_allclose(image, showers[event], rtol=1e-6, atol=1e-3)
        if reference is None:
            assert paired is None
        else:
            np.testing.assert_allclose(paired, reference[event], rtol=1e-6, atol=1e-3)
        fast = image if reference is None else paired
        assert incident == pytest.approx(fast.sum(dtype=float), rel=1e-6)


# ---- images


def hand_made(towers, dtype):
    """Three copies of an event with these towers (eta, phi, E, Eem, Ehad)."""
    n = 12
    columns = {"Event.Number": ak.from_regular(ak.Array(np.arange(n)[:, None]))}
    for name, values in zip(TOWER, zip(*towers, strict=True), strict=True):
        columns[f"Tower.{name}"] = ak.from_regular(ak.Array(np.tile(np.array(values, dtype=dtype), (n, 1))))
    return columns


def test_edges_sums_and_towers_outside_by_hand(tmp_path):
    towers = [
        (-1.0, -np.pi, 1, 1, 0),  # lowest edges: eta 0, phi 0
        (-0.5, np.pi, 2, 0, 2),  # pi is -pi: the same pixel
        (0.0, 0.0, 4, 1, 3),  # inner edges belong to the pixel above: eta 1, phi 2
        (1.9, np.pi / 2, 8, 8, 0),  # eta 1, phi 3
        (0.1, -0.1, 16, 0, 0),  # E alone: eta 1, phi 1
        (0.1, -0.2, 0, 0, 0),  # nothing at all
        (2.0, 0.1, 32, 32, 0),  # upper edge of the grid: outside
        (-1.001, 0.1, 64, 0, 0),  # below it, with E alone
    ]
    config = settings(source=ALONE, geometry=grid([-1, 0, 2], 4))
    outputs = run(tmp_path, [write_fast(tmp_path / "a.root", hand_made(towers, np.float64))], [], config)
    for image, incident, _ in read_all(outputs).values():
        assert image.tolist() == [3000, 0, 0, 0, 0, 16000, 4000, 8000]
        assert incident == 31000
    assert counts(outputs) == {
        "towers_outside_grid": 24,
        "energy_outside_grid_GeV": 12 * 96,
        "towers_without_Eem_and_Ehad": 24,
    }


def test_single_precision_pi_is_in_the_grid(tmp_path):
    # in single precision both lie beyond pi, by 9e-8, and come round on the other side
    columns = hand_made([(0.5, np.pi, 1, 1, 0), (0.5, -np.pi, 2, 2, 0)], np.float32)
    config = settings(source=ALONE, geometry=grid([0, 1], 4))
    outputs = run(tmp_path, [write_fast(tmp_path / "a.root", columns)], [], config)
    assert all(image.tolist() == [1000, 0, 0, 2000] for image, *_ in read_all(outputs).values())
    assert counts(outputs)["towers_outside_grid"] == 0


def test_delphes_alone(tmp_path):
    columns = fast_events()
    outputs = run(tmp_path, [write_fast(tmp_path / "fast.root", columns)])
    assert_images(read_all(outputs), fast_images_MeV(columns))
    outside = np.abs(ak.flatten(columns["Tower.Eta"]).to_numpy()) >= 3
    energy = ak.flatten(columns["Tower.E"]).to_numpy()[outside].sum(dtype=float)
    assert counts(outputs)["towers_outside_grid"] == outside.sum()
    assert counts(outputs)["energy_outside_grid_GeV"] == pytest.approx(energy)


def test_events_without_towers(tmp_path):
    fast, full = fast_events(20), full_events(20)
    fast |= {f"Tower.{name}": fast[f"Tower.{name}"][:, :0] for name in TOWER}
    full |= {name: values[:, :0] for name, values in full.items() if name != "event"}
    paths = [write_fast(tmp_path / "fast.root", fast)], [write_full(tmp_path / "full.root", full)]
    outputs = run(tmp_path / "out", *paths)
    found = read_all(outputs)
    assert len(found) == 20
    assert not any(
        image.any() or incident or reference.any() for image, incident, reference in found.values()
    )


def test_embedded_samples(tmp_path):
    config = settings(geometry=grid({"bins": 72, "low": -3.132, "high": 3.132}, 72))
    fast, full = SAMPLES / "delphes_dijet_000.root", SAMPLES / "fullsim_dijet_000.root"
    found = read_all(run(tmp_path, [fast], [full], config))
    with uproot.open(fast) as file:
        columns = file["Delphes"].arrays(["Event.Number", *(f"Tower.{name}" for name in TOWER)])
    with uproot.open(full) as file:
        full_columns = file["calotowers"].arrays()
    assert len(found) == len(columns)
    some = np.linspace(0, len(columns) - 1, 100).astype(int)
    expected = fast_images_MeV(columns[some], np.linspace(-3.132, 3.132, 73), 72)
    found = {event: found[event] for event in expected}
    assert_images(found, full_images_MeV(full_columns[some], (72, 72)), expected)


# ---- pairs

SHUFFLED = np.random.default_rng(3).permutation(60)
INTERLEAVED = np.arange(60).reshape(20, 3).T.ravel()


@pytest.mark.parametrize(
    ("order", "ends", "kept_bytes"),
    [
        (np.arange(60), (0, 60), 0),
        (np.arange(60), (0, 7, 8, 41, 60), 1 << 20),
        (np.arange(60)[::-1], (0, 7, 60), 0),
        (INTERLEAVED, (0, 20, 40, 60), 1 << 20),
        (SHUFFLED, (0, 60), 0),
        (SHUFFLED, (0, 7, 8, 41, 60), 3000),
    ],
    ids=["in step", "other files", "backwards", "interleaved", "shuffled", "shuffled over files"],
)
def test_pairs_wherever_the_full_simulation_has_them(tmp_path, monkeypatch, order, ends, kept_bytes):
    monkeypatch.setattr(delphes, "BLOCK_SIZE", "500 B")
    monkeypatch.setattr(delphes, "KEPT_BYTES", kept_bytes)
    fast, full = fast_events(), full_events()
    paths = [write_fast(tmp_path / f"fast{k}.root", chosen(fast, slice(30 * k, 30 * k + 30))) for k in (0, 1)]
    full_paths = [
        write_full(tmp_path / f"full{start}.root", chosen(full, order[start:end]), baskets=3)
        for start, end in pairwise(ends)
    ]
    outputs = run(tmp_path / "out", paths, full_paths, settings(chunk_events=13))
    assert_images(read_all(outputs), full_images_MeV(full), fast_images_MeV(fast))
    assert counts(outputs)["fast_events_without_full_simulation"] == 0
    assert counts(outputs)["full_events_without_fast_simulation"] == 0


def test_full_simulation_in_an_rntuple(tmp_path):
    fast, full = fast_events(), full_events()
    path = tmp_path / "full.root"
    with uproot.recreate(path) as file:
        file.mkrntuple("calotowers", full)
    outputs = run(tmp_path / "out", [write_fast(tmp_path / "fast.root", fast)], [path])
    assert_images(read_all(outputs), full_images_MeV(full), fast_images_MeV(fast))


def test_events_keep_the_order_of_delphes(tmp_path):
    order = SHUFFLED
    fast = write_fast(tmp_path / "fast.root", chosen(fast_events(), order))
    outputs = run(tmp_path / "out", [fast], [write_full(tmp_path / "full.root", full_events())])
    place = {event: place for place, event in enumerate(order.tolist())}
    for split in SPLITS:
        with ShowerFile(outputs[split]) as file:
            places = [place[event] for event in file.read().event.tolist()]
        assert places == sorted(places)
        assert len(places) > 1


def test_files_in_step_are_read_once(tmp_path, monkeypatch):
    monkeypatch.setattr(delphes, "BLOCK_SIZE", "500 B")
    monkeypatch.setattr(delphes, "KEPT_BYTES", 0)
    fast = write_fast(tmp_path / "fast.root", fast_events())
    full = write_full(tmp_path / "full.root", full_events(), baskets=6)
    opened = Counter()
    open_root = delphes.open_root

    @contextmanager
    def counting(path):
        opened[path] += 1
        with open_root(path) as root:
            yield root

    monkeypatch.setattr(delphes, "open_root", counting)
    run(tmp_path / "out", [fast], [full], settings(chunk_events=7))
    assert opened == {fast: 2, full: 1 + 6}  # for the event numbers, then for the towers of each basket


def test_bytes_do_not_depend_on_the_chunk_size(tmp_path):
    fast = write_fast(tmp_path / "fast.root", fast_events())
    full = write_full(tmp_path / "full.root", chosen(full_events(), SHUFFLED), baskets=4)
    contents = []
    for chunk_events in (7, 17, 5000):
        outputs = run(tmp_path / str(chunk_events), [fast], [full], settings(chunk_events=chunk_events))
        contents.append([outputs[split].read_bytes() for split in SPLITS])
    assert contents[0] == contents[1] == contents[2]


@pytest.mark.parametrize("chunk_events", [3, 60])
def test_drops_and_counts_events_without_partner(tmp_path, chunk_events):
    fast, full = fast_events(), full_events(58, first=4)
    paths = [
        write_fast(tmp_path / f"fast{k}.root", chosen(fast, part))
        for k, part in enumerate((slice(0, 2), slice(2, 30), slice(30, 60)))
    ]
    config = settings(source=source(unmatched="drop"), chunk_events=chunk_events)
    outputs = run(tmp_path / "out", paths, [write_full(tmp_path / "full.root", full)], config)
    expected = {event: image for event, image in full_images_MeV(full).items() if event < 60}
    kept = chosen(fast, slice(4, 60))
    assert_images(read_all(outputs), expected, fast_images_MeV(kept))
    outside = np.abs(ak.flatten(kept["Tower.Eta"]).to_numpy()) >= 3
    energy = ak.flatten(kept["Tower.E"]).to_numpy()[outside].sum(dtype=float)
    assert counts(outputs) == {
        "fast_events_without_full_simulation": 4,
        "full_events_without_fast_simulation": 2,
        "towers_outside_grid": outside.sum(),
        "energy_outside_grid_GeV": pytest.approx(energy),
        "towers_without_Eem_and_Ehad": 0,
    }
    record = json.loads(outputs["record"].read_text())
    assert [file["events"] for file in record["files"]] == [2, 28, 30]


def test_entries_are_counted_with_those_left_out(tmp_path):
    fast, full = fast_events(), full_events(50, first=10)
    full["tower_em"], full["tower_had"] = full["tower_em"] * 0, full["tower_had"] * 0
    config = settings(source=source(unmatched="drop"), empty_showers="refuse")
    paths = [write_fast(tmp_path / "fast.root", fast)], [write_full(tmp_path / "full.root", full)]
    with pytest.raises(CaloforgeError, match=r"fast\.root: tree Delphes, entry 10 \(event 10\)"):
        run(tmp_path / "out", *paths, config)


# ---- what it refuses


def refused(tmp_path, fast, full, message, config=None):
    """Ingest must end with `message` in one line and write nothing."""
    paths = [write_fast(tmp_path / "fast.root", fast)] if fast else []
    full_paths = [write_full(tmp_path / "full.root", full)] if full else []
    with pytest.raises(CaloforgeError, match=message) as error:
        run(tmp_path / "out", paths, full_paths, config)
    assert "\n" not in str(error.value)
    assert list((tmp_path / "out").glob("*")) == []


def test_refuses_events_without_partner(tmp_path):
    refused(
        tmp_path,
        fast_events(60),
        full_events(58, first=8),
        r"^8 of 60 events of the fast simulation \(\S+fast\.root: tree Delphes, entry 0 \(event 0\); .*"
        r"entry 4 \(event 4\); …\) and 6 of 58 events of the full simulation "
        r"\(\S+full\.root: tree calotowers, entry 52 \(event 60\); .*\) without partner found, "
        r"expected each event number in both, or source\.unmatched: drop",
    )


def test_refuses_to_shift_events(tmp_path):
    full = full_events()
    full["event"] = full["event"] + 60
    for number, unmatched in enumerate(("refuse", "drop")):
        (tmp_path / str(number)).mkdir()
        refused(
            tmp_path / str(number),
            fast_events(),
            full,
            "60 of 60 events of the fast simulation .* and 60 of 60 events of the full simulation",
            settings(source=source(unmatched=unmatched)),
        )


@pytest.mark.parametrize("unmatched", ["refuse", "drop"])
@pytest.mark.parametrize("side", ["fast", "full"])
def test_refuses_repeated_events(tmp_path, side, unmatched):
    rows = [*range(60), 12]
    fast, full = fast_events(), full_events()
    fast, full = (chosen(fast, rows), full) if side == "fast" else (fast, chosen(full, rows))
    tree = {"fast": "Delphes", "full": "calotowers"}[side]
    refused(
        tmp_path,
        fast,
        full,
        rf"^event number 12 occurs more than once, expected unique numbers in the {side} simulation: "
        rf"\S+{side}\.root: tree {tree}, entry 12 \(event 12\) and \S+{side}\.root: tree {tree}, entry 60 ",
        settings(source=source(unmatched=unmatched), chunk_events=7),
    )


def test_refuses_events_that_two_files_repeat(tmp_path):
    fast = [write_fast(tmp_path / f"{k}.root", fast_events(first=40 * k)) for k in (0, 1)]
    message = (
        r"event number 4\d occurs more than once.*0\.root: tree Delphes, entry 4\d.*1\.root: .*entry \d "
    )
    with pytest.raises(CaloforgeError, match=message):
        run(tmp_path / "out", fast)
    with pytest.raises(CaloforgeError, match=message):
        run(tmp_path / "out", fast, [write_full(tmp_path / "full.root", full_events(100))])


BAD_FAST = {
    "missing branch": (
        lambda c: c.pop("Tower.Eem"),
        r"fast\.root: tree Delphes: no branch Tower\.Eem, did you mean Tower\.E",
    ),
    "one number per event": (
        lambda c: c.update({"Tower.Eta": c["Tower.Eta"][:, 0]}),
        r"tree Delphes, branch Tower\.Eta: type float found, expected a list of numbers per event",
    ),
    "scalar event number": (
        lambda c: c.update({"Event.Number": c["Event.Number"][:, 0]}),
        r"branch Event\.Number: type int64_t found, expected a list of numbers per event",
    ),
    "arrays": (
        lambda c: c.update({"Tower.E": ak.Array(np.zeros((60, 3)))}),
        r"branch Tower\.E: type double\[3\] found, expected a list of numbers per event",
    ),
    "two objects": (
        lambda c: c.update(
            {"Event.Number": ak.concatenate([c["Event.Number"][:5], [[5, 5]], c["Event.Number"][6:]])}
        ),
        r"entry 5, branch Event\.Number: 2 numbers found, expected 1",
    ),
    "no object": (
        lambda c: c.update(
            {"Event.Number": ak.concatenate([c["Event.Number"][:5, :0], c["Event.Number"][5:]])}
        ),
        r"entry 0, branch Event\.Number: 0 numbers found, expected 1",
    ),
    "fractional event number": (
        lambda c: c.update({"Event.Number": c["Event.Number"] + 0.5}),
        r"branch Event\.Number: 0\.5 found, expected a signed 64-bit integer",
    ),
    "lists of different lengths": (
        lambda c: c.update(
            {
                "Tower.Ehad": ak.concatenate(
                    [c["Tower.Ehad"][:7], c["Tower.Ehad"][7:8, 1:], c["Tower.Ehad"][8:]]
                )
            }
        ),
        r"entry 7 \(event 7\), branch Tower\.Ehad: \d+ towers found, expected the \d+ of Tower\.Eta",
    ),
    "NaN eta": (
        lambda c: c.update({"Tower.Eta": spoil(c["Tower.Eta"], 50, 0, np.nan)}),
        r"fast\.root: tree Delphes, entry 50 \(event 50\), branch Tower\.Eta: nan found, expected a finite",
    ),
    "infinite phi": (
        lambda c: c.update({"Tower.Phi": spoil(c["Tower.Phi"], 50, 0, np.inf)}),
        r"entry 50 \(event 50\), branch Tower\.Phi: inf found, expected an angle from -pi to pi",
    ),
    "phi in degrees": (
        lambda c: c.update({"Tower.Phi": c["Tower.Phi"] * 57.3}),
        r"entry 0 \(event 0\), branch Tower\.Phi: \S+ found, expected an angle from -pi to pi \[rad\]",
    ),
    "negative energy": (
        lambda c: c.update({"Tower.Ehad": spoil(c["Tower.Ehad"], 42, 0, -0.5)}),
        r"entry 42 \(event 42\), branch Tower\.Ehad: -0\.5 found, expected a finite energy, not below 0",
    ),
    "NaN energy": (
        lambda c: c.update({"Tower.E": spoil(c["Tower.E"], 0, 0, np.nan)}),
        r"entry 0 \(event 0\), branch Tower\.E: nan found, expected a finite energy",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD_FAST.values(), ids=BAD_FAST)
def test_refuses_bad_delphes(tmp_path, change, message):
    columns = fast_events()
    change(columns)
    refused(tmp_path, columns, None, message, settings(source=ALONE, chunk_events=25))


@pytest.mark.parametrize("name", ["two objects", "fractional event number", "scalar event number", "NaN eta"])
def test_refuses_bad_delphes_in_pairs(tmp_path, name):
    change, message = BAD_FAST[name]
    columns = fast_events()
    change(columns)
    refused(tmp_path, columns, full_events(), message)


BAD_FULL = {
    "missing branch": (
        lambda c: c.pop("tower_had"),
        r"full\.root: tree calotowers: no branch tower_had, ",
    ),
    "list of event numbers": (
        lambda c: c.update(event=c["tower_ieta"]),
        r"tree calotowers, branch event: type int16_t\[\] found, expected one number per event",
    ),
    "one energy per event": (
        lambda c: c.update(tower_em=c["event"]),
        r"branch tower_em: type int64_t found, expected a list of numbers per event",
    ),
    "lists of different lengths": (
        lambda c: c.update(
            tower_had=ak.concatenate([c["tower_had"][:9], [[1, 2] * 30], c["tower_had"][10:]])
        ),
        r"entry 9 \(event 9\), branch tower_had: 60 towers found, expected the \d+ of tower_em",
    ),
    "index above": (
        lambda c: c.update(tower_ieta=spoil(c["tower_ieta"], 31, 0, 6)),
        r"full\.root: tree calotowers, entry 31 \(event 31\), branch tower_ieta: 6 found, "
        r"expected an index from 0 to 5",
    ),
    "index below": (
        lambda c: c.update(tower_iphi=spoil(c["tower_iphi"], 59, 0, -1)),
        r"entry 59 \(event 59\), branch tower_iphi: -1 found, expected an index from 0 to 7",
    ),
    "fractional index": (
        lambda c: c.update(tower_iphi=spoil(c["tower_iphi"], 59, 0, 2.5, np.float64)),
        r"entry 59 \(event 59\), branch tower_iphi: 2\.5 found, expected an index from 0 to 7",
    ),
    "negative energy": (
        lambda c: c.update(tower_em=spoil(c["tower_em"], 31, 0, -1)),
        r"entry 31 \(event 31\), branch tower_em: -1\.0 found, expected a finite energy, not below 0",
    ),
    "infinite energy": (
        lambda c: c.update(tower_had=spoil(c["tower_had"], 31, 0, np.inf)),
        r"entry 31 \(event 31\), branch tower_had: inf found, expected a finite energy",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD_FULL.values(), ids=BAD_FULL)
def test_refuses_bad_full_simulation(tmp_path, monkeypatch, change, message):
    monkeypatch.setattr(delphes, "BLOCK_SIZE", "500 B")
    columns = full_events(seed=8)
    change(columns)
    refused(tmp_path, fast_events(), columns, message)


def test_refuses_empty_and_missing_trees(tmp_path):
    empty = chosen(fast_events(), slice(0, 0))
    refused(tmp_path, empty, None, r"fast\.root: tree Delphes: 0 events found, expected at least 1")
    refused(tmp_path, empty, full_events(), r"fast\.root: tree Delphes: 0 events found")
    empty = chosen(full_events(), slice(0, 0))
    refused(tmp_path, fast_events(), empty, r"full\.root: tree calotowers: 0 events found")
    config = settings(source=source(tree="delphes", full_simulation=None))
    refused(tmp_path, fast_events(), None, r"no tree delphes, did you mean Delphes\?", config)


def test_refuses_a_truncated_full_simulation(tmp_path):
    fast = write_fast(tmp_path / "fast.root", fast_events())
    full = write_full(tmp_path / "full.root", full_events())
    full.write_bytes(full.read_bytes()[:-100])
    with pytest.raises(CaloforgeError, match=r"full\.root: truncated"):
        run(tmp_path / "out", [fast], [full])


# ---- the configuration

ETA_PHI = grid(ETA_EDGES, N_PHI)["layers"][0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"geometry": {"name": "plane", "layers": [{"shape": (6, 8), "cell_size_mm": (1, 1)}]}},
            "geometry.layers: found 1 of the kind cartesian, expected one of the kind eta_phi "
            "with the source format delphes",
        ),
        (
            {"geometry": {"name": "two", "layers": [ETA_PHI, ETA_PHI]}},
            "geometry.layers: found 2 of the kind eta_phi, expected one",
        ),
        ({"conditions": {"px": {"column": "px"}}}, "found conditions, expected none with the source format"),
    ],
)
def test_configuration_is_that_of_collisions(changes, message):
    with pytest.raises(ValidationError, match=message):
        settings(**changes)
