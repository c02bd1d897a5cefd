"""Conditions read off showers, against a network known by hand and numbers from the standard library."""

import json
import math
import statistics
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from caloforge import checkpoint as checkpoints
from caloforge import evaluation
from caloforge.config.base import Settings
from caloforge.config.project import model_settings
from caloforge.config.stages import EvaluationSettings, FigureSettings, SamplingSettings, TrainingSettings
from caloforge.errors import CaloforgeError
from caloforge.evaluation import conditions, evaluate
from caloforge.evaluation.conditions import Readings, Reconstruction
from caloforge.evaluation.samples import Samples
from caloforge.geometry import CartesianLayer, Geometry
from caloforge.models.conditional_wgan.regressor import KIND, RegressorTraining
from caloforge.models.conditional_wgan.settings import ConditionalWGANSettings, RegressorSettings
from caloforge.models.family import Family, build
from caloforge.models.gan3d.networks import Verdict
from caloforge.observables import observe
from caloforge.preprocessing import Preprocessing
from caloforge.reconstruction import reconstruct
from caloforge.showers import Showers, ShowerWriter

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

STACK = Geometry(
    name="stack",
    layers=(
        CartesianLayer(shape=(2, 9), cell_size_mm=(30, 5)),
        CartesianLayer(shape=(4, 4), cell_size_mm=(15, 15)),
    ),
)
UNITS = {"x0": "mm", "y0": "mm"}
THRESHOLD_MEV = 0.1
MEAN, STD = (0.5, 40.0, 1.0), (2.0, 30.0, 3.0)
SAMPLES = ("reference", "generated", "independent")


def preprocessing(inputs, mean=(0.0,), std=(1.0,)):
    """Of cells in GeV."""
    return Preprocessing(
        readout_threshold_MeV=THRESHOLD_MEV,
        power=None,
        scale=1000.0,
        inputs=inputs,
        mean=mean,
        std=std,
        response=(0.01,),
        response_spread=(0.1, 0.0),
        mean_shower=(),
        rare_hit_MeV=0.1,
    )


PREPROCESSING = preprocessing(("y0", "energy", "x0"), MEAN, STD)


class ByHandSettings(Settings):
    reconstructed_inputs: ClassVar[slice] = slice(1, 3)
    family: str = "by_hand"
    width: int = 2


class ByHand(Family):
    """Reads energy and x0 off showers as sums over cells with fixed weights."""

    def __init__(self, settings, geometry, preprocessing):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(geometry.n_cells, settings.width))
        self.dropout = nn.Dropout(0.5)

    product = optimisers = training_step = generate = None

    def reconstruct(self, showers):
        return self.dropout(showers) @ self.weights


@pytest.fixture(autouse=True)
def _by_hand(monkeypatch):
    """A family by hand; of figures only those of reconstructed conditions: drawing takes most of the time."""
    monkeypatch.setitem(sys.modules, "caloforge.models.by_hand.family", SimpleNamespace(FAMILY=ByHand))
    for others in ("single_showers", "observable_figures", "energy_figures"):
        monkeypatch.setattr(evaluation, others, lambda *_: ())


def weights():
    """Such that energy and x0 are found roughly, see `some_showers`."""
    rng = np.random.default_rng(8)
    return np.stack([np.full(34, 100 / 30), rng.normal(0, 4, 34)], axis=1).astype(np.float32)


def some_showers(n, seed, first_event=0):
    rng = np.random.default_rng(seed)
    energy_GeV = rng.uniform(20, 160, n)
    cells = rng.exponential(1, (n, 34))
    cells *= (10 * energy_GeV / cells.sum(axis=1))[:, None] * rng.normal(1, 0.1, (n, 1))
    cells[:, ::5] = rng.uniform(0, 2 * THRESHOLD_MEV, cells[:, ::5].shape)
    return Showers(
        cells.astype(np.float32),
        (1000 * energy_GeV[:, None]).astype(np.float32),
        {name: rng.uniform(-5, 5, n).astype(np.float32) for name in UNITS},
        first_event + np.arange(n),
    )


