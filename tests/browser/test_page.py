"""The report page in Chromium: what its script does, and that it needs and fetches nothing else."""

import csv
import os
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from caloforge.report import BaselineResult, RunResult, render
from finished_results import (
    EVIL,
    INGEST,
    OBSERVABLES,
    samples,
    write_baseline,
    write_comparison,
    write_dataset,
    write_run,
)

COMMANDS = ("chromium", "chromium-browser", "google-chrome")
REQUIRED = "CALOFORGE_TESTS_NEED_CHROMIUM"
"""Environment variable; with it, a missing Chromium is a failure."""
DISTANCES = '[data-file="ecal-cwgan-1-distances"]'


@pytest.fixture(scope="module")
def browser():
    command = next(filter(None, map(shutil.which, COMMANDS)), None)
    if command is None:
        missing = pytest.fail if os.environ.get(REQUIRED) else pytest.skip
        missing(f"found none of {', '.join(COMMANDS)}, needed to open the page")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=command)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    """A page of two seeds, a baseline and a comparison; one score, `auc`, besides the mean separation."""
    results = tmp_path_factory.mktemp("results")
    for seed in (1, 2):
        write_run(results / f"ecal/cwgan/seed{seed}", EVIL, samples=samples(0.6 + 0.1 * seed))
    write_baseline(results / "ecal/baselines/library", samples=samples(0.9))
    write_dataset(results / "ecal/data", INGEST)
    table = {
        "title": "Verdicts",
        "note": "",
        "columns": ["floor: best", "floor: distance"],
        "rows": [
            {"label": f'A, "B" {EVIL}', "unit": "mm", "cells": ["cwgan", {"value": 1 / 3, "error": 0.1}]}
        ],
    }
    write_comparison(results / "ecal/comparison", [table])
    first = RunResult("ecal", "cwgan", 1, EVIL, results / "ecal/cwgan/seed1")
    render(
        [first, replace(first, seed=2, run_directory=results / "ecal/cwgan/seed2")],
        baselines=[BaselineResult("ecal", "library", results / "ecal/baselines/library")],
        datasets={"ecal": results / "ecal/data"},
        comparisons={"ecal": results / "ecal/comparison"},
        searches={},
        title="Report " + EVIL,
        output=results / "report/index.html",
        summary=results / "report/summary.csv",
        cost=results / "report/cost.csv",
        inputs=[],
        record=results / "report/report.json",
    )
    return (results / "report/index.html").as_uri()


@pytest.fixture
def open_page(browser: Browser, address: str):
    """Open the page; anything it reports or fetches fails the test."""
    contexts, complaints = [], []

    def check(request):
        if request.url != address and not request.url.startswith("blob:"):
            complaints.append(f"fetched {request.url}")

    def open_it(**options) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", check)
        page.goto(address)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(open_page) -> Page:
    return open_page(viewport={"width": 1280, "height": 800})


def first_cells(page: Page, sheet: str = DISTANCES) -> list[str]:
    """First cell of each row that is shown."""
    return page.locator(f"{sheet} tbody tr:visible th").all_inner_texts()


def test_text_from_users_is_shown_as_text(page):
    assert page.title() == "Report " + EVIL
    expect(page.locator("h1")).to_have_text("Report " + EVIL)
    expect(page.locator("header .banner")).to_have_text([EVIL])
    assert page.locator("script").count() == 2


def test_figures_are_loaded_when_they_come_near(page):
    figures = page.locator("#ecal-baselines-library ~ .part figure img")
    assert page.locator("img[src]").count() < page.locator("img").count()
    assert figures.last.get_attribute("src") is None
    figures.last.scroll_into_view_if_needed()
    expect(figures.last).to_have_attribute("src", re.compile("^blob:"))
    page.wait_for_timeout(100)
    assert figures.last.evaluate("(image) => [image.naturalWidth, image.naturalHeight]") == [48, 24]
    folded = page.locator("details figure img")
    assert folded.count() == 2
    assert folded.first.get_attribute("src") is None
    page.locator("summary", has_text="Figures of the training").click()
    expect(folded.first).to_have_attribute("src", re.compile("^blob:"))


