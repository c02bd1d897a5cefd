"""Scores of samples with known faults: each shows where it should, and an exact generator has none."""

import json
from pathlib import Path

import numpy as np
import pytest

from caloforge.config.stages import CoverageSettings, EvaluationSettings
from caloforge.evaluation.observables import Observables
from caloforge.evaluation.samples import Samples
from caloforge.evaluation.scores import LEAST, compare
from caloforge.geometry import CartesianLayer, EtaPhiLayer, Geometry
from caloforge.metrics.physics_distances import fpd
from caloforge.observables.observable import Observable

IMAGE = Geometry(name="image", layers=(CartesianLayer(shape=(3, 3), cell_size_mm=(20, 20)),))
EVENTS = Geometry(
    name="events",
    layers=(EtaPhiLayer(kind="eta_phi", eta_edges={"bins": 3, "low": -3, "high": 3}, n_phi=3),),
)
SETTINGS = EvaluationSettings(bootstrap=20)
SCALARS = {
    "total_energy_MeV": Observable("Visible energy", "MeV", log=True),
    "response": Observable("Visible / incident energy", "1"),
    "width_mm": Observable("Width", "mm"),
    "depth_mm": Observable("Depth", "mm"),
}
NAMES = {"fpd", "kpd", "precision", "recall", "density", "coverage", "correlation_distance"}
N = 1500


def primaries_GeV(n, seed):
    return np.random.default_rng(seed).uniform(10, 100, n)


