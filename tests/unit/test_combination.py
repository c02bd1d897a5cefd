import json

import numpy as np
import pytest

from caloforge.combination import combine
from caloforge.config.dataset import CombinedDataset
from caloforge.errors import CaloforgeError
from caloforge.geometry import Geometry
from caloforge.showers import ShowerFile, Showers, ShowerWriter

LAYER = {"shape": (2, 3), "cell_size_mm": (10, 10)}
SIZES = {"train": (40, 10), "val": (4, 3), "test": (8, 5)}


def settings(**changes):
    return CombinedDataset.model_validate(
        {
            "source": {"format": "root_cells", "files": ["unused"]},
            "geometry": {"name": "box", "layers": [LAYER]},
            "conditions": {"pz": {"column": "pz", "unit": "GeV"}},
            "readout_threshold_MeV": 0.5,
            "combine": ["electrons", "photons"],
        }
        | changes
    )


def write_part(folder, number, layer=LAYER):
    """Showers that tell which event of which part they are: cells of number + 1 MeV, energies by event."""
    folder.mkdir()
    for split, sizes in SIZES.items():
        n = sizes[number]
        energy_GeV = np.arange(n, dtype=np.float32) + 1
        with ShowerWriter(
            folder / f"{split}.h5", Geometry(name="box", layers=[layer]), {"pz": "GeV"}
        ) as writer:
            writer.append(
                Showers(
                    np.full((n, 6), number + 1, np.float32),
                    1000 * energy_GeV[:, None],
                    {"pz": energy_GeV / 2},
                    100 + np.arange(n),
                )
            )
    files = [{"file": f"{folder.name}.root", "events": 60 + number, "geant4_cpu_s_per_event": 1.0 + number}]
    record = {"inputs": {f"{folder.name}.root": "digest"}, "files": files, "paired_files": []}
    (folder / "ingest.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def parts(tmp_path):
    return {name: write_part(tmp_path / name, number) for number, name in enumerate(("electrons", "photons"))}


def run(folder, parts, config=None):
    folder.mkdir(exist_ok=True)
    outputs = {split: folder / f"{split}.h5" for split in SIZES}
    combine(config or settings(), name="both", parts=parts, **outputs, record=folder / "ingest.json")
    showers = {}
    for split, path in outputs.items():
        with ShowerFile(path) as file:
            showers[split] = file.read()
    return showers, json.loads((folder / "ingest.json").read_text())


def test_every_event_stays_in_its_split_with_its_energies(tmp_path, parts):
    showers, record = run(tmp_path / "both", parts)
    for split, (electrons, photons) in SIZES.items():
        expected = {(2 * (100 + i), 1.0) for i in range(electrons)} | {
            (2 * (100 + i) + 1, 2.0) for i in range(photons)
        }
        found = showers[split]
        assert set(zip(found.event.tolist(), found.showers[:, 0].tolist(), strict=True)) == expected
        assert np.array_equal(found.incident_energies[:, 0], 1000 * (found.event // 2 - 100 + 1))
        assert np.array_equal(found.conditions["pz"], found.incident_energies[:, 0] / 2000)
    assert record["events"] == {"train": 50, "val": 7, "test": 13}
    assert [file["file"] for file in record["files"]] == ["electrons.root", "photons.root"]
    assert record["inputs"]["photons.root"] == "digest"
    assert record["geant4_cpu_s_per_event"] == pytest.approx((60 * 1 + 61 * 2) / 121)
    assert record["summary"]["incident_energy_GeV"] == [1, 40]


def test_parts_alternate_also_across_blocks(tmp_path, parts):
    showers, _ = run(tmp_path / "both", parts, settings(chunk_events=7))
    photon = showers["train"].event % 2
    assert photon.sum() == 10
    assert np.all(np.convolve(photon, np.ones(10), "valid") <= 3)
    assert np.all(np.convolve(photon, np.ones(10), "valid") >= 1)
    for part in (0, 1):
        own = showers["train"].event[photon == part]
        assert np.array_equal(own, np.sort(own))


def test_selection_takes_the_lower_and_leaves_the_upper_limit(tmp_path, parts):
    one = {"electrons": parts["electrons"]}
    low, _ = run(tmp_path / "low", one, settings(combine=["electrons"], select={"energy": [0, 3]}))
    rest, record = run(tmp_path / "high", one, settings(combine=["electrons"], select={"pz": [1.5, 99]}))
    for split in SIZES:
        assert np.array_equal(low[split].event, [100, 101])
        assert np.array_equal(rest[split].event, 102 + np.arange(SIZES[split][0] - 2))
    assert record["settings"]["select"] == {"pz": [1.5, 99]}


def test_pairs_keep_their_fast_images(tmp_path):
    layer = {"kind": "eta_phi", "eta_edges": [-1, 0, 1], "n_phi": 3}
    parts = {}
    for number, name in enumerate(("dijet", "wjet")):
        parts[name] = write_part(tmp_path / name, number, layer)
        for split, sizes in SIZES.items():
            with ShowerWriter(
                parts[name] / f"{split}.h5", Geometry(name="box", layers=[layer]), {}, paired=True
            ) as writer:
                event = np.arange(sizes[number])
                image = np.full((len(event), 6), number, np.float32)
                writer.append(Showers(image, image[:, :1], {}, event, image + event[:, None] + 10))
    config = settings(
        combine=["dijet", "wjet"],
        source={"format": "delphes", "files": ["unused"], "full_simulation": {"files": ["unused"]}},
        geometry={"name": "box", "layers": [layer]},
        conditions={},
    )
    showers, _ = run(tmp_path / "both", parts, config)
    found = showers["test"]
    assert np.array_equal(found.reference[:, 0], found.event % 2 + found.event // 2 + 10)


def test_refuses_an_empty_split_and_leaves_nothing(tmp_path, parts):
    with pytest.raises(
        CaloforgeError, match=r"both: split val: 0 events found with 5 <= energy < 9, expected"
    ):
        run(tmp_path / "none", parts, settings(select={"energy": [5, 9]}))
    assert not list((tmp_path / "none").iterdir())


def test_refuses_parts_of_different_calorimeters(tmp_path, parts):
    other = write_part(tmp_path / "other", 1, {"shape": (3, 2), "cell_size_mm": (10, 10)})
    with pytest.raises(
        CaloforgeError, match=r"other/train\.h5: its geometry differs from that of .*electrons"
    ):
        run(tmp_path / "both", {"electrons": parts["electrons"], "other": other})
