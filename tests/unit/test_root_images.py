import json

import numpy as np
import pytest
import uproot
from pydantic import ValidationError
from uproot.writing.identify import to_TAxis, to_TH2x

from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.ingest import ingest
from caloforge.ingest.split import SPLITS
from caloforge.showers import ShowerFile

ETA_EDGES = [-3.0, -1.5, -0.5, 0.0, 1.5, 3.0]
N_PHI = 4
EDGES = (np.array(ETA_EDGES), np.linspace(-np.pi, np.pi, N_PHI + 1))


def settings(**changes):
    jets = {
        "source": source(),
        "geometry": {
            "name": "grid",
            "layers": [{"kind": "eta_phi", "eta_edges": ETA_EDGES, "n_phi": N_PHI}],
        },
        "split": {"train": 0.6, "val": 0.2, "test": 0.2},
        "readout_threshold_MeV": 1,
    }
    return DatasetSettings.model_validate(jets | changes)


def source(**changes):
    return {"format": "root_images", "files": ["unused"], "full_files": ["unused"]} | changes


def run(directory, fast, full, config=None):
    outputs = {split: directory / f"{split}.h5" for split in SPLITS} | {"record": directory / "ingest.json"}
    ingest(config or settings(), name="jets", files=fast, paired=full, **outputs)
    return outputs


def read_all(outputs):
    """Event number to (image, incident energy, reference), from the three files."""
    found = {}
    for split in SPLITS:
        with ShowerFile(outputs[split]) as file:
            showers = file.read()
        for row, event in enumerate(showers.event.tolist()):
            found[event] = showers.showers[row], showers.incident_energies[row, 0], showers.reference[row]
    return found


def th2f(image, flow=0.0, edges=EDGES):
    """A TH2F: ROOT stores the bins of x fastest, each axis with an underflow and an overflow."""
    bins = np.full((image.shape[1] + 2, image.shape[0] + 2), flow, dtype=np.float32)
    bins[1:-1, 1:-1] = image.T
    axes = [
        to_TAxis(name, "", len(at) - 1, at[0], at[-1], np.asarray(at, dtype=float))
        for name, at in zip(("xaxis", "yaxis"), edges, strict=True)
    ]
    sums = [0.0] * 8
    return to_TH2x("image", "", bins.ravel(), *sums, np.array([]), *axes)


def write(path, images, name="DQMData/calo_image_{}", **options):
    """A file with the images, by their numbers."""
    with uproot.recreate(path) as file:
        for number, image in images.items():
            file[name.format(number)] = th2f(image, **options)
    return path


def images(numbers, seed):
    """Images of random hits, and half of the pixels empty, by number: float32, exact in MeV."""
    rng = np.random.default_rng(seed)
    return {
        number: (rng.integers(0, 4000, (5, N_PHI)) * (rng.random((5, N_PHI)) < 0.5)).astype(np.float32) / 8
        for number in numbers
    }


def assert_pairs(found, fast, full, number_minus_fast=1, MeV=1.0):
    for event, (image, incident, reference) in found.items():
        np.testing.assert_allclose(image, full[event + number_minus_fast].ravel() * MeV, rtol=1e-6)
        np.testing.assert_allclose(reference, fast[event].ravel() * MeV, rtol=1e-6)
        assert incident == pytest.approx(fast[event].sum() * MeV)


def test_full_image_k_plus_1_belongs_to_fast_image_k(tmp_path):
    fast, full = images(range(40), 1), images(range(1, 41), 2)
    paths = [write(tmp_path / "fast.root", fast, flow=7.5)], [write(tmp_path / "full.root", full, flow=9)]
    outputs = run(tmp_path / "out", *paths)
    found = read_all(outputs)
    assert sorted(found) == list(range(40))
    assert_pairs(found, fast, full)
    record = json.loads(outputs["record"].read_text())
    assert record["summary"]["counts"] == {
        "fast_events_without_full_simulation": 0,
        "full_events_without_fast_simulation": 0,
    }
    assert [file["events"] for file in record["files"]] == [40]


