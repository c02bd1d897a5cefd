"""Jets against FastJet event by event, hand-worked jets and loops over particles."""

import itertools
import math
from pathlib import Path

import awkward as ak
import fastjet
import numpy as np
import pytest
import uproot
import yaml

from caloforge.config.dataset import DatasetSettings
from caloforge.config.load import validate
from caloforge.config.stages import JetSettings, SoftDropSettings, TrimmingSettings
from caloforge.errors import CaloforgeError
from caloforge.geometry import EtaPhiLayer
from caloforge.ingest.formats.delphes import read
from caloforge.jets.clustering import leading_jets
from caloforge.jets.particles import directions, massless_particles, pixel_particles
from caloforge.jets.substructure import energy_correlations, substructure
from caloforge.jets.towers import TowerParticles

ROOT = Path(__file__).parents[2]
FAST = ROOT / "resources/samples/jets/delphes_dijet_000.root"
FULL = ROOT / "resources/samples/jets/fullsim_dijet_000.root"
LAYER = EtaPhiLayer(kind="eta_phi", eta_edges={"bins": 72, "low": -3.132, "high": 3.132}, n_phi=72)
SETTINGS = JetSettings()
UNTRIMMED = JetSettings(trimming=None)
TIED_SHARE = 0.05
"""Largest share of trimmed jets that may differ because distances on the grid are equal."""


def dataset_settings():
    settings = yaml.safe_load((ROOT / "config.yaml").read_text())["datasets"]["jets_dijet"]
    return DatasetSettings(**settings)


@pytest.fixture(scope="module")
def images():
    """The first 150 embedded pairs."""
    showers = next(read(dataset_settings(), [FAST], [FULL])).showers[:150]
    return {"full": showers.showers, "fast": showers.reference}


def event(*particles):
    """Particles of one event from (pT [GeV], eta, phi)."""
    pt, eta, phi = (np.array(column, dtype=float) for column in zip(*particles, strict=True))
    return massless_particles(np.array([len(pt)]), pt * np.cosh(eta), directions(eta, phi))


def described(*particles, settings=SETTINGS):
    """Substructure of one jet with these constituents."""
    found = substructure(event(*particles), settings)
    return {name: float(values[0]) for name, values in found.items()}


def distance(first, second):
    delta_phi = abs(first[2] - second[2]) % (2 * math.pi)
    return math.hypot(first[1] - second[1], min(delta_phi, 2 * math.pi - delta_phi))


def pseudojets(particles):
    return [fastjet.PseudoJet(p["px"], p["py"], p["pz"], p["E"]) for p in particles.to_list()]


def one_by_one(particles, settings):
    """The two leading jets of one event by the interface for single events, trimmed by `Filter`."""
    towers = pseudojets(particles)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, settings.radius)
    sequence = fastjet.ClusterSequence(towers, definition)
    jets = fastjet.sorted_by_pt(sequence.inclusive_jets(settings.pt_min_GeV))
    trimmer = fastjet.Filter(
        fastjet.JetDefinition(fastjet.kt_algorithm, settings.trimming.radius),
        fastjet.SelectorPtFractionMin(settings.trimming.pt_fraction),
    )
    trimmed = [trimmer(jet) for jet in jets[:2]]
    found = [(jet.pt(), jet.eta(), jet.phi_std(), jet.m(), len(jet.constituents())) for jet in trimmed]
    return len(jets), found


@pytest.mark.parametrize("side", ["fast", "full"])
def test_jets_are_those_of_fastjet_event_by_event(images, side):
    particles = pixel_particles(images[side], LAYER)
    jets = leading_jets(particles, SETTINGS)
    values = substructure(jets.constituents, SETTINGS)
    table = np.stack([values[name] for name in ("pt", "eta", "phi", "mass", "constituents")], axis=1)
    expected, places = [], []
    for row, towers in enumerate(particles):
        count, found = one_by_one(towers, SETTINGS)
        assert jets.counts[row] == count
        expected += found
        places += [(row, rank) for rank in range(len(found))]
    assert list(zip(jets.event, jets.rank, strict=True)) == places
    same = table[:, 4] == np.array(expected)[:, 4]
    assert np.mean(~same) < TIED_SHARE
    different = np.abs(table - expected)[same] > 1e-6
    assert np.mean(different.any(axis=1)) < TIED_SHARE


