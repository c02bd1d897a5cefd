import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from caloforge import checkpoint as checkpoints
from caloforge.config.stages import GridSettings, SamplingSettings, TrainingSettings
from caloforge.errors import CaloforgeError
from caloforge.geometry import Geometry
from caloforge.models.conditional_wgan.settings import ConditionalWGANSettings, RegressorSettings
from caloforge.models.family import build
from caloforge.preprocessing import Preprocessing
from caloforge.sampling import sample
from caloforge.sampling_parts import merge_samples
from caloforge.showers import ShowerFile, Showers, ShowerWriter

GEOMETRY = Geometry(name="box", layers=[{"shape": (14, 14), "cell_size_mm": (10, 10)}])
UNITS = {"px": "GeV", "py": "GeV", "pz": "GeV"}
MODEL = ConditionalWGANSettings(
    family="conditional_wgan",
    noise=8,
    channels=(16, 8, 4),
    regressor=RegressorSettings(channels=(4, 8, 8), training=TrainingSettings(epochs=1)),
)
PREPROCESSING = Preprocessing(
    0.5, 0.0, 1.0, ("log(energy)", "px/pz"), (0.0, 0.0), (1.0, 1.0), (0.2,), (0.1, 0.0), (), 0.0
)


@pytest.fixture
def trained(tmp_path):
    torch.manual_seed(0)
    (tmp_path / "preprocessing.json").write_text(json.dumps(PREPROCESSING.as_dict()))
    save(tmp_path / "checkpoint.pt")
    rng = np.random.default_rng(0)
    with ShowerWriter(tmp_path / "test.h5", GEOMETRY, UNITS) as writer:
        writer.append(
            Showers(
                np.zeros((50, 196), np.float32),
                rng.uniform(1000, 9000, (50, 1)).astype(np.float32),
                {name: rng.uniform(1, 2, 50).astype(np.float32) for name in UNITS},
                1000 + np.arange(50),
            )
        )
    return tmp_path


def save(path, geometry=GEOMETRY, preprocessing=PREPROCESSING, model=MODEL, kind="conditional_wgan"):
    checkpoints.save(
        path,
        {
            "kind": kind,
            "settings": model.model_dump(mode="json"),
            "geometry": geometry.model_dump(mode="json"),
            "preprocessing": preprocessing.as_dict(),
            "weights": build(model, geometry, PREPROCESSING).state_dict(),
        },
    )


def inputs(folder):
    return {
        "checkpoint": folder / "checkpoint.pt",
        "preprocessing": folder / "preprocessing.json",
        "test": folder / "test.h5",
    }


def run(folder, *, seed=1, output="samples.h5", grid=None):
    sample(
        MODEL,
        SamplingSettings(batch_size=16, device="cpu"),
        **inputs(folder),
        seed=seed,
        output=folder / output,
        record=folder / "sample.json",
        grid=grid and GridSettings(**grid),
    )
    with ShowerFile(folder / output) as file:
        return file.read()


def test_every_shower_of_the_test_set_gets_a_partner(trained):
    generated = run(trained)
    with ShowerFile(trained / "test.h5") as file:
        requested = file.read()
    np.testing.assert_array_equal(generated.event, requested.event)
    np.testing.assert_array_equal(generated.incident_energies, requested.incident_energies)
    for name in UNITS:
        np.testing.assert_array_equal(generated.conditions[name], requested.conditions[name])
    assert generated.showers.shape == (50, 196)
    assert generated.showers.max() > 0
    empty = generated.showers == 0
    assert (generated.showers[~empty] > 0.5).all()


def test_showers_are_those_of_the_generator(trained):
    """The first portion, put through the network by hand."""
    from caloforge.seeds import derive_seed

    generated = run(trained)
    network = build(MODEL, GEOMETRY, PREPROCESSING)
    network.load_state_dict(torch.load(trained / "checkpoint.pt", weights_only=True)["weights"])
    energy_GeV = torch.from_numpy(generated.incident_energies[:16, 0] / 1000)
    slope = torch.from_numpy(generated.conditions["px"] / generated.conditions["pz"])[:16]
    rng = torch.Generator().manual_seed(derive_seed(1, "sample", 0))
    noise = torch.randn(16, 8, generator=rng)
    with torch.no_grad():
        images = network.eval().generator(noise, torch.stack([energy_GeV.log(), slope], dim=1)).flatten(1)
    expected = torch.where(images > 0, 0.5 * images.exp(), 0)
    np.testing.assert_allclose(generated.showers[:16], expected, rtol=2e-4)


def test_bytes_depend_on_the_seed_alone(trained):
    for output, seed in (("a.h5", 1), ("b.h5", 1), ("c.h5", 2)):
        run(trained, seed=seed, output=output)
    a, b, c = ((trained / name).read_bytes() for name in ("a.h5", "b.h5", "c.h5"))
    assert a == b
    assert a != c


def run_part(folder, jobs, part):
    made = {"output": folder / f"part{part}.h5", "record": folder / f"part{part}.json"}
    settings = SamplingSettings(batch_size=16, device="cpu", jobs=jobs)
    sample(MODEL, settings, **inputs(folder), seed=1, part=part, **made)
    return made


