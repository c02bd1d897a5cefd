"""Models of a data set beside each other: means, spreads and verdicts worked out by hand."""

import json
import re
from itertools import combinations
from math import sqrt

import numpy as np
import pytest
from matplotlib.text import Text
from pydantic import TypeAdapter, ValidationError

from caloforge.comparison import Entrant, compare_models
from caloforge.comparison.results import read_contenders
from caloforge.comparison.scores import over_seeds, scores_of
from caloforge.config.project import ModelName
from caloforge.config.stages import FigureSettings
from caloforge.errors import CaloforgeError
from caloforge.figures.model_comparison import (
    Points,
    fidelity_against_speed,
    label_points,
    observables,
    scores,
    set_scale,
)
from caloforge.figures.style import figure_style, new_figure

FLOOR = (0.02, 0.01)


def number(value, error=None):
    return {"value": value, "error": error}


def write_result(directory, ks, *, separation=None, samples=None, ms=1.0, label="", events=100):
    """metrics.json and sample.json with a KS distance, value and error, for each observable.

    Parameters
    ----------
    ks, separation
        Name of an observable to value and error; separation powers are the same as the KS distances if None.
    samples
        Name of a number of whole samples to value, error, floor and error of the floor.
    """
    of_separation = separation or ks
    directory.mkdir(parents=True)
    metrics = {
        "label": label,
        "events": {"generated": events, "reference": events, "independent": events},
        "observables": {
            name: {
                "label": name.capitalize(),
                "unit": "mm",
                "generated": {"ks": number(*ks[name]), "separation": number(*of_separation[name])},
                "floor": {"ks": number(*FLOOR), "separation": number(*FLOOR)},
            }
            for name in ks
        },
        "samples": {
            name: {"label": name, "unit": "1", "generated": number(*values[:2]), "floor": number(*values[2:])}
            for name, values in (samples or {}).items()
        },
        "tables": [],
    }
    (directory / "metrics.json").write_text(json.dumps(metrics))
    (directory / "sample.json").write_text(
        json.dumps({"ms_per_shower": ms, "device": "cpu", "threads": 1, "batch_size": 64})
    )
    return directory


@pytest.fixture
def compare(tmp_path):
    """Compare what was tested; comparison.json and the folder of its figures."""

    def compare(tested, geant4_s=0.2):
        ingest = tmp_path / "ingest.json"
        ingest.write_text(json.dumps({"geant4_cpu_s_per_event": geant4_s}))
        compare_models(
            FigureSettings(),
            tested,
            ingest=ingest,
            comparison=tmp_path / "comparison.json",
            figure_directory=tmp_path / "figures",
            record=tmp_path / "compare.json",
        )
        return json.loads((tmp_path / "comparison.json").read_text()), tmp_path / "figures"

    return compare


def table(comparison, title):
    """Rows of a table by label, each a dictionary of its cells by column."""
    found = next(each for each in comparison["tables"] if each["title"] == title)
    return {row["label"]: dict(zip(found["columns"], row["cells"], strict=True)) for row in found["rows"]}


def row_of(rows, contender, name):
    return next(row for row in rows if (row["contender"], row["number"]) == (contender, name))


def test_seeds_have_a_mean_a_spread_and_a_mean_error():
    summary = over_seeds([number(0.1, 0.01), number(0.3, 0.02), number(0.2, 0.06)])
    assert summary.value == pytest.approx(0.2)
    assert summary.spread == pytest.approx(0.1)
    assert summary.error == pytest.approx(0.03)
    assert summary.values == [0.1, 0.3, 0.2]
    assert summary.estimate == {"value": summary.value, "error": summary.spread}
    assert summary.combined_error == pytest.approx(sqrt(0.1**2 + 0.03**2))


def test_one_seed_has_its_statistical_error():
    summary = over_seeds([number(0.1, 0.01)])
    assert summary.spread is None
    assert summary.estimate == number(0.1, 0.01)
    assert summary.combined_error == 0.01


def test_seeds_without_a_number_are_left_out():
    summary = over_seeds([number(None), number(0.4, 0.1), number(0.2, 0.3)])
    assert (summary.value, summary.error) == (pytest.approx(0.3), pytest.approx(0.2))
    assert summary.spread == pytest.approx(sqrt(0.02))
    assert summary.values == [None, 0.4, 0.2]
    assert over_seeds([number(None), number(None)])[:3] == (None, None, None)
    assert over_seeds([number(0.4), number(0.2, 0.3)]).error is None


