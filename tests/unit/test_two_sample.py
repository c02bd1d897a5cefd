"""Two-sample tests by classifiers against closed forms, and with showers that differ in a known way."""

import math

import h5py
import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from caloforge.config.stages import EvaluationSettings, FigureSettings
from caloforge.errors import CaloforgeError
from caloforge.evaluation import two_sample
from caloforge.evaluation.observables import read_observables
from caloforge.evaluation.samples import Samples
from caloforge.figures.album import save_album
from caloforge.figures.style import figure_style
from caloforge.geometry import CartesianLayer, Geometry
from caloforge.metrics.two_sample import (
    CrossValidated,
    area,
    area_and_variance,
    cross_validated,
    importance,
    kinds,
    paired_folds,
    reliability,
)
from caloforge.metrics.two_sample_networks import Convolutional, Dense, fit_network
from caloforge.metrics.two_sample_trees import fit_trees
from caloforge.showers import Showers, ShowerWriter

GRID = Geometry(name="grid", layers=(CartesianLayer(shape=(6, 5), cell_size_mm=(20, 20)),))
UNEQUAL = Geometry(
    name="stack",
    layers=(
        CartesianLayer(shape=(3, 5), cell_size_mm=(40, 20)),
        CartesianLayer(shape=(5, 3), cell_size_mm=(20, 40)),
    ),
)


def dense(epochs):
    """A network on three features."""

    def fit(features, *others):
        return fit_network(lambda: Dense(features.shape[1]), epochs, features, *others)

    return fit


def two_normal_distributions(pairs, distance, seed=0):
    """Features of which the second one differs: float32, shape (2 n, 3)."""
    features = np.random.default_rng(seed).normal(size=(2 * pairs, 3)).astype(np.float32)
    features[kinds(2 * pairs), 1] += distance
    return features


def test_folds_deal_pairs_and_nothing_trains_and_tests():
    folds = paired_folds(53, 5, 7)
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.test for fold in folds])), np.arange(106))
    np.testing.assert_array_equal(
        np.sort(np.concatenate([fold.validation for fold in folds])), np.arange(106)
    )
    for fold in folds:
        np.testing.assert_array_equal(np.sort(np.concatenate(fold)), np.arange(106))
        for rows in fold:
            of_full, of_other = np.split(rows, 2)
            np.testing.assert_array_equal(of_other, of_full + 53)
    assert [len(fold.test) for fold in folds] == [22, 22, 22, 20, 20]
    assert any(
        (fold.test != other.test).any() for fold, other in zip(folds, paired_folds(53, 5, 8), strict=True)
    )


def test_area_and_its_variance_against_bootstrap_of_pairs():
    """Scores of a pair go together, which makes the variance smaller than that of independent showers."""
    rng = np.random.default_rng(1)
    common = rng.normal(size=(1, 300))
    full, other = common + 0.7 * rng.normal(size=(2, 300)) + np.array([[0], [0.4]])
    full, other = np.round(full, 1), np.round(other, 1)
    labels = kinds(600)
    found, variance = area_and_variance(full, other)
    assert found == pytest.approx(roc_auc_score(labels, np.concatenate([full, other])), abs=1e-12)
    resampled, unpaired = [], []
    wins = (other[:, None] > full) + 0.5 * (other[:, None] == full)
    for _ in range(500):
        rows, more = rng.integers(300, size=(2, 300))
        resampled.append(wins[rows][:, rows].mean())
        unpaired.append(wins[rows][:, more].mean())
    assert math.sqrt(variance) == pytest.approx(np.std(resampled), rel=0.12)
    assert np.std(unpaired) > 1.3 * math.sqrt(variance)


def test_area_of_folds_by_hand():
    """Two pairs test in each of three folds: areas 1, 1/2 and 3/4, variances 0, 1/4 and 0."""
    folds = paired_folds(6, 3, 0)
    scores = np.empty(12)
    for fold, values in zip(folds, ([1, 2, 3, 4], [1, 4, 2, 3], [1, 3, 2, 4]), strict=True):
        scores[fold.test] = values
    found = area(CrossValidated(folds, [], scores, scores))
    assert found["value"] == pytest.approx(0.75)
    assert found["error"] == pytest.approx(math.sqrt((0 + 0.25 + 0) / 3 / 3 + 1 * 0.25**2))


@pytest.mark.parametrize(("fit", "tolerance"), [(fit_trees, 0.02), (dense(8), 0.012)])
def test_two_normal_distributions_have_the_area_of_the_closed_form(fit, tolerance):
    features = two_normal_distributions(1000, 1)
    scored = cross_validated(fit, features, paired_folds(1000, 5, 1), 2)
    found, knowable = area(scored), norm.cdf(1 / math.sqrt(2))
    assert found["value"] == pytest.approx(knowable, abs=2 * found["error"] + tolerance)
    assert 0.005 < found["error"] < 0.03
    np.testing.assert_array_equal(scored.labels, kinds(2000))


