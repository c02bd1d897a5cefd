"""The report page and its table: content, escaping, self-containment, missing files."""

import base64
import csv
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from caloforge.errors import CaloforgeError
from caloforge.geometry import Geometry
from caloforge.report import BaselineResult, RunResult, render
from caloforge.report.detector import describe
from caloforge.report.numbers import duration, measurement, p_value, significant
from finished_results import (
    EVIL,
    FIGURES,
    INGEST,
    OUTLINE,
    PAIRS,
    SAMPLE,
    SVG,
    TRAINING,
    samples,
    write_baseline,
    write_comparison,
    write_dataset,
    write_figures,
    write_run,
    write_search,
)


@pytest.fixture
def make_run(tmp_path):
    """Write the files of a finished run and name it."""

    def make(seed=1, label=EVIL, **changes):
        directory = tmp_path / f"seed{seed}"
        write_run(directory, label, **changes)
        return RunResult("ecal", "cwgan", seed, label, directory)

    return make


@pytest.fixture
def make_dataset(tmp_path):
    """Write the files of a data set and return their directory."""

    def make(name="ecal", ingest=INGEST, **changes):
        directory = tmp_path / "data" / name
        write_dataset(directory, ingest | changes)
        return directory

    return make


@pytest.fixture
def rendered(tmp_path, make_run, make_dataset):
    """Render runs; the page, parsed, and the table."""

    def run(*results, baselines=(), comparisons=None, searches=None, **datasets):
        output, summary, cost = (tmp_path / "report" / name for name in ("index.html", "s.csv", "c.csv"))
        render(
            results or [make_run()],
            baselines=baselines,
            datasets=datasets or {"ecal": make_dataset()},
            comparisons=comparisons or {},
            searches=searches or {},
            title="Report " + EVIL,
            output=output,
            summary=summary,
            cost=cost,
            inputs=[],
            record=tmp_path / "report/report.json",
        )
        return Page(output.read_text()), summary.read_bytes().decode()

    return run


class Page(HTMLParser):
    """Text, attributes and table rows of a page; fails if tags are not closed in order."""

    void = frozenset({"meta", "img", "br", "link", "hr", "input"})

    def __init__(self, source):
        super().__init__()
        self.source, self.open, self.tags, self.text, self.rows = source, [], [], "", []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"style", "script"} & set(self.open):
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def row(self, first_cell):
        return next(row for row in self.rows if row and row[0].startswith(first_cell))

    def is_harmless(self):
        """Whether it has no scripts but its own two, and no attributes that are scripts."""
        scripts = [attrs.get("type") for tag, attrs in self.tags if tag == "script"]
        handlers = [name for _, attrs in self.tags for name in attrs if name.startswith("on")]
        return scripts == ["application/json", "module"] and not handlers

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.tags if name in attrs]


def test_text_from_users_is_shown_and_never_interpreted(rendered):
    page, _ = rendered()
    assert page.is_harmless()
    for text in ("Report " + EVIL, "Electrons " + EVIL, "Mean " + EVIL):
        assert text in page.text
    banners = [attrs for _, attrs in page.tags if attrs.get("role") == "note"]
    assert len(banners) == 2
    assert "alt" in dict(page.tags[[tag for tag, _ in page.tags].index("img")][1])


