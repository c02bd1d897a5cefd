"""Attribute traversals through sampling and figures, with a family whose showers are known by hand."""

import json

import numpy as np
import pytest
import torch

from caloforge import sampling
from caloforge.config.stages import FigureSettings, SamplingSettings, TraversalSettings
from caloforge.errors import CaloforgeError
from caloforge.evaluation.observables import read_observables
from caloforge.evaluation.traversals import traversal_figures
from caloforge.figures.style import figure_style
from caloforge.geometry import CartesianLayer, Geometry
from caloforge.observables import observe
from caloforge.preprocessing import Preprocessing
from caloforge.sampling import sample
from caloforge.showers import ShowerFile, Showers, ShowerWriter

IMAGE = Geometry(
    name="image",
    layers=(CartesianLayer(shape=(6, 5), cell_size_mm=(20, 20)),),
    radiation_length_mm=16,
    critical_energy_MeV=10,
)
STACK = Geometry(
    name="stack",
    layers=(
        CartesianLayer(shape=(2, 8), cell_size_mm=(60, 10), label="front"),
        CartesianLayer(shape=(4, 4), cell_size_mm=(20, 20), label="middle"),
        CartesianLayer(shape=(3, 2), cell_size_mm=(30, 40), label="back"),
    ),
)
GRID = Geometry(
    name="grid", layers=(CartesianLayer(shape=(5, 4), cell_size_mm=(5, 5), thickness_mm=6, repeat=12),)
)
UNITS = {"px": "GeV", "py": "GeV", "pz": "GeV", "x0": "mm", "y0": "mm"}
THRESHOLD_MEV = 0.5
STEPS = {"px": (-3, 0, 4), "x0": (-20, 15)}
AT = {"py": 1, "pz": 20}


class Planar(torch.nn.Module):
    """Cell v has E / GeV + (v + 1) px / pz + x0 / 10 mm + z in MeV, or 0, with uniform noise z per cell."""

    def __init__(self, n_cells):
        super().__init__()
        self.n_cells = n_cells

    def generate(self, inputs, rng):
        noise = torch.rand(len(inputs), self.n_cells, generator=rng)
        energy, slope, x0 = inputs.T[:, :, None]
        cells_MeV = energy + torch.arange(1, self.n_cells + 1) * slope + x0 / 10 + noise
        return cells_MeV.clip(min=0) / 1000


class Model:
    def model_dump(self, **_):
        return {"family": "planar"}


@pytest.fixture
def traversed(tmp_path, monkeypatch):
    """Sample traversals of a geometry from a test set of five showers."""

    def run(geometry=STACK, units=UNITS, seed=1, batch_size=4, output="traversals.h5", **settings):
        inputs = ("energy", "px/pz", "x0") if "px" in units else ("energy", "energy", "energy")
        preprocessing = Preprocessing(
            THRESHOLD_MEV, None, 1000.0, inputs, (0.0,) * 3, (1.0,) * 3, (0.2,), (0.1, 0.0), (), 0.0
        )
        (tmp_path / "preprocessing.json").write_text(json.dumps(preprocessing.as_dict()))
        conditions = {name: np.float32([5, 1, 4, 2, 3]) + at for at, name in enumerate(units)}
        with ShowerWriter(tmp_path / "test.h5", geometry, units) as writer:
            energies_MeV = np.float32([[60e3], [10e3], [20e3], [50e3], [40e3]])
            cells_MeV = np.ones((5, geometry.n_cells), np.float32)
            writer.append(Showers(cells_MeV, energies_MeV, conditions, np.arange(5)))
        monkeypatch.setattr(sampling, "load_model", lambda *_: Planar(geometry.n_cells))
        sample(
            Model(),
            SamplingSettings(batch_size=batch_size, device="cpu", threads=1),
            checkpoint=tmp_path / "preprocessing.json",
            preprocessing=tmp_path / "preprocessing.json",
            test=tmp_path / "test.h5",
            seed=seed,
            output=tmp_path / output,
            record=tmp_path / "traversals.json",
            traversals=TraversalSettings(**settings),
        )
        with ShowerFile(tmp_path / output) as file:
            return file.read()

    return run


