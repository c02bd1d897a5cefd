"""Particle types that differ in the visible energy alone, against the closed form of what can be known."""

import json
import math

import h5py
import numpy as np
import pytest
from scipy.stats import norm

from caloforge.config.stages import EvaluationSettings, FigureSettings, ParticleSettings
from caloforge.errors import CaloforgeError
from caloforge.evaluation import evaluate, particles
from caloforge.evaluation.observables import read_observables
from caloforge.evaluation.samples import Samples
from caloforge.figures.album import save_album
from caloforge.figures.particles import RocCurve, roc_curves
from caloforge.figures.style import FULL_SIMULATION, GENERATED, figure_style
from caloforge.geometry import CartesianLayer, Geometry
from caloforge.showers import Showers, ShowerWriter

GEOMETRY = Geometry(name="small", layers=(CartesianLayer(shape=(3, 4), cell_size_mm=(20, 20)),))
SETTINGS = EvaluationSettings(bins=10, bootstrap=20, classifiers={"use": ()})
POSITRON, PHOTON = -11, 22
SEPARATION = 1.5
"""Distance between the logarithms of the visible energies of both types, in their standard deviations."""
KNOWABLE = norm.cdf(SEPARATION / math.sqrt(2))
"""Area under the ROC curve of the likelihood ratio of two such normal distributions."""


def write_sample(directory, name, codes, *, seed, first_event=0, brighter=POSITRON):
    """Showers and observables: types differ in the visible energy, and in the energy they were asked for.

    Event numbers tell the types apart, too.
    """
    rng = np.random.default_rng(seed)
    n = len(codes)
    energy_MeV = np.exp(5 + 0.5 * (rng.normal(size=n) + SEPARATION * (codes == brighter)))
    cells_MeV = energy_MeV[:, None] * rng.dirichlet(np.full(12, 20), n)
    incident_GeV = np.where(codes == POSITRON, 10, 20) + rng.random(n)
    units = {"px": "GeV", "py": "GeV", "pz": "GeV", "pdg": "1"}
    event = first_event + 2 * np.arange(n) + (codes == POSITRON)
    with ShowerWriter(directory / f"{name}_showers.h5", GEOMETRY, units) as writer:
        conditions = {key: np.ones(n, np.float32) for key in units} | {"pdg": codes.astype(np.float32)}
        incident_MeV = (1000 * incident_GeV[:, None]).astype(np.float32)
        writer.append(Showers(cells_MeV.astype(np.float32), incident_MeV, conditions, event))
    width_mm = rng.normal(20, 3, n)
    width_mm[::10] = np.nan
    with h5py.File(directory / f"{name}.h5", "w") as file:
        file.attrs.update(geometry=GEOMETRY.model_dump_json(), readout_threshold_MeV=0.1, n=n)
        for scalar, values, unit in (
            ("response", energy_MeV / incident_GeV / 1000, "1"),
            ("total_energy_MeV", energy_MeV, "MeV"),
            ("width_mm", width_mm, "mm"),
            ("undefined_mm", np.full(n, np.nan), "mm"),
        ):
            data = file.create_dataset(f"scalars/{scalar}", data=values.astype(np.float32))
            data.attrs.update(label=scalar, unit=unit, log=False)
        file.create_group("profiles")
        file["mean_shower"] = cells_MeV.mean(axis=0)
        file["incident_energy_GeV"] = incident_GeV.astype(np.float32)
        file["event"] = event


def two_types(n, m, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat([POSITRON, PHOTON], [n, m]))


def write_samples(directory, codes, independent, *, brighter=PHOTON):
    """Full simulation, generated showers with `brighter` ones of one type, and independent showers."""
    write_sample(directory, "full", codes, seed=1)
    write_sample(directory, "generated", codes, seed=2, brighter=brighter)
    write_sample(directory, "independent", independent, seed=3, first_event=10_000)


def compared(directory, settings=SETTINGS):
    names = Samples._fields
    observables = Samples(*(read_observables(directory / f"{name}.h5") for name in names))
    with figure_style(FigureSettings()):
        return particles.compare(
            settings, observables, Samples(*(showers(directory, name) for name in names))
        )


def showers(directory, name):
    return directory / f"{name}_showers.h5"


@pytest.fixture(scope="module")
def exchanged(tmp_path_factory):
    """Samples whose generated positrons look like photons and the other way round, and their comparison."""
    directory = tmp_path_factory.mktemp("exchanged")
    write_samples(directory, two_types(300, 240), two_types(500, 500))
    return directory, compared(directory)


def test_table_of_two_types(exchanged):
    _, ((table,), (figure,)) = exchanged
    assert table.title == "e⁺ against γ: area under the ROC curve"
    assert table.columns == [
        "By observables, tested on: full simulation",
        "By observables, tested on: generated showers",
        "By cells, tested on: full simulation",
        "By cells, tested on: generated showers",
    ]
    assert [row.label for row in table.rows] == [
        "Trained on full simulation",
        "Trained on generated showers",
        "Trained on other full simulation",
    ]
    assert "300 e⁺ and 240 γ of each sample" in table.note
    assert "has an area of 0.00." in table.note
    assert (figure.file, figure.section) == ("particles_-11_22.svg", "Particles")


def test_classifiers_know_what_can_be_known(exchanged):
    """No more than that, although the response and the event number tell the types apart for certain."""
    _, ((table,), _) = exchanged
    full, generated, independent = ([cell["value"] for cell in row.cells] for row in table.rows)
    for looks_at in (0, 2):
        for expected, same in ((KNOWABLE, True), (1 - KNOWABLE, False)):
            of_exchanged = [
                full[looks_at + (not same)],
                generated[looks_at + same],
                independent[looks_at + (not same)],
            ]
            assert of_exchanged == pytest.approx([expected] * 3, abs=0.09)
    errors = [cell["error"] for row in table.rows for cell in row.cells]
    assert min(errors) > 0.01
    assert max(errors) < 0.035