def test_page_loads_nothing_from_outside_itself(rendered):
    page, _ = rendered()
    for name in ("src", "srcset", "data", "action", "poster"):
        assert page.attributes(name) == []
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    style = page.source[page.source.index("<style>") : page.source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    anchors = page.attributes("id")
    assert {value[1:] for value in page.attributes("href") if value.startswith("#")} <= set(anchors)
    assert len(set(anchors)) == len(anchors)


def test_only_the_script_of_the_page_may_run(rendered):
    page, _ = rendered()
    script = re.search(r'<script type="module">(.*?)</script>', page.source, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(attrs["content"] for _, attrs in page.tags if "http-equiv" in attrs)
    assert f"script-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")


def test_a_search_has_its_best_settings_and_all_trials(rendered, tmp_path):
    write_search(tmp_path / "search")
    page, _ = rendered(searches={"rates": tmp_path / "search"})
    assert "The best of 2 trials is trial 0" in " ".join(page.text.split())
    assert "0.00123456" in page.text
    assert page.row("0") == ["0", "1.23 ± 0.12", "0.00123", EVIL, "10", "0.500", "2 min 10 s", "best"]
    failed = ["1", "–", "0.0100", "null", "0", "–", "1.5 s", "failed: loss became nan " + EVIL]
    assert page.row("1") == failed
    assert "Search " + EVIL in page.text
    assert page.is_harmless()
    hrefs = page.attributes("href")
    assert {"#search-rates", "../search/best.yaml", "../search/trials.csv"} <= set(hrefs)
    assert len(list(unpacked(page))) == 6


def test_a_page_without_searches_does_not_speak_of_them(rendered):
    page, _ = rendered()
    assert not [anchor for anchor in page.attributes("id") if anchor.startswith("search-")]


def test_links_to_files_are_relative_to_the_page(rendered, make_run, tmp_path):
    run = make_run()
    (run.run_directory / "samples.h5").touch()
    page, _ = rendered(run)
    files = {value for value in page.attributes("href") if not value.startswith("#")}
    assert {"../seed1/samples.h5", "../seed1/metrics.json", "../seed1/figures/a.yaml"} <= files
    assert "../data/ecal/ingest.json" in files
    assert all((tmp_path / "report" / file).resolve().exists() for file in files if "yaml" not in file)


def unpacked(page):
    """The SVG files of the figures of a page."""
    glyphs = json.loads(re.search(r'id="glyphs">(.*?)</script>', page.source)[1])
    for packed in page.attributes("data-svg"):
        short = gzip.decompress(base64.b64decode(packed)).decode()
        yield re.sub(r"<glyph (\d+)/>", lambda number: glyphs[int(number[1])], short)


def test_figures_are_embedded_by_section_with_their_size(rendered):
    page, _ = rendered()
    assert list(unpacked(page)) == 4 * [SVG]
    assert page.source.count("Font-41") == 1
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert {(attrs["width"], attrs["height"]) for attrs in images} == {("48", "24")}
    assert all(attrs["alt"] for attrs in images)
    assert page.text.index("Showers") < page.text.index("Observables", page.text.index("Showers"))


def test_outlines_of_letters_are_told_apart_by_their_shape(rendered, make_run):
    run = make_run()
    other = SVG.replace(OUTLINE, OUTLINE.replace("L 9 9", "L 8 9") + OUTLINE)
    (run.run_directory / "figures" / FIGURES[0]["file"]).write_text(other)
    page, _ = rendered(run)
    assert sorted(unpacked(page)) == sorted([other, *3 * [SVG]])


def test_a_figure_without_a_size_is_refused(rendered, make_run):
    run = make_run()
    (run.run_directory / "figures/a.svg").write_text("<svg/>")
    with pytest.raises(CaloforgeError, match=r"a\.svg: found no width and height"):
        rendered(run)


def test_metric_table_shows_rounded_values_with_errors_beside_the_floor(rendered):
    page, _ = rendered()
    assert page.row("Width [mm]") == [
        "Width [mm]",
        "0.123 ± 0.012",
        "0.020 ± 0.010",
        "0.012",
        "0.50",
        "4.57 ± 0.23",
        "0.50 ± 0.10",
        "0.0300 ± 0.0040 ✓",
        "0.0261 ± 0.0041",
        "3",
        "1",
    ]
    assert page.row(EVIL)[3:5] == ["< 0.0001", "0.90"]
    assert page.row("Empty")[1:4] == ["–", "0.020 ± 0.010", "–"]


SAMPLES = {
    "profile_mse": {
        "label": "Difference " + EVIL,
        "unit": "‰²",
        "generated": {"value": 1.2345, "error": 0.12},
        "floor": {"value": None, "error": None},
        "note": "100 ± 5 GeV " + EVIL,
    }
}


def test_numbers_of_whole_samples_have_a_table_and_rows_of_their_own(rendered, make_run):
    plain, run = make_run(1), make_run(2)
    path = run.run_directory / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"samples": SAMPLES}))
    page, summary = rendered(plain, run)
    assert page.row("Difference") == [f"Difference {EVIL} [‰²]", "1.23 ± 0.12", "–", "100 ± 5 GeV " + EVIL]
    assert page.text.count("Whole samples") == 1
    rows = list(csv.DictReader(summary.splitlines()))
    assert len(rows) == 2 * 3 * 4 + 1
    assert [rows[-1][key] for key in ("seed", "observable", "metric", "unit", "value", "error", "floor")] == [
        "2",
        "profile_mse",
        "value",
        "‰²",
        "1.2345",
        "0.12",
        "",
    ]