@pytest.mark.parametrize("fit", [fit_trees, dense(5)])
def test_the_same_distribution_has_an_area_of_one_half(fit):
    scored = cross_validated(fit, two_normal_distributions(600, 0), paired_folds(600, 5, 3), 4)
    found = area(scored)
    assert found["value"] == pytest.approx(0.5, abs=3 * found["error"])


def test_partners_in_different_folds_would_be_taken_for_the_wrong_kind():
    """Equal pairs of showers: a classifier that knows them by heart is at 0.5 only if pairs stay together."""
    features = np.random.default_rng(5).normal(size=(200, 2))
    features[100:] = features[:100]

    def nearest(features, labels, fold, _seed):
        def score(shown):
            distances = np.abs(shown[:, None] - features[fold.train]).sum(axis=2)
            return labels[fold.train][np.argmin(distances, axis=1)].astype(float)

        return score

    found = area(cross_validated(nearest, features, paired_folds(100, 5, 6), 0))
    assert found["value"] == 0.5
    apart = np.concatenate([np.arange(100), 100 + np.random.default_rng(7).permutation(100)])
    separated = area(cross_validated(nearest, features[apart], paired_folds(100, 5, 6), 0))
    assert separated["value"] < 0.35


def test_calibration_of_a_classifier_that_is_too_sure():
    """It triples the log odds of the likelihood ratio of two normal distributions, here x - 1/2."""
    features = two_normal_distributions(4000, 1, seed=8)
    scored = cross_validated(
        lambda *_: lambda shown: expit(3 * (shown[:, 1].astype(np.float64) - 0.5)),
        features,
        paired_folds(4000, 5, 9),
        0,
    )
    right = expit(features[:, 1] - 0.5)
    assert np.abs(scored.raw - right).mean() > 0.1
    assert np.abs(scored.calibrated - right).mean() < 0.045
    for probabilities, is_right in ((scored.raw, False), (scored.calibrated, True)):
        predicted, observed, error = reliability(probabilities, scored.labels, 10)
        assert (np.abs(observed - predicted) < 4 * error).all() == is_right


def test_reliability_by_hand():
    probabilities = np.array([0.1, 0.2, 0.3, 0.9, 1.0])
    labels = np.array([False, True, False, True, True])
    predicted, observed, error = reliability(probabilities, labels, 2)
    np.testing.assert_allclose(predicted, [0.2, 0.95])
    np.testing.assert_allclose(observed, [1 / 3, 1])
    np.testing.assert_allclose(error, np.sqrt([2 * 3 / (25 * 6), 3 * 1 / (16 * 5)]))


def test_importance_finds_the_feature_that_differs():
    features = two_normal_distributions(400, 1.5, seed=10)
    scored = cross_validated(fit_trees, features, paired_folds(400, 5, 1), 2)
    falls, errors = importance(scored, features, 3)
    assert falls[1] == pytest.approx(area(scored)["value"] - 0.5, abs=0.06)
    assert np.abs(falls[[0, 2]]).max() < 0.03
    assert falls[1] > 10 * errors[1]


def test_convolutions_see_where_cells_are():
    """Energy in one of two cells: all cells together have the same energies in both samples."""
    rng = np.random.default_rng(11)
    images = rng.exponential(0.1, size=(400, 2, 6, 5)).astype(np.float32)
    images[:200, 1, 1, 1] += 1
    images[200:, 1, 4, 3] += 1
    features = np.concatenate([rng.normal(size=(400, 3)), images.reshape(400, -1)], axis=1, dtype=np.float32)

    def fit(*arguments):
        return fit_network(lambda: Convolutional(3, (2, 6, 5)), 10, *arguments)

    assert area(cross_validated(fit, features, paired_folds(200, 3, 1), 2))["value"] > 0.98


