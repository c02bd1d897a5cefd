"""Observables of layer stacks against hand-worked showers and a loop over cells; the score made of them."""

import math

import h5py
import numpy as np
import pytest
import torch
from scipy import stats

import caloforge.observables
from caloforge.errors import CaloforgeError
from caloforge.geometry import CartesianLayer, EtaPhiLayer, Geometry
from caloforge.observables import observe
from caloforge.preprocessing import Preprocessing
from caloforge.showers import Showers, ShowerWriter
from caloforge.training.validation import ShowerValidation

STRIPS = CartesianLayer(shape=(3, 8), cell_size_mm=(40, 5), thickness_mm=90, label="front")
SQUARES = CartesianLayer(shape=(4, 5), cell_size_mm=(20, 10), thickness_mm=350)
COARSE = CartesianLayer(shape=(4, 2), cell_size_mm=(20, 40), thickness_mm=40, label="back")
THREE = Geometry(name="three", layers=(STRIPS, SQUARES, COARSE))
SAME_X = Geometry(name="same x", layers=(SQUARES.model_copy(update={"thickness_mm": None}), COARSE))
GRID = Geometry(
    name="grid",
    layers=(CartesianLayer(shape=(5, 4), cell_size_mm=(5, 6), thickness_mm=6, repeat=25),),
    radiation_length_mm=4,
)
NINE = Geometry(name="nine", layers=(SQUARES, COARSE, STRIPS) * 3)
IMAGE = Geometry(
    name="image",
    layers=(CartesianLayer(shape=(6, 5), cell_size_mm=(20, 20)),),
    radiation_length_mm=16,
    critical_energy_MeV=10,
)
IN_CM = {"x0": "cm", "y0": "cm"}
MOMENTUM = {"px": "GeV", "py": "GeV", "pz": "GeV"}


def write_showers(path, geometry, cells_MeV, units, *, seed=0):
    n = len(cells_MeV)
    rng = np.random.default_rng(seed)
    showers = Showers(
        np.reshape(cells_MeV, (n, -1)).astype(np.float32),
        rng.uniform(1e3, 1e5, (n, 1)).astype(np.float32),
        {name: rng.uniform(0.5, 2, n).astype(np.float32) for name in units},
        np.arange(n) + 100,
    )
    with ShowerWriter(path, geometry, units) as writer:
        writer.append(showers)
    return showers


@pytest.fixture
def observed(tmp_path):
    """Write showers, observe them, and read scalars and profiles back under their names."""

    def run(geometry, cells_MeV, units=IN_CM, threshold_MeV=0.5):
        showers = write_showers(tmp_path / "showers.h5", geometry, cells_MeV, units)
        return read_observables(tmp_path / "showers.h5", threshold_MeV), showers

    return run


def read_observables(path, threshold_MeV):
    output = path.with_suffix(".observables")
    observe(path, readout_threshold_MeV=threshold_MeV, output=output, record=path.with_suffix(".json"))
    with h5py.File(output) as file:
        return {name: column[:] for group in ("scalars", "profiles") for name, column in file[group].items()}


def random_cells(geometry, n=40, seed=1):
    """A third of the cells hit, showers over eleven decades; some showers and some layers are empty."""
    rng = np.random.default_rng(seed)
    cells_MeV = 10 ** rng.uniform(-3, 6, (n, 1)) * rng.lognormal(0, 1, (n, geometry.n_cells))
    cells_MeV *= rng.random(cells_MeV.shape) < 0.3
    cells_MeV[3] = 0
    cells_MeV[5, : geometry.layers[0].n_cells] = 0
    cells_MeV[7, -geometry.layers[-1].n_cells :] = 0
    return cells_MeV


def cells_of(geometry, hits):
    """One shower with the hits (layer, ix, iy) -> energy [MeV]."""
    layers = [np.zeros(layer.shape) for layer in geometry.layers]
    for (number, ix, iy), energy_MeV in hits.items():
        layers[number][ix, iy] = energy_MeV
    return np.concatenate([layer.ravel() for layer in layers])[None]