def cell(value, error):
    return {"value": value, "error": error}


TABLES = [
    {
        "title": "Grouped " + EVIL,
        "note": "Note " + EVIL,
        "columns": ["fast – full: jet 1", "fast – full: jet 2", "floor: jet 1"],
        "rows": [
            {"label": "Mass of " + EVIL, "unit": "GeV", "cells": [cell(12.34, 1.2), None, cell(None, None)]},
            {"label": "Azimuth", "unit": "1", "cells": [cell(3, 0.5), cell(4, 0.5), cell(5, 0.5)]},
        ],
    },
    {
        "title": "Plain",
        "note": "",
        "columns": ["jet 1", "jet 2"],
        "rows": [{"label": "Ratio", "unit": "1", "cells": [cell(0.5, 0.1), cell(2, 0.25)]}],
    },
]


def test_tables_have_headings_of_their_groups_and_rows_of_the_summary(rendered, make_run):
    plain, run = make_run(1), make_run(2)
    path = run.run_directory / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tables": TABLES}))
    page, summary = rendered(plain, run)
    assert page.row("Mass of") == [f"Mass of {EVIL} [GeV]", "12.3 ± 1.2", "–", "–"]
    assert page.row("Ratio") == ["Ratio", "0.50 ± 0.10", "2.00 ± 0.25"]
    first = page.rows.index(page.row("Mass of"))
    assert page.rows[first - 2 : first] == [["", "fast – full", "floor"], ["", "jet 1", "jet 2", "jet 1"]]
    assert page.rows[page.rows.index(page.row("Ratio")) - 1] == ["", "jet 1", "jet 2"]
    groups = [attrs for tag, attrs in page.tags if tag == "th" and attrs.get("scope") == "colgroup"]
    assert [attrs["colspan"] for attrs in groups if attrs["colspan"] in "21"][-2:] == ["2", "1"]
    for text in ("Grouped " + EVIL, "Note " + EVIL):
        assert page.text.count(text) == 1
    assert page.is_harmless()
    rows = [row for row in csv.DictReader(summary.splitlines()) if " / " in row["metric"]]
    keys = ("seed", "observable", "metric", "unit", "value", "error", "floor")
    assert [[row[key] for key in keys] for row in rows[:2]] == [
        ["2", "Mass of " + EVIL, f"Grouped {EVIL} / fast – full: jet 1", "GeV", "12.34", "1.2", ""],
        ["2", "Mass of " + EVIL, f"Grouped {EVIL} / floor: jet 1", "GeV", "", "", ""],
    ]
    assert len(rows) == 5 + 2


def test_overview_shows_mean_separation(rendered, make_run):
    """Mean of 0.03 and 0.09; of 0.0261, 0.01 and 0.02."""
    page, _ = rendered(make_run(1), make_run(2, label=""))
    assert page.row("ecal / cwgan / seed 1")[1:] == ["0.060", "0.019", EVIL]
    assert page.row("ecal / cwgan / seed 2")[3] == ""


def matrix(page, name):
    """Texts and colour steps of an overview matrix, by row and column."""
    sheet = re.search(rf'data-score="{name}">(.*?)</table>', page.source, re.DOTALL)[1]
    table = Page(sheet[sheet.index("<table") :] + "</table>")
    head, *rows = table.rows
    steps = [attrs.get("class", "") for tag, attrs in table.tags if tag == "td"]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}, steps


