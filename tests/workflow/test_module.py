"""The workflow imported by another one, as examples/analysis does."""

import csv
import json
import shutil
from pathlib import Path

from analysis import CHECKOUT, Analysis

EXAMPLE = CHECKOUT / "examples/analysis"


def test_the_example_goes_on_with_what_the_imported_workflow_makes(tmp_path: Path):
    analysis = Analysis(tmp_path / "analysis")
    shutil.copytree(EXAMPLE, analysis.path)
    for name in ("Snakefile", "config.yaml"):
        file = analysis.path / name
        file.write_text(file.read_text().replace("../../", f"{CHECKOUT}/"))
    config = analysis.config
    config["calorimeter"]["datasets"]["low"] = {"combine": ["ecal"], "select": {"energy": [0, 30]}}
    analysis.configure(config)
    snakefile = ("--snakefile", str(analysis.path / "Snakefile"))
    assert "calo_report" not in analysis.make(*snakefile, "--dry-run")
    combined = "calorimeter/results/low/data/test.h5"
    analysis.make(*snakefile, "all", "calo_all", combined)

    results = analysis.path / "calorimeter/results"
    metrics = "ecal/cwgan/seed1/metrics.json"
    with (analysis.path / "observables.csv").open(newline="") as table:
        found = {
            row["observable"]: (row["distance"], row["floor"])
            for row in csv.DictReader(table)
            if row["metrics"] == f"calorimeter/results/{metrics}"
        }
    observables = json.loads((results / metrics).read_text())["observables"]
    assert found == {
        name: tuple(str(observable[of]["ks"]["value"]) for of in ("generated", "floor"))
        for name, observable in observables.items()
    }
    assert (results / "ecal/cwgan/seed1/work/train/state.pt").is_file()
    page = (results / "report/index.html").read_text()
    assert "cwgan" in page
    assert "shower_library" in page
    assert (analysis.path / combined).is_file()
    assert {path.name for path in analysis.path.iterdir()} == {
        *(path.name for path in EXAMPLE.iterdir() if path.name != ".snakemake"),
        *(".snakemake", "calorimeter", "logs", "observables.csv"),
    }