def test_columns_sort_by_number_and_keep_what_is_undefined_last(page):
    """Kolmogorov-Smirnov distances 0.123 of the width and 0.5 of the response; none of the empty one."""
    assert first_cells(page) == ["Width [mm]", EVIL, "Empty [mm]"]
    heads = page.locator(f"{DISTANCES} th:has(.sort)")
    assert heads.count() == 11
    generated = heads.nth(1)
    generated.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert first_cells(page) == ["Width [mm]", EVIL, "Empty [mm]"]
    expect(generated).to_have_attribute("aria-sort", "ascending")
    page.keyboard.press("Enter")
    assert first_cells(page) == [EVIL, "Width [mm]", "Empty [mm]"]
    expect(generated).to_have_attribute("aria-sort", "descending")
    heads.first.get_by_role("button").click()
    assert first_cells(page)[1:] == ["Empty [mm]", "Width [mm]"]
    assert page.locator(f"{DISTANCES} [aria-sort]").count() == 1
    heads.nth(9).get_by_role("button").click()
    assert first_cells(page) == [EVIL, "Width [mm]", "Empty [mm]"]


def test_a_filter_hides_other_rows_of_its_table_only(page):
    box = page.get_by_label("Filter rows of Distances, ecal / cwgan / seed 1")
    box.fill("WIDTH")
    assert first_cells(page) == ["Width [mm]"]
    assert len(first_cells(page, '[data-file="ecal-cwgan-2-distances"]')) == 3
    box.fill("")
    assert len(first_cells(page)) == 3


def test_search_shows_hits_alone_and_puts_everything_back(page):
    """A row and a figure of each seed and of the baseline, a figure of the data set and of the comparison."""
    before = page.locator("main").inner_text()
    search, hits = page.get_by_label("Search"), page.locator("#hits")
    search.fill("width")
    expect(hits).to_have_text("8 hits")
    assert first_cells(page) == ["Width [mm]"]
    assert page.locator("figure:visible").count() == 5
    expect(page.locator("#cost")).to_be_hidden()
    search.fill("seed 2 WIDTH")
    expect(hits).to_have_text("2 hits")
    assert page.locator("h2:visible").all_inner_texts() == ["ecal / cwgan / seed 2"]
    search.fill("library whole samples")
    expect(hits).to_have_text("1 hit")
    assert first_cells(page, '[data-file="ecal-baselines-library-samples"]') == ["AUC"]
    search.fill("nowhere")
    expect(hits).to_have_text("0 hits")
    search.fill("")
    expect(hits).to_be_empty()
    assert page.locator("main").inner_text() == before


def test_the_overview_leads_to_runs_by_the_chosen_score(page):
    shown = page.locator(".matrix:visible")
    expect(shown).to_have_attribute("data-score", "mean_separation")
    page.get_by_label("Score").select_option("auc")
    expect(shown).to_have_attribute("data-score", "auc")
    cell = shown.locator("td").first
    expect(cell).to_have_text("0.750 ± 0.071seeds 1, 2")
    colours = shown.locator("td").evaluate_all(
        "(cells) => cells.map((c) => getComputedStyle(c).backgroundColor)"
    )
    assert len(set(colours)) == 3
    cell.get_by_role("link", name="2", exact=True).click()
    assert page.url.endswith("#ecal-cwgan-2")
    expect(page.locator("#ecal-cwgan-2")).to_be_in_viewport()


def test_a_link_leads_out_of_a_search(page):
    page.get_by_label("Search").fill("seed 1 width")
    expect(page.locator("#hits")).to_have_text("2 hits")
    page.locator("#contents summary").click()
    page.get_by_role("navigation").get_by_role("link", name="Cost").click()
    expect(page.locator("#cost")).to_be_in_viewport()
    expect(page.get_by_label("Search")).to_have_value("")


