"""Nearest neighbours against loops over all pairs; a sample that repeats training showers is seen."""

import math

import numpy as np
import pytest
from scipy import stats

from caloforge.config.stages import EvaluationSettings, FigureSettings, NeighbourSettings
from caloforge.errors import CaloforgeError
from caloforge.evaluation import neighbours
from caloforge.evaluation.observables import read_observables
from caloforge.figures.neighbours import distances, pairs
from caloforge.figures.style import figure_style
from caloforge.geometry import CartesianLayer, Geometry
from caloforge.metrics.neighbours import memorisation, nearest
from caloforge.observables import observe
from caloforge.showers import Showers, ShowerWriter

IMAGE = Geometry(name="image", layers=(CartesianLayer(shape=(6, 5), cell_size_mm=(20, 20)),))
STACK = Geometry(
    name="stack",
    layers=(
        CartesianLayer(shape=(2, 8), cell_size_mm=(30, 5), label="front"),
        CartesianLayer(shape=(4, 4), cell_size_mm=(20, 20), label="middle"),
        CartesianLayer(shape=(3, 2), cell_size_mm=(20, 30), label="back"),
    ),
)
GRID = Geometry(
    name="grid", layers=(CartesianLayer(shape=(5, 4), cell_size_mm=(5, 5), thickness_mm=6, repeat=12),)
)
THRESHOLD_MEV = 0.5
GENERATED, TRAIN = 90, 150


def nearest_by_loops(queries, pool):
    """Distances over all cells, pair by pair and cell by cell."""
    found = []
    for query in queries:
        of_pool = [
            math.sqrt(math.fsum((float(a) - float(b)) ** 2 for a, b in zip(query, other, strict=True)))
            for other in pool
        ]
        found.append((min(of_pool), of_pool.index(min(of_pool))))
    return np.array(found).T


def test_nearest_against_a_loop():
    rng = np.random.default_rng(1)
    queries, pool = (rng.exponential(10 ** rng.uniform(-3, 3, (n, 1)), (n, 7)) for n in (30, 41))
    expected, expected_index = nearest_by_loops(queries, pool)
    for blocks in ([pool], [pool[:1], pool[1:20], pool[20:]]):
        found, index = nearest(queries, blocks)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        np.testing.assert_array_equal(index, expected_index)


def test_more_queries_than_are_compared_at_a_time():
    """On a line, near whole numbers."""
    rng = np.random.default_rng(2)
    number, beside = rng.integers(0, 100, 1000), rng.uniform(-0.4, 0.4, 1000)
    found, index = nearest((number + beside)[:, None], np.split(np.arange(100.0)[:, None], 4))
    np.testing.assert_array_equal(index, number)
    np.testing.assert_allclose(found, np.abs(beside), atol=1e-12)


def test_equal_showers_are_at_no_distance():
    """Also beside showers that differ from them by 1 MeV in one cell."""
    rng = np.random.default_rng(3)
    pool = rng.exponential(100, (200, 50)).astype(np.float32)
    pool[100:] = pool[:100]
    pool[100:, 7] += 1
    order = rng.permutation(100)
    found, index = nearest(pool[order], [pool[:30], pool[30:]])
    assert not found.any()
    np.testing.assert_array_equal(index, order)
    found, index = nearest(pool[order], [np.concatenate([pool[:100], pool[:100]])])
    assert not found.any()
    np.testing.assert_array_equal(index % 100, order)


def test_memorisation_by_hand():
    independent, sample = np.arange(1.0, 202.0), np.concatenate([[0, 3, 3.5], np.full(7, 1000.0)])
    ratio, ks, close = memorisation(independent, sample)
    assert ratio == 1000 / 101
    assert ks == pytest.approx(0.7)
    assert close == 2 / 10  # the quantile is 3
    assert memorisation(independent, independent)[:2] == (1, 0)
    assert math.isnan(memorisation(np.zeros(9), sample)[0])


