"""The numbers of figures in YAML files: what was drawn comes back."""

import json

import numpy as np
import pytest
import yaml
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from caloforge.config.stages import FigureSettings
from caloforge.figures.album import Drawn, save_album
from caloforge.figures.comparison import Estimates, distribution, profile
from caloforge.figures.data import save_data
from caloforge.figures.layers import draw_layer
from caloforge.figures.style import figure_style
from caloforge.geometry import Geometry


@pytest.fixture
def saved(tmp_path):
    """Save the numbers of a figure and read them with a YAML parser."""

    def save(figure):
        figure.canvas.draw()
        save_data(figure, tmp_path / "a.yaml", "Title", "Caption: of it")
        return list(yaml.safe_load_all((tmp_path / "a.yaml").read_text(encoding="utf-8")))

    return save


@pytest.fixture
def axes():
    axes = Figure().subplots()
    axes.set(xlabel="Energy [GeV]", ylabel="Width\n[mm]")
    return axes


def values(variable):
    return [entry["value"] for entry in variable["values"]]


def bins(variable):
    return [(entry["low"], entry["high"]) for entry in variable["values"]]


def errors(variable):
    return [entry.get("errors") for entry in variable["values"]]


def symmetric(*sizes):
    return [[{"symerror": size}] for size in sizes]


def test_lines_at_the_same_positions_share_a_table(saved, axes):
    axes.plot([1, 2, 4], [1e-5, np.nan, 1 / 3], label="a")
    axes.plot([1, 2, 4], [4, 5, 6], label="b")
    axes.plot([7], [8], "o", label="c")
    first, second = saved(axes.figure)
    assert first["name"] == "Title (1 of 2)"
    assert first["description"] == "Caption: of it"
    (energy,) = first["independent_variables"]
    assert energy["header"] == {"name": "Energy", "units": "GeV"}
    assert values(energy) == [1, 2, 4]
    a, b = first["dependent_variables"]
    assert a["header"] == {"name": "Width", "units": "mm"}
    assert a["qualifiers"] == [{"name": "series", "value": "a"}]
    assert (values(a), values(b)) == ([1e-5, "-", 0.3333333], [4, 5, 6])
    assert [variable["qualifiers"][0]["value"] for variable in second["dependent_variables"]] == ["c"]


def test_error_bars_are_those_drawn(saved, axes):
    axes.errorbar([1, 2], [3.0, 4.0], yerr=[[0.5, 1], [0.5, 2]], fmt="o")
    axes.errorbar([5, 6], [7.0, np.nan], yerr=[0.25, 0.5], fmt="none")
    first, second = saved(axes.figure)
    (variable,) = first["dependent_variables"]
    assert values(variable) == [3, 4]
    assert errors(variable) == [[{"symerror": 0.5}], [{"asymerror": {"plus": 2, "minus": -1}}]]
    (variable,) = second["dependent_variables"]
    assert values(variable) == [7, "-"]
    assert errors(variable) == [[{"symerror": 0.25}], None]


def test_histograms_have_bins_and_are_not_listed_again_when_filled(saved, axes):
    axes.stairs([1, 2], [0, 1, 3], fill=True, alpha=0.2, color="red")
    axes.stairs([1, 2], [0, 1, 3], color="red", label="counts")
    (table,) = saved(axes.figure)
    assert bins(table["independent_variables"][0]) == [(0, 1), (1, 3)]
    (variable,) = table["dependent_variables"]
    assert values(variable) == [1, 2]


def test_a_band_is_the_error_of_the_curve_of_its_colour_inside_it(saved, axes):
    axes.plot([1, 2, 3], [1, np.nan, 3], color="red", label="full")
    axes.fill_between([1, 2, 3], [0.5, np.nan, 2], [1.5, np.nan, 4], color="red", alpha=0.3)
    axes.fill_between([1, 2, 3], [8, 8, 8], [9, 9, 9], color="red", alpha=0.3)
    (table,) = saved(axes.figure)
    curve, lower, upper = table["dependent_variables"]
    assert errors(curve) == [[{"symerror": 0.5}], None, [{"symerror": 1}]]
    assert (values(lower), values(upper)) == ([8, 8, 8], [9, 9, 9])
    assert lower["qualifiers"] == [
        {"name": "series", "value": "full"},
        {"name": "end of the band", "value": "lower"},
    ]


def test_guides_are_left_out_and_labelled_lines_across_the_panel_are_not(saved, axes):
    axes.set_yscale("log")
    axes.set(xlim=(1, 3), ylim=(1, 100))
    axes.plot([1, 3], [1, 2], ":")
    axes.axvline(2, linestyle="-")
    axes.stairs([5], [1, 2], color="red")
    axes.axhline(10, label="Geant4", color="red")
    histogram, line = saved(axes.figure)
    assert histogram["dependent_variables"][0]["qualifiers"] == []
    assert values(line["independent_variables"][0]) == pytest.approx([1, 3])
    (variable,) = line["dependent_variables"]
    assert values(variable) == [10, 10]
    assert variable["qualifiers"] == [{"name": "series", "value": "Geant4"}]


def test_rows_with_names_are_the_positions_of_a_dot_plot(saved):
    axes = Figure().subplots()
    axes.set_yticks([0, 1], labels=["first", "second"])
    axes.set_xlabel("AUC")
    axes.errorbar([0.5, 0.75], [0.1, 0.9], xerr=[0.125, 0.25], fmt="o", label="models")
    axes.barh([0, 1], [0.5, 2])
    dots, bars = saved(axes.figure)
    assert values(dots["independent_variables"][0]) == ["first", "second"]
    (variable,) = dots["dependent_variables"]
    assert variable["header"] == {"name": "AUC"}
    assert values(variable) == [0.5, 0.75]
    assert errors(variable) == symmetric(0.125, 0.25)
    assert values(bars["independent_variables"][0]) == ["first", "second"]
    assert values(bars["dependent_variables"][0]) == [0.5, 2]