def observed(tmp_path):
    observe(
        tmp_path / "test.h5",
        readout_threshold_MeV=THRESHOLD_MEV,
        output=tmp_path / "observables.h5",
        record=tmp_path / "observe.json",
    )
    return read_observables(tmp_path / "observables.h5")


def drawn(tmp_path, **settings):
    with figure_style(FigureSettings(dpi=50)):
        figures = [
            *traversal_figures(TraversalSettings(**settings), tmp_path / "traversals.h5", observed(tmp_path))
        ]
        for entry in figures:
            entry.figure.savefig(tmp_path / entry.file)
    return {entry.file: entry for entry in figures}


def test_steps_follow_each_other_at_the_stated_point(traversed):
    showers = traversed(steps=STEPS, at=AT, repeats=3)
    px = [-3] * 3 + [0] * 3 + [4] * 3 + [3] * 6  # 3 is the median of the test set
    np.testing.assert_array_equal(showers.conditions["px"], px)
    np.testing.assert_array_equal(showers.conditions["py"], [1] * 15)
    np.testing.assert_array_equal(showers.conditions["pz"], [20] * 15)
    np.testing.assert_array_equal(showers.conditions["x0"], [6] * 9 + [-20] * 3 + [15] * 3)
    expected_MeV = [1000 * (x**2 + 1 + 400) ** 0.5 for x in px]
    np.testing.assert_allclose(showers.incident_energies[:, 0], expected_MeV, rtol=1e-6)
    np.testing.assert_array_equal(showers.event, np.arange(15))


def test_every_step_has_the_same_noise(traversed):
    """Ten showers per step in portions of four: what the conditions leave over is the same everywhere."""
    showers = traversed(steps=STEPS, at=AT, repeats=10)
    slope = showers.conditions["px"] / showers.conditions["pz"]
    mean = showers.incident_energies / 1000 + np.arange(1, STACK.n_cells + 1) * slope[:, None]
    noise = (showers.showers - mean - showers.conditions["x0"][:, None] / 10).reshape(5, 10, -1)
    for step in noise[1:]:
        np.testing.assert_allclose(step, noise[0], atol=2e-5)
    assert len(np.unique(noise[0].round(4), axis=0)) == 10
    assert (noise > -1e-4).all()
    assert (noise < 1 + 1e-4).all()


def test_bytes_depend_on_the_seed_alone(traversed, tmp_path):
    for output, seed in (("a.h5", 1), ("b.h5", 1), ("c.h5", 2)):
        traversed(steps=STEPS, seed=seed, output=output)
    a, b, c = ((tmp_path / name).read_bytes() for name in ("a.h5", "b.h5", "c.h5"))
    assert a == b
    assert a != c


def test_the_energy_is_stepped_where_nothing_else_gives_it(traversed):
    showers = traversed(units={"charge": "1"}, steps={"energy": (20, 50), "charge": (-1, 1)}, repeats=2)
    np.testing.assert_array_equal(showers.incident_energies[:, 0], np.repeat([20e3, 50e3, 40e3, 40e3], 2))
    np.testing.assert_array_equal(showers.conditions["charge"], np.repeat([3, 3, -1, 1], 2))


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"steps": {"energy": (1, 2)}}, "energy"),
        ({"steps": {"px": (1, 2)}, "at": {"y": 0, "z": 1}}, "y, z"),
    ],
)
def test_unknown_conditions_are_refused(traversed, tmp_path, settings, found):
    with pytest.raises(
        CaloforgeError, match=f"traversals: found {found}, expected some of px, py, pz, x0, y0"
    ):
        traversed(**settings)
    assert not (tmp_path / "traversals.h5").exists()


def maps_of(figure, columns):
    axes = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    return np.array(axes).reshape(-1, columns)


def image(axes):
    """The cells that a map shows, in the order of a flattened layer."""
    return np.ma.getdata(axes.collections[0].get_array()).T.ravel()