def showers(energy_GeV, seed, *, response=0.2, width=1.0, geometry=IMAGE):
    """Observables of showers of these energies; wide showers are deep ones, some have no width."""
    rng = np.random.default_rng(seed)
    n = len(energy_GeV)
    found = response * (1 + 0.02 * rng.normal(size=n))
    spread = rng.normal(size=n)
    width_mm = width * (20 + 3 * spread)
    width_mm[: n // 50] = np.nan
    values = {
        "total_energy_MeV": 1e3 * energy_GeV * found,
        "response": found,
        "width_mm": width_mm,
        "depth_mm": 150 + 20 * np.log10(energy_GeV) + 4 * spread + 3 * rng.normal(size=n),
    }
    return of_values(values, energy_GeV, geometry)


def of_values(values, energy_GeV, geometry=IMAGE):
    return Observables(
        Path("observables.h5"),
        geometry,
        0.5,
        {name: (SCALARS[name], column.astype(np.float32)) for name, column in values.items()},
        {},
        np.ones(9),
        energy_GeV,
        np.arange(len(energy_GeV)),
    )


def picked(observables, rows):
    """Events that repeat others, for the primaries of the sample."""
    values = {name: column[rows] for name, (_, column) in observables.scalars.items()}
    return of_values(values, observables.incident_energy_GeV, observables.geometry)


@pytest.fixture(scope="module")
def simulation():
    """Full simulation of a test set and of others."""
    return showers(primaries_GeV(N, 1), seed=2), showers(primaries_GeV(N + 300, 3), seed=4)


def scores(simulation, generated, settings=SETTINGS):
    full, independent = simulation
    numbers, drawn = compare(settings, Samples(full, generated, independent), np.arange(len(full)))
    assert set(numbers) == NAMES
    assert [entry.file for entry in drawn] == ["correlations.svg"]
    return numbers


def pulls(numbers):
    """Generated minus floor over their errors."""
    return {
        name: (number["generated"]["value"] - number["floor"]["value"])
        / np.hypot(number["generated"]["error"], number["floor"]["error"])
        for name, number in numbers.items()
    }


def test_an_exact_generator_is_at_the_floor(simulation):
    numbers = scores(simulation, showers(simulation[0].incident_energy_GeV, seed=5))
    found = pulls(numbers)
    assert max(map(abs, found.values())) < 3.5, found
    assert numbers["fpd"]["floor"]["value"] < 3 * numbers["fpd"]["floor"]["error"]
    assert abs(numbers["kpd"]["floor"]["value"]) < 4 * numbers["kpd"]["floor"]["error"]


def test_showers_near_those_of_the_same_primaries_have_no_advantage(simulation):
    """A sample that repeats the test set has distances of zero, and covers it as another sample does."""
    numbers = scores(simulation, simulation[0])
    for name in ("fpd", "kpd", "correlation_distance"):
        assert numbers[name]["generated"]["value"] == pytest.approx(0, abs=1e-9)
    found = pulls(numbers)
    assert max(abs(found[name]) for name in ("precision", "recall", "density", "coverage")) < 3.5


def test_an_energy_shift_of_2_percent_is_seen(simulation):
    generated = showers(simulation[0].incident_energy_GeV, seed=5, response=0.2 * 1.02)
    found = pulls(scores(simulation, generated))
    assert found["fpd"] > 4
    assert found["kpd"] > 4


def test_widths_that_are_10_percent_too_narrow_are_seen(simulation):
    generated = showers(simulation[0].incident_energy_GeV, seed=5, width=0.9)
    found = pulls(scores(simulation, generated))
    assert found["fpd"] > 4
    assert found["kpd"] > 4


def test_showers_that_repeat_ten_are_precise_and_have_no_recall(simulation):
    full, _ = simulation
    generated = picked(showers(full.incident_energy_GeV, seed=5), 100 + np.arange(N) % 10)
    numbers = scores(simulation, generated)
    assert numbers["precision"]["generated"]["value"] > 0.3  # those whose primaries have about their energy
    assert numbers["recall"]["generated"]["value"] < 0.03
    assert numbers["coverage"]["generated"]["value"] < 0.2
    assert numbers["recall"]["floor"]["value"] > 0.8


def test_lost_correlations_are_seen(simulation):
    """Depths of other showers of the same energy do not know the widths."""
    full, _ = simulation
    energy_GeV = full.incident_energy_GeV
    first, second = (showers(energy_GeV, seed).scalars for seed in (5, 6))
    values = {name: column for name, (_, column) in first.items()}
    generated = of_values(values | {"depth_mm": second["depth_mm"][1]}, energy_GeV)
    found = pulls(scores(simulation, generated))
    assert found["correlation_distance"] > 5


def test_the_distance_is_that_of_logarithms_and_of_zeros_for_undefined_values(simulation):
    """FPD of the features put together by hand."""
    full, _ = simulation
    generated = showers(full.incident_energy_GeV, seed=5, response=0.21)

    def features(sample):
        scalars = {name: values for name, (_, values) in sample.scalars.items()}
        columns = (
            np.log10(sample.incident_energy_GeV),
            scalars["depth_mm"],
            scalars["response"],
            np.log10(scalars["total_energy_MeV"].astype(float)),
            np.nan_to_num(scalars["width_mm"]),
        )
        return np.column_stack(columns)

    found = scores(simulation, generated)["fpd"]["generated"]
    value, error = fpd(features(full), features(generated), seed=1)
    assert found["value"] == pytest.approx(value, abs=error)
    assert found["error"] == pytest.approx(error, rel=0.6)


def test_same_numbers_again(simulation):
    full, independent = simulation
    samples = Samples(full, showers(full.incident_energy_GeV, seed=5), independent)
    first, second = (compare(SETTINGS, samples, np.arange(150))[0] for _ in range(2))
    assert json.dumps(first) == json.dumps(second)


def test_samples_are_as_large_as_the_smallest(simulation):
    full, independent = simulation
    generated = showers(full.incident_energy_GeV, seed=5)
    settings = EvaluationSettings(bootstrap=10, coverage=CoverageSettings(showers=60))
    samples = Samples(full, generated, independent)
    numbers, _ = compare(settings, samples, np.arange(200, 500))
    assert numbers["kpd"]["note"] == "300 events of each sample; 5 features"
    assert numbers["fpd"]["note"] == "300 events of each sample; 5 features; batches of 30 to 150 events"
    assert numbers["recall"]["note"] == "60 events of each sample; 5 features; neighbourhoods of 5 events"


def test_too_few_events_have_no_scores():
    sample = showers(primaries_GeV(LEAST - 1, 1), seed=2)
    numbers, drawn = compare(SETTINGS, Samples(sample, sample, sample), np.arange(LEAST - 1))
    assert drawn == []
    assert set(numbers) == NAMES
    for number in numbers.values():
        assert number["generated"] == number["floor"] == {"value": None, "error": None}
        assert number["note"] == "99 events of each sample; 5 features; needs 100 events"


def test_fpd_needs_more_events_than_features(monkeypatch):
    energy_GeV = primaries_GeV(120, 1)
    rng = np.random.default_rng(2)
    monkeypatch.setattr(
        "test_scores.SCALARS", {f"feature_{number}": Observable("x", "mm") for number in range(11)}
    )
    full, other = (of_values({name: rng.normal(size=120) for name in SCALARS}, energy_GeV) for _ in range(2))
    numbers, _ = compare(SETTINGS, Samples(full, other, other), np.arange(120))
    assert numbers["fpd"]["generated"] == numbers["fpd"]["floor"] == {"value": None, "error": None}
    assert numbers["fpd"]["note"].endswith("needs more events than features in its smallest batch, found 12")
    assert numbers["kpd"]["generated"]["value"] is not None


def test_collisions_have_no_incident_energy():
    full, generated, independent = (
        showers(primaries_GeV(200, seed), seed=seed + 5, geometry=EVENTS) for seed in (1, 1, 2)
    )
    numbers, _ = compare(SETTINGS, Samples(full, generated, independent), np.arange(200))
    assert numbers["kpd"]["note"] == "200 events of each sample; 4 features"
    assert {number["generated"]["value"] is None for number in numbers.values()} == {False}
