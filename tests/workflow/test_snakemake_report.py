"""The report that Snakemake itself writes."""

import json

from analysis import Analysis


def embedded(page: str, name: str) -> dict:
    """What the script with this id assigns to its variable."""
    start = page.index("{", page.index(f'<script id="{name}">'))
    return json.JSONDecoder().raw_decode(page[start:])[0]


def test_figures_have_categories_and_captions(analysis: Analysis):
    analysis.make("--report", "report.html")
    page = (analysis.path / "report.html").read_text()
    categories, results = embedded(page, "categories"), embedded(page, "results")

    assert categories["Report"] == {"Other": ["results/report/index.html"]}
    folders = {"full simulation": "data/figures", "tiny, seed 1": "tiny/seed1/figures"}
    for subcategory, name in folders.items():
        folder = f"results/ecal/{name}"
        drawn = {f"{folder}/{path.name}" for path in (analysis.path / folder).glob("*.svg")}
        assert drawn
        assert set(categories["ecal"][subcategory]) == drawn
    response = results["results/ecal/tiny/seed1/figures/response.svg"]
    assert response["labels"] == {"figure": "response"}
    assert "tiny, trained on ecal with seed 1" in response["caption"]
    assert "<strong>test</strong>" in response["caption"]
    assert "data set ecal" in results["results/ecal/data/figures/response.svg"]["caption"]
