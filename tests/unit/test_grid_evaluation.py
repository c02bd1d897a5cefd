"""Evaluation of stacks and of regular grids against loops over showers and cells."""

import json

import numpy as np
import pytest

from caloforge import evaluation
from caloforge.config.stages import EvaluationSettings, FigureSettings
from caloforge.errors import CaloforgeError
from caloforge.evaluation import evaluate
from caloforge.evaluation.grid import core_cells
from caloforge.evaluation.grid_sample import SPECTRUM_EDGES_MEV, Selection, gather
from caloforge.evaluation.observables import read_observables
from caloforge.figures.album import save_album
from caloforge.geometry import CartesianLayer, Geometry
from caloforge.observables import observe
from caloforge.showers import Showers, ShowerWriter

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

GRID = Geometry(
    name="grid", layers=(CartesianLayer(shape=(12, 12), cell_size_mm=(5, 5), thickness_mm=6, repeat=10),)
)
STACK = Geometry(
    name="stack",
    layers=(
        CartesianLayer(shape=(2, 9), cell_size_mm=(30, 5), label="front"),
        CartesianLayer(shape=(4, 4), cell_size_mm=(15, 15), label="middle"),
        CartesianLayer(shape=(2, 3), cell_size_mm=(30, 20), label="back"),
    ),
)
THRESHOLD_MEV = 0.1
SETTINGS = EvaluationSettings(bins=10, bootstrap=10, classifiers={"use": ()})
AXES = {"x": 2, "y": 3, "z": 1}
"""Axes of showers of shape (n, layers, nx, ny)."""


@pytest.fixture(autouse=True, scope="module")
def _quick_album():
    """List all figures in drawn.json but save only those in `LABELS`: saving takes most of the time."""

    def save(drawn, directory, label):
        (directory.parent / "drawn.json").write_text(json.dumps([entry.file for entry in drawn]))
        save_album([entry for entry in drawn if entry.file in LABELS], directory, label)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "save_album", save)
        yield


def energies_MeV(n, seed):
    return np.random.default_rng(seed).uniform(50e3, 450e3, n).astype(np.float32)


def some_showers(geometry, energy_MeV, seed):
    """Showers that are brightest in the middle, with every third cell empty and some below the threshold."""
    rng = np.random.default_rng(seed)
    if geometry is GRID:
        z, x, y = np.indices((10, 12, 12))
        shape = np.exp(-np.hypot(x - 5.2, y - 5.9) / 2 - (z - 4) ** 2 / 10).ravel()
    else:
        shape = np.full(geometry.n_cells, 0.1)
    showers = rng.exponential(shape, (len(energy_MeV), geometry.n_cells)) * energy_MeV[:, None] / 1e4
    return np.where(rng.random(showers.shape) < 1 / 3, 0, showers).astype(np.float32)


def write(directory, name, geometry, energy_MeV, showers, first_event=0):
    with ShowerWriter(directory / f"{name}.h5", geometry, {"energy": "GeV"}) as writer:
        events = first_event + np.arange(len(showers))
        writer.append(
            Showers(showers.astype(np.float32), energy_MeV[:, None], {"energy": energy_MeV / 1e3}, events)
        )
    observe(
        directory / f"{name}.h5",
        readout_threshold_MeV=THRESHOLD_MEV,
        output=directory / f"{name}_observables.h5",
        record=directory / f"{name}.json",
    )


def evaluated(directory, geometry, energy_MeV, full, generated, independent_MeV, independent, **grid):
    """Evaluate showers and return the metrics."""
    write(directory, "test", geometry, energy_MeV, full)
    write(directory, "samples", geometry, energy_MeV, generated)
    write(directory, "train", geometry, independent_MeV, independent, first_event=1000)
    write(directory, "val", geometry, independent_MeV[::2], independent[::2], first_event=2000)
    settings = SETTINGS.model_copy(
        update={"regular_grid": SETTINGS.regular_grid.model_copy(update=grid)} if grid else {}
    )
    evaluate(settings, FigureSettings(displays=2, dpi=50), **arguments(directory))
    return json.loads((directory / "metrics.json").read_text())