def write_showers(path, showers, geometry=STACK, units=UNITS):
    with ShowerWriter(path, geometry, units) as writer:
        writer.append(showers)


def write_checkpoint(path, **settings):
    content = {
        "kind": "by_hand",
        "settings": ByHandSettings(**settings).model_dump(mode="json"),
        "geometry": STACK.model_dump(mode="json"),
        "preprocessing": PREPROCESSING.as_dict(),
        "weights": {"weights": torch.from_numpy(weights())},
    }
    checkpoints.save(path, content)


@pytest.fixture
def inputs(tmp_path):
    """Arguments of `reconstruct`: 130 test showers, generated ones for them, 90 independent ones."""
    return write_inputs(tmp_path)


def write_inputs(folder):
    reference, generated, independent = (
        some_showers(n, seed, first) for n, seed, first in ((130, 1, 0), (130, 2, 0), (90, 3, 500))
    )
    scale = generated.incident_energies / reference.incident_energies
    generated = replace(
        generated,
        showers=(generated.showers / scale * 1.1).astype(np.float32),
        incident_energies=reference.incident_energies,
        conditions=reference.conditions,
    )
    for name, showers in zip(SAMPLES, (reference, generated, independent), strict=True):
        write_showers(folder / f"{name}.h5", showers)
    write_checkpoint(folder / "checkpoint.pt")
    (folder / "preprocessing.json").write_text(json.dumps(PREPROCESSING.as_dict()))
    return {
        **{name: folder / f"{name}.h5" for name in SAMPLES},
        "checkpoint": folder / "checkpoint.pt",
        "preprocessing": folder / "preprocessing.json",
        "output": folder / "reconstruction.h5",
        "record": folder / "reconstruct.json",
    }


def run(inputs, batch_size=50):
    reconstruct(ByHandSettings(), SamplingSettings(batch_size=batch_size, device="cpu", threads=1), **inputs)


def expected_values(showers_file):
    """Requested and reconstructed energy [GeV] and x0 [mm], shower by shower and cell by cell."""
    with h5py.File(showers_file) as file:
        cells_MeV, energy_MeV, x0_mm = (
            file[name][:].astype(float) for name in ("showers", "incident_energies", "conditions/x0")
        )
    found, of_cells = [], weights().tolist()
    for shower in cells_MeV.tolist():
        sums = [0.0, 0.0]
        for cell_MeV, of_cell in zip(shower, of_cells, strict=True):
            if cell_MeV > THRESHOLD_MEV:
                for column in (0, 1):
                    sums[column] += cell_MeV / 1000 * of_cell[column]
        found.append((sums[0] * STD[1] + MEAN[1], sums[1] * STD[2] + MEAN[2]))
    return np.stack([energy_MeV[:, 0] / 1000, x0_mm], axis=1), np.array(found)


# The stage