def downloaded(page: Page, label: str) -> tuple[str, list[list[str]]]:
    with page.expect_download() as download:
        page.get_by_label(f"Download {label} as CSV", exact=True).click()
    text = Path(download.value.path()).read_bytes().decode()
    assert text.endswith("\r\n")
    return download.value.suggested_filename, list(csv.reader(text.splitlines()))


def test_tables_are_downloaded_in_full_precision(page):
    name, rows = downloaded(page, "Distances, ecal / cwgan / seed 1")
    assert name == "ecal-cwgan-1-distances.csv"
    assert rows[0][:4] == [
        "Observable",
        "Kolmogorov–Smirnov: generated",
        "Kolmogorov–Smirnov: generated: error",
        "Kolmogorov–Smirnov: floor",
    ]
    ks = OBSERVABLES["width_mm"]["generated"]["ks"]
    assert rows[1][:3] == ["Width [mm]", str(ks["value"]), str(ks["error"])]
    assert rows[2][0] == EVIL
    assert rows[3][:4] == ["Empty [mm]", "", "", "0.02"]
    assert {len(row) for row in rows} == {1 + 6 * 2 + 2 + 2}


def test_downloads_quote_text_and_name_units(page):
    _, rows = downloaded(page, "Verdicts")
    assert rows == [
        ["", "floor: best", "floor: distance", "floor: distance: error"],
        [f'A, "B" {EVIL} [mm]', "cwgan", repr(1 / 3), "0.1"],
    ]
    _, rows = downloaded(page, "Cost on ecal")
    assert "Training, 700 showers per epoch: total [s]" in rows[0]
    assert rows[1][rows[0].index("Training, 700 showers per epoch: peak memory [MB]")] == "900.0"


def test_keys_reach_the_results_and_the_contents(page):
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the results")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the results")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.locator("#contents summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("navigation")).to_be_hidden()
    expect(page.locator("#contents summary")).to_be_focused()
    outline = "(element) => getComputedStyle(element).outlineStyle"
    assert page.locator("#contents summary").evaluate(outline) == "solid"


def test_all_figures_are_loaded_and_unfolded_before_the_page_is_printed(page):
    unloaded, folded = "img:not([src])", "main details:not([open])"
    left = f"['{unloaded}', '{folded}'].map((found) => document.querySelectorAll(found).length)"
    page.evaluate(f"window.print = () => {{ window.left = {left}; }}")
    assert min(page.evaluate(left)) > 0
    for start in (partial(page.keyboard.press, "Control+p"), page.get_by_role("button", name="Print").click):
        page.evaluate("window.left = null")
        start()
        for _ in range(50):
            page.wait_for_timeout(100)
            if page.evaluate("window.left"):
                break
        assert page.evaluate("window.left") == [0, 0]


def test_printed_pages_have_no_controls(page):
    page.emulate_media(media="print")
    expect(page.locator(".bar")).to_be_hidden()
    expect(page.locator(".tools").first).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_either_scheme(open_page, scheme):
    page = open_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    colour = "(element) => getComputedStyle(element).backgroundColor"
    assert (page.locator("body").evaluate(colour) == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.locator("figure").first.evaluate(colour) == "rgb(255, 255, 255)"


def test_numbers_and_links_remain_without_scripts(open_page):
    page = open_page(java_script_enabled=False)
    assert page.locator(".matrix:visible").count() == 2
    assert len(first_cells(page)) == 3
    expect(page.get_by_label("Search")).to_be_hidden()
    expect(page.locator("noscript p")).to_be_visible()
    figure = page.locator("#ecal-cwgan-1 ~ .part figure").first
    assert figure.get_by_role("link").first.get_attribute("href") == "../ecal/cwgan/seed1/figures/a.svg"