def arguments(directory):
    return {
        "label": "",
        "generated": directory / "samples_observables.h5",
        "reference": directory / "test_observables.h5",
        "independent": directory / "train_observables.h5",
        "generated_showers": directory / "samples.h5",
        "reference_showers": directory / "test.h5",
        "independent_showers": directory / "train.h5",
        "training_showers": directory / "train.h5",
        "validation_showers": directory / "val.h5",
        "histories": {},
        "metrics": directory / "metrics.json",
        "figure_directory": directory / "figures",
        "record": directory / "evaluate.json",
    }


def slices(showers, axis):
    """Energy per slice of each shower after the threshold, cell by cell."""
    grid = showers.reshape(-1, 10, 12, 12)
    sums = np.zeros((len(grid), grid.shape[AXES[axis]]))
    for index in zip(*np.nonzero(grid > THRESHOLD_MEV), strict=True):
        sums[index[0], index[AXES[axis]]] += float(grid[index])
    return sums


def ks(full, fast):
    p, q = (sums.mean(axis=0) / sums.mean(axis=0).sum() for sums in (full, fast))
    return max(abs(sum(p[:k]) - sum(q[:k])) for k in range(1, len(p) + 1))


def mean_squared_difference(full, fast):
    unit = np.mean([shower[shower > THRESHOLD_MEV].sum(dtype=float) for shower in full]) / 1000
    terms = []
    for axis in AXES:
        for p, q in zip(slices(full, axis).T, slices(fast, axis).T, strict=True):
            terms.append(((p.mean() - q.mean()) / unit) ** 2)
    return np.mean(terms)


def moments(showers, axis):
    found = []
    for row in slices(showers, axis):
        place = np.arange(1, len(row) + 1)
        mean = np.average(place, weights=row)
        found.append((mean, np.average((place - mean) ** 2, weights=row)))
    return np.mean(found, axis=0)


@pytest.fixture(scope="module")
def biased(tmp_path_factory):
    """Directory, showers and metrics of a sample that is 20 % too bright in the last layers; for reading."""
    directory = tmp_path_factory.mktemp("biased")
    energy_MeV, independent_MeV = energies_MeV(60, 1), energies_MeV(50, 2)
    full, independent = some_showers(GRID, energy_MeV, 3), some_showers(GRID, independent_MeV, 4)
    generated = some_showers(GRID, energy_MeV, 5)
    generated[:, 144 * 6 :] *= 1.2
    metrics = evaluated(
        directory,
        GRID,
        energy_MeV,
        full,
        generated,
        independent_MeV,
        independent,
        shape_energies_GeV=(200, 600),
        shape_half_width_GeV=10,
        window_showers=20,
        core_energy_GeV=300,
        core_half_width_GeV=40,
    )
    return directory, (energy_MeV / 1e3, independent_MeV / 1e3), (full, generated, independent), metrics


def within(energy_GeV, centre_GeV, half_width_GeV):
    return np.abs(energy_GeV - centre_GeV) <= half_width_GeV


def widened(energy_GeV, centre_GeV, half_width_GeV):
    while np.sum(within(energy_GeV, centre_GeV, half_width_GeV)) < 20:
        half_width_GeV *= 2
    return half_width_GeV


def test_shapes_agree_with_loops(biased):
    _, _, (full, generated, independent), metrics = biased
    samples = metrics["samples"]
    for kind, fast in (("generated", generated), ("floor", independent)):
        assert samples["profile_mse"][kind]["value"] == pytest.approx(
            mean_squared_difference(full, fast), rel=1e-4
        )
        for axis in AXES:
            found = samples[f"profile_ks_{axis}"][kind]
            assert found["value"] == pytest.approx(ks(slices(full, axis), slices(fast, axis)), rel=1e-3)
            assert found["error"] > 0
        errors = [abs(moments(fast, axis) / moments(full, axis) - 1) for axis in AXES]
        assert samples["moment_error"][kind]["value"] == pytest.approx(np.mean(errors), rel=1e-3)
    assert samples["profile_ks_z"]["generated"]["value"] > samples["profile_ks_z"]["floor"]["value"]
    assert samples["profile_mse"]["unit"] == "‰²"
    assert samples["profile_mse"]["note"].endswith("60 fully simulated, 60 generated, 50 independent showers")


