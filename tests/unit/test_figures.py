"""Figures show the numbers they are given; styles and files behave."""

import base64
import re

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import Normalize
from matplotlib.image import imread
from matplotlib.path import Path
from scipy import stats

from caloforge.config.stages import FigureSettings
from caloforge.figures.comparison import Estimates, distribution, profile
from caloforge.figures.energy import relative_spread, resolution, response
from caloforge.figures.layers import energy_norm, maps, stack
from caloforge.figures.ranges import mean_in_ranges
from caloforge.figures.showers import average_image, matched_showers
from caloforge.figures.style import axis_label, figure_style, save_figure
from caloforge.figures.training import losses, validation
from caloforge.geometry import CartesianLayer, CylindricalLayer, EtaPhiLayer, Geometry

RNG = np.random.default_rng(7)
EDGES = np.linspace(-2, 2, 9)
LAYER = CartesianLayer(shape=(6, 4), cell_size_mm=(10, 20))


def count_by_hand(values):
    """Entries per bin of EDGES; the outermost bins also take what lies beyond."""
    counts = [0] * (len(EDGES) - 1)
    for value in values:
        if not np.isnan(value):
            number = int(np.floor((value + 2) / 0.5))
            counts[min(max(number, 0), len(counts) - 1)] += 1
    return np.array(counts)


def steps(axes):
    """Values of the outlined histogram of the full simulation."""
    return next(patch for patch in axes.patches if patch.get_label().startswith("Full")).get_data().values


def points(axes):
    """Positions, values and error bars of the generated showers."""
    container = axes.containers[0]
    x, y = container.lines[0].get_data()
    bars = [np.ptp(segment[:, 1]) / 2 for segment in container.lines[2][0].get_segments()]
    return x, y, np.array(bars)


def test_distribution_shows_fractions_errors_and_ratio():
    full, fast = RNG.normal(0, 1.2, 900), np.append(RNG.normal(0.2, 1.2, 400), [np.nan, 99.0])
    figure = distribution(full, fast, EDGES, label="Width", unit="mm", log=False)
    upper, lower = figure.axes
    n_full, n_fast = count_by_hand(full), count_by_hand(fast)
    np.testing.assert_allclose(steps(upper), n_full / 900)
    x, y, bars = points(upper)
    np.testing.assert_allclose(x, EDGES[:-1] + 0.25)
    np.testing.assert_allclose(y, n_fast / 401)
    np.testing.assert_allclose(bars, np.sqrt(n_fast) / 401)
    _, ratio, ratio_bars = points(lower)
    np.testing.assert_allclose(ratio, (n_fast / 401) / (n_full / 900))
    np.testing.assert_allclose(ratio_bars, np.sqrt(n_fast) / 401 / (n_full / 900))
    assert [text.get_text() for text in upper.get_legend().get_texts()] == [
        "Full simulation (900 showers)",
        "Generated (401 showers)",
    ]
    assert lower.get_xlabel() == "Width [mm]"
    assert upper.get_xscale() == "linear"


def test_distribution_draws_no_ratio_where_the_full_simulation_is_empty():
    figure = distribution(np.full(5, 0.1), RNG.normal(size=50), EDGES, label="Width", unit="1", log=False)
    ratio = figure.axes[1].containers[0].lines[0].get_ydata()
    assert np.flatnonzero(np.isfinite(ratio)).tolist() == [4]


def test_logarithmic_observables_have_a_logarithmic_axis_and_geometric_bin_centres():
    edges = np.array([1.0, 10.0, 100.0])
    figure = distribution(
        np.array([2.0, 20.0]), np.array([3.0, 30.0]), edges, label="E", unit="MeV", log=True
    )
    assert figure.axes[0].get_xscale() == "log"
    np.testing.assert_allclose(points(figure.axes[0])[0], [np.sqrt(10), np.sqrt(1000)])


def test_points_beyond_the_ratio_panel_become_arrows():
    full = Estimates(np.array([1.0, 1.0, 1.0]), np.full(3, 0.1), 10)
    fast = Estimates(np.array([5.0, 1.0, 1.1]), np.full(3, 0.1), 10)
    figure = profile(full, fast, np.arange(3.0), x_label="x", x_unit="mm", label="y", unit="1")
    lower = figure.axes[1]
    arrows = {line.get_marker(): line.get_data() for line in lower.lines if line.get_marker() in "^v"}
    np.testing.assert_allclose(arrows["^"], [[0.0], [lower.get_ylim()[1]]])
    assert "v" not in arrows


