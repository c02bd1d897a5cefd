import json
import math

import numpy as np
import pytest
from scipy import stats

from caloforge.config.stages import PreprocessingSettings
from caloforge.errors import CaloforgeError
from caloforge.geometry import Geometry
from caloforge.preprocessing import Preprocessing, describe_input, fit_preprocessing
from caloforge.showers import Showers, ShowerWriter

GEOMETRY = Geometry(name="box", layers=[{"shape": (4, 5), "cell_size_mm": (10, 10)}])


def preprocessing(power: float, scale: float = 2.0) -> Preprocessing:
    return Preprocessing(0.5, power, scale, ("energy",), (0.0,), (1.0,), (0.2,), (0.1, 0.0), (), 0.0)


def showers(n: int, rng: np.random.Generator) -> Showers:
    cells = rng.lognormal(1, 2, (n, 20)).astype(np.float32) * (rng.random((n, 20)) < 0.3)
    return Showers(
        cells.astype(np.float32),
        rng.uniform(1000, 9000, (n, 1)).astype(np.float32),
        {"px": rng.normal(0, 2, n).astype(np.float32), "pz": rng.uniform(1, 9, n).astype(np.float32)},
        np.arange(n),
    )


def write(path, batch: Showers) -> None:
    with ShowerWriter(path, GEOMETRY, {"px": "GeV", "pz": "GeV"}) as writer:
        writer.append(batch)


def fit(tmp_path, batch: Showers, **settings) -> Preprocessing:
    write(tmp_path / "train.h5", batch)
    fit_preprocessing(
        PreprocessingSettings(**settings),
        train=tmp_path / "train.h5",
        readout_threshold_MeV=0.5,
        output=tmp_path / "preprocessing.json",
        record=tmp_path / "preprocess.json",
    )
    return Preprocessing.load(tmp_path / "preprocessing.json")


@pytest.mark.parametrize("power", [0, 0.2, 1])
def test_inverse_is_exact_within_float32(power):
    energy = np.concatenate([[0.0], np.geomspace(0.5001, 2e4, 5000)]).astype(np.float32)
    transform = preprocessing(power)
    np.testing.assert_allclose(transform.inverse(transform.forward(energy)), energy, rtol=4e-6)


@pytest.mark.parametrize("power", [0, 0.2, 1])
def test_cells_up_to_the_threshold_are_exactly_zero_both_ways(power):
    transform = preprocessing(power)
    np.testing.assert_array_equal(transform.forward(np.array([0, 0.1, 0.5], np.float32)), 0)
    np.testing.assert_array_equal(transform.inverse(np.array([0, -0.3, -50], np.float32)), 0)
    assert transform.inverse(np.array([1e-4], np.float32))[0] > 0.5


def test_forward_is_box_cox_of_the_energy_in_thresholds():
    u = 3.7 / 0.5
    assert preprocessing(0.3, 2).forward(np.array([3.7]))[0] == pytest.approx((u**0.3 - 1) / 0.3 / 2)
    assert preprocessing(0, 2).forward(np.array([3.7]))[0] == pytest.approx(math.log(u) / 2)


def test_fitted_power_maximises_the_likelihood(tmp_path):
    """Cells whose power 0.4 is a truncated Gaussian: no power on a grid may be more likely than the fit."""
    rng = np.random.default_rng(1)
    batch = showers(500, rng)
    box_cox = np.abs(rng.normal(6, 1.5, batch.showers.shape))
    cells = np.where(batch.showers > 0, 0.5 * (0.4 * box_cox + 1) ** 2.5, 0).astype(np.float32)
    batch = Showers(cells, batch.incident_energies, batch.conditions, batch.event)
    fitted = fit(tmp_path, batch)
    ratio = cells[cells > 0.5].astype(float) / 0.5
    grid = np.linspace(0, 1, 201)
    assert fitted.power == pytest.approx(
        grid[np.argmax([stats.boxcox_llf(p, ratio) for p in grid])], abs=0.006
    )
    assert fitted.power == pytest.approx(0.4, abs=0.1)
    transformed = fitted.forward(cells)
    assert np.sqrt(np.mean(transformed[transformed > 0] ** 2)) == pytest.approx(1, rel=1e-5)