def write_sample(directory, name, geometry, n, *, seed, first_event=0, hot=0.0):
    """Showers in which the energy of cell 3 goes to cell 7 with probability `hot`."""
    rng = np.random.default_rng(seed)
    primaries = np.random.default_rng(first_event)
    incident_MeV = primaries.uniform(5e3, 5e4, (n, 1))
    cells_MeV = incident_MeV * 0.2 * rng.dirichlet(np.full(geometry.n_cells, 10), n)
    moved = np.where(rng.random(n) < hot, cells_MeV[:, 3], 0)
    cells_MeV[:, 3] -= moved
    cells_MeV[:, 7] += moved
    x0_mm = primaries.normal(size=n)
    event = first_event + np.arange(n)
    with ShowerWriter(directory / f"{name}_showers.h5", geometry, {"x0": "mm"}) as writer:
        conditions = {"x0": x0_mm.astype(np.float32)}
        writer.append(
            Showers(cells_MeV.astype(np.float32), incident_MeV.astype(np.float32), conditions, event)
        )
    with h5py.File(directory / f"{name}.h5", "w") as file:
        file.attrs.update(geometry=geometry.model_dump_json(), readout_threshold_MeV=0.1, n=n)
        for scalar, values, unit in (
            ("total_energy_MeV", cells_MeV.sum(axis=1), "MeV"),
            ("width_mm", rng.normal(20, 3, n), "mm"),
        ):
            data = file.create_dataset(f"scalars/{scalar}", data=values.astype(np.float32))
            data.attrs.update(label=scalar, unit=unit, log=False)
        file.create_group("profiles")
        file["mean_shower"] = cells_MeV.mean(axis=0)
        file["incident_energy_GeV"] = (incident_MeV[:, 0] / 1000).astype(np.float32)
        file["event"] = event


def write_samples(directory, geometry, n, independent):
    write_sample(directory, "full", geometry, n, seed=1)
    write_sample(directory, "generated", geometry, n, seed=2, hot=1)
    write_sample(directory, "independent", geometry, independent, seed=3, first_event=10_000)


def compared(directory, **classifiers):
    names = Samples._fields
    observables = Samples(*(read_observables(directory / f"{name}.h5") for name in names))
    showers = Samples(*(directory / f"{name}_showers.h5" for name in names))
    with figure_style(FigureSettings()):
        return two_sample.compare(
            EvaluationSettings(classifiers={"folds": 3, "epochs": 10, **classifiers}), observables, showers
        )


@pytest.fixture(scope="module")
def with_hot_cell(tmp_path_factory):
    """Samples whose generated showers have a hot cell, which no observable sees, and their comparison."""
    directory = tmp_path_factory.mktemp("hot")
    write_samples(directory, GRID, 250, 400)
    return directory, compared(directory)


def test_a_hot_cell_is_found_in_cells_but_not_by_features(with_hot_cell):
    _, (numbers, _) = with_hot_cell
    assert list(numbers) == ["auc_trees", "auc_mlp", "auc_cells_mlp", "auc_cells_cnn"]
    for name, number in numbers.items():
        assert number["unit"] == "1"
        assert number["note"] == "250 showers of each sample, 3 folds"
        assert number["floor"]["value"] == pytest.approx(0.5, abs=3 * number["floor"]["error"])
        generated = number["generated"]
        if "cells" in name:
            assert generated["value"] > 0.95
        else:
            assert generated["value"] == pytest.approx(0.5, abs=3 * generated["error"])


def test_the_same_samples_give_the_same_bytes(with_hot_cell, tmp_path):
    directory, (numbers, drawn) = with_hot_cell
    again, drawn_again = compared(directory)
    assert again == numbers
    for name, figures in (("first", drawn), ("second", drawn_again)):
        with figure_style(FigureSettings()):
            save_album(figures, tmp_path / name, "")
    files = sorted(path.name for path in (tmp_path / "first").glob("*.svg"))
    assert files == [
        "classifier_calibration.svg",
        "classifier_importance.svg",
        "classifier_roc.svg",
        "classifier_surest_full.svg",
        "classifier_surest_generated.svg",
    ]
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_layers_with_different_cells_have_no_convolutions(tmp_path):
    write_samples(tmp_path, UNEQUAL, 100, 60)
    numbers, _ = compared(tmp_path, use=["trees", "cells_cnn"])
    assert list(numbers) == ["auc_trees"]
    assert numbers["auc_trees"]["note"] == "60 showers of each sample, 3 folds"


def test_too_few_showers_are_said_and_none_wanted_is_nothing(tmp_path):
    write_samples(tmp_path, GRID, 60, 20)
    numbers, drawn = compared(tmp_path, use=["trees"])
    assert not drawn
    assert numbers["auc_trees"]["generated"] == {"value": None, "error": None}
    assert numbers["auc_trees"]["note"] == "Needs 50 showers of each sample, found 20."
    assert compared(tmp_path, use=[]) == ({}, [])


def test_showers_without_a_condition_of_the_others_are_refused(tmp_path):
    write_samples(tmp_path, GRID, 60, 60)
    with h5py.File(tmp_path / "generated_showers.h5", "a") as file:
        del file["conditions/x0"]
    with pytest.raises(CaloforgeError, match=r"^.*generated_showers\.h5: no condition x0, found none$"):
        compared(tmp_path, use=["cells_mlp"])