def some_showers(geometry, n, seed):
    """Showers of 1 to 100 GeV with a core somewhere, empty cells and some below the threshold."""
    rng = np.random.default_rng(seed)
    energy_MeV = np.geomspace(1e3, 1e5, n).astype(np.float32)[rng.permutation(n)]
    core = rng.uniform(0, geometry.n_cells, (n, 1))
    shape = np.exp(-(((np.arange(geometry.n_cells) - core) / 4) ** 2)) + 1e-3
    cells_MeV = 0.1 * energy_MeV[:, None] * shape / shape.sum(axis=1, keepdims=True)
    cells_MeV = rng.gamma(2, cells_MeV / 2) * (rng.random(shape.shape) < 0.7)
    return cells_MeV.astype(np.float32), energy_MeV


def write(path, geometry, cells_MeV, energy_MeV):
    with ShowerWriter(path, geometry, {}) as writer:
        writer.append(Showers(cells_MeV, energy_MeV[:, None], {}, np.arange(len(cells_MeV))))


def compared(directory, samples, **settings):
    """`neighbours.compare` of the reference, generated, training and validation showers in a stack."""
    names = ("reference", "generated", "training", "validation")
    paths = {name: directory / f"{name}.h5" for name in names}
    for (cells_MeV, energy_MeV), path in zip(samples, paths.values(), strict=True):
        geometry = STACK if cells_MeV.shape[1] == STACK.n_cells else GRID
        write(path, geometry, cells_MeV, energy_MeV)
    observe(
        paths["reference"],
        readout_threshold_MeV=THRESHOLD_MEV,
        output=directory / "observables.h5",
        record=directory / "observe.json",
    )
    full = read_observables(directory / "observables.h5")
    settings = EvaluationSettings(bootstrap=10, neighbours=NeighbourSettings(**settings))
    with figure_style(FigureSettings()):
        return neighbours.compare(settings, full, **paths)