def test_overview_matrix_has_the_mean_and_spread_over_seeds(rendered, make_run, make_dataset):
    """Mean and standard deviation of 0.7 and 0.8: 0.75 ± 0.0707. Floors: mean of 0.5, 0.6 and 0.5."""
    runs = [make_run(1, samples=samples(0.7)), make_run(2, samples=samples(0.8, floor=0.6))]
    applied = replace(make_run(3), applied_to="jets")
    write_run(applied.result_directory, "", samples=samples(None))
    jets = replace(make_run(4, samples=samples(0.51)), dataset="jets", model="other")
    page, _ = rendered(*runs, applied, jets, ecal=make_dataset(), jets=make_dataset("jets", PAIRS))
    cells, steps = matrix(page, "auc")
    assert cells == {
        "ecal": {
            "cwgan": "0.750 ± 0.071seeds 1, 2",
            "cwgan from ecal": "",
            "other": "",
            "Floor": "0.550 ± 0.020",
        },
        "jets": {"cwgan": "", "cwgan from ecal": "–", "other": "0.510 ± 0.010", "Floor": "0.500 ± 0.020"},
    }
    assert steps == ["step-4", "", "", "group", "", "", "step-1", "group"]
    assert 'data-value="0.75"' in page.source
    cells, _ = matrix(page, "mean_separation")
    assert cells["jets"]["other"] == "0.060"


def test_scores_of_a_single_data_set_of_several_are_left_out_of_the_overview(
    rendered, make_run, make_dataset
):
    jets = replace(make_run(2), dataset="jets")
    page, _ = rendered(
        make_run(1, samples=samples(1)), jets, ecal=make_dataset(), jets=make_dataset("jets", PAIRS)
    )
    assert page.attributes("data-score") == ["mean_separation"]
    page, _ = rendered(make_run(1, samples=samples(1)))
    assert page.attributes("data-score") == ["mean_separation", "auc"]


def test_baselines_have_a_section_a_column_and_rows_of_the_summary(rendered, make_run, tmp_path):
    directory = tmp_path / "baselines/library"
    write_baseline(directory, samples=samples(0.9))
    page, summary = rendered(
        make_run(1, samples=samples(0.7)), baselines=[BaselineResult("ecal", "library", directory)]
    )
    assert page.row("ecal / library (baseline)")[1:] == ["0.060", "0.019", ""]
    cells, _ = matrix(page, "auc")
    assert list(cells["ecal"]) == ["cwgan", "library", "Floor"]
    assert "#ecal-baselines-library" in page.attributes("href")
    section = page.text[page.text.rindex("ecal / library (baseline)") :]
    assert "0.013 ms per shower on cpu" in section
    assert "Training of" not in section
    rows = [row for row in csv.DictReader(summary.splitlines()) if row["model"] == "library"]
    assert len(rows) == 3 * 4 + 1
    assert {(row["dataset"], row["seed"], row["label"]) for row in rows} == {("ecal", "", "")}
    assert "library" not in (tmp_path / "report/c.csv").read_text()


def test_comparison_comes_first_in_the_section_of_its_data_set(rendered, tmp_path):
    verdicts = {
        "title": "Verdicts",
        "note": "",
        "columns": ["best", "distance"],
        "rows": [{"label": "Width", "unit": "1", "cells": [EVIL, cell(0.5, 0.1)]}],
    }
    write_comparison(tmp_path / "comparison", [verdicts])
    page, _ = rendered(comparisons={"ecal": tmp_path / "comparison"})
    assert page.is_harmless()
    assert page.row("Width") == ["Width", EVIL, "0.50 ± 0.10"]
    assert page.text.rindex("Data set ecal") < page.text.index("Verdicts") < page.text.index("Detector")