def test_values_are_those_of_the_network_of_the_checkpoint_in_their_own_units(inputs):
    run(inputs)
    with h5py.File(inputs["output"]) as file:
        assert list(file.attrs["names"]) == ["energy", "x0"]
        assert list(file.attrs["labels"]) == ["energy", "x0"]
        assert list(file.attrs["units"]) == ["GeV", "mm"]
        for name in SAMPLES:
            requested, reconstructed = expected_values(inputs[name])
            np.testing.assert_allclose(file[name]["requested"][:], requested, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(file[name]["reconstructed"][:], reconstructed, rtol=1e-4, atol=1e-4)
        assert file["independent/event"][:].tolist() == list(range(500, 590))


def test_the_record_names_inputs_and_counts_showers(inputs):
    run(inputs)
    record = json.loads(inputs["record"].read_text())
    assert record["stage"] == "reconstruct"
    assert len(record["inputs"]) == 5
    assert record["showers"] == {"reference": 130, "generated": 130, "independent": 90}
    assert (record["device"], record["threads"]) == ("cpu", 1)


def test_the_same_inputs_give_the_same_bytes_and_other_blocks_the_same_values(inputs, tmp_path):
    run(inputs)
    first = inputs["output"].read_bytes()
    run(inputs)
    assert inputs["output"].read_bytes() == first
    run(inputs | {"output": tmp_path / "other.h5"}, batch_size=7)
    with h5py.File(inputs["output"]) as one, h5py.File(tmp_path / "other.h5") as other:
        for name in SAMPLES:
            np.testing.assert_allclose(
                one[name]["reconstructed"][:], other[name]["reconstructed"][:], rtol=1e-5
            )


def damaged(name, **columns):
    """An edit of the inputs that puts values into the seventh shower of a file."""

    def damage(inputs):
        with h5py.File(inputs[name], "a") as file:
            for column, value in columns.items():
                values = file[column][:]
                values[6] = value
                file[column][...] = values

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda inputs: write_checkpoint(inputs["checkpoint"], width=3),
            r"checkpoint\.pt: checkpoint of another model: settings\.width is 3, expected 2",
        ),
        (
            lambda inputs: write_showers(
                inputs["generated"], some_showers(5, 1), STACK.model_copy(update={"name": "other"})
            ),
            r"generated\.h5: geometry .*other.*, expected .*stack.* as in .*reference\.h5",
        ),
        (
            lambda inputs: write_showers(
                inputs["independent"], some_showers(5, 1), units={"x0": "cm", "y0": "mm"}
            ),
            r"independent\.h5: units \{'x0': 'cm', .* as in .*reference\.h5",
        ),
        (lambda inputs: inputs["generated"].unlink(), r"generated\.h5: no such file"),
        (
            damaged("reference", **{"conditions/x0": np.nan}),
            r"reference\.h5: event 6: requested x0 is nan, expected a finite number",
        ),
        (
            damaged("generated", showers=np.inf),
            r"generated\.h5: event 6: reconstructed energy is inf, expected a finite number",
        ),
        (
            lambda inputs: inputs["preprocessing"].write_text("{}"),
            r"preprocessing\.json: not a preprocessing file",
        ),
    ],
)
def test_what_cannot_be_used_ends_in_one_line_and_leaves_nothing(inputs, damage, message):
    damage(inputs)
    with pytest.raises(CaloforgeError, match=message) as caught:
        run(inputs)
    assert "\n" not in str(caught.value)
    assert not inputs["output"].exists()
    assert not inputs["record"].exists()
    assert not list(inputs["output"].parent.glob("*.partial"))


# What families say


class OneCell(nn.Module):
    """A discriminator that reads the energy off a single cell."""

    def forward(self, images):
        return Verdict(images[:, 0, 0, 0], images[:, 2, 3, 5], images.sum(dim=(1, 2, 3)))


@pytest.mark.parametrize("family", ["gan3d_conv3d", "gan3d_conv2d"])
def test_discriminators_say_hundreds_of_GeV_in_their_unit_of_cell_energies(family):
    side = 8
    geometry = Geometry(name="box", layers=[{"shape": (side, side), "cell_size_mm": (5, 5), "repeat": side}])
    settings = model_settings({"family": family, "cell_unit_GeV": 0.01, "training": {"epochs": 1}})
    transforms = preprocessing(("energy",))
    gan = build(settings, geometry, transforms)
    gan.discriminator = OneCell()
    showers = torch.rand(3, side**3)
    cell = (5 * side + 2) * side + 3
    assert transforms.inputs[settings.reconstructed_inputs] == ("energy",)
    torch.testing.assert_close(gan.reconstruct(showers), 100 * showers[:, [cell]] / 0.01)


