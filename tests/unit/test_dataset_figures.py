"""Figures of data sets: each shows the numbers it is given, and the stage gives it those of the showers."""

import json
import re

import numpy as np
import pytest

from caloforge import dataset_figures
from caloforge.config.stages import FigureSettings
from caloforge.dataset_figures import draw_dataset
from caloforge.errors import CaloforgeError
from caloforge.figures import dataset
from caloforge.figures.album import save_album
from caloforge.figures.dataset import FAST, FULL, Histogram
from caloforge.geometry import Geometry
from caloforge.showers import Showers, ShowerWriter

RNG = np.random.default_rng(11)
THRESHOLD_MEV = 0.5
GEOMETRIES = {
    "cartesian": Geometry(
        name="ECAL",
        layers=[
            {"shape": [3, 5], "cell_size_mm": [50, 30], "thickness_mm": 20},
            {"shape": [2, 2], "cell_size_mm": [75, 75], "thickness_mm": 60},
        ],
        radiation_length_mm=10,
    ),
    "eta_phi": Geometry(name="Towers", layers=[{"kind": "eta_phi", "eta_edges": [-3, -1, 0, 3], "n_phi": 6}]),
    "cylindrical": Geometry(
        name="Rings",
        layers=[
            {"kind": "cylindrical", "n_alpha": 1, "r_edges_mm": [0, 5, 30]},
            {"kind": "cylindrical", "n_alpha": 8, "r_edges_mm": [0, 5, 10, 30]},
        ],
    ),
}


def bars(axes, number=0):
    """Heights and edges of a histogram."""
    data = axes.patches[number].get_data()
    return data.values, data.edges


def shower_batch(geometry, n=200, paired=False):
    """Showers of 1 to 50 GeV, some without energy, most cells below the threshold or empty."""
    energy_MeV = RNG.uniform(1000, 50_000, (n, 1)).astype(np.float32)
    cells = (RNG.exponential(1, (2, n, geometry.n_cells)) * RNG.integers(0, 3, (2, n, 1))).astype(np.float32)
    return Showers(
        cells[0],
        energy_MeV,
        {"x0": RNG.normal(0, 2, n).astype(np.float32), "fixed": np.ones(n, np.float32)},
        np.arange(n),
        cells[1] if paired else None,
    )