def test_maps_have_the_ends_of_their_cells_and_the_text_of_the_shared_colour_scale(saved):
    figure = Figure()
    left, right = figure.subplots(1, 2, sharey=True)
    norm = LogNorm(1, 10)
    image = np.array([[1.0, 2, 3], [4, 5, 6]])
    for axes, title in ((left, "one"), (right, "other")):
        drawn = axes.pcolormesh([0, 1, 2, 4], [10, 20, 40], image, norm=norm)
        axes.set(title=title, xlabel="x [mm]")
    left.set_ylabel("y [mm]")
    figure.colorbar(drawn, ax=[left, right], label="Energy [MeV]")
    tables = saved(figure)
    assert [table["description"] for table in tables] == ["one. Caption: of it", "other. Caption: of it"]
    for table in tables:
        x, y = table["independent_variables"]
        assert (x["header"]["name"], y["header"]["name"]) == ("x", "y")
        assert bins(x) == 2 * [(0, 1), (1, 2), (2, 4)]
        assert bins(y) == [*3 * [(10, 20)], *3 * [(20, 40)]]
        (energy,) = table["dependent_variables"]
        assert energy["header"] == {"name": "Energy", "units": "MeV"}
        assert values(energy) == [1, 2, 3, 4, 5, 6]


def test_cells_of_rings_have_their_middles(saved, axes):
    layer = Geometry(
        name="rings", layers=[{"kind": "cylindrical", "n_alpha": 90, "r_edges_mm": [0, 5, 9]}]
    ).layers[0]
    draw_layer(axes, np.arange(180.0), layer, LogNorm(1, 180))
    (table,) = saved(axes.figure)
    x, y = (np.array(values(variable)) for variable in table["independent_variables"])
    assert np.hypot(x, y)[:90] == pytest.approx(0.5, rel=1e-3)
    assert np.hypot(x, y)[90:] == pytest.approx(1.5, rel=1e-3)
    assert len(values(table["dependent_variables"][0])) == 180


def test_points_in_space_have_three_positions(saved):
    figure = Figure()
    axes = figure.add_subplot(projection="3d")
    axes.set(xlabel="Depth [mm]", ylabel="x [mm]", zlabel="y [mm]")
    drawn = axes.scatter([1, 2], [3, 4], [5, 6], c=[7.0, 8.0])
    figure.colorbar(drawn, label="Energy [MeV]")
    (table,) = saved(figure)
    assert [values(variable) for variable in table["independent_variables"]] == [[1, 2], [3, 4], [5, 6]]
    assert [v["header"]["name"] for v in table["independent_variables"]] == ["Depth", "x", "y"]
    assert values(table["dependent_variables"][0]) == [7, 8]


def test_ratio_panels_name_their_curves_by_colour(saved):
    """Fractions 3/4 and 1/4 against 1/2 and 1/2; Poisson errors; points beyond the panel are no curve."""
    with figure_style(FigureSettings()):
        edges = np.array([0.0, 1, 2])
        figure = distribution(
            np.array([0.5, 0.5, 0.5, 1.5]), np.array([0.5, 1.5]), edges, label="Width", unit="mm", log=False
        )
        full, fast, ratio, band = saved(figure)
    assert values(full["dependent_variables"][0]) == [0.75, 0.25]
    assert errors(full["dependent_variables"][0]) == symmetric(0.4330127, 0.25)
    assert values(fast["dependent_variables"][0]) == [0.5, 0.5]
    assert values(ratio["independent_variables"][0]) == [0.5, 1.5]
    assert ratio["dependent_variables"][0]["header"] == {"name": "Generated / full sim."}
    assert values(ratio["dependent_variables"][0]) == [0.6666667, 2]
    assert ratio["dependent_variables"][0]["qualifiers"][0]["value"] == "Generated (2 showers)"
    assert values(band["dependent_variables"][1]) == [1.57735, 2]


def test_profiles_come_back_with_both_samples(saved):
    with figure_style(FigureSettings()):
        full = Estimates(np.array([1.0, 2, 3]), np.array([0.1, 0.2, 0.3]), 10)
        fast = Estimates(np.array([1.5, np.nan, 3]), np.array([0.5, np.nan, 0.5]), 9)
        x = np.array([1.0, 2, 4])
        figure = profile(full, fast, x, x_label="r", x_unit="mm", label="Energy", unit="GeV", log_x=True)
        upper = saved(figure)[0]
    assert values(upper["independent_variables"][0]) == [1, 2, 4]
    first, second = upper["dependent_variables"]
    assert values(first) == [1, 2, 3]
    assert errors(first) == symmetric(0.1, 0.2, 0.3)
    assert values(second) == [1.5, "-", 3]


def test_albums_have_the_numbers_beside_each_figure(tmp_path, axes):
    axes.plot([1, 2], [3, 4])
    save_album([Drawn("a.svg", "Section", "Title", "Caption", axes.figure)], tmp_path / "figures", "")
    (entry,) = json.loads((tmp_path / "figures/index.json").read_text())
    assert (entry["file"], entry["data"]) == ("a.svg", "a.yaml")
    (table,) = yaml.safe_load_all((tmp_path / "figures/a.yaml").read_text())
    assert table["name"] == "Title"
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"a.svg", "a.yaml", "index.json"}