def test_figures_show_means_and_differences(traversed, tmp_path):
    showers = traversed(steps=STEPS, at=AT | {"x0": -190}, repeats=3)
    read_out = np.where(showers.showers > THRESHOLD_MEV, showers.showers, 0).astype(float)
    assert 0.1 < np.mean(read_out == 0) < 0.9
    figures = drawn(tmp_path, steps=STEPS, at=AT, repeats=3)
    assert list(figures) == ["traversal_px.svg", "traversal_px_difference.svg", "traversal_x0.svg"]
    means = [[read_out[3 * step + np.arange(3), cell].mean() for cell in range(38)] for step in range(5)]
    middle = np.array(means[1])
    for file, expected in (
        ("traversal_px.svg", means[:3]),
        ("traversal_px_difference.svg", [mean - middle for mean in means[:3]]),
        ("traversal_x0.svg", means[3:]),
    ):
        maps = maps_of(figures[file].figure, len(expected))
        for column, cells in zip(maps.T, expected, strict=True):
            shown = np.concatenate([image(axes) for axes in column])
            np.testing.assert_allclose(shown, cells, rtol=1e-6, atol=1e-6)
        assert [axes.get_ylabel().splitlines()[0] for axes in maps[:, 0]] == [
            "Layer 0 (front)",
            "Layer 1 (middle)",
            "Layer 2 (back)",
        ]
    titles = [axes.get_title() for axes in maps_of(figures["traversal_px.svg"].figure, 3)[0]]
    assert titles == ["px = −3 GeV", "px = 0 GeV", "px = 4 GeV"]
    assert figures["traversal_px.svg"].caption.endswith("py = 1 GeV, pz = 20 GeV, x0 = −190 mm, y0 = 7 mm.")


def test_layers_of_different_size_are_to_scale(traversed, tmp_path):
    traversed(steps=STEPS, repeats=1)
    figure = drawn(tmp_path, steps=STEPS, repeats=1)["traversal_px.svg"].figure
    for axes in maps_of(figure, 3).flat:
        assert axes.get_xlim() == (-60, 60)
        assert axes.get_ylim() == (-40, 40)
        box = axes.get_window_extent()
        assert box.width / box.height == pytest.approx(120 / 80)


@pytest.mark.parametrize(
    ("geometry", "rows"),
    [(IMAGE, ["y [mm]"]), (GRID, ["Along z\ny [mm]", "Along y\nx [mm]", "Along x\ny [mm]"])],
    ids=["image", "grid"],
)
def test_images_and_grids_are_drawn_too(traversed, tmp_path, geometry, rows):
    units = {"energy": "GeV"} if geometry is GRID else UNITS
    name = next(iter(units))
    traversed(geometry, units, steps={name: (1, 2)})
    figures = drawn(tmp_path, steps={name: (1, 2)})
    maps = maps_of(figures[f"traversal_{name}.svg"].figure, 2)
    assert [axes.get_ylabel() for axes in maps[:, 0]] == rows


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": STEPS, "repeats": 4}, "holds 15 showers, expected 20 for the traversals"),
        ({"steps": {"px": (-3, 0, 4), "x0": (-20, 16)}, "repeats": 3}, r"not those of the steps .* of x0"),
        ({"steps": {"x0": (-20, 15), "px": (-3, 0, 4)}, "repeats": 3}, r"not those of the steps .* of x0"),
    ],
    ids=["number", "values", "order"],
)
def test_showers_of_other_traversals_are_refused(traversed, tmp_path, settings, message):
    traversed(steps=STEPS, repeats=3)
    with pytest.raises(CaloforgeError, match=r"traversals\.h5: .*" + message):
        drawn(tmp_path, **settings)


def test_showers_of_another_calorimeter_are_refused(traversed, tmp_path):
    traversed(GRID, steps=STEPS)
    traversed(STACK, steps=STEPS, output="more.h5")
    with pytest.raises(CaloforgeError, match=r"traversals\.h5: another geometry found, expected that of"):
        drawn(tmp_path, steps=STEPS)
