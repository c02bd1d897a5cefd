"""Configuration errors as a user of Snakemake sees them, and running from elsewhere."""

from analysis import CHECKOUT, Analysis


def test_configuration_errors_end_a_dry_run_with_one_message(fresh: Analysis):
    config = fresh.config
    config["models"]["tiny"]["nois"] = 3
    config["models"]["tiny"]["training"]["batch_size"] = 0
    config["datasets"]["ecal"]["geometry"]["layers"][0]["cell_size_mm"] = ["wide", 20]
    fresh.configure(config)
    status, output = fresh.snakemake("--dry-run")
    assert status == 1
    message = output.partition("error: ")[2].splitlines()
    assert message == [
        "the configuration is not valid:",
        "  datasets.ecal.geometry.layers.0.cell_size_mm.0: found 'wide', expected a valid number, "
        "unable to parse string as a number",
        "  models.tiny.training.batch_size: found 0, expected greater than 0",
        "  models.tiny.nois: unknown key, did you mean 'noise'?",
    ]
    assert "Traceback" not in output


def test_a_missing_file_ends_a_dry_run_with_one_message(fresh: Analysis):
    config = fresh.config
    config["datasets"]["ecal"]["source"]["files"] = ["nowhere/*.root"]
    fresh.configure(config)
    status, output = fresh.snakemake("--dry-run")
    assert status == 1
    assert output.partition("error: ")[2].splitlines() == [
        "the configuration is not valid:",
        f"  datasets.ecal.source.files.0: found 'nowhere/*.root', which matches no file in {fresh.path}",
    ]


def test_the_committed_configuration_gives_a_complete_plan(fresh: Analysis):
    fresh.config_file.unlink()
    (fresh.path / "resources").symlink_to(CHECKOUT / "resources")
    arguments = ("--configfile", str(CHECKOUT / "config.yaml"), str(CHECKOUT / "config/paper/lhcb.yaml"))
    output = fresh.make("--dry-run", *arguments)
    assert "lhcb_paper/seed1/checkpoint.pt" in output
    assert "gpu=1" in output