@pytest.mark.parametrize("x", [np.arange(1.0, 5.0), np.arange(0.5, 5.0)], ids=["positions", "edges"])
def test_profile_takes_positions_or_edges(x):
    full = Estimates(np.array([4.0, 3.0, 2.0, 1.0]), np.full(4, 0.2), 100)
    fast = Estimates(np.array([4.0, 3.3, 2.0, 0.5]), np.full(4, 0.1), 90)
    figure = profile(
        full, fast, x, x_label="Distance", x_unit="mm", label="Energy share", unit="1", log_y=True
    )
    upper, lower = figure.axes
    drawn_x, drawn_y, bars = points(upper)
    np.testing.assert_allclose(drawn_x, [1, 2, 3, 4])
    np.testing.assert_allclose(drawn_y, fast.value)
    np.testing.assert_allclose(bars, fast.error)
    np.testing.assert_allclose(points(lower)[1], [1, 1.1, 1, 0.5])
    assert (upper.get_yscale(), upper.get_ylabel(), lower.get_xlabel()) == (
        "log",
        "Energy share",
        "Distance [mm]",
    )


def test_response_per_energy_range_against_scipy():
    energy = RNG.uniform(1, 100, 4000)
    ratio = RNG.normal(0.2, 0.02, 4000)
    ratio[::17] = np.nan
    edges = (5, 20, 80)
    found = mean_in_ranges(energy, ratio, edges)
    inside = [ratio[(energy >= a) & (energy < b)] for a, b in ((5, 20), (20, 80))]
    np.testing.assert_allclose(found.value, [np.nanmean(values) for values in inside])
    np.testing.assert_allclose(found.error, [stats.sem(values, nan_policy="omit") for values in inside])
    assert found.n == sum(np.isfinite(values).sum() for values in inside)


def test_relative_spread_and_its_error_for_gaussian_and_uniform_samples():
    """The error of a standard deviation s is s / sqrt(2 n) (Gaussian) or s / sqrt(5 n) (uniform)."""
    n = 200_000
    energy = np.repeat([1.5, 2.5], n)
    ratio = np.concatenate([RNG.normal(0.2, 0.01, n), RNG.uniform(0.1, 0.3, n)])
    found = relative_spread(energy, ratio, (1, 2, 3))
    spreads = np.array([0.05, 1 / np.sqrt(12)])
    np.testing.assert_allclose(found.value, spreads, rtol=0.01)
    np.testing.assert_allclose(found.error, spreads / np.sqrt([2 * n, 5 * n]), rtol=0.03)


def test_energy_ranges_with_too_few_showers_are_left_out():
    energy, ratio = np.array([1.5, 1.6, 1.7, 2.5]), np.array([0.1, 0.2, 0.3, 0.2])
    assert np.isnan(mean_in_ranges(energy, ratio, (1, 2, 3)).value).tolist() == [False, True]
    assert np.isnan(relative_spread(energy, ratio, (1, 2, 3)).value).all()
    for figure in (response, resolution):
        assert (
            figure((energy, ratio), (energy, ratio), (1, 2, 3)).axes[1].get_xlabel()
            == "Incident energy [GeV]"
        )


def cell_values(axes):
    """(x, y) of each cell's lower corner [mm] to the value drawn there, as an array indexed [ix, iy]."""
    mesh = axes.collections[0]
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], [-30, -20, -10, 0, 10, 20, 30])
    np.testing.assert_allclose(corners[:, 0, 1], [-40, -20, 0, 20, 40])
    return np.ma.filled(mesh.get_array().reshape(4, 6).T.astype(float), np.nan)


def test_average_image_puts_cells_where_they_are():
    full = np.arange(24.0)
    fast = np.where(np.arange(24) == 5, 0, 2 * full)
    figure = average_image(full, fast, LAYER)
    np.testing.assert_array_equal(cell_values(figure.axes[0]), full.reshape(6, 4))
    np.testing.assert_array_equal(cell_values(figure.axes[1]), fast.reshape(6, 4))
    ratio = cell_values(figure.axes[2])
    empty = np.isin(np.arange(24), [0, 5]).reshape(6, 4)
    assert np.isnan(ratio[empty]).all()
    np.testing.assert_array_equal(ratio[~empty], 2)
    norms = [axes.collections[0].norm for axes in figure.axes[:2]]
    assert norms[0] is norms[1]
    assert (norms[0].vmin, norms[0].vmax) == (1, 46)


def test_average_image_of_pairs_names_the_fast_simulation_and_its_axes():
    layer = EtaPhiLayer(kind="eta_phi", eta_edges=(-3, -1, 3), n_phi=4)
    figure = average_image(np.arange(8.0), np.arange(8.0), layer, other="Fast simulation")
    left, middle, right, *bars = figure.axes
    assert [axes.get_title() for axes in (left, middle, right)] == [
        "Full simulation",
        "Fast simulation",
        "Ratio",
    ]
    assert (left.get_xlabel(), left.get_ylabel()) == ("η", "φ [rad]")
    assert "Fast simulation / full simulation" in [axes.get_ylabel() for axes in bars]