def test_the_regressor_of_the_conditional_wgan_is_in_its_checkpoint(tmp_path):
    geometry = Geometry(name="box", layers=[{"shape": (14, 14), "cell_size_mm": (10, 10)}])
    inputs = ("px", "pz")
    regressor = RegressorSettings(channels=(4, 8, 8), training=TrainingSettings(epochs=1))
    settings = ConditionalWGANSettings(
        family="conditional_wgan", noise=8, channels=(16, 8, 4), regressor=regressor
    )
    trained = RegressorTraining(regressor, geometry, 2)
    content = {"kind": KIND, "settings": regressor.model_dump(mode="json"), "geometry": {}}
    checkpoints.save(
        tmp_path / "regressor.pt", content | {"preprocessing": {}, "weights": trained.state_dict()}
    )
    adopted, loaded = (build(settings, geometry, preprocessing(inputs)) for _ in range(2))
    adopted.adopt(tmp_path / "regressor.pt")
    loaded.load_state_dict(adopted.state_dict())
    showers = torch.rand(5, 196)
    expected = trained.regressor(showers.reshape(5, 14, 14))
    assert inputs[settings.reconstructed_inputs] == inputs
    torch.testing.assert_close(loaded.eval().reconstruct(showers), expected)


def test_other_families_have_no_such_network():
    with pytest.raises(NotImplementedError, match="ByHand reads no inputs"):
        Family.reconstruct(ByHand(ByHandSettings(), STACK, PREPROCESSING), torch.zeros(1, 34))


# The evaluation


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluated")


@pytest.fixture
def evaluated(folder):
    """Arguments of a call of `evaluate` that is done once; for reading only."""
    arguments = {
        "label": "",
        **{name: folder / f"{name}_observables.h5" for name in SAMPLES},
        **{f"{name}_showers": folder / f"{name}.h5" for name in SAMPLES},
        "histories": {},
        "metrics": folder / "metrics.json",
        "figure_directory": folder / "figures",
        "record": folder / "evaluate.json",
        "reconstruction": folder / "reconstruction.h5",
    }
    if not arguments["metrics"].exists():
        run(write_inputs(folder))
        for name in SAMPLES:
            observe(
                folder / f"{name}.h5",
                readout_threshold_MeV=THRESHOLD_MEV,
                output=arguments[name],
                record=folder / f"{name}.json",
            )
        evaluate(SETTINGS, FigureSettings(displays=2), **arguments)
    return arguments


SETTINGS = EvaluationSettings(
    bins=10,
    bootstrap=20,
    reconstructed_energies_GeV=(60, 120, 300),
    regular_grid={"shape_half_width_GeV": 2, "window_showers": 30},
    classifiers={"use": ()},
)


def numbers(evaluated):
    return json.loads(evaluated["metrics"].read_text())["samples"]


def test_bias_and_resolution_agree_with_the_standard_library(evaluated):
    found = numbers(evaluated)
    for column, (name, unit) in enumerate((("energy", "GeV"), ("x0", "mm"))):
        for kind, sample in (("generated", "generated"), ("floor", "independent")):
            requested, reconstructed = expected_values(evaluated[f"{sample}_showers"])
            residuals = (reconstructed - requested)[:, column].tolist()
            for number, expected in (
                ("bias", statistics.mean(residuals)),
                ("resolution", statistics.stdev(residuals)),
            ):
                entry = found[f"reconstructed_{name}_{number}"]
                assert entry[kind]["value"] == pytest.approx(expected, rel=1e-4, abs=1e-4)
                assert entry["unit"] == unit
        bias = found[f"reconstructed_{name}_bias"]["generated"]
        spread = found[f"reconstructed_{name}_resolution"]["generated"]["value"]
        assert bias["error"] == pytest.approx(spread / math.sqrt(130), rel=0.5)
        note = found[f"reconstructed_{name}_bias"]["note"]
        assert note.startswith("all showers; 130 fully simulated, 130 generated, 90 independent showers; of ")
    assert found["reconstructed_energy_bias"]["generated"]["value"] > 0


def moments_at(showers_file, centre_GeV, half_width_GeV):
    """Number, mean and standard deviation of the energies [GeV] scaled to the centre of a window."""
    requested, reconstructed = expected_values(showers_file)
    scaled = [
        float(found * centre_GeV / asked)
        for asked, found in zip(requested[:, 0], reconstructed[:, 0], strict=True)
        if abs(asked - centre_GeV) <= half_width_GeV
    ]
    return len(scaled), statistics.mean(scaled), statistics.stdev(scaled)


