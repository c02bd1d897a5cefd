"""Records checked against what is there now, and the configuration put together from them."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from caloforge.cli import main
from caloforge.config.load import plain, validate
from caloforge.errors import CaloforgeError
from caloforge.provenance import code_version, library_versions
from caloforge.reproduction import reproduce
from caloforge.reproduction.configuration import configuration
from caloforge.reproduction.records import tree_with

CHECKOUT = Path(__file__).parents[2]
RUN = "results/ecal/cwgan/seed1"


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_record(root, path, stage, inputs, outputs, settings, seed=None, **changes):
    """A record and, where they are missing, the files that it speaks of."""
    for file in (*inputs, *outputs):
        if not (root / file).exists():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text(json.dumps(f"content of {file}"))
    content = {
        "stage": stage,
        "inputs": {file: digest(root / file) for file in inputs},
        "outputs": {file: digest(root / file) for file in outputs},
        "settings": settings,
        "seed": seed,
        "code": code_version(),
        "libraries": library_versions(),
        "started": "2026-01-01T00:00:00.000+00:00",
        "ended": "2026-01-01T00:01:00.000+00:00",
    }
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(json.dumps(content | changes))


def write_records(root, config):
    """Records of everything that the workflow makes of a configuration, as its rules name them."""
    for path, file in config.remote_files.items():
        write_record(root, f"{path}.json", "fetch", [], [path], plain(file), checksum=file.checksum)
    for name, dataset in config.datasets.items():
        data = f"results/{name}/data"
        splits = [f"{data}/{split}.h5" for split in ("train", "val", "test")]
        if name in config.combinations:
            inputs = [f"results/{part}/data/train.h5" for part in dataset.combine]
            write_record(root, f"{data}/ingest.json", "combine", inputs, splits, plain(dataset))
        else:
            inputs = [*dataset.source.files, *dataset.source.paired_files]
            write_record(root, f"{data}/ingest.json", "ingest", inputs, splits, plain(dataset))
        if name in config.reported_datasets:
            settings = {"figures": plain(config.figures)}
            write_record(
                root, f"{data}/figures.json", "draw_dataset", splits[:1], [f"{data}/figures"], settings
            )
    inputs = [f"results/{name}/data/figures" for name in config.reported_datasets]
    for run in config.runs:
        for seed in run.seeds:
            inputs += _write_run(root, config, run, seed)
    for name in config.tested_datasets:
        if config.datasets[name].has_primaries:
            for baseline in config.baselines:
                folder = f"results/{name}/baselines/{baseline}"
                samples, read = f"{folder}/samples.h5", [f"results/{name}/data/test.h5"]
                seed = config.evaluation.seed
                write_record(root, f"{folder}/sample.json", "baseline", read, [samples], {}, seed=seed)
                inputs.append(_evaluate(root, config, folder, [samples], f"Baseline: {baseline}"))
    settings = {
        "title": config.report.title,
        "runs": [
            {"dataset": run.dataset, "model": run.model, "seed": seed, "label": run.label, "applied_to": name}
            for run in config.runs
            for seed in run.seeds
            for name in (None, *run.apply_to)
        ],
        "datasets": list(config.reported_datasets),
        "baselines": list(config.baselines),
    }
    page = "results/report/index.html"
    write_record(root, "results/report/report.json", "report", inputs, [page], settings)


def _write_run(root, config, run, seed):
    folder = f"results/{run.dataset}/{run.model}/seed{seed}"
    data = [f"results/{run.dataset}/data/{split}.h5" for split in ("train", "val")]
    jets = None if config.datasets[run.dataset].has_primaries else plain(config.jets)
    checkpoint = f"{folder}/checkpoint.pt"
    write_record(
        root,
        f"{folder}/train.json",
        "train",
        data,
        [checkpoint],
        plain(config.models[run.model]),
        seed,
        jets=jets,
    )
    for kind in ("grid", "traversals"):
        if getattr(run, kind):
            asked = {"grid": None, "traversals": None} | {kind: plain(run)[kind]}
            _sample(root, config, f"{folder}/{kind}", checkpoint, run.dataset, seed, asked)
    if config.timing:
        settings = plain(config.timing)
        write_record(root, f"{folder}/timing.json", "time_generation", [checkpoint], [], settings, seed)
    made = [f"{folder}/timing.json"] if config.timing else []
    for name in (run.dataset, *run.apply_to):
        place = folder if name == run.dataset else f"{folder}/on_{name}"
        asked = {"grid": None, "traversals": None}
        samples = _sample(root, config, f"{place}/sample", checkpoint, name, seed, asked)
        read = [samples, f"{folder}/traversals.h5"] if run.traversals else [samples]
        made.append(_evaluate(root, config, place, read, run.label))
    return made


def _sample(root, config, stem, checkpoint, dataset, seed, asked):
    settings = plain(config.sampling) | asked
    inputs = [checkpoint, f"results/{dataset}/data/test.h5"]
    write_record(root, f"{stem}.json", "sample", inputs, [f"{stem}.h5"], settings, seed)
    return f"{stem}.h5"


def _evaluate(root, config, folder, inputs, label):
    settings = {"label": label, "evaluation": plain(config.evaluation), "figures": plain(config.figures)}
    write_record(root, f"{folder}/evaluate.json", "evaluate", inputs, [f"{folder}/metrics.json"], settings)
    return f"{folder}/metrics.json"


def small_config(**changes):
    """One run of the demonstration, on a source file beside the configuration."""
    config = yaml.safe_load((CHECKOUT / "config.yaml").read_text())
    dataset = config["datasets"]["lhcb_ecal"]
    dataset["source"]["files"] = ["data/showers 1.root"]
    run = {"dataset": "ecal", "model": "cwgan", "seeds": [1], "label": "Größe: 5 %"}
    return {
        "datasets": {"ecal": dataset},
        "models": {"cwgan": config["models"]["cwgan"]},
        "runs": [run],
        "baselines": [],
    } | changes


@pytest.fixture
def analysis(tmp_path, monkeypatch):
    """A working directory with records of a small run and the files they speak of."""
    root = tmp_path / "an analysis"
    source = root / "data/showers 1.root"
    source.parent.mkdir(parents=True)
    source.write_text("showers")
    monkeypatch.chdir(root)
    write_records(root, validate(small_config()))
    return root


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def found(path=RUN):
    """What differs, as (what, whether it matters), and by which records."""
    return [(each.what, each.matters, each.records) for each in reproduce(Path(path), None).differences]


def test_nothing_differs_where_nothing_has_changed(analysis, capsys):
    assert found() == []
    assert main(["reproduce", RUN]) == 0
    assert "Code, libraries, sources and results are as recorded." in capsys.readouterr().out


def test_it_works_from_elsewhere(analysis, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert found(analysis / RUN) == []
    assert found(Path("an analysis") / RUN / "sample.h5") == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda root: (root / "data/showers 1.root").write_text("others"), "data/showers 1.root"),
        (lambda root: (root / "data/showers 1.root").unlink(), "data/showers 1.root"),
        (lambda root: (root / RUN / "metrics.json").write_text("{}"), f"{RUN}/metrics.json"),
        (lambda root: (root / RUN / "metrics.json").unlink(), f"{RUN}/metrics.json"),
        (lambda root: (root / "results/ecal/data/val.h5").write_text(""), "results/ecal/data/val.h5"),
    ],
    ids=["changed source", "missing source", "changed result", "missing result", "changed data"],
)
def test_a_file_that_differs_is_named(analysis, capsys, change, what):
    change(analysis)
    ((file, matters, _),) = found()
    assert (file, matters) == (what, True)
    assert main(["reproduce", RUN]) == 1
    assert what in capsys.readouterr().out


def test_a_deleted_intermediate_file_does_not_matter(analysis):
    (analysis / "results/ecal/data/val.h5").unlink()
    ((file, matters, _),) = found()
    assert (file, matters) == ("results/ecal/data/val.h5", False)
    assert main(["reproduce", RUN]) == 0


def test_a_result_made_of_a_file_that_was_made_anew_since_is_named(analysis):
    """A training, whose showers were ingested again to other bytes."""
    file = analysis / "results/ecal/data/train.h5"
    file.write_text("made anew")
    outputs = json.loads((analysis / "results/ecal/data/ingest.json").read_text())["outputs"]
    edit(
        analysis / "results/ecal/data/ingest.json",
        outputs=outputs | {"results/ecal/data/train.h5": digest(file)},
    )
    assert found() == [("results/ecal/data/train.h5", True, [f"{RUN}/train.json"])]


def test_another_library_version_is_named(analysis, capsys):
    edit(analysis / RUN / "train.json", libraries=library_versions() | {"numpy": "1.0.0"})
    assert found() == [("numpy", True, [f"{RUN}/train.json"])]
    assert main(["reproduce", RUN]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "numpy" in line]
    assert line.split() == ["numpy", "1.0.0", library_versions()["numpy"], f"{RUN}/train.json"]


def test_other_code_is_named(analysis):
    edit(analysis / RUN / "train.json", code=code_version() | {"sources": "0" * 64, "commit": "f" * 40})
    ((what, matters, _),) = found()
    assert (what, matters) == ("code", True)


def test_a_missing_record_is_named(analysis, capsys):
    (analysis / RUN / "train.json").unlink()
    assert [(what, matters) for what, matters, _ in found()] == [(f"{RUN}/checkpoint.pt", True)]
    assert main(["reproduce", RUN]) == 1
    assert "no record says what made it" in capsys.readouterr().out
    assert main(["reproduce", RUN, "--output", "anew"]) == 1
    assert f"error: {RUN}/train.json: found no such record" in capsys.readouterr().err
    assert not Path("anew").exists()


def test_a_damaged_record_is_named(analysis, capsys):
    (analysis / RUN / "train.json").write_text('{"stage": "tr')
    assert main(["reproduce", RUN]) == 1
    assert f"{RUN}/train.json cannot be read" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("results/ecal/none", "no such file or folder"),
        ("data", "is in no folder results"),
        ("results/ecal/empty", "found no record of what made it"),
    ],
)
def test_what_is_no_result_is_refused(analysis, path, message):
    Path("results/ecal/empty").mkdir()
    with pytest.raises(CaloforgeError, match=message):
        reproduce(Path(path), None)


def test_sources_on_servers_are_said_to_be_unchecked(analysis, capsys):
    ingest = analysis / "results/ecal/data/ingest.json"
    inputs = json.loads(ingest.read_text())["inputs"]
    edit(ingest, inputs=inputs | {"https://example.org/a.root": None})
    assert main(["reproduce", RUN]) == 0
    assert "Not checked, on servers: https://example.org/a.root" in capsys.readouterr().out


# ---- the configuration


def everything():
    """The demonstration with all that a configuration can ask for."""
    config = yaml.safe_load((CHECKOUT / "config.yaml").read_text())
    datasets, runs = config["datasets"], config["runs"]
    datasets["jets_both"] = {"combine": ["jets_dijet", "jets_wjet"], "title": "Both"}
    datasets["low"] = {"combine": ["atlas_larem"], "select": {"energy": [0, 70]}}
    datasets["fetched"] = datasets["lhcb_ecal"] | {
        "source": datasets["lhcb_ecal"]["source"] | {"files": ["downloads/record/a.root"]}
    }
    checksum = "md5:" + "0" * 32
    config["downloads"] = {"record": {"doi": "10.5281/zenodo.1", "files": {"a.root": checksum}}}
    runs[0] |= {
        "seeds": [3, 1],
        "grid": {"values": {"px": [0], "py": [0], "pz": [5, 20], "x0": [0], "y0": [0]}, "repeats": 3},
    }
    runs += [
        {"dataset": "jets_both", "model": "calpagan", "seeds": [1], "apply_to": ["jets_wjet", "jets_dijet"]},
        {"dataset": "low", "model": "calogan", "seeds": [2]},
        {"dataset": "fetched", "model": "cwgan", "seeds": [1]},
    ]
    config |= {"timing": {"repeats": 3}, "jets": {"radius": 0.6}, "sampling": {"batch_size": 7}}
    return config


def test_the_records_of_a_report_make_the_configuration_again(tmp_path, monkeypatch):
    monkeypatch.chdir(CHECKOUT)
    config = validate(everything())
    monkeypatch.chdir(tmp_path)
    write_records(tmp_path, config)
    tree = tree_with(tmp_path / "results/report")
    grids = [record for record in tree.records if record.path.endswith("/grid.json")]
    rebuilt = configuration(tree.upstream([*grids, *tree.of(tmp_path / "results/report")]))
    monkeypatch.chdir(CHECKOUT)
    assert validate(yaml.safe_load(yaml.safe_dump(rebuilt, sort_keys=False))) == config


def test_the_configuration_of_one_run_has_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(CHECKOUT)
    config = validate(everything())
    monkeypatch.chdir(tmp_path)
    write_records(tmp_path, config)
    tree = tree_with(tmp_path / "results")
    rebuilt = configuration(tree.upstream(tree.of(tmp_path / "results/jets_both/calpagan/seed1")))
    monkeypatch.chdir(CHECKOUT)
    found = validate(rebuilt)
    assert set(found.datasets) == {"jets_both", "jets_dijet", "jets_wjet"}
    assert set(found.models) == {"calpagan"}
    (run,) = found.runs
    assert sorted(run.apply_to) == ["jets_dijet", "jets_wjet"]
    in_order = {"apply_to": ("jets_wjet", "jets_dijet")}
    assert run.model_copy(update=in_order) == config.run("jets_both", "calpagan")
    assert found.jets == config.jets
    assert (found.baselines, found.report.datasets) == ((), ())


def test_a_data_set_alone_needs_no_run(tmp_path, monkeypatch):
    monkeypatch.chdir(CHECKOUT)
    config = validate(everything())
    monkeypatch.chdir(tmp_path)
    write_records(tmp_path, config)
    tree = tree_with(tmp_path / "results")
    rebuilt = configuration(tree.upstream(tree.of(tmp_path / "results/clic_ecal/data")))
    monkeypatch.chdir(CHECKOUT)
    found = validate(rebuilt)
    assert found.datasets == {"clic_ecal": config.datasets["clic_ecal"]}
    assert (found.runs, found.report.datasets) == ((), ("clic_ecal",))


def test_results_of_two_configurations_are_not_made_by_one(analysis):
    record = analysis / RUN / "sample.json"
    write_record(analysis, f"{RUN}/grid.json", "sample", [], [f"{RUN}/grid.h5"], {})
    settings = json.loads(record.read_text())["settings"]
    edit(analysis / RUN / "grid.json", settings=settings | {"batch_size": 1})
    with pytest.raises(CaloforgeError, match=r"another sampling than .*: no one configuration makes both"):
        reproduce(Path(RUN), Path("anew"))


# ---- the folder and the commands


def run_commands(commands, tmp_path):
    """Run commands by a shell with a `snakemake` that says where and how it was called."""
    stand_in = tmp_path / "bin/snakemake"
    stand_in.parent.mkdir(exist_ok=True)
    stand_in.write_text('#!/bin/sh\npwd\nfor argument in "$@"; do echo "$argument"; done\n')
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", "\n".join(commands)],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_commands_run_the_workflow_in_the_new_folder(analysis, tmp_path):
    output = tmp_path / "it's anew"
    result = reproduce(Path(RUN), output)
    where, *arguments = run_commands(result.commands, tmp_path)
    assert where == str(output)
    assert arguments == [
        "--snakefile",
        str(CHECKOUT / "Snakefile"),
        "--cores",
        "all",
        f"{RUN}/evaluate.json",
    ]
    assert (output / "data/showers 1.root").samefile(analysis / "data/showers 1.root")
    config = yaml.safe_load((output / "config.yaml").read_text())
    assert config["runs"][0]["label"] == "Größe: 5 %"
    versions = (output / "versions.txt").read_text().splitlines()
    assert f"numpy=={library_versions()['numpy']}" in versions


def test_other_code_and_libraries_are_got_first(analysis):
    commit = "0123456789" * 4
    for record in Path("results").rglob("*.json"):
        if "libraries" in record.read_text():
            edit(
                record,
                code=code_version() | {"sources": "0" * 64, "commit": commit},
                libraries=library_versions() | {"python": "3.12.1", "numpy": "2.2.2"},
            )
    result = reproduce(Path(RUN), analysis / "anew")
    assert result.commands == [
        f"cd '{analysis / 'anew'}'",
        f"git clone {CHECKOUT} caloforge",
        f"git -C caloforge checkout --quiet {commit}",
        "python3.12 -m venv .venv",
        ".venv/bin/pip install -c versions.txt -e caloforge",
        f".venv/bin/snakemake --snakefile caloforge/Snakefile --cores all {RUN}/evaluate.json",
    ]
    assert "numpy==2.2.2\n" in Path("anew/versions.txt").read_text()


def test_sources_above_the_working_directory_are_found_again(tmp_path, monkeypatch):
    root = tmp_path / "project/runs/first"
    root.mkdir(parents=True)
    (tmp_path / "project/data").mkdir()
    (tmp_path / "project/data/a.root").write_text("showers")
    monkeypatch.chdir(root)
    config = small_config()
    config["datasets"]["ecal"]["source"]["files"] = ["../../data/a.root"]
    write_records(root, validate(config))
    result = reproduce(Path(RUN), tmp_path / "anew")
    work = tmp_path / "anew/runs/first"
    assert result.commands[0] == f"cd {work}"
    assert (work / "../../data/a.root").read_text() == "showers"
    assert (tmp_path / "anew/data/a.root").is_symlink()


def test_an_existing_folder_is_refused(analysis):
    Path("anew").mkdir()
    with pytest.raises(CaloforgeError, match="anew: exists, expected a new folder"):
        reproduce(Path(RUN), Path("anew"))


def test_a_configuration_that_is_refused_now_leaves_no_folder(analysis, capsys):
    edit(analysis / RUN / "train.json", settings={"family": "conditional_wgan", "colour": "red"})
    assert main(["reproduce", RUN, "--output", "anew"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: as the records have it, the configuration is not valid:")
    assert "models.cwgan.colour: unknown key" in error
    assert not Path("anew").exists()
