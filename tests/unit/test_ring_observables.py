"""Observables of layers of rings against hand-worked showers and a loop over cells; their evaluation."""

import json
import math

import h5py
import numpy as np
import pytest

import caloforge.evaluation
from caloforge.config.stages import ClassifierSettings, EvaluationSettings, FigureSettings
from caloforge.evaluation import evaluate
from caloforge.evaluation.features import feature_matrix, feature_names
from caloforge.evaluation.observables import read_observables
from caloforge.figures.album import save_album
from caloforge.figures.style import figure_style
from caloforge.figures.views import average_shower, in_space, matched_shower, views
from caloforge.geometry import Geometry
from caloforge.observables import observe
from caloforge.showers import Showers, ShowerWriter

FRONT = {"kind": "cylindrical", "label": "1", "n_alpha": 4, "r_edges_mm": [0, 2, 6, 20]}
MIDDLE = {"kind": "cylindrical", "label": "2", "n_alpha": 6, "r_edges_mm": [0, 10, 30]}
BACK = {"kind": "cylindrical", "label": "12", "n_alpha": 1, "r_edges_mm": [0, 50, 600]}
THREE = Geometry(name="three", layers=[FRONT, MIDDLE, BACK])
WHOLE_RINGS = Geometry(name="whole rings", layers=[BACK, BACK | {"thickness_mm": 10}])
NINE = Geometry(name="nine", layers=[FRONT, MIDDLE, BACK] * 3)
DEEP = Geometry(
    name="deep",
    layers=[
        {"kind": "cylindrical", "n_alpha": 8, "r_edges_mm": {"bins": 6, "low": 0, "high": 30}, "repeat": 45}
    ],
)
KINDS = ["energy_MeV", "sparsity", *(f"{what}_{axis}_mm" for what in ("centre", "width") for axis in "xyr")]
LOCAL = [name for name in KINDS if "_x_" not in name and "_y_" not in name]


def write(path, geometry, cells_MeV, *, first_event=0, seed=0):
    n = len(cells_MeV)
    energy_MeV = np.random.default_rng(seed).uniform(1e3, 1e5, (n, 1)).astype(np.float32)
    showers = Showers(
        np.reshape(cells_MeV, (n, -1)).astype(np.float32),
        energy_MeV,
        {"energy": energy_MeV[:, 0] / 1000},
        np.arange(n) + first_event,
    )
    with ShowerWriter(path, geometry, {"energy": "GeV"}) as writer:
        writer.append(showers)
    observe(
        path,
        readout_threshold_MeV=0.5,
        output=path.with_suffix(".observables"),
        record=path.with_suffix(".json"),
    )
    return showers


@pytest.fixture
def observed(tmp_path):
    """Write showers and read their observables back under their names."""

    def run(geometry, cells_MeV):
        path = tmp_path / "showers.h5"
        showers = write(path, geometry, cells_MeV)
        with h5py.File(path.with_suffix(".observables")) as file:
            columns = (column for group in ("scalars", "profiles") for column in file[group].items())
            return {name: column[:] for name, column in columns}, showers

    return run


def random_cells(geometry, n=20, seed=1):
    """A third of the cells hit, showers over five decades; some showers and some layers are empty."""
    rng = np.random.default_rng(seed)
    cells_MeV = 10 ** rng.uniform(0, 5, (n, 1)) * rng.lognormal(0, 1, (n, geometry.n_cells))
    cells_MeV *= rng.random(cells_MeV.shape) < 0.3
    cells_MeV[3] = 0
    cells_MeV[5, : geometry.layers[0].n_cells] = 0
    cells_MeV[7, -geometry.layers[-1].n_cells :] = 0
    return cells_MeV


def cells_of(geometry, hits):
    """One shower with the hits (layer, alpha, ring) -> energy [MeV]."""
    layers = [np.zeros(layer.shape) for layer in geometry.layers]
    for cell, energy_MeV in hits.items():
        layers[cell[0]][cell[1:]] = energy_MeV
    return np.concatenate([layer.ravel() for layer in layers])[None]


def loop_over_cells(geometry, cells_MeV, incident_MeV):
    """The definitions of the observables, cell by cell, for one shower."""
    hits = []
    energies = iter(map(float, cells_MeV))
    for number, layer in enumerate(geometry.layers):
        for sector in range(layer.n_alpha):
            alpha = -math.pi + (sector + 0.5) * 2 * math.pi / layer.n_alpha
            for ring, (low, high) in enumerate(zip(layer.r_edges_mm, layer.r_edges_mm[1:], strict=False)):
                energy = next(energies)
                if energy > 0.5:
                    r = (low + high) / 2
                    place = (r * math.cos(alpha), r * math.sin(alpha)) if layer.n_alpha > 1 else ()
                    hits.append((number, ring, energy, dict(zip("rxy", (r, *place), strict=False))))
    total = math.fsum(hit[2] for hit in hits)
    layers = range(len(geometry.layers))
    per_layer = [math.fsum(hit[2] for hit in hits if hit[0] == number) for number in layers]

    def over(part, whole):
        return part / whole if whole else math.nan

    def moments(pairs):
        energy = math.fsum(weight for _, weight in pairs)
        mean = over(math.fsum(value * weight for value, weight in pairs), energy)
        return mean, math.sqrt(over(math.fsum((v - mean) ** 2 * weight for v, weight in pairs), energy))

    def along(axis, hits):
        return dict(
            zip(
                (f"centre_{axis}_mm", f"width_{axis}_mm"),
                moments([(place[axis], energy) for *_, energy, place in hits if axis in place]),
                strict=True,
            )
        )

    def radial(hits, layer, whole):
        shares = [0.0] * layer.shape[1]
        for _, ring, energy, _ in hits:
            shares[ring] += energy
        return [over(share, whole) for share in shares]

    depth, depth_width = moments([(hit[0], hit[2]) for hit in hits])
    spectrum = [0] * 40
    for hit in hits:
        spectrum[min(max(math.floor((math.log10(hit[2]) + 3) * 5), 0), 39)] += 1
    expected = {
        "total_energy_MeV": total,
        "response": total / incident_MeV,
        "hit_cells": len(hits),
        "sparsity": len(hits) / len(cells_MeV),
        "hottest_fraction": over(max((hit[2] for hit in hits), default=0), total),
        "deepest_layer": max((hit[0] for hit in hits), default=math.nan),
        "maximum_layer": per_layer.index(max(per_layer)) if hits else math.nan,
        "shower_depth_layers": depth,
        "shower_depth_width_layers": depth_width,
        "longitudinal": [over(energy, total) for energy in per_layer],
        "spectrum": spectrum,
    }
    divided = [number for number in layers if geometry.layers[number].n_alpha > 1]
    for axis in "xyr" if divided else "r":
        expected |= along(axis, hits)
    of_layers = []
    for number, layer in enumerate(geometry.layers):
        inside = [hit for hit in hits if hit[0] == number]
        found = {"energy_MeV": per_layer[number], "sparsity": len(inside) / layer.n_cells}
        for axis in "xyr":
            found |= along(axis, inside)
        of_layers.append(found)
        names = KINDS if number in divided else LOCAL
        expected |= {f"layer{number}_{name}": found[name] for name in names}
        if len({layer.r_edges_mm for layer in geometry.layers}) > 1 and len(geometry.layers) <= 8:
            expected[f"layer{number}_radial"] = radial(inside, layer, per_layer[number])
    if len({layer.r_edges_mm for layer in geometry.layers}) == 1:
        expected["radial"] = radial(hits, geometry.layers[0], total)
    if len(geometry.layers) > 8:
        for name in ("sparsity", "centre_r_mm", "width_x_mm", "width_y_mm", "width_r_mm"):
            expected[f"layers_{name}"] = [found[name] for found in of_layers]
    return expected


@pytest.mark.parametrize(
    "geometry", [THREE, WHOLE_RINGS, NINE, DEEP], ids=lambda geometry: geometry.name.replace(" ", "-")
)
def test_every_observable_against_a_loop_over_cells(observed, geometry):
    cells_MeV = random_cells(geometry)
    values, showers = observed(geometry, cells_MeV)
    for row in range(len(cells_MeV)):
        incident_MeV = float(showers.incident_energies[row, 0])
        expected = loop_over_cells(geometry, showers.showers[row], incident_MeV)
        assert expected.keys() == values.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(
                values[name][row], value, rtol=1e-5, atol=1e-5, err_msg=f"{name} {row}"
            )


def test_centres_and_widths_of_two_hits(observed):
    """3 MeV at r = 4 mm and -135°, 1 MeV at r = 13 mm and 45°: on a line through the axis, 17 mm apart."""
    values, _ = observed(THREE, cells_of(THREE, {(0, 0, 1): 3.0, (0, 2, 2): 1.0}))
    spread = math.sqrt(3 / 4 * 1 / 4)
    for name, value in {
        "layer0_energy_MeV": 4,
        "layer0_sparsity": 2 / 12,
        "layer0_centre_x_mm": (-4 * 3 / 4 + 13 * 1 / 4) / math.sqrt(2),
        "layer0_centre_y_mm": (-4 * 3 / 4 + 13 * 1 / 4) / math.sqrt(2),
        "layer0_width_x_mm": 17 / math.sqrt(2) * spread,
        "layer0_width_y_mm": 17 / math.sqrt(2) * spread,
        "layer0_centre_r_mm": 4 * 3 / 4 + 13 * 1 / 4,
        "layer0_width_r_mm": 9 * spread,
        "layer1_energy_MeV": 0,
        "layer1_sparsity": 0,
        "layer1_centre_x_mm": np.nan,
        "layer1_width_r_mm": np.nan,
    }.items():
        np.testing.assert_allclose(values[name][0], value, rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(values["layer0_radial"][0], [0, 3 / 4, 1 / 4])


def test_layers_with_whole_rings_have_no_x_and_y(observed):
    """4 MeV at r = 325 mm of the back, which no x and y of the shower count, and 1 MeV in the middle."""
    values, _ = observed(THREE, cells_of(THREE, {(2, 0, 1): 4.0, (1, 4, 0): 1.0}))
    assert not {"layer2_centre_x_mm", "layer2_width_y_mm"} & values.keys()
    np.testing.assert_allclose(values["layer2_centre_r_mm"], 325)
    np.testing.assert_allclose(values["layer2_width_r_mm"], 0)
    np.testing.assert_allclose(values["centre_x_mm"], 0, atol=1e-6)  # at 90°
    np.testing.assert_allclose(values["centre_y_mm"], 5)
    np.testing.assert_allclose(values["centre_r_mm"], 325 * 4 / 5 + 5 * 1 / 5)


def test_single_hit_and_empty_shower(observed):
    hit = cells_of(THREE, {(1, 0, 1): 7.0, (0, 1, 1): 0.5})
    values, showers = observed(THREE, np.concatenate([hit, np.zeros_like(hit)]))
    zero = {"total_energy_MeV", "response", "hit_cells", "sparsity", "spectrum"}
    zero |= {f"layer{number}_{name}" for number in range(3) for name in ("energy_MeV", "sparsity")}
    for name, column in values.items():
        if name in zero:
            assert not column[1].any(), name
        else:
            assert np.isnan(column[1]).all(), name
        if "width" in name and name[:6] not in ("layer0", "layer2"):
            assert column[0] == 0, name
    assert values["response"][0] == np.float32(7 / showers.incident_energies[0, 0])
    np.testing.assert_allclose(values["layer1_centre_x_mm"][0], 20 * math.cos(math.radians(-150)), rtol=1e-6)
    np.testing.assert_allclose(values["layer1_centre_y_mm"][0], 20 * math.sin(math.radians(-150)), rtol=1e-6)


def test_rotation_by_a_cell_turns_the_centre(observed):
    cells_MeV = random_cells(DEEP)
    turned = np.roll(cells_MeV.reshape(-1, 45, 8, 6), 1, axis=2)
    before, _ = observed(DEEP, cells_MeV)
    after, _ = observed(DEEP, turned)
    for start in ("", "layer0_", "layer44_"):
        x, y = (before[f"{start}centre_{axis}_mm"].astype(float) for axis in "xy")
        half = math.sqrt(0.5)
        np.testing.assert_allclose(after[f"{start}centre_x_mm"], half * (x - y), atol=1e-5)
        np.testing.assert_allclose(after[f"{start}centre_y_mm"], half * (x + y), atol=1e-5)
        for name in ("centre_r_mm", "width_r_mm"):
            np.testing.assert_allclose(after[start + name], before[start + name], rtol=1e-6)
    for name in ("longitudinal", "radial", "layers_sparsity", "response"):
        np.testing.assert_allclose(after[name], before[name], rtol=1e-6)


def test_features_are_those_of_every_layer_and_few_are_shown(observed, tmp_path):
    for geometry, n_shown in ((DEEP, 0), (THREE, 8 + 8 + 4)):
        observed(geometry, random_cells(geometry))
        full = read_observables(tmp_path / "showers.observables")
        of_layers = [name for name in feature_names(full) if name.startswith("layer")]
        assert len(of_layers) == {45: 45 * 8, 3: 8 + 8 + 4}[len(geometry.layers)]
        assert sum(full.scalars[name][0].shown for name in of_layers) == n_shown
        features = feature_matrix(full, full, slice(None))
        assert np.isfinite(features).all()
        energy_MeV = full.scalars["layer1_energy_MeV"][1]
        column = features[:, feature_names(full).index("layer1_energy_MeV")]
        hit = energy_MeV > 0
        np.testing.assert_allclose(column[hit], np.log10(energy_MeV[hit]), rtol=1e-6)


def test_axis_of_the_radial_profile(observed, tmp_path):
    axes = {}
    for geometry in (DEEP, THREE):
        observed(geometry, random_cells(geometry))
        with h5py.File(tmp_path / "showers.observables") as file:
            for name, profile in file["profiles"].items():
                if "radial" in name:
                    axes[name] = profile.attrs["x"], profile.attrs["x_label"], profile.attrs["x_unit"]
    assert {name: axis[1:] for name, axis in axes.items()} == {
        "radial": ("Distance from the axis", "mm"),
        "layer0_radial": ("Ring", "1"),
        "layer1_radial": ("Ring", "1"),
        "layer2_radial": ("Ring", "1"),
    }
    np.testing.assert_allclose(axes["radial"][0], [0, 5, 10, 15, 20, 25, 30])
    np.testing.assert_allclose(axes["layer0_radial"][0], [-0.5, 0.5, 1.5, 2.5])


def test_maps_of_few_layers_are_the_rings_of_each():
    cells = np.arange(THREE.n_cells, dtype=float)
    maps = views(THREE, cells)
    assert [view.title for view in maps] == [
        "Layer 0 (1)\nr < 20 mm",
        "Layer 1 (2)\nr < 30 mm",
        "Layer 2 (12)\nr < 600 mm",
    ]
    np.testing.assert_array_equal(maps[0].image, cells[:12].reshape(4, 3))
    np.testing.assert_array_equal(maps[2].image, [cells[-2:]])


def test_maps_of_many_layers_are_seen_along_and_around_the_axis():
    cells = np.zeros((45, 8, 6))
    cells[40, 3, 2], cells[40, 7, 2], cells[1, 3, 5] = 4, 2, 1
    along, around = views(DEEP, cells.ravel())
    assert (along.image[3, 2], along.image[7, 2], along.image[3, 5], along.image.sum()) == (4, 2, 1, 7)
    assert (around.image[40, 2], around.image[1, 5], around.image.sum()) == (6, 1, 7)
    assert (around.x_label, around.y_label) == ("Layer", "r [mm]")


def test_wedges_are_drawn_where_they_are():
    """A hit in the second sector of four, from -90° to 0°, and in the outer one of three rings."""
    cells = cells_of(THREE, {(0, 1, 2): 5.0})[0]
    with figure_style(FigureSettings()):
        figure = matched_shower(THREE, cells, cells, 10)
    mesh = figure.axes[0].collections[0]
    corners = mesh.get_coordinates()
    middles = (corners[:-1, :-1] + corners[1:, 1:]) / 2
    hit = np.ma.filled(mesh.get_array(), 0).reshape(middles.shape[:2]) > 0
    x, y = middles[hit].T
    assert ((x > 0) & (y < 0)).all()
    assert np.hypot(x, y).min() > 2


def test_points_in_space_are_at_the_middles_of_the_cells():
    cells = cells_of(DEEP, {(3, 1, 2): 5.0, (20, 6, 0): 5.0})[0]
    with figure_style(FigureSettings()):
        figure = in_space(DEEP, cells, cells, 10)
    z, x, y = (np.ma.filled(column) for column in figure.axes[0].collections[0]._offsets3d)
    order = np.argsort(z)
    angles = [math.radians(-180 + 45 * 1.5), math.radians(-180 + 45 * 6.5)]
    np.testing.assert_allclose(np.array(z)[order], [3, 20])
    np.testing.assert_allclose(np.array(x)[order], [12.5 * math.cos(angles[0]), 2.5 * math.cos(angles[1])])
    np.testing.assert_allclose(np.array(y)[order], [12.5 * math.sin(angles[0]), 2.5 * math.sin(angles[1])])


def test_average_of_equal_samples_has_the_ratio_one():
    mean_MeV = np.linspace(1, 2, DEEP.n_cells)
    with figure_style(FigureSettings()):
        figure = average_shower(DEEP, mean_MeV, mean_MeV)
    for axes in figure.axes[4:6]:
        np.testing.assert_allclose(axes.collections[0].get_array(), 1)


SETTINGS = EvaluationSettings(bins=10, bootstrap=10, classifiers=ClassifierSettings(use=("trees",), folds=3))
OF_SHOWERS = ("Showers", "Nearest neighbours")


def round_showers(geometry, n, *, wide=1.0, seed=0):
    """Round showers along the axis, whose energy falls with the distance, over `wide` times the distance."""
    rng = np.random.default_rng(seed)
    density = []
    for number, layer in enumerate(geometry.layers):
        low, high = layer.edges(1)[:-1], layer.edges(1)[1:]
        scale_mm = 6 * wide
        ring = np.exp(-low / scale_mm) - np.exp(-high / scale_mm)
        depth = (number + 1) / len(geometry.layers)
        density.append(np.tile(ring / layer.n_alpha * depth * math.exp(-3 * depth), layer.n_alpha))
    mean_MeV = np.concatenate(density) / np.sum(np.concatenate(density)) * 5000
    return mean_MeV * rng.gamma(0.3, 1 / 0.3, (n, geometry.n_cells))


@pytest.mark.parametrize("geometry", [THREE, DEEP], ids=lambda geometry: geometry.name)
def test_evaluation_sees_showers_that_are_too_wide(tmp_path, monkeypatch, geometry):
    """Of the figures, all are drawn and those of showers are saved."""
    drawn = {}

    def save_some(album, directory, label):
        drawn.update((entry.file, entry) for entry in album)
        save_album([entry for entry in drawn.values() if entry.section in OF_SHOWERS], directory, label)

    monkeypatch.setattr(caloforge.evaluation, "save_album", save_some)
    samples = {"reference": (200, 1, 0), "generated": (200, 2, 0), "independent": (300, 1, 1000)}
    for seed, (name, (n, wide, first_event)) in enumerate(samples.items()):
        cells_MeV = round_showers(geometry, n, wide=wide, seed=seed)
        write(tmp_path / f"{name}.h5", geometry, cells_MeV, first_event=first_event, seed=first_event)
    write(tmp_path / "validation.h5", geometry, round_showers(geometry, 120, seed=9), first_event=5000)
    (tmp_path / "history.csv").write_text(
        "epoch,step,critic,generator,validation\n1,10,3.0,,\n2,20,2.0,0.5,0.3\n3,30,1.5,0.4,0.4\n"
    )
    evaluate(
        SETTINGS,
        FigureSettings(dpi=60, energies_GeV=(1, 10, 100), displays=2),
        label="",
        **{name: tmp_path / f"{name}.observables" for name in samples},
        **{f"{name}_showers": tmp_path / f"{name}.h5" for name in [*samples, "validation"]},
        training_showers=tmp_path / "independent.h5",
        histories={"model": tmp_path / "history.csv"},
        metrics=tmp_path / "metrics.json",
        figure_directory=tmp_path / "figures",
        record=tmp_path / "evaluate.json",
    )
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    width = metrics["observables"]["width_r_mm"]
    assert width["generated"]["ks"]["value"] > 0.5 > 2 * width["floor"]["ks"]["value"]
    assert {"average_shower.svg", "neighbour_pairs.svg", "distribution_width_x_mm.svg"} <= drawn.keys()
    assert "Rings are drawn equally wide" in drawn["neighbour_pairs.svg"].caption
    of_layers = {name for name in metrics["observables"] if name.startswith("layer")}
    separations = {name: entry for name, entry in metrics["samples"].items() if name.startswith("layers_")}
    if geometry == DEEP:
        assert not of_layers
        assert {"shower_in_space.svg", "profile_layers_width_r_mm.svg", "profile_radial.svg"} <= drawn.keys()
        assert separations.keys() == {f"layers_{name}_separation" for name in KINDS}
        wide, floor = (separations["layers_width_r_mm_separation"][kind] for kind in ("generated", "floor"))
        assert wide["value"] > floor["value"] + 3 * math.hypot(wide["error"], floor["error"])
        centre = separations["layers_centre_x_mm_separation"]
        assert centre["generated"]["value"] < wide["value"]
    else:
        assert len(of_layers) == 8 + 8 + 4
        assert {"distribution_layer1_width_r_mm.svg", "profile_layer1_radial.svg"} <= drawn.keys()
        assert not separations