def test_pixels_are_where_numpy_puts_the_hits(tmp_path):
    rng = np.random.default_rng(4)
    hits = {
        k: (rng.uniform(-3, 3, 50), rng.uniform(-np.pi, np.pi, 50), rng.exponential(5, 50)) for k in range(20)
    }
    filled = {
        k: np.histogram2d(eta, phi, bins=EDGES, weights=energy)[0] for k, (eta, phi, energy) in hits.items()
    }
    path = tmp_path / "fast.root"
    with uproot.recreate(path) as file:
        for k, image in filled.items():
            file[f"DQMData/calo_image_{k}"] = (image, *EDGES)
    full = write(tmp_path / "full.root", images(range(1, 21), 2))
    for _, _, reference in read_all(run(tmp_path / "out", [path], [full])).values():
        assert reference.any()
    for event, (_, _, reference) in read_all(run(tmp_path / "out", [path], [full])).items():
        for i in range(5):
            for j in range(N_PHI):
                eta, phi, energy = hits[event]
                inside = (ETA_EDGES[i] <= eta) & (eta < ETA_EDGES[i + 1])
                inside &= (EDGES[1][j] <= phi) & (phi < EDGES[1][j + 1])
                assert reference[i * N_PHI + j] == pytest.approx(energy[inside].sum())


def test_names_units_numbers_and_several_files(tmp_path):
    fast, full = images(range(12), 1), images(range(100, 112), 2)
    order = np.random.default_rng(5).permutation(12).tolist()
    fast_paths = [
        write(tmp_path / f"fast{k}.root", {n: fast[n] for n in order[k::2]}, "e_{}_image") for k in (0, 1)
    ]
    full_paths = [
        write(tmp_path / f"full{k}.root", {100 + n: full[100 + n] for n in order[k::3]}, "e_{}_image")
        for k in (2, 0, 1)
    ]
    config = settings(
        source=source(images="e_*_image", full_number_minus_fast=100, cell_energy_unit="GeV"), chunk_events=5
    )
    found = read_all(run(tmp_path / "out", fast_paths, full_paths, config))
    assert sorted(found) == list(range(12))
    assert_pairs(found, fast, full, 100, 1000)


def test_events_come_by_number_and_bytes_do_not_depend_on_the_chunk_size(tmp_path):
    # names with and without leading zeros; as text, 10 would come before 9
    fast, full = images(range(30), 1), images(range(1, 31), 2)
    paths = [write(tmp_path / "fast.root", {f"{n:03d}": fast[n] for n in reversed(range(30))})]
    full_paths = [write(tmp_path / "full.root", full)]
    contents = []
    for chunk_events in (7, 30):
        outputs = run(tmp_path / str(chunk_events), paths, full_paths, settings(chunk_events=chunk_events))
        contents.append([outputs[split].read_bytes() for split in SPLITS])
        for split in SPLITS:
            with ShowerFile(outputs[split]) as file:
                events = file.read().event.tolist()
            assert events == sorted(events)
    assert contents[0] == contents[1]
    assert_pairs(read_all(outputs), fast, full)


@pytest.mark.parametrize("chunk_events", [4, 100])
def test_drops_and_counts_images_without_partner(tmp_path, chunk_events):
    fast, full = images(range(40), 1), images(range(6, 44), 2)
    paths = [write(tmp_path / "fast.root", fast)], [write(tmp_path / "full.root", full)]
    config = settings(source=source(unmatched="drop"), chunk_events=chunk_events)
    outputs = run(tmp_path / "out", *paths, config)
    found = read_all(outputs)
    assert sorted(found) == list(range(5, 40))
    assert_pairs(found, fast, full)
    assert json.loads(outputs["record"].read_text())["summary"]["counts"] == {
        "fast_events_without_full_simulation": 5,
        "full_events_without_fast_simulation": 3,
    }


# ---- what it refuses


def refused(tmp_path, fast, full, message, config=None):
    with pytest.raises(CaloforgeError, match=message) as error:
        run(tmp_path / "out", [fast], [full], config)
    assert "\n" not in str(error.value)
    assert list((tmp_path / "out").glob("*")) == []


def test_refuses_images_that_are_off_by_one(tmp_path):
    fast = write(tmp_path / "fast.root", images(range(20), 1))
    full = write(tmp_path / "full.root", images(range(20), 2))
    refused(
        tmp_path,
        fast,
        full,
        r"^1 of 20 events of the fast simulation \(\S+fast\.root: histograms DQMData/calo_image_\*, entry 19 "
        r"\(event 19\)\) and 1 of 20 events of the full simulation "
        r"\(\S+full\.root: .*, entry 0 \(event -1\)\) without partner found",
    )
    run(tmp_path / "out", [fast], [full], settings(source=source(full_number_minus_fast=0)))