def test_untrimmed_jets_are_those_of_fastjet(images):
    particles = pixel_particles(images["full"], LAYER)
    found = substructure(leading_jets(particles, UNTRIMMED).constituents, UNTRIMMED)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, 0.5)
    expected = []
    for towers in particles:
        sequence = fastjet.ClusterSequence(pseudojets(towers), definition)
        expected += [
            (jet.pt(), jet.m(), len(jet.constituents()))
            for jet in fastjet.sorted_by_pt(sequence.inclusive_jets(20))[:2]
        ]
    np.testing.assert_allclose(
        np.stack([found["pt"], found["mass"], found["constituents"]], axis=1), expected, rtol=1e-7, atol=1e-5
    )


def test_substructure_of_real_jets_against_loops(images):
    jets = leading_jets(pixel_particles(images["full"][:20], LAYER), SETTINGS).constituents
    found = substructure(jets, SETTINGS)
    for row, constituents in enumerate(jets):
        particles = [
            (math.hypot(p.px, p.py), math.atanh(p.pz / p.E), math.atan2(p.py, p.px)) for p in constituents
        ]
        total = sum(pseudojets(constituents)[1:], pseudojets(constituents)[0])
        axis = (total.pt(), total.rap(), total.phi_std())
        scalar_pt = sum(p[0] for p in particles)
        girth = sum(p[0] * distance(p, axis) for p in particles) / total.pt()
        pairs = sum(a[0] * b[0] * distance(a, b) for a, b in itertools.combinations(particles, 2))
        triples = sum(
            a[0] * b[0] * c[0] * distance(a, b) * distance(a, c) * distance(b, c)
            for a, b, c in itertools.combinations(particles, 3)
        )
        e2, e3 = pairs / scalar_pt**2, triples / scalar_pt**3
        sequence = fastjet.ClusterSequence(
            pseudojets(constituents), fastjet.JetDefinition(fastjet.kt_algorithm, 100.0)
        )
        axes = [(axis.pt(), axis.rap(), axis.phi_std()) for axis in sequence.exclusive_jets(2)]
        nearest = sum(p[0] * min(distance(p, axis) for axis in axes) for p in particles)
        expected = {
            "girth": girth,
            "tau1": girth * total.pt() / scalar_pt / 0.5,
            "tau2": nearest / scalar_pt / 0.5,
            "two_point_moment": pairs / total.pt() ** 2,
            "c2": e3 / e2**2,
            "d2": e3 / e2**3,
        }
        for name, value in expected.items():
            assert found[name][row] == pytest.approx(value, rel=1e-7), name


def test_energy_correlations_are_those_of_fastjet_contrib():
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 60, 80)
    pt, y, phi = rng.exponential(5, counts.sum()), *rng.normal(0, 0.3, (2, counts.sum()))
    jets = massless_particles(counts, pt * np.cosh(y), directions(y, phi + np.pi))
    sequence = fastjet.ClusterSequence(jets, fastjet.JetDefinition(fastjet.cambridge_algorithm, 100.0))
    for points, found in zip((2, 3), energy_correlations(counts, pt, y, phi), strict=True):
        expected = sequence.exclusive_jets_energy_correlator(npoint=points)
        np.testing.assert_allclose(found, expected.to_numpy(), rtol=1e-10, atol=1e-15)


def test_one_constituent():
    found = described((30, 1.2, -2.0))
    assert found.pop("pt") == pytest.approx(30)
    assert found.pop("eta") == pytest.approx(1.2)
    assert found.pop("phi") == pytest.approx(-2)
    undefined = {name for name, value in found.items() if math.isnan(value)}
    assert undefined == {"tau21", "c2", "d2"}
    expected = dict.fromkeys(("mass", "girth", "tau1", "tau2", "two_point_moment", "softdrop_mass"), 0)
    assert {name: found[name] for name in found.keys() - undefined} == expected | {"constituents": 1}