def test_inputs_are_standardised_expressions_of_the_conditions(tmp_path):
    batch = showers(300, np.random.default_rng(2))
    fitted = fit(tmp_path, batch, power=0, inputs=["log(energy)", "px/pz", "px"])
    px, pz = batch.conditions["px"].astype(float), batch.conditions["pz"].astype(float)
    columns = [np.log(batch.incident_energies[:, 0].astype(float) / 1000), px / pz, px]
    expected = stats.zscore(np.stack(columns, axis=1), axis=0)
    np.testing.assert_allclose(fitted.network_inputs(batch), expected, rtol=1e-4, atol=1e-5)


def test_network_inputs_are_undone_to_the_values_of_their_expressions(tmp_path):
    batch = showers(300, np.random.default_rng(2))
    transform = fit(tmp_path, batch, inputs=["log(energy)", "px/pz", "pz"])
    px, pz = batch.conditions["px"], batch.conditions["pz"]
    expected = np.stack([np.log(batch.incident_energies[:, 0] / 1000), px / pz, pz], axis=1)
    inputs = transform.network_inputs(batch)
    np.testing.assert_allclose(transform.input_values(inputs), expected, rtol=1e-5, atol=1e-6)
    part = slice(1, 3)
    np.testing.assert_allclose(
        transform.input_values(inputs[:, part], part), expected[:, part], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("energy", ("energy", "GeV")),
        ("x0", ("x0", "mm")),
        ("log(energy)", ("log(energy / GeV)", "1")),
        ("log(pdg)", ("log(pdg)", "1")),
        ("px/pz", ("px/pz", "1")),
        ("px/x0", ("px/x0", "GeV / mm")),
    ],
)
def test_inputs_are_described_with_their_units(expression, expected):
    assert describe_input(expression, {"px": "GeV", "pz": "GeV", "x0": "mm", "pdg": "1"}) == expected


def test_without_inputs_every_condition_is_one(tmp_path):
    assert fit(tmp_path, showers(50, np.random.default_rng(3)), power=0).inputs == ("px", "pz")


def test_a_constant_input_is_refused(tmp_path):
    batch = showers(50, np.random.default_rng(4))
    batch.conditions["px"][:] = 3
    with pytest.raises(CaloforgeError, match=r"train\.h5: the input px is the same for every shower"):
        fit(tmp_path, batch, power=0)
    assert not (tmp_path / "preprocessing.json").exists()


def test_showers_below_the_threshold_are_refused(tmp_path):
    batch = showers(50, np.random.default_rng(5))
    batch.showers[:] = 0.4
    with pytest.raises(
        CaloforgeError, match=r"train\.h5: no cell is above the readout threshold of 0\.5 MeV"
    ):
        fit(tmp_path, batch)


def test_record_names_input_settings_and_versions(tmp_path):
    fit(tmp_path, showers(50, np.random.default_rng(6)), power=0.5)
    record = json.loads((tmp_path / "preprocess.json").read_text())
    assert record["settings"]["power"] == 0.5
    assert list(record["inputs"]) == [str(tmp_path / "train.h5")]
    assert {"python", "numpy", "torch"} <= record["libraries"].keys()


@pytest.mark.parametrize("text", ["", "[1]", '{"power": 1}'])
def test_a_file_that_is_no_preprocessing_is_refused(tmp_path, text):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(CaloforgeError, match=r"p\.json: not a preprocessing file"):
        Preprocessing.load(tmp_path / "p.json")


def test_the_linear_scale_is_in_GeV_and_empties_cells_below_the_threshold(tmp_path):
    batch = showers(300, np.random.default_rng(3))
    transforms = fit(tmp_path, batch, energies="linear", standardise=False)
    expected = np.where(batch.showers > 0.5, batch.showers / 1000, 0)
    np.testing.assert_allclose(transforms.forward(batch.showers), expected, rtol=1e-6)
    back = transforms.inverse(np.array([-0.1, 0, 0.002], np.float32))
    np.testing.assert_allclose(back, [0, 0, 2], rtol=1e-6)
    inputs = transforms.network_inputs(batch)
    np.testing.assert_array_equal(inputs, np.stack([batch.conditions["px"], batch.conditions["pz"]], axis=1))