def test_costs_stand_beside_those_of_geant4(rendered, make_run):
    """All parameters: 1,234,567 + 7,654; speed-up: 0.25 s over 0.5 ms; training: 195 s + 60.5 s."""
    page, _ = rendered(make_run(1), make_run(2, label=""))
    assert page.row("cwgan / seed 1") == [
        "cwgan / seed 1conditional_wgan" + EVIL,
        "0.500",
        "× 500",
        "62.4",
        "cpu2 threadsbatches of 256",
        "1,234,567",
        "4,321",
        "1,242,221",
        "6.5 s",
        "4 min 16 s",
        "900 MB",
        "cpu2 threads",
    ]
    assert page.row("Geant4") == ["Geant4", "250", "–", "–", "CPU time", *7 * "–"]
    assert "Training, 700 showers per epoch" in page.text
    assert [row[0] for row in page.rows if row].count("Geant4") == 1
    assert page.text.index("Mean separation") < page.text.index("Geant4") < page.text.rindex("Data set ecal")


def test_cost_table_has_a_row_per_run_and_one_for_geant4(rendered, make_run, make_dataset, tmp_path):
    """Geant4 closes the rows of a data set that states its CPU time; the other data set does not."""
    on_gpu = {"device": "GPU", "peak_gpu_memory_MB": 1234.5, "peak_memory_MB": 1000.0}
    first, second = make_run(1), make_run(2, label="")
    (second.run_directory / "train.json").write_text(json.dumps(TRAINING | on_gpu))
    jets = make_dataset("jets", PAIRS)
    other = replace(make_run(3), dataset="jets")
    page, _ = rendered(first, other, second, ecal=make_dataset(), jets=jets)
    text = (tmp_path / "report/c.csv").read_bytes().decode()
    assert text.endswith("\r\n")
    rows = list(csv.DictReader(text.splitlines()))
    assert [(row["dataset"], row["model"], row["seed"]) for row in rows] == [
        ("ecal", "cwgan", "1"),
        ("ecal", "cwgan", "2"),
        ("ecal", "Geant4", ""),
        ("jets", "cwgan", "3"),
    ]
    assert rows[0] == {
        "dataset": "ecal",
        "model": "cwgan",
        "seed": "1",
        "label": EVIL,
        "family": "conditional_wgan",
        "generator_parameters": "1234567",
        "generator_dense_parameters": "4321",
        "all_parameters": "1242221",
        "MFLOP_per_shower": "62.4",
        "ms_per_shower": "0.5",
        "clock": "wall",
        "speed_up": "500.0",
        "generation_device": "cpu",
        "generation_threads": "2",
        "batch_size": "256",
        "training_showers": "700",
        "epochs": "30",
        "training_s_per_epoch": "6.5",
        "training_s": "255.5",
        "training_device": "cpu",
        "training_threads": "2",
        "peak_memory_MB": "900.0",
        "peak_gpu_memory_MB": "",
    }
    assert [rows[1][key] for key in ("training_s", "training_device", "peak_memory_MB")] == [
        "195.0",
        "GPU",
        "1000.0",
    ]
    assert rows[1]["peak_gpu_memory_MB"] == "1234.5"
    assert "1,000 MBGPU: 1,230 MB" in page.row("cwgan / seed 2")[10]
    geant4 = {"dataset": "ecal", "model": "Geant4", "ms_per_shower": "250.0", "clock": "CPU"}
    assert {key: value for key, value in rows[2].items() if value} == geant4
    assert rows[3]["speed_up"] == ""
    assert page.text.count("The source files do not state the CPU time of Geant4.") == 1