def test_two_equal_constituents_at_the_same_azimuth():
    gap = 0.4
    found = described((25, -gap / 2, 1.0), (25, gap / 2, 1.0))
    mass = 25 * math.sqrt(2 * (math.cosh(gap) - 1))
    expected = {
        "pt": 50,
        "mass": mass,
        "eta": 0,
        "phi": 1,
        "girth": gap / 2,
        "tau1": gap / 2 / 0.5,
        "tau2": 0,
        "tau21": 0,
        "two_point_moment": gap / 4,
        "c2": 0,
        "d2": 0,
        "softdrop_mass": mass,
        "constituents": 2,
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6 if name == "softdrop_mass" else 1e-12), name


def test_three_constituents():
    side = 0.3
    corner = side * math.sqrt(3) / 2
    found = described((20, 0, 0), (20, side, 0), (20, side / 2, corner))
    assert found["c2"] == pytest.approx(side / 3)
    assert found["d2"] == pytest.approx(1)
    px, py = 20 * (2 + math.cos(corner)), 20 * math.sin(corner)
    assert found["two_point_moment"] == pytest.approx(3 * 20**2 * side / (px**2 + py**2))


def test_two_subjettiness_around_the_exclusive_kt_axes():
    gap, radius = 0.06, 0.8
    settings = JetSettings(radius=radius)
    found = described((10, -gap / 2, 0), (10, gap / 2, 0), (10, 0.1, 0.5), settings=settings)
    assert found["tau2"] == pytest.approx(2 * gap / 2 / 3 / radius)
    minimised = described(
        (10, -gap / 2, 0),
        (10, gap / 2, 0),
        (10, 0.1, 0.5),
        settings=settings.model_copy(update={"axes": "one_pass"}),
    )
    assert minimised["tau1"] < found["tau1"]


@pytest.mark.parametrize(("softer", "kept"), [(0.09, False), (0.11, True)])
def test_soft_drop_compares_the_softer_share_with_z_cut(softer, kept):
    particles = (100 * (1 - softer), 0, 0), (100 * softer, 0.3, 0)
    found = described(*particles)
    assert found["softdrop_mass"] == pytest.approx(found["mass"] if kept else 0, abs=1e-4)
    wide = JetSettings(soft_drop=SoftDropSettings(z_cut=0.05))
    assert described(*particles, settings=wide)["softdrop_mass"] == pytest.approx(found["mass"])


def test_pixels_are_massless_particles_in_the_order_of_the_cells():
    image = np.zeros((2, 72, 72), np.float32)
    image[1, 40, 3], image[1, 40, 2], image[1, 5, 71] = 1000, 3000, 500
    particles = pixel_particles(image.reshape(2, -1), LAYER)
    assert ak.num(particles).to_list() == [0, 3]
    assert particles.E[1].to_list() == [0.5, 3, 1]
    eta = -3.132 + 0.087 * (np.array([5, 40, 40]) + 0.5)
    phi = -np.pi + 2 * np.pi / 72 * (np.array([71, 2, 3]) + 0.5)
    pt = np.hypot(particles.px[1], particles.py[1]).to_numpy()
    np.testing.assert_allclose(np.arctan2(particles.py[1], particles.px[1]).to_numpy(), phi)
    np.testing.assert_allclose(np.arcsinh(particles.pz[1].to_numpy() / pt), eta)
    np.testing.assert_allclose(pt**2 + particles.pz[1].to_numpy() ** 2, np.array([0.25, 9, 1]))


def test_leading_jets_keep_their_order_when_trimming_takes_pt_away():
    ring = [(3, 0.4 * math.cos(angle), 0.4 * math.sin(angle)) for angle in np.arange(7) * 2 * math.pi / 7]
    jets = leading_jets(event((100, 0, 0), *ring, (110, 0.5, 2.5), (60, -1, -2)), SETTINGS)
    assert jets.counts.tolist() == [3]
    assert jets.rank.tolist() == [0, 1]
    np.testing.assert_allclose(substructure(jets.constituents, SETTINGS)["pt"], [100, 110])
    assert ak.num(jets.constituents).to_list() == [1, 1]
    assert ak.num(leading_jets(event((100, 0, 0), *ring), UNTRIMMED).constituents).to_list() == [8]