def drawn_at(axes, x, y):
    """Value of the cell of a map that holds the point, by its corners."""
    mesh = axes.collections[0]
    corners = mesh.get_coordinates()
    values = np.asarray(mesh.get_array()).reshape(corners.shape[0] - 1, corners.shape[1] - 1)
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            quad = corners[row : row + 2, column : column + 2].reshape(4, 2)[[0, 1, 3, 2]]
            if Path(quad).contains_point((x, y)):
                return values[row, column]
    return None


def map_of(layer):
    """A map on which cell (i, j) has the value 10 i + j."""
    n, m = layer.shape
    cells = (10 * np.arange(n)[:, None] + np.arange(m)).ravel().astype(float)
    geometry = Geometry(name="ECAL", layers=[layer])
    return maps(stack(geometry, cells), Normalize(0, 100), "Energy [MeV]").axes[0]


def test_cells_of_a_cartesian_layer_are_where_they_are():
    axes = map_of(LAYER)
    assert (drawn_at(axes, -25, -30), drawn_at(axes, 25, 30), drawn_at(axes, 25, -30)) == (0, 53, 50)
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_aspect()) == ("x [mm]", "y [mm]", 1)


def test_cells_of_an_eta_phi_layer_are_where_they_are():
    axes = map_of(EtaPhiLayer(kind="eta_phi", eta_edges=(-3, -1, 0, 3), n_phi=4))
    assert (drawn_at(axes, -2.9, -3), drawn_at(axes, -0.9, 0.1), drawn_at(axes, 2.9, 3.1)) == (0, 12, 23)
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_aspect()) == ("η", "φ [rad]", "auto")


@pytest.mark.parametrize("n_alpha", [1, 4, 16])
@pytest.mark.parametrize("inner_mm", [0, 2])
def test_cells_of_a_cylindrical_layer_are_wedges(n_alpha, inner_mm):
    """Ring j is drawn from j to j + 1, one further out around a hole; alpha counts from -pi."""
    axes = map_of(CylindricalLayer(kind="cylindrical", n_alpha=n_alpha, r_edges_mm=(inner_mm, 5, 20, 100)))
    for i in range(n_alpha):
        alpha = -np.pi + 2 * np.pi * (i + 0.37) / n_alpha
        for j in range(3):
            r = j + 0.5 + (inner_mm > 0)
            assert drawn_at(axes, r * np.cos(alpha), r * np.sin(alpha)) == 10 * i + j
    if inner_mm:
        assert drawn_at(axes, 0.1, 0.1) is None
    ticks = dict(zip(axes.get_xticks(), [label.get_text() for label in axes.get_xticklabels()], strict=True))
    outermost = 3 + (inner_mm > 0)
    assert (ticks[outermost], ticks[-outermost], ticks[outermost - 1]) == ("100", "100", "20")
    assert (axes.get_xlabel(), axes.get_aspect()) == ("r [mm]", 1)


def test_layers_stand_side_by_side_on_one_colour_scale():
    layers = [
        {"shape": [2, 3], "cell_size_mm": [30, 20], "label": "front"},
        {"shape": [1, 2], "cell_size_mm": [60, 30]},
    ]
    norm = Normalize(0, 8)
    figure = maps(stack(Geometry(name="ECAL", layers=layers), np.arange(8.0)), norm, "Energy [MeV]")
    front, back, bar = figure.axes
    assert (front.get_title(), back.get_title(), bar.get_ylabel()) == (
        "Layer 0 (front)",
        "Layer 1",
        "Energy [MeV]",
    )
    assert (drawn_at(front, -10, -25), drawn_at(front, 10, 25), drawn_at(back, 10, 25)) == (0, 5, 7)
    assert {axes.collections[0].norm for axes in (front, back)} == {norm}


def test_layers_with_other_radii_have_ticks_of_their_own():
    layers = [{"kind": "cylindrical", "n_alpha": 4, "r_edges_mm": [0, 5, end]} for end in (10, 600)]
    figure = maps(
        stack(Geometry(name="Rings", layers=layers), np.arange(16.0)), Normalize(0, 16), "Energy [MeV]"
    )
    assert [axes.get_xticklabels()[0].get_text() for axes in figure.axes[:2]] == ["10", "600"]


