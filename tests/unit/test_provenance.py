import hashlib
import json
import subprocess
from datetime import datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from caloforge import provenance
from caloforge.errors import CaloforgeError
from caloforge.seeds import derive_seed

CHECKOUT = Path(__file__).parents[2]


def test_digest_of_a_published_test_vector(tmp_path):
    """FIPS 180-4, SHA-256 of "abc"."""
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert provenance.file_digest(tmp_path / "abc") == expected


def test_a_missing_input_is_named(tmp_path):
    with pytest.raises(CaloforgeError, match="gone: no such file"):
        provenance.file_digest(tmp_path / "gone")


def test_a_record_says_what_made_the_result(tmp_path):
    (tmp_path / "in").write_bytes(b"abc")
    with provenance.recorded(
        tmp_path / "r.json",
        stage="bake",
        inputs=[tmp_path / "in"],
        outputs=[tmp_path / "out", tmp_path / "folder"],
        settings={"heat": 2},
        seed=7,
    ) as facts:
        (tmp_path / "out").write_bytes(b"abc")
        (tmp_path / "folder/inner").mkdir(parents=True)
        (tmp_path / "folder/inner/b").write_bytes(b"b")
        (tmp_path / "folder/a").write_bytes(b"abc")
        (tmp_path / "folder/.snakemake_timestamp").touch()
        facts["device"] = "oven"
    record = json.loads((tmp_path / "r.json").read_text())
    assert (record["stage"], record["settings"], record["seed"]) == ("bake", {"heat": 2}, 7)
    assert record["device"] == "oven"
    assert record["inputs"] == {str(tmp_path / "in"): provenance.file_digest(tmp_path / "in")}
    assert record["libraries"]["numpy"] == np.__version__
    assert record["code"]["caloforge"] == metadata.version("caloforge")
    assert record["time_s"]["wall"] >= 0
    assert datetime.fromisoformat(record["started"]) <= datetime.fromisoformat(record["ended"])
    listing = subprocess.run(
        ["sha256sum", "a", "inner/b"], cwd=tmp_path / "folder", capture_output=True, check=True
    )
    assert record["outputs"] == {
        str(tmp_path / "out"): provenance.file_digest(tmp_path / "in"),
        str(tmp_path / "folder"): hashlib.sha256(listing.stdout).hexdigest(),
    }


def test_outputs_may_lie_elsewhere_until_the_record_is_written(tmp_path):
    with provenance.recorded(
        tmp_path / "r.json",
        stage="bake",
        inputs=[],
        outputs={tmp_path / "out": tmp_path / "tin"},
        settings={},
    ):
        (tmp_path / "tin").write_bytes(b"abc")
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["outputs"] == {str(tmp_path / "out"): provenance.file_digest(tmp_path / "tin")}


def test_a_failed_stage_leaves_no_record(tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        provenance.recorded(tmp_path / "r.json", stage="bake", inputs=[], outputs=[], settings={}),
    ):
        1 / 0  # noqa: B018
    assert not (tmp_path / "r.json").exists()


@pytest.mark.skipif(not (CHECKOUT / ".git").exists(), reason="not a git checkout")
def test_the_commit_is_that_of_the_checkout():
    head = subprocess.run(
        ["git", "-C", str(CHECKOUT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    assert provenance.code_version()["commit"] == head.stdout.strip()


def test_seeds_differ_by_root_and_by_name():
    """Against SHA-256 worked by hand for one case, and no collisions among many."""
    digest = hashlib.sha256(b"3/sample/0").digest()
    assert derive_seed(3, "sample", 0) == int.from_bytes(digest[:8], "big") // 2
    seeds = {derive_seed(root, name, n) for root in range(10) for name in ("a", "b") for n in range(50)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