def test_cuts_in_pt_and_eta():
    towers = event((50, 2.0, 0), (40, 0.3, 1.5), (19.9, 0, 3))
    assert leading_jets(towers, SETTINGS).counts.tolist() == [2]
    jets = leading_jets(towers, JetSettings(eta_max=1.5))
    assert jets.counts.tolist() == [1]
    assert substructure(jets.constituents, SETTINGS)["pt"] == pytest.approx([40])
    assert leading_jets(towers, JetSettings(pt_min_GeV=10)).counts.tolist() == [3]


def test_a_jet_across_the_seam_in_phi():
    jets = leading_jets(event((30, 0, math.pi - 0.1), (30, 0, -math.pi + 0.1)), SETTINGS)
    assert jets.counts.tolist() == [1]
    found = substructure(jets.constituents, SETTINGS)
    assert abs(found["phi"][0]) == pytest.approx(math.pi)
    assert found["girth"] == pytest.approx([0.1 / math.cos(0.1)])
    assert found["two_point_moment"] == pytest.approx([0.2 / 4 / math.cos(0.1) ** 2])


def test_nothing_to_find_jets_in():
    empty = pixel_particles(np.zeros((3, LAYER.n_cells), np.float32), LAYER)
    jets = leading_jets(empty, SETTINGS)
    assert jets.counts.tolist() == [0, 0, 0]
    assert all(len(values) == 0 for values in substructure(jets.constituents, SETTINGS).values())
    harsh = JetSettings(trimming=TrimmingSettings(pt_fraction=0.9))
    jets = leading_jets(event((30, 0, 0), (30, 0.3, 0)), harsh)
    assert (jets.counts.tolist(), len(jets.event), len(jets.constituents)) == ([1], 0, 0)


def test_towers_are_where_delphes_has_them():
    settings = dataset_settings()
    towers = TowerParticles(settings, [FAST])
    found = [towers(np.array(events)) for events in ([3, 4, 9], [10, 588])]
    tree = uproot.open(FAST)["Delphes"].arrays(entry_stop=10)
    assert [len(part) for part in found] == [3, 2]
    for row, entry in enumerate((3, 4, 9)):
        eta, phi, ecal, hcal = (
            tree[f"Tower.{name}"][entry].to_numpy().astype(float) for name in ("Eta", "Phi", "Eem", "Ehad")
        )
        inside = (np.abs(eta) < 3.132) & (ecal + hcal > 0.005)
        energy = (ecal + hcal)[inside]
        np.testing.assert_allclose(found[0][row].E, energy, rtol=1e-6)
        np.testing.assert_allclose(
            found[0][row].px, energy / np.cosh(eta[inside]) * np.cos(phi[inside]), rtol=1e-5
        )
        np.testing.assert_allclose(found[0][row].pz, energy * np.tanh(eta[inside]), rtol=1e-5)


@pytest.mark.parametrize("events", [[4, 3], [3, 100000]])
def test_towers_of_other_events_are_refused(events):
    with pytest.raises(CaloforgeError, match=rf"{FAST.name}: event \d+ is missing or elsewhere, expected"):
        TowerParticles(dataset_settings(), [FAST])(np.array(events))


def test_towers_of_delphes_need_a_source_that_has_them(monkeypatch):
    monkeypatch.chdir(ROOT)
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["datasets"]["both"] = {"combine": ["jets_dijet", "jets_wjet"]}
    config["models"]["images"] = {"family": "calpagan", "training": {"epochs": 1}}
    config["runs"] = [{"dataset": "both", "model": "images", "seeds": [1]}]
    assert validate(config).jets.towers == "pixels"
    config["jets"] = {"towers": "delphes"}
    with pytest.raises(
        CaloforgeError, match=r"jets\.towers: found 'delphes', expected 'pixels': data set both"
    ):
        validate(config)
    config["runs"][0]["dataset"] = "jets_wjet"
    assert validate(config).jets.towers == "delphes"