def loop_over_cells(geometry, cells_MeV, threshold_MeV, incident_MeV, entry_mm):
    """The definitions of the observables, cell by cell, for one shower."""
    hits = []
    energies = iter(map(float, cells_MeV))
    for number, layer in enumerate(geometry.layers):
        for ix in range(layer.shape[0]):
            for iy in range(layer.shape[1]):
                energy = next(energies)
                if energy > threshold_MeV:
                    x = (ix + 0.5 - layer.shape[0] / 2) * layer.cell_size_mm[0]
                    y = (iy + 0.5 - layer.shape[1] / 2) * layer.cell_size_mm[1]
                    hits.append((number, x, y, energy))
    layers = range(len(geometry.layers))
    total = math.fsum(energy for *_, energy in hits)
    per_layer = [math.fsum(hit[3] for hit in hits if hit[0] == number) for number in layers]

    def over(part, whole):
        return part / whole if whole else math.nan

    def moments(values):
        """Mean and standard deviation of (value, energy) pairs."""
        energy = math.fsum(weight for _, weight in values)
        mean = over(math.fsum(value * weight for value, weight in values), energy)
        return mean, math.sqrt(
            over(math.fsum((value - mean) ** 2 * weight for value, weight in values), energy)
        )

    def columns(hits, layer, axis, whole):
        size, n = layer.cell_size_mm[axis], layer.shape[axis]
        shares = [0.0] * n
        for hit in hits:
            shares[round(hit[1 + axis] / size + (n - 1) / 2)] += hit[3]
        return [over(share, whole) for share in shares]

    expected = {
        "total_energy_MeV": total,
        "response": total / incident_MeV,
        "hit_cells": len(hits),
        "sparsity": len(hits) / sum(layer.shape[0] * layer.shape[1] for layer in geometry.layers),
        "hottest_fraction": over(max((hit[3] for hit in hits), default=0), total),
        "deepest_layer": max((hit[0] for hit in hits), default=math.nan),
        "maximum_layer": per_layer.index(max(per_layer)) if hits else math.nan,
        "longitudinal": [over(energy, total) for energy in per_layer],
    }
    mean, deviation = moments([(hit[0], hit[3]) for hit in hits])
    expected |= {"shower_depth_layers": mean, "shower_depth_width_layers": deviation}
    if all(layer.thickness_mm for layer in geometry.layers):
        thickness = [layer.thickness_mm for layer in geometry.layers]
        depth = [sum(thickness[:number]) + thickness[number] / 2 for number in layers]
        mean, deviation = moments([(depth[hit[0]], hit[3]) for hit in hits])
        expected |= {"shower_depth_mm": mean, "shower_depth_width_mm": deviation}

    centre = []
    for axis, name in enumerate("xy"):
        mean, deviation = moments([(hit[1 + axis], hit[3]) for hit in hits])
        centre.append(mean)
        expected |= {f"centre_{name}_mm": mean, f"width_{name}_mm": deviation}
        if f"{name}0" in entry_mm:
            expected[f"shift_{name}_mm"] = mean - entry_mm[f"{name}0"]
        common = len({(layer.shape[axis], layer.cell_size_mm[axis]) for layer in geometry.layers}) == 1
        if common:
            expected[f"transverse_{name}"] = columns(hits, geometry.layers[0], axis, total)
        for number, layer in enumerate(geometry.layers):
            if len(geometry.layers) <= 8:
                inside = [hit for hit in hits if hit[0] == number]
                _, deviation = moments([(hit[1 + axis], hit[3]) for hit in inside])
                expected[f"layer{number}_width_{name}_mm"] = deviation
                if not common:
                    shares = columns(inside, layer, axis, per_layer[number])
                    expected[f"layer{number}_transverse_{name}"] = shares
    if len(geometry.layers) <= 8:
        expected["lateral_depth_MeV"] = math.fsum(number * energy for number, _, _, energy in hits)
    for number, layer in enumerate(geometry.layers):
        if len(geometry.layers) <= 8:
            in_layer = [hit[3] for hit in hits if hit[0] == number]
            hottest, second = sorted([*in_layer, 0, 0], reverse=True)[:2]
            expected |= {
                f"layer{number}_energy_MeV": per_layer[number],
                f"layer{number}_fraction": over(per_layer[number], total),
                f"layer{number}_sparsity": len(in_layer) / (layer.shape[0] * layer.shape[1]),
                f"layer{number}_e_ratio": over(hottest - second, hottest + second),
            }

    reach = (
        min(layer.shape[axis] * layer.cell_size_mm[axis] for layer in geometry.layers for axis in (0, 1)) / 2
    )
    radial, spectrum = [0.0] * 24, [0] * 40
    for _, x, y, energy in hits:
        ring = int(math.hypot(x - centre[0], y - centre[1]) / reach * 24)
        if ring < 24:
            radial[ring] += energy / total
        spectrum[min(max(math.floor((math.log10(energy) + 3) * 5), 0), 39)] += 1
    return expected | {"radial": radial if hits else [math.nan] * 24, "spectrum": spectrum}