def test_scores_of_models_baselines_and_floor(tmp_path, compare):
    ks = {"width": (0.1, 0.01), "depth": (0.3, 0.03)}
    first = write_result(tmp_path / "a1", ks, samples={"fpd": (4.0, 0.5, 0.1, 0.2)}, ms=2.0)
    second = write_result(
        tmp_path / "a2",
        {"width": (0.2, 0.01), "depth": (0.6, 0.05)},
        samples={"fpd": (6.0, 0.7, 0.1, 0.2)},
        ms=4.0,
    )
    library = write_result(tmp_path / "l", {"width": (0.05, 0.01), "depth": (0.07, 0.01)})
    comparison, _ = compare([Entrant("a", first, 1), Entrant("a", second, 2), Entrant("library", library)])

    rows = table(comparison, "Scores of all models")
    assert list(next(iter(rows.values()))) == ["Mean KS distance", "Mean separation power", "FPD"]
    spread = rows["a: mean of 2 seeds ± their standard deviation"]
    statistical = rows["a: the same ± mean statistical error"]
    # Means over the observables: 0.2 ± 0.02 and 0.4 ± 0.03.
    assert spread["Mean KS distance"] == pytest.approx(number(0.3, sqrt(0.02)))
    assert statistical["Mean KS distance"] == pytest.approx(number(0.3, 0.025))
    assert spread["FPD"] == pytest.approx(number(5.0, sqrt(2)))
    assert statistical["FPD"] == pytest.approx(number(5.0, 0.6))
    of_library = rows["library: baseline ± statistical error"]
    assert of_library["Mean KS distance"] == pytest.approx(number(0.06, 0.01))
    assert of_library["FPD"] == number(None)
    floor = rows["reference: independent full simulation (floor)"]
    assert floor["Mean KS distance"] == pytest.approx(number(*FLOOR))
    assert floor["FPD"] == number(0.1, 0.2)

    row = row_of(comparison["scores"], "a", "mean_ks")
    assert (row["value"], row["spread"], row["error"]) == pytest.approx((0.3, sqrt(0.02), 0.025))
    assert row["values"] == pytest.approx([0.2, 0.4])
    assert row["floor"] == pytest.approx(number(*FLOOR))
    assert row_of(comparison["scores"], "library", "fpd")["value"] is None
    assert row_of(comparison["ks_distances"], "a", "depth")["value"] == pytest.approx(0.45)
    model, baseline = comparison["contenders"]
    assert (model["seeds"], model["ms_per_shower"], model["is_baseline"]) == ([1, 2], 3.0, False)
    assert (baseline["name"], baseline["seeds"], baseline["is_baseline"]) == ("library", [], True)


def test_means_are_over_observables_that_all_have(tmp_path):
    """An undefined observable must not make the mean of the model that lacks it better."""
    a = write_result(tmp_path / "a", {"width": (0.1, 0.01), "depth": (0.9, 0.03)})
    b = write_result(tmp_path / "b", {"width": (0.2, 0.02), "depth": (None, None)})
    contenders = read_contenders([Entrant("a", a, 1), Entrant("b", b, 1)])
    means = scores_of(contenders)["mean_ks"].summaries
    assert [(summary.value, summary.error) for summary in means] == [(0.1, 0.01), (0.2, 0.02)]


def test_without_a_common_observable_there_is_no_mean(tmp_path, compare):
    a = write_result(tmp_path / "a", {"width": (0.1, 0.01), "depth": (None, None)})
    b = write_result(tmp_path / "b", {"width": (None, None), "depth": (0.2, 0.02)})
    comparison, figures = compare([Entrant("a", a, 1), Entrant("b", b, 1)])
    assert comparison["scores"] == []
    assert [entry["file"] for entry in json.loads((figures / "index.json").read_text())] == [
        "observables.svg"
    ]