@pytest.mark.parametrize("centre_GeV", [60, 120])
def test_ratios_at_one_energy_agree_with_a_loop_over_the_window(evaluated, centre_GeV):
    found = numbers(evaluated)
    width_GeV = 2
    while moments_at(evaluated["reference_showers"], centre_GeV, width_GeV)[0] < 30:
        width_GeV *= 2
    counts, mean, deviation = moments_at(evaluated["reference_showers"], centre_GeV, width_GeV)
    for kind, sample in (("generated", "generated"), ("floor", "independent")):
        others, other_mean, other_deviation = moments_at(
            evaluated[f"{sample}_showers"], centre_GeV, width_GeV
        )
        for number, expected in (("mean", other_mean / mean), ("width", other_deviation / deviation)):
            entry = found[f"reconstructed_energy_{number}_ratio_{centre_GeV}GeV"]
            assert entry[kind]["value"] == pytest.approx(expected, rel=1e-3)
            assert entry[kind]["error"] > 0
    assert entry["note"] == (
        f"{centre_GeV} ± {width_GeV} GeV; {counts} fully simulated, {counts} generated, "
        f"{others} independent showers"
    )
    assert not [name for name in found if "300GeV" in name]


LABELS = {
    "reconstructed_energy.svg": ["Requested energy [GeV]", "Bias [GeV]", "Resolution [GeV]"],
    "reconstructed_x0.svg": ["Requested x0 [mm]", "Bias [mm]", "Full simulation (130 showers)"],
    "reconstructed_energies.svg": [
        "Reconstructed energy at 60 GeV [GeV]",
        "Reconstructed energy at 120 GeV [GeV]",
        "Showers per bin",
    ],
}


def test_figures_have_a_section_of_their_own_and_labelled_axes(evaluated):
    index = json.loads((evaluated["figure_directory"] / "index.json").read_text())
    section = "Requested and reconstructed conditions"
    assert [entry["file"] for entry in index if entry["section"] == section] == [
        "reconstructed_energy.svg",
        "reconstructed_x0.svg",
        "reconstructed_energies.svg",
    ]
    for file, labels in LABELS.items():
        content = (evaluated["figure_directory"] / file).read_text()
        assert [label for label in labels if f"<!-- {label}" not in content] == [], file


def test_the_record_of_the_evaluation_names_the_file(evaluated):
    record = json.loads(evaluated["record"].read_text())
    assert str(evaluated["reconstruction"]) in record["inputs"]


def readings(requested, reconstructed, first_event=0):
    requested, reconstructed = (np.array(values, float).T for values in (requested, reconstructed))
    return Readings(first_event + np.arange(len(requested)), requested, reconstructed)


def of_samples(names, units, samples):
    return Reconstruction("reconstruction.h5", names, names, units, Samples(*samples))


def test_logarithms_of_the_energy_are_compared_as_energies(monkeypatch):
    """Energies twice and three times too high: ratios of the means 1.5, of the widths as well."""
    drawn = []
    monkeypatch.setattr(conditions.conditions, "energies", drawn.append)
    rng = np.random.default_rng(0)
    energy_GeV, smeared = np.full(50, 100.0), rng.normal(1, 0.05, 50)
    samples = [
        readings([np.log(energy_GeV)], [np.log(factor * energy_GeV * smeared)]) for factor in (2, 3, 2)
    ]
    reconstruction = of_samples(("log(energy)",), ("1",), samples)
    found, _ = conditions.compare(EvaluationSettings(bootstrap=10), reconstruction)
    for number in ("mean", "width"):
        entry = found[f"reconstructed_energy_{number}_ratio_100GeV"]
        assert entry["generated"]["value"] == pytest.approx(1.5)
        assert entry["floor"]["value"] == pytest.approx(1)
    assert found["reconstructed_log_energy_bias"]["generated"]["value"] == pytest.approx(
        math.log(3) + np.log(smeared).mean()
    )
    (panels,) = drawn
    np.testing.assert_allclose(panels[100], (200 * smeared, 300 * smeared))


