"""Trainings on a machine with two GPUs, as far as that shows without any; and with two processes."""

import json

import pytest
from analysis import Analysis


def test_jobs_that_run_side_by_side_get_gpus_of_their_own(
    analysis: Analysis, monkeypatch: pytest.MonkeyPatch
):
    config = analysis.config
    config["models"]["tiny"]["regressor"]["training"]["device"] = "auto"
    config["runs"][0]["seeds"] = [2, 3]
    analysis.configure(config)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    monkeypatch.setenv("TMPDIR", str(analysis.path))
    for name in ("SLURM_JOB_ID", "_CONDOR_SLOT"):
        monkeypatch.delenv(name, raising=False)
    analysis.make(*(f"results/ecal/tiny/seed{seed}/regressor.pt" for seed in (2, 3)), "--resources", "gpu=2")
    gpus = {}
    for seed in (2, 3):
        record = json.loads((analysis.run.parent / f"seed{seed}/regressor.json").read_text())
        gpus[seed] = record["cuda_visible_devices"]
        log = (analysis.path / f"logs/regressor/ecal/tiny/seed{seed}.log").read_text()
        assert f"GPU {gpus[seed]} of 2 that can be seen" in log
    assert sorted(gpus.values()) == ["4", "7"]


def test_devices_share_the_batches_of_a_training_and_make_nothing_again(analysis: Analysis):
    config = analysis.config
    config["runs"][0]["devices"] = 2
    analysis.configure(config)
    assert analysis.planned() == {}
    config["runs"][0]["seeds"] = [1, 2]
    analysis.configure(config)
    analysis.make("results/ecal/tiny/seed2/checkpoint.pt")
    for name in ("regressor", "train"):
        record = json.loads((analysis.run.parent / f"seed2/{name}.json").read_text())
        assert record["processes"] == [{"from_step": 0, "processes": 2}]
        assert record["device"] == "2 x cpu"