def merge(folder, made):
    merge_samples(
        SamplingSettings(batch_size=16, device="cpu", jobs=len(made)),
        **inputs(folder),
        seed=1,
        parts=[part["output"] for part in made],
        records=[part["record"] for part in made],
        output=folder / "merged.h5",
        record=folder / "merged.json",
    )


@pytest.mark.parametrize("jobs", [1, 3, 4, 7])  # of 4 portions
def test_parts_put_together_are_the_whole(trained, jobs):
    run(trained)
    made = [run_part(trained, jobs, part) for part in range(jobs)]
    merge(trained, made)
    assert (trained / "merged.h5").read_bytes() == (trained / "samples.h5").read_bytes()
    whole, merged, *parts = (
        json.loads(path.read_text())
        for path in (trained / "sample.json", trained / "merged.json", *(part["record"] for part in made))
    )
    assert whole.keys() == merged.keys()
    same = ("stage", "inputs", "seed", "device", "threads", "batch_size", "showers", "flop_per_shower")
    assert {key: merged[key] for key in same} == {key: whole[key] for key in same}
    assert sum(part["showers"] for part in parts) == merged["showers"] == 50
    generation_s = sum(part["generation_s"] for part in parts)
    assert merged["generation_s"] == pytest.approx(generation_s)
    assert merged["ms_per_shower"] == pytest.approx(1000 * generation_s / 50)
    assert merged["time_s"]["cpu"] > sum(part["time_s"]["cpu"] for part in parts)


def test_a_part_of_another_checkpoint_is_refused(trained):
    made = [run_part(trained, 2, 0)]
    torch.manual_seed(1)
    save(trained / "checkpoint.pt")
    made.append(run_part(trained, 2, 1))
    with pytest.raises(CaloforgeError, match=r"part0\.json: made from another checkpoint"):
        merge(trained, made)
    assert not (trained / "merged.h5").exists()


def test_a_grid_gives_every_combination(trained):
    generated = run(trained, grid={"values": {"px": [0, 3], "py": [0], "pz": [4, 10]}, "repeats": 5})
    assert len(generated) == 20
    np.testing.assert_array_equal(generated.conditions["px"], np.repeat([0, 0, 3, 3], 5))
    np.testing.assert_array_equal(generated.conditions["pz"], np.repeat([4, 10, 4, 10], 5))
    momentum_MeV = np.repeat([4000, 10000, 5000, np.hypot(3000, 10000)], 5)
    np.testing.assert_allclose(generated.incident_energies[:, 0], momentum_MeV, rtol=1e-6)


def test_a_grid_may_state_the_energy(trained):
    generated = run(trained, grid={"values": {"px": [0], "py": [0], "pz": [4], "energy": [1, 2]}})
    np.testing.assert_array_equal(generated.incident_energies[:, 0], [1000, 2000])


def test_a_model_for_pairs_needs_pairs(trained):
    paired = replace(PREPROCESSING, power=None, scale=1000.0, inputs=("reference",))
    (trained / "preprocessing.json").write_text(json.dumps(paired.as_dict()))
    with pytest.raises(CaloforgeError, match=r"test\.h5: no data set reference, expected images of the fast"):
        run(trained)
    assert not (trained / "samples.h5").exists()


def test_an_incomplete_grid_is_refused(trained):
    with pytest.raises(CaloforgeError, match=r"grid\.values: no py, pz"):
        run(trained, grid={"values": {"px": [1]}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "calogan"}, "checkpoint of a calogan found, expected one of a conditional_wgan"),
        (
            {"model": MODEL.model_copy(update={"noise": 9})},
            r"checkpoint of another model: settings\.noise is 9, expected 8",
        ),
        (
            {"geometry": GEOMETRY.model_copy(update={"name": "other"})},
            r"checkpoint of another model: geometry\.name is 'other', expected 'box'",
        ),
        (
            {
                "preprocessing": Preprocessing(
                    0.5, 0.5, 1.0, ("px", "pz"), (0.0, 0.0), (1.0, 1.0), (0.2,), (0.1, 0.0), (), 0.0
                )
            },
            r"checkpoint of another model: preprocessing\.inputs",
        ),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(trained, change, message):
    save(trained / "checkpoint.pt", **change)
    with pytest.raises(CaloforgeError, match=r"checkpoint\.pt: " + message):
        run(trained)
    assert not (trained / "samples.h5").exists()


def test_the_record_says_how_long_a_shower_of_the_test_set_takes(trained):
    run(trained)
    record = json.loads((trained / "sample.json").read_text())
    assert record["showers"] == 50
    assert record["batch_size"] == 16
    assert record["ms_per_shower"] == pytest.approx(1000 * record["generation_s"] / 50)
    run(trained, grid={"values": {"px": [0], "py": [0], "pz": [4]}})
    of_grid = json.loads((trained / "sample.json").read_text())
    assert record.keys() - of_grid.keys() == {"generation_s", "ms_per_shower", "flop_per_shower"}
