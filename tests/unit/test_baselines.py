"""Baselines beside closed forms, showers of known parameters, hand-worked neighbours, embedded samples."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from scipy import integrate, stats

from caloforge.baselines import parametrised_shower, shower_library, slices
from caloforge.baselines.fit import TrainingSet, fit_parameters
from caloforge.baselines.fluctuations import fit_fluctuations
from caloforge.baselines.longitudinal import fit_shapes, layer_shares
from caloforge.baselines.parametrised_shower import ParametrisedShowers
from caloforge.baselines.radial import RadialProfile, RowSums, cell_shares, row_shares
from caloforge.baselines.slices import sliced
from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.geometry import CartesianLayer, Geometry
from caloforge.ingest import ingest
from caloforge.observables import observe
from caloforge.showers import ShowerFile, Showers, ShowerWriter

CHECKOUT = Path(__file__).parents[2]
CORE_MM, TAIL_MM, CORE_SHARE = 6.0, 40.0, 0.7
SPOT_MeV = 2.0
RESPONSE = 0.2
THRESHOLD_MeV = 0.5
DIRECTION = {"px": "GeV", "py": "GeV", "pz": "GeV"}
STACK = Geometry(
    name="stack",
    layers=[{"shape": (12, 12), "cell_size_mm": (10, 10), "thickness_mm": 50, "repeat": 4}],
    radiation_length_mm=10,
)
IMAGE = Geometry(
    name="image",
    layers=[{"shape": (40, 40), "cell_size_mm": (10, 10), "thickness_mm": 400}],
    radiation_length_mm=16,
    critical_energy_MeV=10,
)


def one_profile(n: int = 1) -> RadialProfile:
    return RadialProfile(np.full(n, CORE_MM), np.full(n, TAIL_MM), np.full(n, CORE_SHARE))


def write(path, geometry, cells_MeV, energy_GeV, conditions=None, units=None, first_event=0):
    conditions = conditions or {}
    with ShowerWriter(path, geometry, units or dict.fromkeys(conditions, "mm")) as writer:
        writer.append(
            Showers(
                np.asarray(cells_MeV, np.float32),
                1000 * np.asarray(energy_GeV, np.float32)[:, None],
                {name: np.asarray(values, np.float32) for name, values in conditions.items()},
                first_event + np.arange(len(energy_GeV)),
            )
        )
    return path


def generate(module, folder, train, test, *, output="samples.h5", seed=1):
    module.generate(
        train=train,
        test=test,
        output=folder / output,
        record=folder / "sample.json",
        readout_threshold_MeV=THRESHOLD_MeV,
        seed=seed,
    )
    with ShowerFile(folder / output) as file:
        return file.read()


def spots(rng, geometry, energy_GeV, middle_mm, shares):
    """Showers made spot by spot: radii from the inverse of the contained share, r = R √(u / (1 - u)).

    `middle_mm` is where showers are in each layer (n, L, 2), `shares` what layers have of the energy (n, L).
    """
    cells_MeV = []
    for energy, middles, share in zip(energy_GeV, middle_mm, shares, strict=True):
        images = []
        for layer, middle, part in zip(geometry.layers, middles, share, strict=True):
            n = rng.poisson(1000 * RESPONSE * energy * part / SPOT_MeV)
            u = rng.random(n)
            radius_mm = np.where(rng.random(n) < CORE_SHARE, CORE_MM, TAIL_MM) * np.sqrt(u / (1 - u))
            angle = rng.uniform(0, 2 * np.pi, n)
            x, y = middle[:, None] + radius_mm * np.stack([np.cos(angle), np.sin(angle)])
            weights = rng.exponential(SPOT_MeV, n)
            images.append(np.histogram2d(x, y, [layer.edges(0), layer.edges(1)], weights=weights)[0].ravel())
        cells_MeV.append(np.concatenate(images))
    return np.array(cells_MeV)


# Longitudinal profiles


def test_shares_of_layers_are_integrals_of_the_gamma_distribution():
    edges = np.array([0, 5.0, 12, 25])
    shape, depth = np.array([4.0, 6.5]), np.array([9.0, 11])
    contained = stats.gamma.cdf(edges, shape[:, None], scale=(depth / shape)[:, None])
    expected = np.diff(contained, axis=1) / contained[:, -1:]
    np.testing.assert_allclose(layer_shares(np.log(shape), np.log(depth), edges), expected, rtol=1e-10)


@pytest.mark.parametrize(("layers", "tolerance"), [(3, 0.07), (25, 0.01)])
def test_gamma_distributions_are_found_again(layers: int, tolerance: float):
    rng = np.random.default_rng(5)
    edges = np.array([0, 6.0, 20, 26]) if layers == 3 else np.linspace(0, 25, 26)
    log_shape, log_depth = rng.normal(np.log(5), 0.2, 200), rng.normal(np.log(9), 0.1, 200)
    contained = stats.gamma.cdf(
        edges, np.exp(log_shape)[:, None], scale=np.exp(log_depth - log_shape)[:, None]
    )
    found_shape, found_depth = fit_shapes(1e4 * np.diff(contained, axis=1), edges, 1e-3)
    np.testing.assert_allclose(found_shape, log_shape, atol=tolerance)
    np.testing.assert_allclose(found_depth, log_depth, atol=tolerance / 3)


def test_two_layers_still_have_their_shares():
    edges = np.array([0, 8.0, 25])
    found = fit_shapes(np.array([[300.0, 700], [800, 200]]), edges, 1e-3)
    np.testing.assert_allclose(layer_shares(*found, edges)[:, 0], [0.3, 0.8], atol=0.03)


def test_fluctuations_are_found_again():
    rng = np.random.default_rng(6)
    energy_GeV = rng.uniform(1, 100, 20_000)
    correlation = np.array([[1, 0.6], [0.6, 1]])
    noise = rng.multivariate_normal([0, 0], correlation, len(energy_GeV))
    deviations = np.sqrt(np.stack([0.09 / energy_GeV, 0.04 / energy_GeV + 0.01], axis=1))
    means = np.stack([0.5 + 0.1 * np.log(energy_GeV), 2 - 0.3 * np.log(energy_GeV)], axis=1)
    found = fit_fluctuations(energy_GeV, means + deviations * noise)
    np.testing.assert_allclose(found.means, [[0.5, 2], [0.1, -0.3]], atol=0.01)
    at_10_GeV = np.array([0.1, 1]) @ found.variances
    np.testing.assert_allclose(at_10_GeV, [0.009, 0.014], rtol=0.1)
    np.testing.assert_allclose(found.variances[1], [0, 0.01], atol=1e-3)
    np.testing.assert_allclose(found.correlations, correlation, atol=0.02)
    drawn = found.values(np.full(50_000, 10.0), rng.standard_normal((50_000, 2)))
    expected = np.array([0.009, 0.014])
    np.testing.assert_allclose(np.cov(drawn.T), correlation * np.sqrt(np.outer(expected, expected)), rtol=0.1)


# Radial profiles


def test_share_of_a_cell_is_the_integral_of_both_components():
    layer = CartesianLayer(shape=(9, 9), cell_size_mm=(12, 7))
    axis_mm = np.array([[3.0, -5.0]])

    def density(y, x):
        squared = (x - 3) ** 2 + (y + 5) ** 2
        return sum(
            share * scale**2 / (np.pi * (squared + scale**2) ** 2)
            for share, scale in ((CORE_SHARE, CORE_MM), (1 - CORE_SHARE, TAIL_MM))
        )

    def integral(x, y):
        return integrate.dblquad(density, x[0], x[1], y[0], y[1], epsabs=1e-10)[0]

    x, y = layer.edges(0), layer.edges(1)
    whole = integral(x[[0, -1]], y[[0, -1]])
    shares = cell_shares(one_profile(), axis_mm, layer).reshape(9, 9)
    assert shares.sum() == pytest.approx(1)
    for i, j in ((4, 3), (0, 8), (5, 4)):
        assert shares[i, j] == pytest.approx(integral(x[i : i + 2], y[j : j + 2]) / whole, rel=1e-6)


def test_cells_within_a_radius_hold_what_the_integral_of_the_profile_says():
    layer = CartesianLayer(shape=(1001, 1001), cell_size_mm=(4, 4))
    shares = cell_shares(one_profile(), np.zeros((1, 2)), layer)[0]
    radius_mm = np.hypot(*np.meshgrid(layer.centres_mm(0), layer.centres_mm(1), indexing="ij")).ravel()
    for limit in (40.0, 100, 200):
        core, tail = (limit**2 / (limit**2 + scale**2) for scale in (CORE_MM, TAIL_MM))
        expected = CORE_SHARE * core + (1 - CORE_SHARE) * tail
        assert shares[radius_mm < limit].sum() == pytest.approx(expected, abs=3e-3)


def test_rows_are_sums_of_cells():
    layer = CartesianLayer(shape=(5, 16), cell_size_mm=(10, 5))
    rows = cell_shares(one_profile(), np.array([[2.0, 0.0]]), layer).reshape(5, -1).sum(axis=1)
    offset_mm = layer.centres_mm(0) - 2
    expected = row_shares(one_profile(5), offset_mm, np.full(5, 10.0), np.full(5, 40.0))
    np.testing.assert_allclose(rows, expected / expected.sum(), rtol=1e-10)


def test_radial_profiles_are_found_again():
    rng = np.random.default_rng(7)
    (layer,) = IMAGE.layers
    middle_mm = rng.uniform(-5, 5, (300, 1, 2))
    cells_MeV = spots(rng, IMAGE, np.full(300, 20.0), middle_mm, np.ones((300, 1)))
    sums = RowSums(layer, 1)
    for axis in (0, 1):
        sums.add(axis, cells_MeV, middle_mm[:, 0, axis], np.zeros(300, int))
    (core, tail, logit), slopes = sums.fit(np.array([np.log(20)]))
    assert np.exp(core) == pytest.approx(CORE_MM, rel=0.03)
    assert np.exp(tail) == pytest.approx(TAIL_MM, rel=0.05)
    assert 1 / (1 + np.exp(-logit)) == pytest.approx(CORE_SHARE, abs=0.02)
    np.testing.assert_array_equal(slopes, 0)


# Parametrised showers


def stack_showers(rng, n):
    """Showers of known parameters in four layers: energies, entry points, directions, cells."""
    energy_GeV = rng.uniform(5, 50, n)
    entry_mm = rng.uniform(-8, 8, (n, 2))
    shape = np.exp(rng.normal(np.log(4), 0.1, n))
    depth = 6 + np.log(energy_GeV)
    contained = stats.gamma.cdf([[0, 5, 10, 15, 20]], shape[:, None], scale=(depth / shape)[:, None])
    shares = np.diff(contained, axis=1) / contained[:, -1:]
    middle_mm = np.repeat(entry_mm[:, None], 4, axis=1)
    return energy_GeV, entry_mm, shares, spots(rng, STACK, energy_GeV, middle_mm, shares)


@pytest.fixture(scope="module")
def stack_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stack")
    rng = np.random.default_rng(8)
    for name, n in (("train", 300), ("test", 100)):
        energy_GeV, entry_mm, _, cells_MeV = stack_showers(rng, n)
        conditions = {"x0": entry_mm[:, 0], "y0": entry_mm[:, 1]}
        write(folder / f"{name}.h5", STACK, cells_MeV, energy_GeV, conditions, first_event=7000)
    return folder


def test_parameters_of_known_showers_are_found_again(stack_files):
    with ShowerFile(stack_files / "train.h5") as file:
        calorimeter = sliced(file.geometry, inclined=False)
        found = fit_parameters(TrainingSet(file, calorimeter, 0), THRESHOLD_MeV, 1)
    energies_GeV = np.array([10.0, 40])
    means = found.fluctuations.values(energies_GeV, np.zeros((2, 3)))
    np.testing.assert_allclose(np.exp(means[:, 1]), 4, rtol=0.05)
    np.testing.assert_allclose(np.exp(means[:, 2]), 6 + np.log(energies_GeV), rtol=0.01)
    np.testing.assert_allclose(found.spot_MeV, SPOT_MeV, rtol=0.2)
    np.testing.assert_allclose(np.exp(found.radial[:, 0, 0]), CORE_MM, rtol=0.3)


def test_known_showers_come_out_again(stack_files, tmp_path):
    generated = generate(parametrised_shower, tmp_path, stack_files / "train.h5", stack_files / "test.h5")
    with ShowerFile(stack_files / "test.h5") as file:
        full = file.read()
    np.testing.assert_array_equal(generated.event, full.event)
    np.testing.assert_array_equal(generated.incident_energies, full.incident_energies)
    for name in ("x0", "y0"):
        np.testing.assert_array_equal(generated.conditions[name], full.conditions[name])
    kept_MeV = np.where(full.showers > THRESHOLD_MeV, full.showers, 0)
    assert not np.any((generated.showers > 0) & (generated.showers <= THRESHOLD_MeV))
    for sample in (generated.showers, kept_MeV):
        assert sample.min() == 0
    total_MeV = [sample.sum(axis=1) for sample in (generated.showers, kept_MeV)]
    assert total_MeV[0].mean() == pytest.approx(total_MeV[1].mean(), rel=0.02)
    layers_MeV = [sample.reshape(100, 4, -1).sum(axis=2) for sample in (generated.showers, kept_MeV)]
    np.testing.assert_allclose(layers_MeV[0].mean(axis=0), layers_MeV[1].mean(axis=0), rtol=0.06)
    hits = [np.count_nonzero(sample) for sample in (generated.showers, kept_MeV)]
    assert hits[0] == pytest.approx(hits[1], rel=0.05)
    ratio = [
        np.std(sample.sum(axis=1) / full.incident_energies[:, 0]) for sample in (generated.showers, kept_MeV)
    ]
    assert ratio[0] == pytest.approx(ratio[1], rel=0.2)


def test_parametrised_showers_do_not_depend_on_blocks(stack_files):
    with ShowerFile(stack_files / "train.h5") as train, ShowerFile(stack_files / "test.h5") as test:
        baseline = ParametrisedShowers(train, THRESHOLD_MeV, 3)
        together = baseline.showers_MeV(test.read(0, 30), test, 0)
        apart = [baseline.showers_MeV(test.read(start, start + 10), test, start) for start in (0, 10, 20)]
    np.testing.assert_array_equal(together, np.concatenate(apart))


def test_the_seed_alone_decides(stack_files, tmp_path):
    files = stack_files / "train.h5", stack_files / "test.h5"
    for output, seed in (("a.h5", 1), ("b.h5", 1), ("c.h5", 2)):
        generate(parametrised_shower, tmp_path, *files, output=output, seed=seed)
    first, again, other = ((tmp_path / name).read_bytes() for name in ("a.h5", "b.h5", "c.h5"))
    assert first == again != other


def test_inclined_showers_in_an_image_are_where_their_mean_depth_says(tmp_path):
    rng = np.random.default_rng(9)
    n, depth_mm = 600, 130.0
    slopes = rng.uniform(-0.4, 0.4, (n, 2))
    energy_GeV = np.full(n, 20.0)
    path = np.sqrt(1 + (slopes**2).sum(axis=1))
    along_mm = rng.gamma(4, depth_mm / 4, (n, 200)) / path[:, None]
    cells_MeV = np.zeros((n, 1600))
    for row, (depths, slope) in enumerate(zip(along_mm, slopes, strict=True)):
        x, y = slope[:, None] * depths + rng.normal(0, 5, (2, 200))
        edges = IMAGE.layers[0].edges(0)
        cells_MeV[row] = np.histogram2d(x, y, [edges, edges], weights=rng.exponential(20, 200))[0].ravel()
    pz = energy_GeV / path
    momenta = {"px": slopes[:, 0] * pz, "py": slopes[:, 1] * pz, "pz": pz}
    train = write(tmp_path / "train.h5", IMAGE, cells_MeV, energy_GeV, momenta, DIRECTION)
    generated = generate(parametrised_shower, tmp_path, train, train)
    rows_MeV = generated.showers.reshape(n, 40, 40).sum(axis=2)
    centre_mm = rows_MeV @ IMAGE.layers[0].centres_mm(0) / rows_MeV.sum(axis=1)
    fitted = np.polyfit(slopes[:, 0] / path, centre_mm, 1)
    assert fitted[0] == pytest.approx(depth_mm, rel=0.03)
    assert fitted[1] == pytest.approx(0, abs=1)


def test_slices_of_inclined_showers():
    thick = Geometry(
        name="thick",
        layers=[
            {"shape": (2, 2), "cell_size_mm": (10, 10), "thickness_mm": 50},
            {"shape": (1, 1), "cell_size_mm": (20, 20), "thickness_mm": 350},
        ],
        radiation_length_mm=20,
    )
    inclined = sliced(thick, inclined=True)
    np.testing.assert_array_equal(inclined.layer_of_slice, [0] * 2 + [1] * 9)
    np.testing.assert_allclose(inclined.layer_edges(), [0, 2.5, 20])
    np.testing.assert_allclose(inclined.depth_mm[:2], [12.5, 37.5])
    np.testing.assert_allclose(inclined.layer_sums(np.ones((1, 11))), [[2, 9]])
    straight = sliced(thick, inclined=False)
    np.testing.assert_allclose(straight.depth_mm, [25, 225])


# Frozen showers


def square(n):
    return np.arange(1, n + 1)[:, None] * np.ones(4)


BOX = Geometry(name="box", layers=[{"shape": (2, 2), "cell_size_mm": (10, 10)}])


def test_the_nearest_shower_of_the_library_is_scaled_to_the_energy(tmp_path):
    # x0 has the standard deviation 2, so that 2 mm are as far as a factor e in the energy
    conditions = {"x0": np.array([-2, 2, -2, 2])}
    train = write(tmp_path / "train.h5", BOX, square(4), [10, 10, 100, 100], conditions)
    test = write(
        tmp_path / "test.h5", BOX, np.zeros((3, 4)), [20, 50, 20], {"x0": [-1.5, 1, 0.1]}, first_event=50
    )
    found = generate(shower_library, tmp_path, train, test)
    # squared distances in (ln E, x0 / 2): ln(2)² + 0.25² to the first, ln(2)² + 0.5² to the fourth shower and
    # ln(2)² + 0.95² to the second one
    np.testing.assert_allclose(found.showers, np.array([[1 * 2], [4 * 0.5], [2 * 2]]) * np.ones(4))
    np.testing.assert_array_equal(found.event, [50, 51, 52])


def test_momenta_count_as_directions(tmp_path):
    # the second momentum is nearer to (4, 0, 40) than the first, but flies elsewhere
    momenta = {"px": [1.0, 8], "py": [0.0, 0], "pz": [10.0, 40]}
    train = write(tmp_path / "train.h5", BOX, square(2), [40, 40], momenta, DIRECTION)
    test = write(
        tmp_path / "test.h5", BOX, np.zeros((1, 4)), [40], {"px": [4], "py": [0], "pz": [40]}, DIRECTION
    )
    np.testing.assert_allclose(generate(shower_library, tmp_path, train, test).showers, 1)


@pytest.mark.parametrize("module", [shower_library, parametrised_shower])
def test_particles_stay_apart(tmp_path, module):
    rng = np.random.default_rng(1)
    codes = np.tile([11, 22], 40)
    cells_MeV = rng.uniform(0.9, 1.1, (80, 4)) * np.where(codes == 11, 100, 1000)[:, None]
    units = {"pdg": "1"}
    train = write(tmp_path / "train.h5", BOX, cells_MeV, np.full(80, 10.0), {"pdg": codes}, units)
    test = write(tmp_path / "test.h5", BOX, np.zeros((4, 4)), np.full(4, 10.0), {"pdg": codes[:4]}, units)
    total_MeV = generate(module, tmp_path, train, test).showers.sum(axis=1)
    np.testing.assert_allclose(total_MeV, [400, 4000, 400, 4000], rtol=0.3)
    other = write(tmp_path / "other.h5", BOX, np.zeros((1, 4)), [10.0], {"pdg": [211]}, units, first_event=9)
    with pytest.raises(CaloforgeError, match=r"other.h5: event 9 has pdg 211, expected one .*: 11, 22$"):
        generate(module, tmp_path, train, other)


def test_blocks_do_not_change_frozen_showers(stack_files, tmp_path, monkeypatch):
    files = stack_files / "train.h5", stack_files / "test.h5"
    generate(shower_library, tmp_path, *files, output="a.h5")
    monkeypatch.setattr(shower_library, "_BLOCK_CELLS", 7 * STACK.n_cells)
    monkeypatch.setattr(shower_library, "_READ_CELLS", 11 * STACK.n_cells)
    generate(shower_library, tmp_path, *files, output="b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


# Embedded samples


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Folder of each data set with train.h5 and test.h5, made from one or two of the embedded files."""
    config = yaml.safe_load((CHECKOUT / "config.yaml").read_text())
    folders = {}
    for name, number in (("lhcb_ecal", 1), ("clic_ecal", 1), ("atlas_larem", 2)):
        folder = tmp_path_factory.mktemp(name)
        dataset = config["datasets"][name]
        files = sorted(CHECKOUT.glob(dataset["source"]["files"][0]))[:number]
        dataset["source"]["files"] = [str(file) for file in files]
        dataset["split"] = {"train": 0.6, "val": 0.05, "test": 0.35}
        settings = DatasetSettings(**dataset)
        outputs = {split: folder / f"{split}.h5" for split in ("train", "val", "test")}
        ingest(settings, name=name, files=files, paired=[], **outputs, record=folder / "ingest.json")
        folders[name] = folder, settings.readout_threshold_MeV
    return folders


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("lhcb_ecal", ("width_along_mm", "width_across_mm", "radius_90_mm")),
        ("clic_ecal", ("width_x_mm", "width_y_mm", "shower_depth_mm", "shower_depth_width_mm")),
        ("atlas_larem", ("width_x_mm", "width_y_mm", "shower_depth_mm", "layer1_width_x_mm")),
    ],
)
@pytest.mark.parametrize("module", [shower_library, parametrised_shower])
def test_baselines_resemble_the_full_simulation(samples, tmp_path, name, widths, module):
    folder, threshold_MeV = samples[name]
    module.generate(
        train=folder / "train.h5",
        test=folder / "test.h5",
        output=tmp_path / "samples.h5",
        record=tmp_path / "sample.json",
        readout_threshold_MeV=threshold_MeV,
        seed=1,
    )
    found = {}
    for path in (folder / "test.h5", tmp_path / "samples.h5"):
        output = tmp_path / f"observed_{path.name}"
        observe(path, readout_threshold_MeV=threshold_MeV, output=output, record=tmp_path / "observe.json")
        with h5py.File(output) as file:
            found[path.stem] = {key: np.nanmean(values[:]) for key, values in file["scalars"].items()}
    full, generated = found["test"], found["samples"]
    assert generated["response"] == pytest.approx(full["response"], rel=0.02)
    assert generated["hit_cells"] == pytest.approx(full["hit_cells"], rel=0.15)
    for width in widths:
        assert generated[width] == pytest.approx(full[width], rel=0.2), width
    record = json.loads((tmp_path / "sample.json").read_text())
    assert record["ms_per_shower"] == pytest.approx(1000 * record["generation_s"] / record["showers"])
    assert record["device"] == "cpu"
    assert record["flop_per_shower"] is None
    assert record["parameters"]


