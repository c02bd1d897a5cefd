"""Data sets and samples that several jobs make."""

from pathlib import Path

import pytest
from analysis import SAMPLES, Analysis, tiny_config

DATA = "results/ecal/data"
SPLITS = ("train.h5", "val.h5", "test.h5")
RUN = "results/ecal/tiny/seed1"


def of_three_files(path: Path, **changes) -> Analysis:
    path.mkdir()
    analysis = Analysis(path)
    config = tiny_config()
    config["datasets"]["ecal"]["source"]["files"] = [str(SAMPLES / f"*_00{k}.root") for k in range(3)]
    config["datasets"]["ecal"] |= changes
    analysis.configure(config)
    return analysis


def test_ingest_in_three_jobs(tmp_path: Path):
    plain = of_three_files(tmp_path / "plain")
    parts = of_three_files(tmp_path / "parts", files_per_job=1)
    planned = parts.planned()
    assert (planned["ingest_part"], planned["merge_parts"]) == (3, 1)
    assert "ingest" not in planned
    for analysis in (plain, parts):
        analysis.make(f"{DATA}/ingest.json")
    for split in SPLITS:
        assert (parts.path / DATA / split).read_bytes() == (plain.path / DATA / split).read_bytes()
    assert {file.name for file in (parts.path / DATA).iterdir()} == {"ingest.json", *SPLITS}
    assert "Nothing to be done" in parts.make("--dry-run", f"{DATA}/ingest.json")


def test_an_event_number_in_two_jobs_is_one_error(tmp_path: Path):
    analysis = of_three_files(tmp_path / "twice", files_per_job=1)
    config = analysis.config
    copy = tmp_path / "copy_003.root"
    copy.write_bytes((SAMPLES / "lhcb_ecal_e-_000.root").read_bytes())
    config["datasets"]["ecal"]["source"]["files"].append(str(copy))
    analysis.configure(config)
    status, output = analysis.snakemake(f"{DATA}/ingest.json")
    assert status
    assert output.count("error: data set ecal: event number ") == 1
    assert "occurs more than once, expected unique numbers: " in output
    assert not (analysis.path / DATA / "train.h5").exists()


def test_sampling_in_three_jobs(analysis: Analysis):
    config = analysis.config
    config["sampling"]["batch_size"] = 16
    analysis.configure(config)
    analysis.make(f"{RUN}/samples.h5")
    plain = (analysis.run / "samples.h5").read_bytes()

    config["sampling"]["jobs"] = 3
    config["runs"][0]["apply_to"] = ["slow"]
    config["datasets"]["slow"] = {"combine": ["ecal"], "select": {"pz": [0, 20]}}
    analysis.configure(config)
    planned = analysis.planned()
    for rule in ("sample_part", "sample_part_applied"):
        assert planned[rule] == 3
    assert {"merge_samples", "merge_samples_applied"} < planned.keys()
    assert not {"sample", "sample_applied"} & planned.keys()
    analysis.make(f"{RUN}/samples.h5", f"{RUN}/on_slow/samples.h5")
    assert (analysis.run / "samples.h5").read_bytes() == plain
    assert not list(analysis.run.glob("**/*_part*"))

    config["sampling"]["batch_size"] = 15
    analysis.configure(config)
    assert analysis.planned()["sample_part"] == 3


@pytest.mark.parametrize("files_per_job", [None, 2])
def test_analyses_share_what_they_ingest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files_per_job):
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(cache))
    first, second, other = (
        of_three_files(tmp_path / name, files_per_job=files_per_job) for name in ("first", "second", "other")
    )
    config = other.config
    config["datasets"]["ecal"]["readout_threshold_MeV"] = 0.7
    other.configure(config)
    arguments = ("--cache", "--", f"{DATA}/ingest.json")
    assert "to cache" in first.make(*arguments)
    stored = set(cache.iterdir())
    assert "to cache" not in second.make(*arguments)
    assert set(cache.iterdir()) == stored
    for name in ("ingest.json", *SPLITS):
        assert (second.path / DATA / name).readlink() == (first.path / DATA / name).readlink()
    assert "Nothing to be done" in second.make("--dry-run", *arguments)
    assert "to cache" in other.make(*arguments)
    assert len(set(cache.iterdir())) == 2 * len(stored)