def test_a_run_applied_to_another_data_set_stands_beside_its_own_result(rendered, make_run, make_dataset):
    own = make_run(1)
    applied = replace(own, applied_to="other")
    write_figures(applied.result_directory / "figures")
    for name in ("sample.json", "evaluate.json", "metrics.json"):
        (applied.result_directory / name).write_text((own.run_directory / name).read_text())
    metrics = json.loads((own.run_directory / "metrics.json").read_text())
    for observable in metrics["observables"].values():
        observable["generated"]["separation"] = {"value": 0.875, "error": 0.01}
    (applied.result_directory / "metrics.json").write_text(json.dumps(metrics))
    combined = make_dataset(
        "other",
        settings=INGEST["settings"] | {"combine": ["ecal", "ecal2"], "select": {"energy": [0, 70]}},
    )
    page, summary = rendered(own, applied, ecal=make_dataset(), other=combined)
    assert "cwgan / seed 1 across data sets" in page.text
    assert "ecal, ecal2 with energy from 0 to 70" in page.text
    (cells,) = [row for row in page.rows if row[:1] == ["ecal"] and len(row) == 3]
    assert cells[2].startswith("0.88 (")
    assert not cells[1].startswith("0.88")
    assert "ecal / cwgan / seed 1, applied to other" in page.text
    rows = list(csv.DictReader(summary.splitlines()))
    assert {row["applied_to"] for row in rows} == {"", "other"}
    assert sum(row["applied_to"] == "other" for row in rows) * 2 == len(rows)
    assert [row[0] for row in page.rows if row].count("cwgan / seed 1conditional_wgan" + EVIL) == 1


DEVICES = [
    {
        "label": "CPU, 2 threads",
        "gpus": [],
        "times": [
            {"batch_size": n, "ms_per_shower": {"low": 0.95 / n, "median": 1.2345 / n, "high": 1.5 / n}}
            for n in (1, 8)
        ],
        "not_measured": None,
    },
    {"label": "1 GPU", "gpus": [], "times": [], "not_measured": "no CUDA device " + EVIL},
]


def test_times_against_the_batch_size_have_a_table_and_a_figure(rendered, make_run):
    timed, plain = replace(make_run(1), timed=True), make_run(2)
    (timed.run_directory / "timing.json").write_text(json.dumps({"devices": DEVICES}))
    write_figures(timed.run_directory / "timing_figures")
    page, _ = rendered(timed, plain)
    assert page.row("Showersat once") == ["Showersat once", "ms per shower: cwgan / seed 1"]
    assert page.row("CPU, 2") == ["CPU, 2 threads", "1 GPUnot measured: no CUDA device " + EVIL]
    assert page.row("1") == ["1", "1.23 (0.95 to 1.5)", "–"]
    assert page.row("8") == ["8", "0.154 (0.12 to 0.19)", "–"]
    assert page.text.index("Cost") < page.text.index("not measured") < page.text.rindex("Data set ecal")
    assert len(page.attributes("data-svg")) == 2 * 2 + 2 + 2
    (timed.run_directory / "timing.json").unlink()
    with pytest.raises(CaloforgeError, match=r"timing\.json: no such file"):
        rendered(timed, plain)


def test_data_set_and_training_are_described(rendered):
    page, _ = rendered()
    assert page.row("a.root") == ["a.root", "1,000", "42", "0.25 s", "abababababab…"]
    for text in (
        "ECAL: 30 × 30 cells of 20 × 20 mm",
        "px: -1.25 to 20.0 GeV; slope: 0 to 0.500",
        "700 for training, 100 for validation, 200 for the test",
        "11.4.1",
        "30 epochs on cpu in float32",
        "epoch 25",
        "epoch 25 (keep: best); 7,654 parameters in critic.",
        "epoch 25 (keep: best); 2,345 parameters in regressor.",
        "3 min 20 s wall time, 6 min 30 s CPU time",
        "commit 0123456789ab with uncommitted changes",
        '"epochs": 30',
    ):
        assert text in page.text


def test_sources_without_metadata_have_no_speed_up_and_say_nothing_of_geant4(rendered, make_dataset):
    unknown = dict.fromkeys(("seed", "geant4", "physics", "geant4_cpu_s_per_event")) | {"metadata": False}
    files = [INGEST["files"][0] | unknown]
    page, _ = rendered(ecal=make_dataset(files=files, geant4_cpu_s_per_event=None))
    assert page.row("cwgan / seed 1")[2] == "–"
    assert "The source files do not state the CPU time of Geant4." in page.text
    assert page.row("a.root") == ["a.root", "1,000", "abababababab…"]
    section = page.text[page.text.rindex("Data set ecal") : page.text.index("What was run")]
    assert "Geant4" not in section