def test_the_response_is_a_weighted_parabola_in_the_logarithm_of_the_energy(tmp_path):
    rng = np.random.default_rng(4)
    energy_GeV = rng.uniform(2, 500, 4000)
    fraction = 0.021 - 0.0008 * np.log(energy_GeV) + 0.0001 * np.log(energy_GeV) ** 2
    visible_MeV = 1000 * energy_GeV * fraction * (1 + 0.2 / np.sqrt(energy_GeV) * rng.normal(size=4000))
    cells = np.zeros((4000, 20), np.float32)
    cells[:, 3], cells[:, 4] = visible_MeV - 0.4, 0.4  # the second is below the threshold
    conditions = {"px": rng.normal(size=4000), "pz": rng.normal(size=4000)}
    batch = Showers(cells, (1000 * energy_GeV[:, None]).astype(np.float32), conditions, np.arange(4000))
    coefficients = fit(tmp_path, batch).response
    expected = np.polynomial.polynomial.polyfit(
        np.log(energy_GeV), (visible_MeV - 0.4) / (1000 * energy_GeV), 2, w=np.sqrt(energy_GeV)
    )
    np.testing.assert_allclose(coefficients, expected, rtol=1e-3)


def test_the_response_is_a_constant_where_the_energy_does_not_vary(tmp_path):
    batch = showers(200, np.random.default_rng(5))
    fixed = Showers(batch.showers, np.full((200, 1), 5000, np.float32), batch.conditions, batch.event)
    (fraction,) = fit(tmp_path, fixed).response
    read = np.where(batch.showers > 0.5, batch.showers, 0)
    assert fraction == pytest.approx(read.sum() / (200 * 5000), rel=1e-5)


def test_the_spread_of_the_response_has_a_stochastic_and_a_constant_term(tmp_path):
    """Closed form: 20 % / sqrt(E) and 1 % in quadrature, with the statistical error of 20,000 showers."""
    rng = np.random.default_rng(6)
    energy_GeV = rng.uniform(2, 500, 20_000)
    spread = np.sqrt(0.2**2 / energy_GeV + 0.01**2)
    cells = np.zeros((20_000, 20), np.float32)
    cells[:, 3] = 1000 * energy_GeV * 0.02 * (1 + spread * rng.normal(size=20_000))
    conditions = {"px": rng.normal(size=20_000), "pz": rng.normal(size=20_000)}
    batch = Showers(cells, (1000 * energy_GeV[:, None]).astype(np.float32), conditions, np.arange(20_000))
    stochastic, constant = fit(tmp_path, batch).response_spread
    assert stochastic == pytest.approx(0.2, rel=0.05)
    assert constant == pytest.approx(0.01, rel=0.05)


def test_the_mean_shower_is_the_share_of_each_cell_after_the_threshold(tmp_path):
    batch = showers(300, np.random.default_rng(7))
    total_MeV = np.zeros(20)
    for shower in batch.showers:
        for cell, energy_MeV in enumerate(shower):
            total_MeV[cell] += energy_MeV if energy_MeV > 0.5 else 0
    mean_shower = fit(tmp_path, batch).mean_shower
    np.testing.assert_allclose(mean_shower, total_MeV / total_MeV.sum(), rtol=6e-4)


def test_rare_hits_are_those_of_cells_that_few_showers_reach(tmp_path):
    """Two of 20 cells are hit in 5 % and 9 % of the showers, a third in just 10 %, all others always."""
    batch = showers(100, np.random.default_rng(9))
    batch.showers[:] = 10
    batch.showers[:, :3] = 0.3
    batch.showers[:5, 0], batch.showers[:9, 1], batch.showers[:10, 2] = 0.7, 2.5, 100
    rare_hit_MeV = fit(tmp_path, batch).rare_hit_MeV
    assert rare_hit_MeV == pytest.approx((5 * 0.2 + 9 * 2.0) / 14)
    batch.showers[:] = 10
    assert fit(tmp_path, batch, energies="linear").rare_hit_MeV == 0