# What cannot be used


def bad_files(folder, **changes):
    n = 30
    conditions = {"px": np.zeros(n), "py": np.zeros(n), "pz": np.full(n, 10.0)}
    files = []
    for name in ("train", "test"):
        content = {
            "geometry": BOX,
            "cells_MeV": np.ones((n, 4)),
            "energy_GeV": np.full(n, 10.0),
            "conditions": dict(conditions),
            "units": DIRECTION,
        } | changes.get(name, {})
        files.append(write(folder / f"{name}.h5", **content))
    return files


NAN = np.array([1.0] * 29 + [np.nan])
OTHER = Geometry(name="other", layers=[{"shape": (2, 2), "cell_size_mm": (20, 20)}])
RINGS = Geometry(
    name="rings", layers=[{"kind": "cylindrical", "n_alpha": 2, "r_edges_mm": [0, 10, 20], "thickness_mm": 5}]
)


@pytest.mark.parametrize(
    ("modules", "changes", "message"),
    [
        (
            "both",
            {"test": {"geometry": OTHER}},
            r"test.h5: other geometry than in .*train.h5 found, expected the same",
        ),
        (
            "both",
            {"test": {"units": {"px": "MeV", "py": "MeV", "pz": "MeV"}}},
            r"test.h5: other conditions than in .*train.h5 found",
        ),
        (
            "both",
            {"train": {"energy_GeV": 0 * NAN[:30]}},
            r"train.h5: event \d+ has an incident energy that is not",
        ),
        (
            "both",
            {"train": {"conditions": {"px": NAN, "py": NAN, "pz": NAN}}},
            r"train.h5: event 29 has a condition px that is not finite",
        ),
        (
            "both",
            {"test": {"conditions": {"px": np.zeros(30), "py": np.zeros(30), "pz": np.arange(-1, 29)}}},
            r"test.h5: event 0 has pz that is not positive",
        ),
        (
            "both",
            {name: {"units": dict.fromkeys(DIRECTION, "furlong")} for name in ("train", "test")},
            r"train.h5: condition px has an unexpected unit: cannot convert furlong to GeV",
        ),
        (
            "parametrised",
            {"train": {"cells_MeV": np.eye(30, 4)}},
            r"train.h5: 4 showers with energy found, expected at least 20 for parametrised showers",
        ),
        (
            "parametrised",
            {"train": {"cells_MeV": NAN[:, None] * np.ones(4)}},
            r"train.h5: event 29 has a cell energy that is not finite",
        ),
        (
            "parametrised",
            {name: {"geometry": RINGS} for name in ("train", "test")},
            r"train.h5: geometry rings is cylindrical, expected cartesian",
        ),
    ],
)
def test_bad_input_ends_in_one_error_and_without_output(tmp_path, modules, changes, message):
    train, test = bad_files(tmp_path, **changes)
    for module in (parametrised_shower, shower_library)[: 2 if modules == "both" else 1]:
        with pytest.raises(CaloforgeError, match=message):
            generate(module, tmp_path, train, test)
        assert not (tmp_path / "samples.h5").exists()
        assert not (tmp_path / "sample.json").exists()


def test_empty_files_are_refused(tmp_path):
    (train, _) = bad_files(tmp_path)
    empty = write(
        tmp_path / "empty.h5", BOX, np.ones((0, 4)), [], {name: [] for name in DIRECTION}, DIRECTION
    )
    for files in ((train, empty), (empty, train)):
        with pytest.raises(CaloforgeError, match=r"empty\.h5: holds no showers, expected at least one"):
            generate(shower_library, tmp_path, *files)


def test_blocks_hold_at_least_one_shower(monkeypatch):
    monkeypatch.setattr(slices, "_BLOCK_CELLS", 1)
    assert sliced(BOX, inclined=False).block_showers() == 1