def test_shapes_at_one_energy_are_those_of_the_widened_window(biased):
    _, (energy_GeV, independent_GeV), (full, generated, independent), metrics = biased
    width_GeV = widened(energy_GeV, 200, 10)
    assert width_GeV > 10
    rows, independent_rows = (within(values, 200, width_GeV) for values in (energy_GeV, independent_GeV))
    for axis in AXES:
        number = metrics["samples"][f"profile_ks_{axis}_200GeV"]
        reference = slices(full[rows], axis)
        for kind, fast in (("generated", generated[rows]), ("floor", independent[independent_rows])):
            assert number[kind]["value"] == pytest.approx(ks(reference, slices(fast, axis)), rel=1e-3)
        assert number["note"] == (
            f"200 ± {width_GeV:g} GeV; {rows.sum()} fully simulated, {rows.sum()} generated, "
            f"{independent_rows.sum()} independent showers"
        )
    assert not [name for name in metrics["samples"] if "600GeV" in name]


def test_core_ratios_agree_with_loops(biased):
    _, (energy_GeV, independent_GeV), (full, generated, independent), metrics = biased
    rows = within(energy_GeV, 300, widened(energy_GeV, 300, 40))
    independent_rows = within(independent_GeV, 300, widened(energy_GeV, 300, 40))
    visible = np.where(full > THRESHOLD_MEV, full, 0).reshape(-1, 10, 144).sum(axis=(0, 2))
    middle = round(float(visible @ np.arange(10) / visible.sum()))
    for kind, fast in (("generated", generated[rows]), ("floor", independent[independent_rows])):
        means, deviations = [], []
        for z in range(middle - 3, middle + 4):
            for x in range(3, 10):
                for y in range(3, 10):
                    cell = (z * 12 + x) * 12 + y
                    p, q = (
                        np.where(cells > THRESHOLD_MEV, cells, 0).astype(float)
                        for cells in (full[rows, cell], fast[:, cell])
                    )
                    means.append(q.mean() / p.mean())
                    deviations.append(q.std() / p.std())
        for name, ratios in (("core_mean_ratio", means), ("core_std_ratio", deviations)):
            assert metrics["samples"][name][kind]["value"] == pytest.approx(np.mean(ratios), rel=1e-4)


def test_the_core_is_that_of_the_paper_in_its_grid():
    layer = CartesianLayer(shape=(25, 25), cell_size_mm=(5, 5), repeat=25)
    shower = np.zeros((25, 625))
    shower[3] = 1
    assert core_cells(Geometry(name="paper", layers=(layer,)), shower.ravel()) == (slice(9, 16),) * 3
    layer = CartesianLayer(shape=(12, 9), cell_size_mm=(5, 5), repeat=30)
    shower = np.zeros((30, 108))
    shower[20] = 1
    found = core_cells(Geometry(name="other", layers=(layer,)), shower.ravel())
    assert found == (slice(17, 24), slice(3, 10), slice(1, 8))
    shower[:] = 0
    shower[29] = 1
    found = core_cells(Geometry(name="other", layers=(layer,)), shower.ravel())
    assert found[0] == slice(23, 30)


LABELS = {
    "single_shower_0.svg": ["Along z", "Depth [mm]", "x [mm]", "Energy [MeV]", "Full simulation"],
    "single_shower_1.svg": ["Along x", "y [mm]", "Generated"],
    "shower_in_space.svg": ["Depth [mm]", "x [mm]", "y [mm]", "Energy per cell [MeV]"],
    "average_shower.svg": ["Mean energy [MeV]", "Generated /", "Ratio"],
    "shape_x.svg": ["Position along x [mm]", "Mean energy per slice [MeV]"],
    "shape_y_log.svg": ["Position along y [mm]", "Mean energy per slice [MeV]"],
    "shape_z.svg": ["Depth [mm]", "Mean energy per slice [MeV]"],
    "longitudinal_shapes.svg": ["Depth [mm]", "Mean energy per layer [MeV]"],
    "cell_energies.svg": ["Energy of a cell [MeV]", "Cells per shower and bin"],
    "core_response.svg": [
        "Mean energy of a cell,",
        "Standard deviation of the energy of a cell,",
        "Cells per bin",
    ],
    "similarity.svg": ["Structural similarity (SSIM)", "Pairs per bin"],
}