@pytest.mark.parametrize(
    ("geometry", "units"),
    [
        pytest.param(THREE, IN_CM, id="three layers"),
        pytest.param(SAME_X, {}, id="same columns along x"),
        pytest.param(GRID, IN_CM, id="grid"),
        pytest.param(NINE, {"y0": "cm", "eta": "1"}, id="nine layers"),
    ],
)
def test_every_observable_against_a_loop_over_cells(observed, geometry, units):
    cells_MeV = random_cells(geometry)
    values, showers = observed(geometry, cells_MeV, units, threshold_MeV=1e-5)
    for row in range(len(cells_MeV)):
        incident_MeV = float(showers.incident_energies[row, 0])
        entry_mm = {name: 10 * float(column[row]) for name, column in showers.conditions.items()}
        expected = loop_over_cells(geometry, showers.showers[row], 1e-5, incident_MeV, entry_mm)
        assert expected.keys() == values.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(
                values[name][row], value, rtol=1e-5, atol=1e-5, err_msg=f"{name} {row}"
            )


def layer_names(number):
    names = ("energy_MeV", "fraction", "sparsity", "e_ratio", "width_x_mm", "width_y_mm")
    return [f"layer{number}_{name}" for name in names]


def test_single_hit(observed):
    values, showers = observed(THREE, cells_of(THREE, {(1, 3, 0): 7.0}))
    expected = {
        "total_energy_MeV": 7,
        "response": 7 / showers.incident_energies[0, 0],
        "hit_cells": 1,
        "sparsity": 1 / (24 + 20 + 8),
        "hottest_fraction": 1,
        "deepest_layer": 1,
        "maximum_layer": 1,
        "lateral_depth_MeV": 7,
        "shower_depth_layers": 1,
        "shower_depth_width_layers": 0,
        "shower_depth_mm": 90 + 350 / 2,
        "shower_depth_width_mm": 0,
        "centre_x_mm": 30,
        "centre_y_mm": -20,
        "width_x_mm": 0,
        "width_y_mm": 0,
        "shift_x_mm": 30 - 10 * showers.conditions["x0"][0],
        "shift_y_mm": -20 - 10 * showers.conditions["y0"][0],
        "longitudinal": [0, 1, 0],
        "radial": [1] + [0] * 23,
        "spectrum": [0] * 19 + [1] + [0] * 20,  # from 10^0.8 = 6.3 MeV to 10 MeV
        "layer1_transverse_x": [0, 0, 0, 1],
        "layer1_transverse_y": [1, 0, 0, 0, 0],
    }
    expected |= dict(zip(layer_names(1), (7, 1, 1 / 20, 1, 0, 0), strict=True))
    for number, layer in ((0, STRIPS), (2, COARSE)):
        expected |= dict(zip(layer_names(number), (0, 0, 0, np.nan, np.nan, np.nan), strict=True))
        for axis, name in enumerate("xy"):
            expected[f"layer{number}_transverse_{name}"] = [np.nan] * layer.shape[axis]
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(values[name][0], value, rtol=1e-6, err_msg=name)


def test_two_hits(observed):
    """3 MeV at the lowest x and y of the front, 1 MeV at the highest of the back."""
    values, _ = observed(THREE, cells_of(THREE, {(0, 0, 0): 3.0, (2, 3, 1): 1.0}))
    spread = math.sqrt(3 / 4 * 1 / 4)
    for name, value in {
        "hit_cells": 2,
        "hottest_fraction": 3 / 4,
        "deepest_layer": 2,
        "maximum_layer": 0,
        "lateral_depth_MeV": 0 * 3 + 2 * 1,
        "shower_depth_layers": 2 / 4,
        "shower_depth_width_layers": 2 * spread,
        "shower_depth_mm": 45 * 3 / 4 + 460 * 1 / 4,
        "shower_depth_width_mm": (460 - 45) * spread,
        "centre_x_mm": -40 * 3 / 4 + 30 * 1 / 4,
        "width_x_mm": 70 * spread,
        "centre_y_mm": -17.5 * 3 / 4 + 20 * 1 / 4,
        "width_y_mm": 37.5 * spread,
        "longitudinal": [3 / 4, 0, 1 / 4],
        "layer0_fraction": 3 / 4,
        "layer0_e_ratio": 1,
        "layer2_sparsity": 1 / 8,
    }.items():
        np.testing.assert_allclose(values[name][0], value, rtol=1e-6, err_msg=name)
    # 70 mm and 37.5 mm apart, so 19.85 mm and 59.6 mm from the centre of gravity; rings of 20 mm / 24
    np.testing.assert_allclose(values["radial"][0], [0] * 23 + [3 / 4])