def test_a_data_set_without_a_run_is_shown_and_its_text_never_interpreted(rendered, make_dataset):
    page, summary = rendered(ecal=make_dataset(), jets=make_dataset("jets", PAIRS))
    section = page.text[page.text.rindex("Data set jets") : page.text.index("What was run")]
    for text in (
        "Jets " + EVIL,
        f"Towers {EVIL}: 2 × 72 cells in η from -3 to 2.5 and in φ",
        "A note " + EVIL,
        "Pairs of fast and full simulation",
        "Energy in the fast simulation",
        "1.00 to 99.9 GeV",
        f"towers outside grid: 12,345; energy outside grid: 1,870,743 GeV; {EVIL}: 1",
        "Events without energy7",
        "Mean " + EVIL,
    ):
        assert text in section
    for text in ("Geant4", "Incident energy", "Conditions"):
        assert text not in section
    assert page.row("fast.root") == ["fast.root", "1,000", "abababababab…"]
    assert page.row("full.root") == ["full.root", "–", "cdcdcdcdcdcd…"]
    assert page.is_harmless()
    assert {link for link in page.attributes("href") if "#data-" in link} == {"#data-ecal", "#data-jets"}
    assert len(page.attributes("data-svg")) == 6
    assert "jets" not in summary


def test_numbers_of_collisions_speak_of_no_primaries(rendered, make_run, make_dataset):
    page, _ = rendered(replace(make_run(), dataset="jets"), jets=make_dataset("jets", PAIRS))
    section = page.text[page.text.index("Distances to the full simulation") :]
    assert "200 generated events against 200 of the full simulation for the same collisions" in section
    assert "primaries" not in section


def test_sources_without_a_digest_are_listed(rendered, make_dataset):
    page, _ = rendered(ecal=make_dataset(inputs={}))
    assert page.row("a.root")[-1] == "–"


def test_layers_are_described_equal_ones_together():
    def text(*layers):
        return describe(Geometry(name="ECAL", layers=layers))

    pixels = {"shape": [25, 25], "cell_size_mm": [5.1, 5.1], "thickness_mm": 6.0, "repeat": 25}
    assert text(pixels) == "25 layers, each of 25 × 25 cells of 5.1 × 5.1 mm, 6 mm deep"
    strips, pads = (
        {"shape": [3, 96], "cell_size_mm": [160, 5], "label": "front"},
        {"shape": [12, 6], "cell_size_mm": [40, 80], "thickness_mm": 42},
    )
    assert text(strips, pads) == "3 × 96 cells of 160 × 5 mm; 12 × 6 cells of 40 × 80 mm, 42 mm deep"
    rings = {"kind": "cylindrical", "n_alpha": 16, "r_edges_mm": [0, 5, 20.5]}
    assert text(rings) == "16 × 2 cells in α and in r from 0 to 20.5 mm"


def test_a_run_without_regressor_has_one_training(rendered, make_run):
    run = make_run()
    (run.run_directory / "train.json").write_text(json.dumps(TRAINING))
    page, _ = rendered(run)
    assert page.text.count("Training of the") == 2
    assert page.row("cwgan / seed 1")[9] == "3 min 15 s"


def test_a_missing_record_of_a_regressor_is_refused(rendered, make_run):
    run = make_run()
    (run.run_directory / "regressor.json").unlink()
    with pytest.raises(CaloforgeError, match=r"regressor\.json: no such file"):
        rendered(run)