def test_refuses_a_number_twice(tmp_path):
    full = write(tmp_path / "full.root", images(range(1, 21), 2))
    twice = {str(n): image for n, image in images(range(20), 1).items()}
    twice["07"] = twice["7"]
    fast = write(tmp_path / "fast.root", twice)
    refused(
        tmp_path, fast, full, r"event number 7 occurs more than once.* in the fast simulation: .*entry 8 "
    )
    parts = [write(tmp_path / f"{k}.root", images(range(15 * k, 20), 1)) for k in (0, 1)]
    with pytest.raises(
        CaloforgeError, match=r"event number 15 .*0\.root: .*entry 15 .* and .*1\.root: .*entry 0"
    ):
        run(tmp_path / "out", parts, [full])


BAD_PIXELS = {"nan": np.nan, "inf": np.inf, r"-0\.5": -0.5}


@pytest.mark.parametrize("side", ["fast", "full"])
@pytest.mark.parametrize("text", BAD_PIXELS)
def test_refuses_energies_that_no_pixel_can_have(tmp_path, side, text):
    sides = {"fast": images(range(20), 1), "full": images(range(1, 21), 2)}
    number = {"fast": 4, "full": 5}[side]
    sides[side][number][2, 3] = BAD_PIXELS[text]
    paths = [write(tmp_path / f"{name}.root", made) for name, made in sides.items()]
    message = (
        rf"{side}\.root: histogram DQMData/calo_image_{number} \(event 4\), pixel \(2, 3\): {text} found, "
        r"expected a finite energy, not below 0"
    )
    refused(tmp_path, *paths, message)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ((EDGES[0], np.linspace(-np.pi, np.pi, 6)), "y axis: 5 bins found, expected 4 in phi"),
        ((np.linspace(-3, 3, 6), EDGES[1]), r"x axis: edge -1\.8 found, expected -1\.5 in eta"),
        ((EDGES[0] + 0.002, EDGES[1]), r"x axis: edge -2\.998 found, expected -3 in eta"),
        ((EDGES[0], EDGES[1] + np.pi), r"y axis: edge 0 found, expected -3\.14159 in phi"),
    ],
)
def test_refuses_other_axes(tmp_path, edges, message):
    shape = len(edges[0]) - 1, len(edges[1]) - 1
    fast = write(tmp_path / "fast.root", {k: np.ones(shape) for k in range(20)}, edges=edges)
    full = write(tmp_path / "full.root", images(range(1, 21), 2))
    refused(tmp_path, fast, full, rf"fast\.root: histogram DQMData/calo_image_0 \(event 0\), {message}")


def test_takes_axes_that_are_rounded(tmp_path):
    fast, full = images(range(20), 1), images(range(1, 21), 2)
    edges = EDGES[0] + 0.0005, np.round(EDGES[1], 3)
    found = read_all(
        run(
            tmp_path / "out",
            [write(tmp_path / "fast.root", fast, edges=edges)],
            [write(tmp_path / "full.root", full)],
        )
    )
    assert_pairs(found, fast, full)


def test_refuses_files_without_images(tmp_path):
    full = write(tmp_path / "full.root", images(range(1, 21), 2))
    other = write(tmp_path / "other.root", images(range(20), 1), "DQMData/calo_picture_{}")
    refused(tmp_path, other, full, r"other\.root: no histogram DQMData/calo_image_\*, ")
    other = write(tmp_path / "other.root", images(range(20), 1), "Data/calo_image_{}")
    refused(tmp_path, other, full, r"other\.root: no folder DQMData, ")
    other = tmp_path / "line.root"
    with uproot.recreate(other) as file:
        for k in range(20):
            file[f"DQMData/calo_image_{k}"] = np.histogram([1, 2])
    refused(tmp_path, other, full, r"calo_image_0 \(event 0\): TH1D found, expected a TH2")


def test_refuses_a_damaged_image(tmp_path):
    fast = write(tmp_path / "fast.root", images(range(20), 1))
    full = write(tmp_path / "full.root", images(range(1, 21), 2))
    with uproot.open(full) as file:
        key = file["DQMData"].key("calo_image_9")
        start, end = key.data_cursor.index, key.data_cursor.index + key.data_compressed_bytes
    content = bytearray(full.read_bytes())
    content[start:end] = b"\x07" * (end - start)
    full.write_bytes(content)
    refused(tmp_path, fast, full, r"full\.root: damaged, cannot be read as ROOT")


@pytest.mark.parametrize("pattern", ["calo_image", "*/calo_image_*", "DQM*/calo_image"])
def test_name_of_the_images_has_one_star(pattern):
    with pytest.raises(ValidationError, match="images"):
        settings(source=source(images=pattern))