@pytest.fixture(scope="module")
def memorising(tmp_path_factory):
    """Three samples of a stack and what is found if half of the generated showers are training showers."""
    reference, training, validation = (
        some_showers(STACK, n, seed) for n, seed in ((GENERATED, 1), (TRAIN, 2), (60, 3))
    )
    fresh, energy_MeV = some_showers(STACK, GENERATED, 4)
    copies = np.random.default_rng(5).choice(TRAIN, GENERATED // 2, replace=False)
    fresh[::2], energy_MeV[::2] = training[0][copies], training[1][copies]
    samples = reference, (fresh, energy_MeV), training, validation
    return samples, compared(tmp_path_factory.mktemp("memorising"), samples)


def shares(sample):
    cells_MeV, energy_MeV = sample
    return np.where(cells_MeV > THRESHOLD_MEV, cells_MeV, 0).astype(float) / energy_MeV[:, None]


def test_numbers_against_loops(memorising):
    samples, (numbers, _) = memorising
    reference, generated, training, validation = map(shares, samples)
    of_test, of_generated, of_validation = (
        nearest_by_loops(sample, training)[0] for sample in (reference, generated, validation)
    )
    assert (of_generated[::2] == 0).all()
    close = np.quantile(of_test, 0.01)
    for kind, sample in (("generated", of_generated), ("floor", of_validation)):
        found = {name: number[kind]["value"] for name, number in numbers.items()}
        assert found == pytest.approx(
            {
                "neighbour_median_ratio": np.median(sample) / np.median(of_test),
                "neighbour_ks": stats.ks_2samp(of_test, sample).statistic,
                "neighbour_close_share": np.mean(sample <= close),
            },
            rel=1e-5,
        )
    note = "90 generated, 90 test and 60 validation showers, 150 training showers"
    assert {number["note"] for number in numbers.values()} == {note}


def test_copies_of_training_showers_are_seen(memorising):
    _, (numbers, _) = memorising
    close, floor = (numbers["neighbour_close_share"][kind] for kind in ("generated", "floor"))
    assert 0.5 <= close["value"] < 0.55
    assert floor["value"] < 0.1
    assert close["error"] > 0
    assert numbers["neighbour_ks"]["generated"]["value"] > 0.45


def test_pairs_are_nearest_generated_showers(memorising):
    """By the distance of cells in MeV, drawn layer by layer, the full simulation above its neighbours."""
    samples, (_, drawn) = memorising
    assert [entry.file for entry in drawn] == ["neighbour_distances.svg", "neighbour_pairs.svg"]
    reference, generated = (np.where(cells > THRESHOLD_MEV, cells, 0) for cells, _ in samples[:2])
    maps = np.array([axes for axes in drawn[1].figure.axes if axes.get_label() != "<colorbar>"]).reshape(6, 7)
    for column in maps.T:
        shown = [np.concatenate([image(axes) for axes in column[first::2]]) for first in (0, 1)]
        of_reference = np.flatnonzero((reference == shown[0]).all(axis=1))
        assert len(of_reference) == 1
        _, expected = nearest_by_loops(reference[of_reference], generated)
        np.testing.assert_array_equal(shown[1], generated[int(expected[0])])
        energies = [samples[0][1][of_reference[0]] / 1000, samples[1][1][int(expected[0])] / 1000]
        assert column[0].get_title() == f"{energies[0]:.3g} GeV,\nnearest {energies[1]:.3g} GeV"


def image(axes):
    """The cells that a map shows, in the order of a flattened layer."""
    return np.ma.getdata(axes.collections[0].get_array()).T.ravel().astype(np.float32)


def test_only_so_many_showers_are_compared(tmp_path):
    samples = [some_showers(STACK, n, seed) for seed, n in enumerate((130, 130, 300, 110))]
    numbers, drawn = compared(tmp_path, samples, queries=100, pool=120)
    note = "100 generated, 100 test and 100 validation showers, 120 training showers"
    assert numbers["neighbour_ks"]["note"] == note
    assert note in drawn[0].caption
    assert "of 120 generated showers" in drawn[1].caption


def test_blocks_do_not_matter(memorising, tmp_path, monkeypatch):
    samples, (numbers, _) = memorising
    monkeypatch.setattr("caloforge.evaluation.samples.BLOCK_CELLS", 13 * STACK.n_cells)
    again, _ = compared(tmp_path, samples)
    assert again == numbers


def test_showers_of_another_calorimeter_are_refused(memorising, tmp_path):
    (*samples, _), _ = memorising
    with pytest.raises(CaloforgeError, match=r"validation\.h5: another geometry found, expected that of"):
        compared(tmp_path, [*samples, some_showers(GRID, 20, 1)])


@pytest.mark.parametrize(
    ("geometry", "rows"),
    [
        (IMAGE, ["Full sim.\ny [mm]", "Nearest\ny [mm]"]),
        (
            STACK,
            [
                f"Layer {number} ({label})\n{kind}\ny [mm]"
                for number, label in enumerate(("front", "middle", "back"))
                for kind in ("Full sim.", "Nearest")
            ],
        ),
        (
            GRID,
            [
                f"Along {axis}\n{kind}\n{across} [mm]"
                for axis, across in (("z", "y"), ("y", "x"), ("x", "y"))
                for kind in ("Full sim.", "Nearest")
            ],
        ),
    ],
    ids=["image", "stack", "grid"],
)
def test_pairs_of_every_geometry_are_drawn(tmp_path, geometry, rows):
    (full, energy_MeV), (fast, _) = (some_showers(geometry, 2, seed) for seed in (1, 2))
    with figure_style(FigureSettings(dpi=50)):
        figure = pairs(geometry, full, fast, list(zip(energy_MeV / 1e3, energy_MeV / 1e3, strict=True)))
        figure.savefig(tmp_path / "pairs.svg")
    maps = np.array([axes for axes in figure.axes if axes.get_label() != "<colorbar>"]).reshape(-1, 2)
    assert [axes.get_ylabel() for axes in maps[:, 0]] == rows
    assert figure.axes[-1].get_ylabel() == "Energy [MeV]"


def test_distributions_of_distances():
    test, validation, generated = np.arange(1.0, 41.0), np.arange(1.0, 21.0), np.full(10, 40.0)
    with figure_style(FigureSettings()):
        figure = distances({"Test": test, "Validation": validation, "Generated": generated}, 1.5)
    (axes,) = figure.axes
    labels = [patch.get_label() for patch in axes.patches]
    assert labels == ["Test (40 showers)", "Validation (20 showers)", "Generated (10 showers)"]
    edges = axes.patches[0].get_data().edges
    for patch, values in zip(axes.patches, (test, validation, generated), strict=True):
        np.testing.assert_allclose(patch.get_data().values, np.histogram(values, edges)[0] / len(values))
        assert patch.get_data().values.sum() == pytest.approx(1)
    assert axes.lines[0].get_xdata()[0] == 1.5
    assert axes.get_xscale() == "log"