def test_two_hits_of_a_layer(observed):
    values, _ = observed(THREE, cells_of(THREE, {(1, 0, 2): 3.0, (1, 2, 2): 1.0}))
    assert values["layer1_e_ratio"] == pytest.approx((3 - 1) / (3 + 1))
    assert values["layer1_width_x_mm"] == pytest.approx(40 * math.sqrt(3 / 4 * 1 / 4))
    assert values["layer1_width_y_mm"] == 0
    np.testing.assert_allclose(values["layer1_transverse_x"][0], [3 / 4, 0, 1 / 4, 0])


def test_published_shapes_of_a_shower_in_all_layers(observed):
    """Worked by hand: 2 MeV and 1 MeV in the front, 4 MeV and 4 MeV in layer 1, 1 MeV in the back."""
    hits = {(0, 0, 3): 2.0, (0, 1, 3): 1.0, (1, 1, 0): 4.0, (1, 1, 4): 4.0, (2, 0, 0): 1.0}
    values, _ = observed(THREE, cells_of(THREE, hits))
    for name, value in {
        "total_energy_MeV": 12,
        "layer1_energy_MeV": 8,
        "layer0_fraction": 3 / 12,
        "layer2_fraction": 1 / 12,
        "deepest_layer": 2,
        "lateral_depth_MeV": 8 + 2,
        "shower_depth_layers": 10 / 12,
        "shower_depth_width_layers": math.sqrt((8 + 4) / 12 - (10 / 12) ** 2),
        "layer0_width_x_mm": 40 * math.sqrt(2) / 3,  # -40 mm with 2/3 and 0 mm with 1/3
        "layer0_width_y_mm": 0,
        "layer1_width_x_mm": 0,
        "layer1_width_y_mm": 20,
        "layer0_e_ratio": 1 / 3,
        "layer1_e_ratio": 0,
        "layer2_e_ratio": 1,
        "layer0_sparsity": 2 / 24,
        "layer1_sparsity": 2 / 20,
        "layer2_sparsity": 1 / 8,
    }.items():
        np.testing.assert_allclose(values[name][0], value, rtol=1e-6, atol=1e-6, err_msg=name)


def test_empty_shower(observed):
    values, _ = observed(THREE, np.concatenate([cells_of(THREE, {(1, 1, 1): 0.5}), random_cells(THREE)[8:9]]))
    zero = {"total_energy_MeV", "response", "hit_cells", "sparsity", "spectrum", "lateral_depth_MeV"}
    zero |= {f"layer{number}_{name}" for number in range(3) for name in ("energy_MeV", "sparsity")}
    for name, column in values.items():
        if name in zero:
            assert not column[0].any(), name
        else:
            assert np.isnan(column[0]).all(), name


@pytest.mark.parametrize(
    ("geometry", "edges", "label", "unit"),
    [
        (GRID, np.arange(26) * 1.5, "Depth", "$X_0$"),
        (THREE, [0, 90, 440, 480], "Depth", "mm"),
        (SAME_X, [-0.5, 0.5, 1.5], "Layer", "1"),
    ],
)
def test_depth_axis(observed, tmp_path, geometry, edges, label, unit):
    observed(geometry, random_cells(geometry))
    with h5py.File(tmp_path / "showers.observables") as file:
        axis = file["profiles/longitudinal"].attrs
        np.testing.assert_allclose(axis["x"], edges)
        assert (axis["x_label"], axis["x_unit"]) == (label, unit)


def test_layout_of_the_file(observed, tmp_path):
    observed(THREE, random_cells(THREE))
    with h5py.File(tmp_path / "showers.observables") as file:
        for name, column in file["scalars"].items():
            assert column.shape == (40,)
            assert column.attrs["label"]
            unit = next((unit for unit in ("mm", "MeV", "layers") if name.endswith(f"_{unit}")), "1")
            assert column.attrs["unit"] == unit
        assert file["scalars/layer0_energy_MeV"].attrs["label"] == "Energy in layer 0 (front)"
        assert file["scalars/layer1_energy_MeV"].attrs["label"] == "Energy in layer 1"
        for column in file["profiles"].values():
            assert column.shape == (40, len(column.attrs["x"]) - 1)
        edges_mm = file["profiles/layer0_transverse_y"].attrs["x"]
        np.testing.assert_allclose(edges_mm, [-20, -15, -10, -5, 0, 5, 10, 15, 20])
        np.testing.assert_allclose(file["profiles/radial"].attrs["x"], np.arange(25) * 20 / 24)
        np.testing.assert_allclose(file["profiles/spectrum"].attrs["x"], 10 ** np.linspace(-3, 5, 41))