def test_verdicts(tmp_path, compare):
    # Floor: 0.02 ± 0.01. Combined errors in quadrature, twice of them decides.
    a = {
        "near": (0.045, 0.0075),  # 0.025 above the floor, combined error 0.0125: twice that, not more
        "far": (0.0451, 0.0075),  # a little more
        "below": (0.001, 0.001),  # better than independent full simulation
        "tie": (0.2, 0.03),
        "clear": (0.5, 0.03),
        "unknown": (None, None),
        "errorless": (0.3, None),
    }
    b = {
        "near": (0.9, 0.01),
        "far": (0.9, 0.01),
        "below": (0.9, 0.01),
        "tie": (0.2, 0.04),
        "clear": (0.399, 0.04),  # 0.101 below, combined error 0.05
        "unknown": (0.4, 0.01),
        "errorless": (0.4, 0.01),
    }
    library = dict.fromkeys(a, (0.5, 0.03)) | {"clear": (0.49, 0.03)}
    comparison, _ = compare(
        [
            Entrant("a", write_result(tmp_path / "a", a), 1),
            Entrant("library", write_result(tmp_path / "library", library)),
            Entrant("b", write_result(tmp_path / "b", b), 1),
        ]
    )
    rows = table(comparison, "Which model is best")
    columns = ["best model: name", "floor: reached", "runner-up: name", "runner-up: is worse"]
    columns += ["best baseline: name", "best baseline: is worse"]
    assert {name: [row[column] for column in columns] for name, row in rows.items()} == {
        "Near [mm]": ["a", "yes", "b", "yes", "library", "yes"],
        "Far [mm]": ["a", "no", "b", "yes", "library", "yes"],
        "Below [mm]": ["a", "yes", "b", "yes", "library", "yes"],
        "Tie [mm]": ["a", "no", "b", "no", "library", "yes"],
        "Clear [mm]": ["b", "no", "a", "yes", "library", "no"],
        "Unknown [mm]": ["b", "no", None, None, "library", "yes"],
        "Errorless [mm]": ["a", None, "b", None, "library", None],
    }
    assert rows["Clear [mm]"]["best model: KS distance"] == number(0.399, 0.04)
    assert rows["Clear [mm]"]["runner-up: KS distance"] == number(0.5, 0.03)
    assert rows["Clear [mm]"]["best baseline: KS distance"] == number(0.49, 0.03)
    assert rows["Clear [mm]"]["floor: KS distance"] == number(*FLOOR)
    assert rows["Unknown [mm]"]["runner-up: KS distance"] == number(None)


def test_verdicts_count_the_spread_over_seeds(tmp_path, compare):
    """0.1 ± 0.0424 (seeds) ± 0.01 beats 0.19 ± 0.01 by 2.02 combined errors, 0.17 ± 0.01 by 1.6."""
    seeds = [
        Entrant("a", write_result(tmp_path / f"a{seed}", {"width": (ks, 0.01), "depth": (ks, 0.01)}), seed)
        for seed, ks in ((1, 0.07), (2, 0.13))
    ]
    other = write_result(tmp_path / "b", {"width": (0.19, 0.01), "depth": (0.17, 0.01)})
    comparison, _ = compare([*seeds, Entrant("b", other, 1)])
    rows = table(comparison, "Which model is best")
    assert rows["Width [mm]"]["best model: KS distance"] == pytest.approx(number(0.1, sqrt(0.0018)))
    assert rows["Width [mm]"]["runner-up: is worse"] == "yes"
    assert rows["Depth [mm]"]["runner-up: is worse"] == "no"


def test_one_model_alone(tmp_path, compare):
    a = write_result(tmp_path / "a", {"width": (0.1, 0.01)})
    comparison, figures = compare([Entrant("a", a, 7)], geant4_s=None)
    columns = ["best model: name", "best model: KS distance", "floor: KS distance", "floor: reached"]
    assert list(table(comparison, "Which model is best")["Width [mm]"]) == columns
    assert "a: 1 seed ± statistical error" in table(comparison, "Scores of all models")
    assert {path.name for path in figures.glob("*.svg")} == {"scores.svg", "observables.svg", "speed.svg"}


def test_models_of_other_data_sets_and_baselines_of_the_same_name_are_apart(tmp_path):
    ks = {"width": (0.1, 0.01)}
    tested = [
        Entrant("a", write_result(tmp_path / "own", ks), 1),
        Entrant("a", write_result(tmp_path / "other", ks), 1, "dijet"),
        Entrant("a", write_result(tmp_path / "baseline", ks)),
    ]
    contenders = read_contenders(tested)
    assert [(each.name, each.is_baseline) for each in contenders] == [
        ("a", False),
        ("a from dijet", False),
        ("a", True),
    ]