def test_figures_are_listed_and_their_axes_labelled(biased):
    figures = biased[0] / "figures"
    index = json.loads((figures / "index.json").read_text())
    listed = {entry[kind] for entry in index for kind in ("file", "data")}
    assert listed | {"index.json"} == {file.name for file in figures.iterdir()}
    assert LABELS.keys() <= {entry["file"] for entry in index}
    for file, labels in LABELS.items():
        content = (figures / file).read_text()
        assert [label for label in labels if f"<!-- {label}" not in content] == [], file


def test_showers_of_other_primaries_only_change_numbers_of_one_energy(tmp_path):
    """The same showers in another order: equal as a sample, also in the core if all energies count."""
    energy_MeV = energies_MeV(40, 1)
    full = some_showers(GRID, energy_MeV, 3)
    order = np.random.default_rng(0).permutation(40)
    samples = evaluated(tmp_path, GRID, energy_MeV, full, full[order], energy_MeV, full, window_showers=40)[
        "samples"
    ]
    for name in ("profile_mse", "moment_error", *(f"profile_ks_{axis}" for axis in AXES)):
        for kind in ("generated", "floor"):
            assert samples[name][kind]["value"] == pytest.approx(0, abs=1e-6)
    for name in ("core_mean_ratio", "core_std_ratio"):
        assert samples[name]["generated"]["value"] == pytest.approx(1)
    assert "40 fully simulated" in samples["core_mean_ratio"]["note"]


def similarity_by_hand(first, second, data_range):
    """Windows of 11 by 11 cells with a Gaussian of 1.5 cells, layer by layer."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    weights /= weights.sum()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    found = []
    for p, q in zip(first, second, strict=True):
        for x in range(5, p.shape[0] - 5):
            for y in range(5, p.shape[1] - 5):
                a, b = (image[x - 5 : x + 6, y - 5 : y + 6].astype(float) for image in (p, q))
                m, n = (weights * a).sum(), (weights * b).sum()
                variances = (weights * (a - m) ** 2).sum() + (weights * (b - n) ** 2).sum()
                covariance = (weights * (a - m) * (b - n)).sum()
                found.append((2 * m * n + c1) * (2 * covariance + c2) / (m**2 + n**2 + c1) / (variances + c2))
    return np.mean(found)


def test_similarities_of_samples_that_repeat_one_shower(tmp_path):
    energy_MeV = np.full(12, 1e5, np.float32)
    full, generated = some_showers(GRID, energy_MeV[:1], 1), some_showers(GRID, energy_MeV[:1], 2)
    samples = evaluated(
        tmp_path,
        GRID,
        energy_MeV,
        np.repeat(full, 12, axis=0),
        np.repeat(generated, 12, axis=0),
        energy_MeV[:9],
        np.repeat(full, 9, axis=0),
        ssim_range_MeV=2,
    )["samples"]
    within, between = samples["ssim_within"], samples["ssim_between"]
    assert [within[kind]["value"] for kind in ("generated", "floor")] == pytest.approx([1, 1])
    assert between["floor"]["value"] == pytest.approx(1)
    assert within["note"] == "4 pairs, all energies, L = 2 MeV; of the reference 1.0000 ± 0.0000"
    images = [np.where(cells > THRESHOLD_MEV, cells, 0).reshape(10, 12, 12) for cells in (full, generated)]
    assert between["generated"]["value"] == pytest.approx(similarity_by_hand(*images, 2), abs=1e-5)
    assert between["generated"]["error"] == pytest.approx(0, abs=1e-9)


def test_an_empty_generated_sample_has_defined_numbers_and_all_figures(tmp_path):
    energy_MeV = energies_MeV(30, 1)
    full = some_showers(GRID, energy_MeV, 3)
    metrics = evaluated(tmp_path, GRID, energy_MeV, full, 0 * full, energy_MeV, full)
    samples = metrics["samples"]
    for name, value in {
        "profile_ks_x": 1,
        "profile_ks_z_200GeV": 1,
        "moment_error": 1,
        "core_mean_ratio": 0,
        "core_std_ratio": 0,
        "ssim_within": 1,
    }.items():
        assert samples[name]["generated"]["value"] == pytest.approx(value), name
    assert samples["profile_mse"]["generated"]["value"] == pytest.approx(
        mean_squared_difference(full, 0 * full), rel=1e-4
    )
    assert metrics["observables"]["width_x_mm"]["generated"]["ks"]["value"] is None
    assert LABELS.keys() <= {file.name for file in (tmp_path / "figures").iterdir()}


def test_showers_that_were_not_observed_are_named(biased, tmp_path):
    directory, _, (full, generated, _), _ = biased
    write(tmp_path, "samples", GRID, energies_MeV(60, 1), generated, first_event=7)
    mixed = arguments(directory) | {
        "generated_showers": tmp_path / "samples.h5",
        "metrics": tmp_path / "metrics.json",
        "figure_directory": tmp_path / "figures",
        "record": tmp_path / "evaluate.json",
    }
    with pytest.raises(CaloforgeError, match=r"samples\.h5: its events are not those of .*samples_observ"):
        evaluate(SETTINGS, FigureSettings(), **mixed)
    assert not (tmp_path / "metrics.json").exists()
    assert not (tmp_path / "figures").exists()
    write(tmp_path, "samples", GRID, energies_MeV(61, 1), np.append(generated, full[:1], axis=0))
    with pytest.raises(CaloforgeError, match=r"samples\.h5: holds 61 showers, expected 60"):
        evaluate(SETTINGS, FigureSettings(), **mixed)


def test_gathered_showers_are_those_selected(biased):
    """More showers than a block holds, some rows of them, cell by cell."""
    directory, (energy_GeV, _), (full, *_), _ = biased
    repeats = 8
    many = np.tile(full, (repeats, 1))
    energy_MeV = np.tile(energy_GeV * 1e3, repeats).astype(np.float32)
    write(directory, "many", GRID, energy_MeV, many)
    rows = np.sort(np.random.default_rng(1).choice(len(many), 100, replace=False))
    in_core, picked = np.arange(100) % 3 == 1, np.arange(100) % 7 == 2
    core = slice(2, 9), slice(3, 10), slice(0, 7)
    observables = read_observables(directory / "many_observables.h5")
    sample = gather(directory / "many.h5", observables, Selection(rows, in_core, picked), core)
    chosen = many[rows]
    for found, axis in zip(sample.slices_MeV, "xyz", strict=True):
        np.testing.assert_allclose(found, slices(chosen, axis), rtol=1e-5)
    kept = np.where(chosen > THRESHOLD_MEV, chosen, 0).reshape(-1, 10, 12, 12)
    np.testing.assert_array_equal(sample.picked_MeV, kept[picked])
    np.testing.assert_array_equal(sample.core_MeV, kept[in_core][:, 2:9, 3:10, 0:7].reshape(-1, 343))
    np.testing.assert_allclose(sample.energy_GeV, energy_MeV[rows] / 1e3)
    counts = np.array([np.histogram(shower, SPECTRUM_EDGES_MEV)[0] for shower in chosen])
    np.testing.assert_allclose(sample.spectrum.value, counts.mean(axis=0))
    np.testing.assert_allclose(sample.spectrum.error, counts.std(axis=0, ddof=1) / 10, atol=1e-12)


def test_stacks_are_drawn_layer_by_layer_and_layers_without_hits_left_out(tmp_path):
    energy_MeV, independent_MeV = energies_MeV(30, 1), energies_MeV(30, 2)
    full, generated, independent = (
        some_showers(STACK, energies, seed)
        for energies, seed in ((energy_MeV, 1), (energy_MeV, 2), (independent_MeV, 3))
    )
    full[:, -6:] = 0
    metrics = evaluated(tmp_path, STACK, energy_MeV, full, generated, independent_MeV, independent)
    of_grids = ("profile", "moment", "core", "ssim")
    assert not [name for name in metrics["samples"] if name.startswith(of_grids)]
    none = {"value": None, "error": None}
    assert metrics["observables"]["layer2_energy_MeV"]["generated"]["ks"] == none
    assert metrics["observables"]["layer1_energy_MeV"]["generated"]["ks"]["value"] > 0
    figures = set(json.loads((tmp_path / "drawn.json").read_text()))
    assert {"single_shower_0.svg", "single_shower_1.svg", "average_shower.svg"} <= figures
    assert "distribution_layer1_energy_MeV.svg" in figures
    assert not {"distribution_layer2_energy_MeV.svg", "shape_x.svg", "shower_in_space.svg"} & figures
    for name in ("single_shower_0.svg", "average_shower.svg"):
        content = (tmp_path / "figures" / name).read_text()
        for label in ("Layer 0 (front)", "Layer 2 (back)", "x [mm]", "y [mm]"):
            assert f"<!-- {label}" in content