def test_blocks_do_not_matter(observed, monkeypatch):
    whole, _ = observed(GRID, random_cells(GRID))
    monkeypatch.setattr(caloforge.observables, "BLOCK_CELLS", 7 * GRID.n_cells)
    parts, _ = observed(GRID, random_cells(GRID))
    for name, column in whole.items():
        np.testing.assert_array_equal(parts[name], column, err_msg=name)


def test_entry_point_in_an_unexpected_unit(observed, tmp_path):
    with pytest.raises(CaloforgeError, match="cannot convert rad to mm") as error:
        observed(THREE, random_cells(THREE), {"x0": "rad"})
    assert str(tmp_path / "showers.h5") in str(error.value)
    assert not (tmp_path / "showers.observables").exists()


class Replay(torch.nn.Module):
    """A model that generates given showers, in their order, whatever it is asked for."""

    def __init__(self, preprocessing, cells_MeV):
        super().__init__()
        self.anywhere = torch.nn.Parameter(torch.zeros(1))
        self.showers = torch.from_numpy(preprocessing.forward(cells_MeV))

    def generate(self, inputs, rng):
        part, self.showers = self.showers.split([len(inputs), len(self.showers) - len(inputs)])
        return part


PREPROCESSING = Preprocessing(0.5, 1.0, 1.0, ("energy",), (0.0,), (1.0,), (0.2,), (0.1, 0.0), (), 0.0)


def score(path, cells_MeV):
    return ShowerValidation(path, PREPROCESSING, seed=1)(Replay(PREPROCESSING, cells_MeV))["validation"]


@pytest.mark.parametrize("geometry", [SAME_X, GRID, IMAGE], ids=lambda geometry: geometry.name)
def test_score_is_the_mean_ks_distance(tmp_path, monkeypatch, geometry):
    """Against SciPy on what `observe` writes of the first 2000 showers; 25 layers come in small parts."""
    simulated, generated = (random_cells(geometry, n=2100, seed=seed) for seed in (1, 2))
    generated = PREPROCESSING.inverse(PREPROCESSING.forward(generated))
    generated[:, ::2] = 0
    observables = []
    for name, cells_MeV in (("simulated", simulated), ("generated", generated)):
        write_showers(tmp_path / f"{name}.h5", geometry, cells_MeV, IN_CM | MOMENTUM)
        read_observables(tmp_path / f"{name}.h5", 0.5)
        with h5py.File(tmp_path / f"{name}.observables") as file:
            observables.append({name: column[:2000] for name, column in file["scalars"].items()})
    distances = [
        stats.ks_2samp(values, observables[1][name], nan_policy="omit").statistic
        for name, values in observables[0].items()
    ]
    monkeypatch.setattr(caloforge.observables, "BLOCK_CELLS", 99 * GRID.n_cells)
    assert score(tmp_path / "simulated.h5", generated) == pytest.approx(np.mean(distances), abs=5e-4)
    assert np.mean(distances) > 0.1


def test_empty_generated_showers_score_one(tmp_path):
    write_showers(tmp_path / "val.h5", THREE, np.full((300, THREE.n_cells), 2.0), {})
    assert score(tmp_path / "val.h5", np.zeros((300, THREE.n_cells))) == 1


def test_what_no_simulated_shower_defines_is_left_out_of_the_score(tmp_path):
    cells_MeV = random_cells(THREE, n=300)
    cells_MeV[:, -COARSE.n_cells :] = 0  # so that the back has no widths
    cells_MeV = PREPROCESSING.inverse(PREPROCESSING.forward(cells_MeV))
    write_showers(tmp_path / "val.h5", THREE, cells_MeV, {})
    assert score(tmp_path / "val.h5", cells_MeV) == 0


def test_no_score_without_observables(tmp_path):
    towers = Geometry(name="towers", layers=(EtaPhiLayer(kind="eta_phi", eta_edges=(0, 1, 2), n_phi=4),))
    write_showers(tmp_path / "val.h5", towers, np.ones((3, 8)), {})
    with pytest.raises(CaloforgeError, match=r"val\.h5: .*eta_phi geometries are not defined"):
        ShowerValidation(tmp_path / "val.h5", PREPROCESSING, seed=1)