def test_summary_has_a_row_per_run_observable_and_metric(rendered, make_run):
    _, summary = rendered(make_run(1), make_run(2, label=""))
    assert summary.endswith("\r\n")
    rows = list(csv.DictReader(summary.splitlines()))
    assert len(rows) == 2 * 3 * 4
    assert rows[1] == {
        "dataset": "ecal",
        "model": "cwgan",
        "seed": "1",
        "applied_to": "",
        "label": EVIL,
        "observable": "width_mm",
        "metric": "wasserstein",
        "unit": "mm",
        "value": "4.5678",
        "error": "0.23",
        "floor": "0.5",
        "floor_error": "0.1",
    }
    assert (rows[3]["metric"], rows[3]["value"], rows[3]["error"], rows[3]["floor"]) == (
        "ks_p_value",
        "0.0123",
        "",
        "0.5",
    )
    assert rows[8]["value"] == ""


@pytest.mark.parametrize(
    "name",
    ["train.json", "sample.json", "evaluate.json", "metrics.json", "figures/index.json", "figures/b.svg"],
)
def test_missing_files_of_runs_are_named_and_nothing_is_written(rendered, make_run, tmp_path, name):
    run = make_run()
    (run.run_directory / name).unlink()
    with pytest.raises(CaloforgeError, match=f"{name}: no such file"):
        rendered(run)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("name", ["ingest.json", "figures/index.json", "figures/a.svg"])
def test_missing_files_of_data_sets_are_named_and_nothing_is_written(rendered, make_dataset, tmp_path, name):
    directory = make_dataset()
    (directory / name).unlink()
    with pytest.raises(CaloforgeError, match=f"{name}: no such file"):
        rendered(ecal=directory)
    assert not (tmp_path / "report").exists()


def test_settings_of_a_data_set_that_are_none_are_named(rendered, make_dataset):
    directory = make_dataset(settings=INGEST["settings"] | {"readout_threshold_MeV": -1})
    with pytest.raises(CaloforgeError, match=r"ingest\.json: settings\.readout_threshold_MeV: "):
        rendered(ecal=directory)


def test_records_without_a_needed_key_or_that_are_no_json_are_named(rendered, make_run):
    run = make_run()
    (run.run_directory / "sample.json").write_text("{}")
    with pytest.raises(CaloforgeError, match=r"sample\.json: no key settings, device"):
        rendered(run)
    (run.run_directory / "sample.json").write_text(json.dumps(SAMPLE))
    without = {key: value for key, value in TRAINING.items() if key != "peak_memory_MB"}
    (run.run_directory / "train.json").write_text(json.dumps(without | {"dense_parameters": {}}))
    keys = r"train\.json: no key peak_memory_MB, dense_parameters\.generator, the report needs it$"
    with pytest.raises(CaloforgeError, match=keys):
        rendered(run)
    (run.run_directory / "train.json").write_text(json.dumps(TRAINING))
    index = run.run_directory / "figures/index.json"
    index.write_text(json.dumps([{key: text for key, text in FIGURES[0].items() if key != "data"}]))
    with pytest.raises(CaloforgeError, match=r"figures/index\.json: no key data, the report needs it$"):
        rendered(run)
    (run.run_directory / "sample.json").write_text("{")
    with pytest.raises(CaloforgeError, match=r"sample\.json: not JSON"):
        rendered(run)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.12345, 0.0123, "0.123 ± 0.012"),
        (0.5, 0.0996, "0.50 ± 0.10"),
        (1234.5, 123, "1230 ± 120"),
        (12.34, 5.6, "12.3 ± 5.6"),
        (1.234e-7, 1.2e-8, "(1.23 ± 0.12) × 10⁻⁷"),
        (0.0, 0.0, "0"),
        (None, None, "–"),
    ],
)
def test_measurements_are_rounded_to_two_digits_of_the_error(value, error, text):
    assert measurement({"value": value, "error": error}) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1234.0, "1,200"), (0.0999, "0.10"), (0.71, "0.71"), (0, "0"), (None, "–")]
)
def test_significant_digits(value, text):
    assert significant(value) == text


def test_p_values_and_durations():
    assert [p_value(p) for p in (0.0123, 3e-5, None)] == ["0.012", "< 0.0001", "–"]
    assert [duration(s) for s in (0.2149, 61, 7500, None)] == ["0.21 s", "1 min 1 s", "2 h 5 min", "–"]