def test_many_observables_are_in_the_table_alone(tmp_path, compare):
    a = write_result(tmp_path / "a", {f"fraction{number}": (0.1, 0.01) for number in range(41)})
    comparison, figures = compare([Entrant("a", a, 1)])
    assert len(table(comparison, "Which model is best")) == 41
    assert not (figures / "observables.svg").exists()


def test_labels_of_runs_and_hardware_are_told(tmp_path, compare):
    a = write_result(tmp_path / "a", {"width": (0.1, 0.01)}, label="short training")
    _, figures = compare([Entrant("a", a, 1)])
    entries = {entry["file"]: entry for entry in json.loads((figures / "index.json").read_text())}
    assert "cpu, 1 thread, batches of 64" in entries["speed.svg"]["caption"]
    assert {entry["section"] for entry in entries.values()} == {"Comparison"}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics.json", "{", "not what its stage writes"),
        ("metrics.json", "[]", "not what its stage writes"),
        ("metrics.json", '{"observables": {}}', "'label'"),
        ("sample.json", '{"device": "cpu"}', "'threads'"),
    ],
)
def test_damaged_files_are_named(tmp_path, compare, file, content, message):
    directory = write_result(tmp_path / "a", {"width": (0.1, 0.01)})
    (directory / file).write_text(content)
    with pytest.raises(CaloforgeError, match=f"{re.escape(str(directory / file))}: .*{message}"):
        compare([Entrant("a", directory, 1)])
    assert not (tmp_path / "comparison.json").exists()
    assert not (tmp_path / "figures").exists()


def test_missing_files_are_named(tmp_path, compare):
    with pytest.raises(CaloforgeError, match=r"nowhere/metrics\.json: no such file"):
        compare([Entrant("a", tmp_path / "nowhere", 1)])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"events": 99}, "test events 99, expected 100"),
        ({"ks": {"depth": (0.1, 0.01)}}, r"observables \['depth'\], expected \['width'\]"),
    ],
)
def test_results_of_other_test_showers_are_refused(tmp_path, compare, changed, message):
    common = {"ks": {"width": (0.1, 0.01)}}
    tested = [
        Entrant("a", write_result(tmp_path / "a", **common), 1),
        Entrant("b", write_result(tmp_path / "b", **(common | changed)), 1),
    ]
    with pytest.raises(CaloforgeError, match=message):
        compare(tested)


def test_no_model_takes_the_folder_of_the_comparison():
    with pytest.raises(ValidationError, match="found 'comparison', expected another name"):
        TypeAdapter(ModelName).validate_python("comparison")


NAMES, IS_BASELINE = ["first", "second", "library"], [False, False, True]


def points(values, errors=None, *, floor=0.1, floor_error=0.05, seeds=None, label="Score"):
    values = np.array(values, float)
    errors = np.full(len(values), 0.02) if errors is None else np.array(errors, float)
    seeds = [np.array(each) for each in seeds or [[value] for value in values]]
    return Points(label, "low", values, errors, seeds, floor, floor_error)


@pytest.fixture(autouse=True)
def plain_style():
    with figure_style(FigureSettings()):
        yield


def drawn(container):
    """Places and half lengths of the error bars of points."""
    x, y = container.lines[0].get_data()
    (bars,) = container.lines[2]
    ends = np.array([np.ptp(segment, axis=0).max() / 2 for segment in bars.get_segments()])
    return np.column_stack([x, y]), ends