def ends(values):
    return [float(values.min()), float(values.max())]


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Write showers and their record, draw them, and return figures and captions by the name of the file."""

    def run(geometry, batch, *, has_primaries=True, ranges=None, save=False):
        showers, ingest = tmp_path / "train.h5", tmp_path / "ingest.json"
        units = {"x0": "mm", "fixed": "1"}
        with ShowerWriter(showers, geometry, units, paired=batch.reference is not None) as writer:
            writer.append(batch)
        found = ranges or {
            "incident_energy_GeV": ends(batch.incident_energies.astype(np.float64) / 1000),
            "conditions": {name: {"range": ends(values)} for name, values in batch.conditions.items()},
        }
        ingest.write_text(json.dumps({"summary": found}))
        album = []

        def keep(drawn, directory, **options):
            album.extend(drawn)
            if save:
                save_album(album, directory, **options)
            else:
                directory.mkdir()

        monkeypatch.setattr(dataset_figures, "save_album", keep)
        monkeypatch.setattr(dataset_figures, "BLOCK_CELLS", 7 * geometry.n_cells)
        draw_dataset(
            FigureSettings(),
            readout_threshold_MeV=THRESHOLD_MEV,
            has_primaries=has_primaries,
            showers=showers,
            ingest=ingest,
            figure_directory=tmp_path / "figures",
            record=tmp_path / "figures.json",
        )
        return {entry.file: entry.figure for entry in album}, {entry.file: entry.caption for entry in album}

    return run


def drawn_cells(axes, layer):
    """Values of a map in the order of the cells; a wedge is drawn in several pieces of one value."""
    values = np.ma.filled(axes.collections[0].get_array(), 0).reshape(layer.shape[1], -1).T
    pieces = values.reshape(*layer.shape[:1], -1, layer.shape[1])
    assert (pieces == pieces[:, :1]).all()
    return pieces[:, 0].ravel()


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_figures_show_the_sums_over_the_showers(kind, draw, tmp_path):
    geometry = GEOMETRIES[kind]
    batch = shower_batch(geometry)
    figures, captions = draw(geometry, batch)
    kept = np.where(batch.showers > THRESHOLD_MEV, batch.showers, 0).astype(np.float64)
    offsets = geometry.offsets()

    for number, layer in enumerate(geometry.layers):
        cells = slice(offsets[number], offsets[number + 1])
        np.testing.assert_allclose(
            drawn_cells(figures["mean_image.svg"].axes[number], layer), kept.mean(axis=0)[cells]
        )
        np.testing.assert_allclose(
            drawn_cells(figures["hit_share.svg"].axes[number], layer), (kept > 0).mean(axis=0)[cells]
        )

    energy_GeV = batch.incident_energies[:, 0].astype(np.float64) / 1000
    (axes,) = figures["energy_spectrum.svg"].axes
    density, edges_GeV = bars(axes)
    np.testing.assert_allclose(density * np.diff(edges_GeV), np.histogram(energy_GeV, edges_GeV)[0])
    assert edges_GeV[[0, -1]] == pytest.approx([energy_GeV.min(), energy_GeV.max()])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Incident energy [GeV]", "Showers per GeV")

    (axes,) = figures["response.svg"].axes
    response = kept.sum(axis=1) / 1000 / energy_GeV
    band = axes.patches[0].get_data()
    for low, high, mean, top in zip(
        band.edges[:-1], band.edges[1:], axes.containers[0].lines[0].get_ydata(), band.values, strict=True
    ):
        inside = response[(low <= energy_GeV) & ((energy_GeV < high) | (high == band.edges[-1]))]
        if len(inside) > 1:
            assert mean == pytest.approx(inside.mean(), rel=1e-5)
            assert top == pytest.approx(inside.mean() + inside.std(ddof=1), rel=1e-5)
        else:
            assert np.isnan(mean)

    x0, fixed = figures["conditions.svg"].axes
    counts, edges_mm = bars(x0)
    np.testing.assert_array_equal(counts, np.histogram(batch.conditions["x0"], edges_mm)[0])
    assert bars(fixed)[0].sum() == len(batch)
    assert (x0.get_xlabel(), fixed.get_xlabel()) == ("x0 [mm]", "fixed")

    (axes,) = figures["occupancy.svg"].axes
    counts, edges_percent = bars(axes)
    np.testing.assert_array_equal(counts, np.histogram(100 * (kept > 0).mean(axis=1), edges_percent)[0])
    assert counts.sum() == len(batch)

    (axes,) = figures["cell_energies.svg"].axes
    counts, edges_MeV = bars(axes)
    np.testing.assert_allclose(counts * len(batch), np.histogram(batch.showers, edges_MeV)[0])
    assert counts.sum() * len(batch) == pytest.approx(np.count_nonzero(batch.showers))
    assert axes.lines[0].get_xdata()[0] == THRESHOLD_MEV

    assert ("longitudinal_profile.svg" in figures) == (len(geometry.layers) > 1)
    for name in ("mean_image.svg", "hit_share.svg", "response.svg", "occupancy.svg"):
        assert "0.5 MeV" in captions[name]


def test_the_album_is_written_with_its_index_the_same_bytes_every_time(draw, tmp_path):
    geometry = GEOMETRIES["cylindrical"]
    batch = shower_batch(geometry, 20)
    figures, captions = draw(geometry, batch, save=True)
    first = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    assert set(first) == {"index.json", *figures, *(name.replace(".svg", ".yaml") for name in figures)}
    index = json.loads(first["index.json"])
    assert [(entry["file"], entry["caption"]) for entry in index] == list(captions.items())
    assert all(entry["section"] and entry["title"] for entry in index)
    assert json.loads((tmp_path / "figures.json").read_text())["stage"] == "draw_dataset"
    draw(geometry, batch, save=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()} == first


def test_longitudinal_profile_is_a_density_in_radiation_lengths(draw):
    geometry = GEOMETRIES["cartesian"]
    batch = shower_batch(geometry)
    figures, _ = draw(geometry, batch)
    kept = np.where(batch.showers > THRESHOLD_MEV, batch.showers, 0).astype(np.float64)
    energy_GeV = batch.incident_energies[:, 0].astype(np.float64) / 1000
    (axes,) = figures["longitudinal_profile.svg"].axes
    edges_GeV = np.linspace(energy_GeV.min(), energy_GeV.max(), 5)
    assert len(axes.patches) == 4
    for number, patch in enumerate(axes.patches):
        inside = (energy_GeV >= edges_GeV[number]) & (energy_GeV <= edges_GeV[number + 1])
        first, second = kept[inside, :15].sum(), kept[inside, 15:].sum()
        values, edges, _ = patch.get_data()
        np.testing.assert_allclose(edges, [0, 2, 8])
        np.testing.assert_allclose(values, np.array([first / 2, second / 6]) / (first + second))
        assert f"({inside.sum()} showers)" in patch.get_label()
    assert axes.get_xlabel() == "Depth [X₀]"
    assert axes.get_ylabel() == "Share of the visible energy per X₀"


@pytest.mark.parametrize(
    ("layer", "radiation_length_mm", "label", "edges"),
    [
        ({"thickness_mm": 6, "repeat": 2}, None, "Depth [mm]", [0, 6, 12]),
        ({"repeat": 2}, 5, "Layer", [-0.5, 0.5, 1.5]),
    ],
)
def test_depths_are_as_physical_as_the_geometry_tells(layer, radiation_length_mm, label, edges):
    geometry = Geometry(
        name="ECAL",
        layers=[{"shape": [2, 2], "cell_size_mm": [5, 5]} | layer],
        radiation_length_mm=radiation_length_mm,
    )
    figure = dataset.longitudinal_profile(
        np.array([[1.0, 3.0], [0, 0]]),
        np.array([7, 0]),
        np.array([1.0, 2, 3]),
        geometry,
        energy_label="Incident energy",
        events="showers",
    )
    (axes,) = figure.axes
    assert len(axes.patches) == 1
    np.testing.assert_allclose(bars(axes)[1], edges)
    assert axes.get_xlabel() == label


def test_pairs_show_both_simulations(draw):
    geometry = GEOMETRIES["eta_phi"]
    batch = shower_batch(geometry, paired=True)
    batch.incident_energies[:5] = 0
    figures, captions = draw(geometry, batch, has_primaries=False)
    full, fast, ratio = figures["mean_image_0.svg"].axes[:3]
    means = [
        np.where(image > THRESHOLD_MEV, image, 0).mean(axis=0, dtype=np.float64)
        for image in (batch.showers, batch.reference)
    ]
    layer = geometry.layers[0]
    for axes, expected in ((full, means[0]), (fast, means[1]), (ratio, means[1] / means[0])):
        np.testing.assert_allclose(drawn_cells(axes, layer), expected)
    shares = figures["hit_share.svg"].axes[:2]
    assert [axes.get_title() for axes in shares] == [FULL, FAST]
    np.testing.assert_allclose(drawn_cells(shares[1], layer), (batch.reference > THRESHOLD_MEV).mean(axis=0))
    for name in ("occupancy.svg", "cell_energies.svg"):
        (axes,) = figures[name].axes
        assert [text.get_text() for text in axes.get_legend().get_texts()][:2] == [FULL, FAST]
    (axes,) = figures["cell_energies.svg"].axes
    counts, edges_MeV = bars(axes, 1)
    np.testing.assert_allclose(counts * len(batch), np.histogram(batch.reference, edges_MeV)[0])
    (axes,) = figures["response.svg"].axes
    assert axes.get_xlabel() == "Energy in the fast simulation [GeV]"
    assert axes.get_ylabel() == "Energy in the full / fast simulation"
    assert not any("shower" in caption for name, caption in captions.items() if name != "conditions.svg")


def test_collisions_of_one_simulation_have_no_response(draw):
    figures, _ = draw(GEOMETRIES["eta_phi"], shower_batch(GEOMETRIES["eta_phi"]), has_primaries=False)
    assert "response.svg" not in figures
    (axes,) = figures["energy_spectrum.svg"].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Energy in the calorimeter [GeV]", "Events per GeV")


def test_energies_that_lean_low_have_logarithmic_ranges(draw):
    geometry = GEOMETRIES["cartesian"]
    batch = shower_batch(geometry, 400)
    energy_MeV = np.float32(1000) * np.geomspace(1, 100, 400, dtype=np.float32)
    batch.incident_energies[:, 0] = energy_MeV
    figures, _ = draw(geometry, batch)
    (axes,) = figures["energy_spectrum.svg"].axes
    density, edges_GeV = bars(axes)
    np.testing.assert_allclose(edges_GeV, np.geomspace(1, 100, 41), rtol=1e-6)
    np.testing.assert_allclose(density * np.diff(edges_GeV), np.histogram(energy_MeV / 1000, edges_GeV)[0])
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


@pytest.mark.parametrize(("n", "paired"), [(1, True), (3, False)], ids=["pair", "showers"])
def test_showers_of_one_energy_and_without_any_hit_are_drawn(draw, n, paired):
    geometry = GEOMETRIES["cartesian"]
    batch = shower_batch(geometry, n, paired)
    batch.showers[:] = 0
    if paired:
        batch.reference[:] = 0
    batch.incident_energies[:] = energy_MeV = 0 if paired else 5000
    figures, _ = draw(geometry, batch, has_primaries=not paired)
    density, edges_GeV = bars(figures["energy_spectrum.svg"].axes[0])
    assert (density * np.diff(edges_GeV)).sum() == pytest.approx(n)
    assert edges_GeV[0] < energy_MeV / 1000 < edges_GeV[-1]


def test_a_record_without_ranges_is_named_and_nothing_is_written(draw, tmp_path):
    with pytest.raises(CaloforgeError, match=r"ingest\.json: ranges of .*train\.h5 expected") as caught:
        draw(GEOMETRIES["eta_phi"], shower_batch(GEOMETRIES["eta_phi"]), ranges={"conditions": {}})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "figures").exists()
    assert not (tmp_path / "figures.json").exists()


def test_a_file_without_showers_is_refused(draw):
    empty = shower_batch(GEOMETRIES["eta_phi"])[:0]
    ranges = {"incident_energy_GeV": [1, 2]}
    with pytest.raises(CaloforgeError, match=re.escape("holds no showers, expected at least one")):
        draw(GEOMETRIES["eta_phi"], empty, ranges=ranges)


def test_distributions_have_a_panel_each_with_its_unit():
    histogram = Histogram(np.array([1, 3]), np.array([0.0, 1, 2]), "rad")
    figure = dataset.distributions({"theta": histogram, "phi": histogram, "r": histogram})
    assert [axes.get_xlabel() for axes in figure.axes] == ["theta [rad]", "phi [rad]", "r [rad]"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["Showers per bin", "", "Showers per bin"]


def test_occupancy_counts_cells_that_fill_the_calorimeter():
    counts = np.zeros(101, np.int64)
    counts[[0, 7, 100]] = 2, 5, 1
    (axes,) = dataset.occupancy({FULL: counts}, events="showers").axes
    drawn, edges_percent = bars(axes)
    assert drawn.sum() == 8
    assert drawn[(edges_percent[:-1] <= 7) & (edges_percent[1:] > 7)] == 5
    assert axes.get_xlabel() == "Cells above the readout threshold [%]"
    assert axes.get_legend() is None