def test_quantiles_of_the_centres_of_gravity(tmp_path):
    """Cell by cell; one shower has no energy above the threshold, and no centre."""
    batch = showers(301, np.random.default_rng(10))
    batch.showers[:, 0] += 1
    batch.showers[7] = 0.4
    centres_mm = []
    for shower in np.delete(batch.showers, 7, axis=0):
        energies_MeV = {divmod(cell, 5): e for cell, e in enumerate(shower.tolist()) if e > 0.5}
        total_MeV = sum(energies_MeV.values())
        x_mm = sum((10 * ix - 15) * e for (ix, _), e in energies_MeV.items()) / total_MeV
        y_mm = sum((10 * iy - 20) * e for (_, iy), e in energies_MeV.items()) / total_MeV
        centres_mm.append((x_mm, y_mm))
    found = fit(tmp_path, batch)
    expected = np.quantile(centres_mm, np.arange(101) / 100, axis=0)
    np.testing.assert_allclose(found.centre_x_quantiles_mm, expected[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.centre_y_quantiles_mm, expected[:, 1], rtol=1e-4, atol=1e-5)


def test_showers_without_energy_are_refused(tmp_path):
    batch = showers(30, np.random.default_rng(8))
    batch.showers[:] = 0.4
    with pytest.raises(
        CaloforgeError, match=r"train\.h5: no cell is above the readout threshold of 0\.5 MeV"
    ):
        fit(tmp_path, batch, energies="linear")


# Pairs


def paired_file(path, reference: np.ndarray, incident: np.ndarray) -> Showers:
    """Images of the full simulation with those of the fast one, of towers."""
    rng = np.random.default_rng(8)
    n = len(reference)
    batch = Showers(
        rng.uniform(0, 3, reference.shape).astype(np.float32),
        incident.astype(np.float32)[:, None],
        {},
        np.arange(n),
        reference.astype(np.float32),
    )
    with ShowerWriter(path, TOWERS, {}, paired=True) as writer:
        writer.append(batch)
    return batch


TOWERS = Geometry(name="towers", layers=[{"kind": "eta_phi", "eta_edges": [-1, 0, 1, 2], "n_phi": 4}])
PAIRED = {"energies": "linear", "inputs": ("reference",), "standardise": False}


def fit_pairs(folder) -> Preprocessing:
    fit_preprocessing(
        PreprocessingSettings(**PAIRED),
        train=folder / "train.h5",
        readout_threshold_MeV=0.5,
        output=folder / "preprocessing.json",
        record=folder / "preprocess.json",
    )
    return Preprocessing.load(folder / "preprocessing.json")


def test_the_input_of_pairs_is_the_fast_image_in_GeV_above_the_threshold(tmp_path):
    reference = np.random.default_rng(9).uniform(0, 2, (30, 12))
    reference[3] = 0  # an event that the fast simulation leaves empty
    batch = paired_file(tmp_path / "train.h5", reference, reference.sum(axis=1))
    transforms = fit_pairs(tmp_path)
    assert transforms.paired
    found = transforms.network_inputs(batch)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.where(reference > 0.5, reference / 1000, 0), rtol=1e-6)
    seen = np.where(batch.showers > 0.5, batch.showers, 0)
    np.testing.assert_allclose(transforms.mean_shower, seen.sum(axis=0) / seen.sum(), rtol=1e-3)
    assert np.isfinite([*transforms.response, *transforms.response_spread]).all()
    assert transforms.centre_x_quantiles_mm == ()  # towers are not rectangular


def test_pairs_are_missing_or_without_energy(tmp_path):
    paired_file(tmp_path / "train.h5", np.zeros((5, 12)), np.zeros(5))
    with pytest.raises(CaloforgeError, match=r"train\.h5: every incident energy is 0, expected some above"):
        fit_pairs(tmp_path)
    write(tmp_path / "train.h5", showers(20, np.random.default_rng(1)))
    with pytest.raises(
        CaloforgeError, match=r"train\.h5: no data set reference, expected images of the fast"
    ):
        fit_pairs(tmp_path)
    assert not (tmp_path / "preprocessing.json").exists()


def test_other_inputs_are_no_pairs(tmp_path):
    transforms = fit(tmp_path, showers(50, np.random.default_rng(3)), power=0)
    assert not transforms.paired