def test_scores_have_a_row_for_each_model():
    shown = points([0.2, 0.4, np.nan], [0.02, 0.03, np.nan], seeds=[[0.1, 0.3], [0.4], [np.nan]])
    figure = scores(NAMES, IS_BASELINE, [shown, points([0.2, 0.3, 0.5]), shown, points([0.5, 0.4, 0.3])])
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == 4
    models, baselines = panels[0].containers
    places, bars = drawn(models)
    np.testing.assert_allclose(places, [(0.2, 0), (0.4, 1)])
    np.testing.assert_allclose(bars, [0.02, 0.03])
    assert models.get_label() == "Model"
    assert baselines.get_label() == "Baseline"
    np.testing.assert_allclose(drawn(panels[1].containers[1])[0], [(0.5, 2)])
    lines = {line.get_label(): line.get_xdata() for line in panels[0].lines}
    np.testing.assert_allclose(lines["Floor: independent full simulation"], 0.1)
    np.testing.assert_allclose(lines["Single seeds"], [0.1, 0.3])
    (band,) = panels[0].patches
    np.testing.assert_allclose((band.get_x(), band.get_width()), (0.05, 0.1))
    assert [tick.get_text() for tick in panels[0].get_yticklabels()] == NAMES
    assert panels[0].get_ylim()[0] > panels[0].get_ylim()[1]


def test_observables_have_a_row_with_all_models():
    rows = [points([0.2, 0.4, 0.3], label="Width"), points([0.5, 0.6, np.nan], floor=0.2, label="Depth")]
    axes = observables(NAMES, IS_BASELINE, rows, label="Distance").axes[0]
    of_models = {container.get_label(): container for container in axes.containers if len(container) == 3}
    places, bars = drawn(of_models["first"])
    np.testing.assert_allclose(places[:, 0], [0.2, 0.5])
    np.testing.assert_allclose(np.round(places[:, 1]), [0, 1])
    np.testing.assert_allclose(bars, 0.02)
    assert of_models["library"].lines[0].get_fillstyle() == "none"
    np.testing.assert_allclose(
        [(bar.get_x(), bar.get_width()) for bar in axes.patches], [(0.05, 0.1), (0.15, 0.1)]
    )
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["Width", "Depth"]
    assert len({of_models[name].lines[0].get_ydata()[0] for name in NAMES}) == 3


def test_speed_shows_time_score_floor_and_geant4():
    ms = np.array([1.0, 20.0, 0.3])
    axes = fidelity_against_speed(NAMES, IS_BASELINE, ms, points([0.6, 0.9, 0.7], floor=0.5), 250.0).axes[0]
    np.testing.assert_allclose(drawn(axes.containers[0])[0], [(1.0, 0.6), (20.0, 0.9)])
    np.testing.assert_allclose(drawn(axes.containers[1])[0], [(0.3, 0.7)])
    assert axes.get_xscale() == "log"
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(lines["Geant4 (CPU time)"].get_xdata(), 250)
    np.testing.assert_allclose(lines["Floor: independent full simulation"].get_ydata(), 0.5)
    assert [text.get_text() for text in axes.texts] == NAMES
    assert [text.xy for text in axes.texts] == [(1.0, 0.6), (20.0, 0.9), (0.3, 0.7)]


def test_labels_do_not_overlap():
    """Eight models in a crowd, two of them at the same place."""
    figure = new_figure(5, 4)
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    x = np.array([5, 5, 5.2, 5.4, 5.1, 4.9, 5.3, 9.8])
    y = np.array([5, 5, 5.1, 5.3, 4.9, 5.2, 4.7, 9.8])
    label_points(axes, [f"a_long_model_name_{number}" for number in range(8)], x, y, np.zeros(8))
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    marks = axes.transData.transform(np.column_stack([x, y]))
    assert not any(box.contains(*mark) for box in boxes for mark in marks)
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)


@pytest.mark.parametrize(
    ("values", "floor", "floor_error", "scale"),
    [
        ([0.2, 0.5], 0.1, 0.05, "linear"),
        ([2.0, 50.0], 0.1, 0.05, "log"),
        ([2.0, 50.0], 0.01, 0.05, "symlog"),
        ([2.0, 50.0], -0.01, 0.05, "symlog"),
        ([0.5, 0.95], 0.5, 0.001, "linear"),
        ([0.0, 0.02], 0.01, 0.004, "linear"),
        ([-1.0, 5.0], np.nan, np.nan, "linear"),
        ([0.1, 50.0], np.nan, np.nan, "log"),
    ],
)
def test_axes_are_logarithmic_where_values_span_decades(values, floor, floor_error, scale):
    axes = new_figure(3, 3).subplots()
    set_scale(axes, "x", [points(values, floor=floor, floor_error=floor_error)])
    assert axes.get_xscale() == scale
    assert axes.get_yscale() == "linear"