def test_the_same_samples_give_the_same_bytes(exchanged, tmp_path):
    directory, (tables, drawn) = exchanged
    again = compared(directory)
    assert again[0] == tables
    for name, figures in (("first", drawn), ("second", again[1])):
        with figure_style(FigureSettings()):
            save_album(figures, tmp_path / name, "")
    first, second = ((tmp_path / name / "particles_-11_22.svg").read_bytes() for name in ("first", "second"))
    assert first == second


def test_no_event_trains_and_tests(tmp_path):
    """Generated showers that are those of the full simulation are told apart like them, not better."""
    write_samples(tmp_path, two_types(60, 50), two_types(70, 60))
    write_sample(tmp_path, "generated", two_types(60, 50), seed=1)
    ((table,), _) = compared(tmp_path)
    full, generated, independent = table.rows
    assert generated.cells == full.cells
    for cells in (full.cells, independent.cells):
        assert cells[0] == cells[1]
        assert cells[2] == cells[3]
    assert independent.cells != full.cells


def test_one_type_or_none_has_no_table(tmp_path):
    write_samples(tmp_path, two_types(120, 0), two_types(120, 60))
    assert compared(tmp_path) == ([], [])
    for name in Samples._fields:
        with h5py.File(showers(tmp_path, name), "a") as file:
            del file["conditions/pdg"]
    assert compared(tmp_path) == ([], [])


def test_too_few_showers_of_a_type_are_said(tmp_path):
    write_samples(tmp_path, two_types(120, 60), two_types(200, 7))
    ((table,), drawn) = compared(tmp_path)
    assert not drawn
    assert table.note == "Needs 50 showers of each particle in each sample, found 120 e⁺ and 7 γ."
    assert [row.cells for row in table.rows] == [[None] * 4] * 3
    json.dumps(table.as_dict(), allow_nan=False)


def test_every_two_of_three_types_and_only_so_many_showers(tmp_path):
    codes = np.random.default_rng(1).permutation(np.repeat([POSITRON, PHOTON, 1234567], [130, 120, 110]))
    write_samples(tmp_path, codes, codes)
    settings = EvaluationSettings(bootstrap=10, particles=ParticleSettings(showers=100))
    tables, drawn = compared(tmp_path, settings)
    assert [entry.title for entry in drawn] == [
        "e⁺ against γ",
        "e⁺ against particle 1234567",
        "γ against particle 1234567",
    ]
    assert "100 γ and 100 particle 1234567 of each sample" in tables[2].note
    alike = tables[2].rows[0].cells[0]
    assert alike["value"] == pytest.approx(0.5, abs=4 * alike["error"])


def test_independent_showers_of_unknown_type_are_refused(tmp_path):
    write_samples(tmp_path, two_types(60, 60), two_types(60, 60))
    with h5py.File(showers(tmp_path, "independent"), "a") as file:
        del file["conditions/pdg"]
    expected = r"^.*independent_showers\.h5: no condition pdg, found px, py, pz$"
    with pytest.raises(CaloforgeError, match=expected):
        compared(tmp_path)


def test_tables_and_figures_of_the_evaluation(exchanged, tmp_path):
    directory, (tables, _) = exchanged
    write_sample(tmp_path, "validation", two_types(60, 60), seed=4, first_event=20_000)
    evaluate(
        SETTINGS,
        FigureSettings(displays=1),
        label="",
        generated=directory / "generated.h5",
        reference=directory / "full.h5",
        independent=directory / "independent.h5",
        generated_showers=showers(directory, "generated"),
        reference_showers=showers(directory, "full"),
        independent_showers=showers(directory, "independent"),
        histories={},
        metrics=tmp_path / "metrics.json",
        figure_directory=tmp_path / "figures",
        record=tmp_path / "evaluate.json",
    )
    expected = json.loads(json.dumps([table.as_dict() for table in tables]))
    assert json.loads((tmp_path / "metrics.json").read_text())["tables"] == expected
    index = json.loads((tmp_path / "figures/index.json").read_text())
    assert [entry["file"] for entry in index if entry["section"] == "Particles"] == ["particles_-11_22.svg"]


def test_curves_are_drawn_by_what_classifiers_learned_from():
    efficiency = np.linspace(0, 1, 5)
    curves = [
        RocCurve(trained, tested, efficiency**power, 0.6, 0.01)
        for power, (trained, tested) in enumerate(((False, False), (False, True), (True, True)), 1)
    ]
    with figure_style(FigureSettings()):
        figure = roc_curves(efficiency, {"observables": curves, "cells": curves[:1]}, ("e⁺", "γ"))
    left, right = figure.axes
    chance, *drawn = left.lines
    np.testing.assert_array_equal(chance.get_xdata(), chance.get_ydata())
    for line, curve in zip(drawn, curves, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), curve.misidentified)
    assert [line.get_color() for line in drawn] == [FULL_SIMULATION, FULL_SIMULATION, GENERATED]
    assert [line.get_linestyle() for line in drawn] == ["-", "--", "--"]
    assert drawn[1].get_label() == "full simulation → generated: 0.600 ± 0.010"
    assert len(right.lines) == 2
    assert left.get_xlabel() == "Efficiency for e⁺"
    assert left.get_ylabel() == "Share of γ taken for e⁺"