@pytest.mark.parametrize(
    ("n", "shown"), [(1, [""]), (25, range(25)), (26, range(0, 26, 2)), (45, range(0, 45, 2))]
)
def test_of_deep_stacks_every_second_layer_is_drawn(n, shown):
    layer = {"shape": [2, 2], "cell_size_mm": [5, 5], "repeat": n}
    panels = stack(Geometry(name="ECAL", layers=[layer]), np.repeat(np.arange(n), 4))
    assert [panel.title for panel in panels] == [f"Layer {i}" if n > 1 else "" for i in shown]
    assert [panel.cells.tolist() for panel in panels] == [[i or 0] * 4 for i in shown]
    figure = maps(panels, Normalize(0, n), "Energy [MeV]")
    assert len(figure.axes) == len(panels) + 1


@pytest.mark.parametrize(
    ("energies", "ends"), [([0, 0], (0.1, 1)), ([5, 0], (0.5, 5)), ([1e-9, 3, 1e4], (3, 1e4))]
)
def test_energy_scales_take_any_image(energies, ends):
    norm = energy_norm(np.array(energies, float))
    assert (norm.vmin, norm.vmax) == pytest.approx(ends)


def test_matched_showers_stand_below_each_other():
    full, fast = RNG.exponential(10, (3, 24)), RNG.exponential(10, (3, 24))
    figure = matched_showers(full, fast, np.array([1.234, 20, 99.9]), np.array([0, 12.3, 45]), LAYER)
    panels = figure.axes[:6]
    for column in range(3):
        np.testing.assert_array_equal(cell_values(panels[column]), full[column].reshape(6, 4))
        np.testing.assert_array_equal(cell_values(panels[3 + column]), fast[column].reshape(6, 4))
    assert [axes.get_title() for axes in panels[:3]] == ["1.23 GeV, 0°", "20 GeV, 12°", "99.9 GeV, 45°"]
    assert len({id(axes.collections[0].norm) for axes in panels}) == 1


def test_losses_have_a_panel_each_and_skip_epochs_without_them():
    epoch = np.arange(1.0, 6)
    figure = losses(
        epoch,
        {
            "critic": np.array([-1.0, -2, -1, -2, -1]),
            "gradient_penalty": np.array([1e3, np.nan, 10, 5, 1]),
            "unused": np.full(5, np.nan),
        },
    )
    critic, penalty, unused = figure.axes
    assert (critic.get_ylabel(), critic.get_yscale()) == ("Critic", "linear")
    assert (penalty.get_ylabel(), penalty.get_yscale()) == ("Gradient\npenalty", "log")
    np.testing.assert_array_equal(penalty.lines[0].get_xdata(), [1, 3, 4, 5])
    assert unused.lines[0].get_xdata().size == 0


def test_validation_marks_the_best_epoch():
    axes = validation(np.array([2.0, 4, 6]), np.array([0.5, 0.2, 0.3])).axes[0]
    assert axes.lines[1].get_label() == "Best: epoch 4"
    np.testing.assert_array_equal(axes.lines[1].get_data(), [[4], [0.2]])


def test_axis_label_leaves_out_the_unit_of_pure_numbers():
    assert (axis_label("Width", "mm"), axis_label("Asymmetry", "1")) == ("Width [mm]", "Asymmetry")


def draw(path, label="", **settings):
    with figure_style(FigureSettings(**settings)):
        save_figure(average_image(np.arange(24.0), np.arange(24.0), LAYER), path, label)
    return path.read_text()


@pytest.mark.parametrize("style", [None, "ATLAS", "CMS", "LHCb2", "ALICE"])
def test_every_style_draws_small_reproducible_files(style, tmp_path):
    first, second = (draw(tmp_path / f"{name}.svg", "A note", style=style) for name in "ab")
    assert first == second
    assert "<dc:date>" not in first
    assert len(first) < 300_000


def test_the_label_is_drawn_as_it_is(tmp_path):
    plain, labelled = draw(tmp_path / "a.svg"), draw(tmp_path / "b.svg", "5 $ of <b>\\frac demo</b>")
    assert "5 $ of &lt;b&gt;\\frac demo&lt;/b&gt;" in labelled
    assert "demo" not in plain


def test_heat_maps_are_pixels_as_many_as_dpi_says(tmp_path):
    widths = []
    for dpi in (100, 200):
        images = re.findall(r'base64,([^"]+)"', draw(tmp_path / f"{dpi}.svg", dpi=dpi))
        (tmp_path / "map.png").write_bytes(base64.b64decode(images[0]))
        widths.append(imread(tmp_path / "map.png").shape[1])
    assert widths[1] == pytest.approx(2 * widths[0], abs=2)


def test_drawing_leaves_no_figure_open_and_no_setting_changed(tmp_path):
    before = dict(matplotlib.rcParams)
    draw(tmp_path / "a.svg", style="CMS")
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []
