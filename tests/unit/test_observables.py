"""Observables against hand-worked showers, a loop over cells, and symmetries."""

import json
import math
from pathlib import Path

import h5py
import numpy as np
import pytest
import uproot

from caloforge.errors import CaloforgeError
from caloforge.geometry import CartesianLayer, EtaPhiLayer, Geometry
from caloforge.observables import observe
from caloforge.provenance import file_digest
from caloforge.showers import Showers, ShowerWriter

SAMPLE = Path(__file__).parents[2] / "resources/samples/lhcb_ecal/lhcb_ecal_e-_000.root"
X0_MM, EC_MEV = 16.4, 9.7
LHCB = Geometry(
    name="lhcb",
    layers=(CartesianLayer(shape=(30, 30), cell_size_mm=(20, 20)),),
    radiation_length_mm=X0_MM,
    critical_energy_MeV=EC_MEV,
)
RECTANGULAR = LHCB.model_copy(update={"layers": (CartesianLayer(shape=(12, 21), cell_size_mm=(45, 20)),)})
UNITS = {"px": "GeV", "py": "GeV", "pz": "GeV", "x0": "mm", "y0": "mm"}
DIRECTIONAL = ("width_along_mm", "width_across_mm", "asymmetry_longitudinal", "asymmetry_transverse")


def make_showers(images_MeV, *, energy_GeV=EC_MEV / 1000, px=0.0, py=0.0, pz=1.0, x0=0.0, y0=0.0):
    """Showers of images (n, nx, ny); by default with their maximum at the front face."""
    n = len(images_MeV)
    columns = {"px": px, "py": py, "pz": pz, "x0": x0, "y0": y0}
    return Showers(
        np.reshape(images_MeV, (n, -1)).astype(np.float32),
        np.broadcast_to(np.float32(np.reshape(energy_GeV, (-1, 1)) * 1000), (n, 1)),
        {name: np.broadcast_to(np.float32(values), n) for name, values in columns.items()},
        np.arange(n) + 100,
    )


def image_of(cells, shape=(30, 30)):
    image = np.zeros((1, *shape))
    for (ix, iy), energy_MeV in cells.items():
        image[0, ix, iy] = energy_MeV
    return image


@pytest.fixture
def observed(tmp_path):
    """Write showers, observe them, read everything back: scalars and profiles under their names."""

    def run(showers, *, geometry=LHCB, units=UNITS, threshold_MeV=0.5):
        with ShowerWriter(tmp_path / "showers.h5", geometry, units) as writer:
            writer.append(showers)
        observe(
            tmp_path / "showers.h5",
            readout_threshold_MeV=threshold_MeV,
            output=tmp_path / "observables.h5",
            record=tmp_path / "observe.json",
        )
        with h5py.File(tmp_path / "observables.h5") as file:
            values = {name: file[name][:] for name in ("mean_shower", "incident_energy_GeV", "event")}
            for group in ("scalars", "profiles"):
                values |= {name: column[:] for name, column in file[group].items()}
        return values

    return run


@pytest.fixture(scope="module")
def real_showers():
    """The first 700 embedded showers, filled into images entry by entry."""
    tree = uproot.open(SAMPLE)["showers"]
    entries = tree.arrays(entry_stop=700)
    images = np.zeros((700, 30, 30))
    for image, x, y, energy_MeV in zip(
        images, entries.cell_x, entries.cell_y, entries.cell_energy, strict=True
    ):
        image[x.to_numpy(), y.to_numpy()] = energy_MeV.to_numpy()
    columns = {name: entries[name].to_numpy() for name in UNITS}
    return make_showers(images, energy_GeV=entries.energy.to_numpy(), **columns)


def random_showers(geometry, n=60):
    rng = np.random.default_rng(5)
    images = rng.exponential(2, (n, *geometry.layers[0].shape)) * (
        rng.random((n, *geometry.layers[0].shape)) < 0.3
    )
    return make_showers(
        images,
        energy_GeV=rng.uniform(1, 50, n),
        px=rng.normal(0, 2, n),
        py=rng.normal(0, 2, n),
        pz=rng.uniform(1, 3, n),
        x0=rng.uniform(-30, 30, n),
        y0=rng.uniform(-30, 30, n),
    )


def loop_over_cells(showers, row, geometry, threshold_MeV):
    """The definitions of the observables, cell by cell, for one shower."""
    layer = geometry.layers[0]
    (nx, ny), size = layer.shape, layer.cell_size_mm
    px, py, pz, x0, y0 = (float(showers.conditions[name][row]) for name in UNITS)
    incident_MeV = float(showers.incident_energies[row, 0])

    path = max(math.log(incident_MeV / EC_MEV) - 0.5, 0) * X0_MM
    depth = path * pz / math.sqrt(px * px + py * py + pz * pz)
    point = (x0 + depth * px / pz, y0 + depth * py / pz)
    pt = math.hypot(px, py)
    u = (px / pt, py / pt)
    v = (-u[1], u[0])

    cells = []
    for ix in range(nx):
        for iy in range(ny):
            energy = float(showers.showers[row, ix * ny + iy])
            if energy > threshold_MeV:
                cells.append(((ix - (nx - 1) / 2) * size[0], (iy - (ny - 1) / 2) * size[1], energy))
    total = sum(energy for _, _, energy in cells)
    centre = tuple(sum(cell[axis] * cell[2] for cell in cells) / total for axis in (0, 1))

    def width(direction):
        major = 0 if abs(direction[0]) / size[0] >= abs(direction[1]) / size[1] else 1
        minor = 1 - major
        slope = direction[minor] / direction[major]
        on_line = []
        for cell in cells:
            offset = point[minor] + slope * (cell[major] - point[major]) - cell[minor]
            if -size[minor] / 2 <= offset < size[minor] / 2:
                on_line.append((cell[major] * math.sqrt(1 + slope * slope), cell[2]))
        energy = sum(weight for _, weight in on_line)
        if energy == 0:
            return math.nan
        mean = sum(t * weight for t, weight in on_line) / energy
        return math.sqrt(sum((t - mean) ** 2 * weight for t, weight in on_line) / energy)

    def asymmetry(direction):
        sides = 0.0
        for x, y, energy in cells:
            side = (x - point[0]) * direction[0] + (y - point[1]) * direction[1]
            sides += energy if side > 0 else -energy if side < 0 else 0
        return sides / total

    def radius_90():
        contained = 0.0
        for radius, energy in sorted((math.dist(cell[:2], centre), cell[2]) for cell in cells):
            contained += energy
            if contained >= 0.9 * total:
                return radius
        return None

    def sparsity(alpha):
        return sum(energy >= alpha * total for _, _, energy in cells) / (nx * ny)

    half = min(size) / 2
    radial = [0.0] * 24
    for x, y, energy in cells:
        ring = int(math.dist((x, y), point) // half)
        if ring < 24:
            radial[ring] += energy / total
    by_energy = sorted((energy for _, _, energy in cells), reverse=True)
    return {
        "total_energy_MeV": total,
        "response": total / incident_MeV,
        "width_along_mm": width(u),
        "width_across_mm": width(v),
        "asymmetry_longitudinal": asymmetry(u),
        "asymmetry_transverse": asymmetry(v),
        "shift_x_mm": centre[0] - point[0],
        "shift_y_mm": centre[1] - point[1],
        "radius_90_mm": radius_90(),
        "hit_cells": len(cells),
        "hottest_fraction": by_energy[0] / total,
        "second_hottest_fraction": by_energy[1] / total,
        "sparsity_1em4": sparsity(1e-4),
        "sparsity_1em3": sparsity(1e-3),
        "sparsity_1em2": sparsity(1e-2),
        "sparsity": [sparsity(10 ** (-5 + 5 * k / 49)) for k in range(50)],
        "radial": radial,
    }


def test_single_cell(observed):
    values = observed(make_showers(image_of({(16, 15): 7.0}), px=1.0, x0=3.0, y0=4.0))
    assert values["total_energy_MeV"] == 7
    assert values["response"] == pytest.approx(7 / EC_MEV, rel=1e-6)
    assert values["hit_cells"] == 1
    assert values["width_along_mm"] == 0  # the row y in [0, 20) holds the track
    assert np.isnan(values["width_across_mm"])  # the column x in [0, 20) does not hold the cell
    assert values["asymmetry_longitudinal"] == 1
    assert values["asymmetry_transverse"] == 1
    assert values["shift_x_mm"] == 30 - 3
    assert values["shift_y_mm"] == 10 - 4
    assert values["radius_90_mm"] == 0
    assert values["hottest_fraction"] == 1
    assert values["second_hottest_fraction"] == 0
    np.testing.assert_allclose(values["sparsity"], 1 / 900)
    ring = int(math.hypot(27, 6) // 10)
    np.testing.assert_array_equal(values["radial"][0], np.arange(24) == ring)


def test_two_cells_along_x(observed):
    values = observed(make_showers(image_of({(14, 15): 3.0, (17, 15): 1.0}), px=2.0, y0=10.0))
    assert values["width_along_mm"] == pytest.approx(60 * math.sqrt(3 / 4 * 1 / 4))
    assert values["asymmetry_longitudinal"] == pytest.approx((1 - 3) / 4)
    assert values["asymmetry_transverse"] == 0  # both centres lie on the track
    assert values["shift_x_mm"] == pytest.approx(-10 * 3 / 4 + 50 * 1 / 4)
    assert values["shift_y_mm"] == 0
    assert values["radius_90_mm"] == pytest.approx(45)
    assert values["second_hottest_fraction"] == pytest.approx(1 / 4)
    above = values["sparsity"][0] * 900
    np.testing.assert_allclose(above, [2] * 44 + [1] * 4 + [0] * 2, rtol=1e-6)  # 1/4 and 3/4 of the energy


@pytest.mark.parametrize(("px", "py"), [(1, 0), (-1, 0), (0, 1), (0, -1)])
def test_uniform_line_along_an_axis(observed, px, py):
    image = np.zeros((1, 30, 30))
    image[0, :, 17] = 1
    if py:
        image = image.transpose(0, 2, 1)
    values = observed(make_showers(image, px=px, py=py, x0=0 if px else 50, y0=50 if px else 0))
    assert values["width_along_mm"] == pytest.approx(20 * math.sqrt((30**2 - 1) / 12))
    assert values["width_across_mm"] == 0
    assert values["asymmetry_longitudinal"] == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(("px", "py"), [(1, 1), (-1, -1), (1, -1), (-1, 1)])
def test_uniform_diagonal(observed, px, py):
    diagonal = np.eye(30) if px == py else np.eye(30)[:, ::-1]
    values = observed(make_showers(diagonal[None], px=px, py=py, x0=10, y0=10 * px * py))
    assert values["width_along_mm"] == pytest.approx(math.sqrt(2) * 20 * math.sqrt((30**2 - 1) / 12))
    assert values["width_across_mm"] == 0
    assert values["asymmetry_longitudinal"] == pytest.approx(px * (14 - 15) / 30)
    assert values["asymmetry_transverse"] == 0
    # seen from the side, the same line runs across
    values = observed(make_showers(diagonal[None], px=-py, py=px, x0=10, y0=10 * px * py))
    assert values["width_across_mm"] == pytest.approx(math.sqrt(2) * 20 * math.sqrt((30**2 - 1) / 12))


def test_track_reaches_the_shower_maximum(observed):
    values = observed(make_showers(image_of({(15, 15): 7.0}), energy_GeV=10, px=3, py=-4, pz=12, x0=1, y0=2))
    path_mm = (math.log(10_000 / EC_MEV) - 0.5) * X0_MM
    assert values["shift_x_mm"] == pytest.approx(10 - (1 + path_mm * 3 / 13), rel=1e-6)
    assert values["shift_y_mm"] == pytest.approx(10 - (2 - path_mm * 4 / 13), rel=1e-6)


def test_no_transverse_momentum(observed):
    values = observed(make_showers(image_of({(16, 15): 7.0, (3, 4): 2.0}), x0=3.0))
    for name, column in values.items():
        assert np.isnan(column).all() == (name in DIRECTIONAL), name


def test_empty_shower(observed):
    showers = make_showers(
        np.concatenate([np.zeros((1, 30, 30)), image_of({(15, 15): 7.0})]), px=1.0, y0=10.0
    )
    values = observed(showers)
    for name in ("total_energy_MeV", "response", "hit_cells"):
        assert values[name][0] == 0
    for name in values.keys() - {"total_energy_MeV", "response", "hit_cells", "mean_shower"}:
        assert np.isnan(values[name][0]).all() == (name not in ("event", "incident_energy_GeV")), name
        assert np.isfinite(values[name][1]).all() or name == "width_across_mm", name
    assert values["mean_shower"].reshape(30, 30)[15, 15] == 3.5


@pytest.mark.parametrize("kind", ["real", "rectangular"])
def test_every_observable_against_a_loop_over_cells(observed, real_showers, kind):
    showers = real_showers[540:660] if kind == "real" else random_showers(RECTANGULAR)
    geometry = LHCB if kind == "real" else RECTANGULAR
    values = observed(showers, geometry=geometry)
    assert len(values["event"]) == len(showers)
    for row in range(len(showers)):
        expected = loop_over_cells(showers, row, geometry, threshold_MeV=0.5)
        assert expected.keys() == values.keys() - {"mean_shower", "incident_energy_GeV", "event"}
        for name, value in expected.items():
            np.testing.assert_allclose(
                values[name][row], value, rtol=2e-5, atol=2e-5, err_msg=f"{name} {row}"
            )


def test_every_shower_in_its_row(observed, real_showers):
    """More showers than a block holds."""
    values = observed(real_showers)
    kept = np.where(real_showers.showers > 0.5, real_showers.showers, 0).astype(np.float64)
    np.testing.assert_array_equal(values["event"], real_showers.event)
    np.testing.assert_allclose(values["total_energy_MeV"], kept.sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(values["mean_shower"], kept.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(values["incident_energy_GeV"], real_showers.incident_energies[:, 0] / 1000)


def test_rotation_by_90_degrees(observed, real_showers):
    before = observed(real_showers)
    c = real_showers.conditions
    images = real_showers.showers.reshape(-1, 30, 30)
    rotated = images.transpose(0, 2, 1)[:, ::-1]  # (x, y) -> (-y, x)
    after = observed(
        make_showers(
            rotated,
            energy_GeV=real_showers.incident_energies / 1000,
            px=-c["py"],
            py=c["px"],
            pz=c["pz"],
            x0=-c["y0"],
            y0=c["x0"],
        )
    )
    np.testing.assert_allclose(after["shift_x_mm"], -before["shift_y_mm"], atol=1e-4)
    np.testing.assert_allclose(after["shift_y_mm"], before["shift_x_mm"], atol=1e-4)
    for name in before.keys() - {"shift_x_mm", "shift_y_mm", "mean_shower", "event"}:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_mirror_symmetry(observed, real_showers):
    before = observed(real_showers)
    c = real_showers.conditions
    mirrored = real_showers.showers.reshape(-1, 30, 30)[:, :, ::-1]
    after = observed(
        make_showers(
            mirrored,
            energy_GeV=real_showers.incident_energies / 1000,
            **(dict(c) | {"py": -c["py"], "y0": -c["y0"]}),
        )
    )
    for name in before.keys() - {"mean_shower", "event"}:
        sign = -1 if name in ("asymmetry_transverse", "shift_y_mm") else 1
        np.testing.assert_allclose(after[name], sign * before[name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_readout_threshold(observed):
    values = observed(make_showers(image_of({(1, 1): 0.75, (2, 2): 0.5, (3, 3): 0.25})), threshold_MeV=0.5)
    assert values["hit_cells"] == 1
    assert values["total_energy_MeV"] == 0.75
    assert np.count_nonzero(values["mean_shower"]) == 1


def test_conditions_in_other_units(observed, real_showers):
    c = real_showers.conditions
    scale = {"px": 1000, "py": 1000, "pz": 1000, "x0": 0.1, "y0": 0.1}
    other = make_showers(
        real_showers.showers,
        energy_GeV=real_showers.incident_energies / 1000,
        **{name: c[name] * np.float32(factor) for name, factor in scale.items()},
    )
    expected = observed(real_showers)
    values = observed(other, units={"px": "MeV", "py": "MeV", "pz": "MeV", "x0": "cm", "y0": "cm"})
    for name in expected.keys() - {"event"}:
        np.testing.assert_allclose(values[name], expected[name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_layout_of_the_file(observed, real_showers, tmp_path):
    observed(real_showers)
    with h5py.File(tmp_path / "observables.h5") as file:
        assert Geometry.model_validate_json(file.attrs["geometry"]) == LHCB
        assert file.attrs["readout_threshold_MeV"] == 0.5
        assert file.attrs["n"] == 700
        for name, column in file["scalars"].items():
            assert column.shape == (700,)
            assert column.dtype == np.float32
            assert column.attrs["label"]
            assert column.attrs["unit"] == next((u for u in ("mm", "MeV") if name.endswith(f"_{u}")), "1")
        assert file["scalars/total_energy_MeV"].attrs["log"]
        assert not file["scalars/response"].attrs["log"]
        sparsity, radial = file["profiles/sparsity"], file["profiles/radial"]
        np.testing.assert_allclose(sparsity.attrs["x"], 10 ** np.linspace(-5, 0, 50))
        assert sparsity.shape == (700, 50)
        np.testing.assert_allclose(radial.attrs["x"], np.arange(0, 250, 10))
        assert radial.shape == (700, 24)
    record = json.loads((tmp_path / "observe.json").read_text())
    assert record["stage"] == "observe"
    assert record["inputs"] == {str(tmp_path / "showers.h5"): file_digest(tmp_path / "showers.h5")}
    assert record["settings"] == {"readout_threshold_MeV": 0.5}


def test_same_bytes_every_time(observed, real_showers, tmp_path):
    digests = set()
    for _ in range(2):
        observed(real_showers)
        digests.add(file_digest(tmp_path / "observables.h5"))
    assert len(digests) == 1


ONE = image_of({(15, 15): 7.0})


@pytest.mark.parametrize(
    ("showers", "geometry", "units", "message"),
    [
        pytest.param(
            make_showers(np.zeros((1, 3, 4))),
            Geometry(name="towers", layers=(EtaPhiLayer(kind="eta_phi", eta_edges=(-1, 0, 1, 2), n_phi=4),)),
            UNITS,
            "geometry towers is eta_phi, observables of eta_phi geometries are not defined",
            id="eta and phi",
        ),
        pytest.param(
            make_showers(ONE),
            LHCB.model_copy(update={"radiation_length_mm": None, "critical_energy_MeV": None}),
            UNITS,
            "states no radiation_length_mm, critical_energy_MeV",
            id="constants",
        ),
        pytest.param(
            make_showers(ONE),
            LHCB,
            {"px": "GeV", "py": "GeV", "x0": "mm"},
            r"no condition pz \[GeV\], y0 \[mm\] among px, py, x0",
            id="conditions",
        ),
        pytest.param(make_showers(ONE), LHCB, UNITS | {"y0": "rad"}, "cannot convert rad to mm", id="unit"),
        pytest.param(make_showers(ONE)[:0], LHCB, UNITS, "no showers", id="no showers"),
        pytest.param(
            make_showers(np.concatenate([ONE, ONE * np.nan])),
            LHCB,
            UNITS,
            "event 101 has a cell energy that is not finite",
            id="nan cell",
        ),
        pytest.param(make_showers(ONE, pz=0), LHCB, UNITS, "event 100 has pz that is not positive", id="pz"),
        pytest.param(
            make_showers(ONE, x0=np.inf),
            LHCB,
            UNITS,
            "event 100 has a condition that is not finite",
            id="condition",
        ),
        pytest.param(
            make_showers(ONE, energy_GeV=0),
            LHCB,
            UNITS,
            "event 100 has an incident energy",
            id="incident energy",
        ),
    ],
)
def test_bad_input_leaves_nothing_behind(observed, tmp_path, showers, geometry, units, message):
    with pytest.raises(CaloforgeError, match=message) as error:
        observed(showers, geometry=geometry, units=units)
    assert str(tmp_path / "showers.h5") in str(error.value)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["showers.h5"]


def test_missing_file(tmp_path):
    with pytest.raises(CaloforgeError, match="no such file"):
        observe(
            tmp_path / "none.h5",
            readout_threshold_MeV=0.5,
            output=tmp_path / "observables.h5",
            record=tmp_path / "observe.json",
        )