@pytest.mark.parametrize("log_x", [True, False])
def test_bias_and_resolution_in_tenths_of_the_showers(monkeypatch, log_x):
    """Against showers sorted and dealt by hand; the axis is that on which the tenths are more alike."""
    drawn = []
    monkeypatch.setattr(
        conditions.conditions, "bias_and_resolution", lambda *a, **text: drawn.append((a, text))
    )
    rng = np.random.default_rng(0)
    asked = np.exp(rng.uniform(0, 5, 200)) if log_x else rng.uniform(1, 100, 200)
    samples = [readings([asked], [asked * rng.normal(1.1, 0.2, 200)]) for _ in range(3)]
    conditions.compare(
        EvaluationSettings(bootstrap=10, reconstructed_energies_GeV=()),
        of_samples(("energy",), ("GeV",), samples),
    )
    (((bias, resolution, edges), text),) = drawn
    assert (text["label"], text["unit"], text["log_x"]) == ("energy", "GeV", log_x)
    assert edges[0] == asked.min()
    order = np.argsort(asked).tolist()
    for sample, means, deviations in zip(samples[:2], bias, resolution, strict=True):
        for part in range(10):
            rows = order[20 * part : 20 * part + 20]
            residuals = [sample.reconstructed[row, 0] - sample.requested[row, 0] for row in rows]
            assert means.value[part] == pytest.approx(statistics.mean(residuals))
            assert means.error[part] == pytest.approx(statistics.stdev(residuals) / math.sqrt(20))
            assert deviations.value[part] == pytest.approx(statistics.stdev(residuals))
        assert means.n == deviations.n == 200


def test_inputs_without_an_energy_or_that_do_not_vary_have_fewer_figures():
    rng = np.random.default_rng(0)
    slope, particle = rng.normal(0, 1, 40), np.full(40, 11.0)
    sample = readings([slope, particle], [slope + 0.1, particle])
    reconstruction = of_samples(("px/pz", "pdg"), ("1", "1"), [sample] * 3)
    found, drawn = conditions.compare(EvaluationSettings(bootstrap=10), reconstruction)
    assert sorted(found) == [
        f"reconstructed_{name}_{number}"
        for name in ("pdg", "px_over_pz")
        for number in ("bias", "resolution")
    ]
    assert found["reconstructed_px_over_pz_bias"]["generated"]["value"] == pytest.approx(0.1)
    assert [entry.file for entry in drawn] == ["reconstructed_px_over_pz.svg"]


def test_a_network_that_always_says_the_same_has_no_ratio_of_widths():
    energy_GeV = np.full(40, 100.0)
    sample = readings([energy_GeV], [2 * energy_GeV])
    found, _ = conditions.compare(
        EvaluationSettings(bootstrap=10), of_samples(("energy",), ("GeV",), [sample] * 3)
    )
    assert found["reconstructed_energy_mean_ratio_100GeV"]["generated"]["value"] == pytest.approx(1)
    assert found["reconstructed_energy_width_ratio_100GeV"]["generated"]["value"] is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_text("no HDF5"), "not a readable file of reconstructed conditions"),
        (lambda path: delete(path, "generated/requested"), "not a readable file of reconstructed conditions"),
        (lambda path: shift_events(path, "generated"), "events of generated are not those of .*reference_"),
        (lambda path: shift_events(path, "reference"), "events of full are not those of .*reference_"),
    ],
)
def test_a_reconstruction_of_something_else_is_refused(evaluated, tmp_path, damage, message):
    path = tmp_path / "reconstruction.h5"
    path.write_bytes(evaluated["reconstruction"].read_bytes())
    damage(path)
    outputs = {name: tmp_path / name for name in ("metrics", "figure_directory", "record")}
    with pytest.raises(CaloforgeError, match=rf"reconstruction\.h5: {message}") as caught:
        evaluate(SETTINGS, FigureSettings(), **evaluated | outputs | {"reconstruction": path})
    assert "\n" not in str(caught.value)
    assert not [file for file in outputs.values() if file.exists()]


def delete(path, name):
    with h5py.File(path, "a") as file:
        del file[name]


def shift_events(path, sample):
    with h5py.File(path, "a") as file:
        file[sample]["event"][...] += 1
