import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from caloforge.config.load import plain, validate
from caloforge.config.project import source_files
from caloforge.config.schema import schema_text
from caloforge.errors import CaloforgeError

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A small valid configuration whose working directory holds a.root and b.root."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.root", "a.root"):
        (tmp_path / name).touch()
    return {
        "datasets": {
            "ecal": {
                "source": {"format": "root_cells", "files": ["*.root"]},
                "geometry": {"name": "ECAL", "layers": [{"shape": [30, 30], "cell_size_mm": [20, 20]}]},
                "conditions": {"px": {"column": "px", "unit": "GeV"}, "pz": {"column": "pz", "unit": "GeV"}},
                "readout_threshold_MeV": 0.5,
            }
        },
        "models": {"gan": {"family": "conditional_wgan", "training": {"epochs": 5}}},
        "runs": [{"dataset": "ecal", "model": "gan", "seeds": [1]}],
    }


def put(*path: str | int, value: Any) -> Callable[[dict], None]:
    """An edit that sets the entry at `path`."""

    def edit(config: dict) -> None:
        for key in path[:-1]:
            config = config.setdefault(key, {}) if isinstance(config, dict) else config[key]
        config[path[-1]] = value

    return edit


def test_defaults_are_filled_in(config: dict):
    settings = validate(config)
    assert settings.models["gan"].noise == 512
    assert settings.datasets["ecal"].split.train == 0.8
    assert settings.evaluation.bins == 40
    assert settings.runs[0].label == ""


def test_source_files_are_sorted_and_seen_from_the_working_directory(config: dict, tmp_path: Path):
    assert source_files(validate(config).datasets["ecal"]) == ["a.root", "b.root"]
    config["datasets"]["ecal"]["source"]["files"] = ["b.root", str(tmp_path / "a.*")]
    assert source_files(validate(config).datasets["ecal"]) == [str(tmp_path / "a.root"), "b.root"]


def test_a_file_name_with_brackets_is_found(config: dict, tmp_path: Path):
    (tmp_path / "run[1].dat").touch()
    config["datasets"]["ecal"]["source"]["files"] = ["run[1].dat"]
    assert source_files(validate(config).datasets["ecal"]) == ["run[1].dat"]


@pytest.mark.parametrize(
    "edit",
    [
        put("models", "gan", "learning_rate", value="1e-4"),
        put("models", "gan", "gradient_penalty", value=10),
        put("models", "gan", "noise", value=512.0),
        put("models", "gan", "training", value={"ema_decay": 0, "batch_size": "64", "epochs": 5.0}),
        put("datasets", "ecal", "conditions", value={
            "pz": {"unit": "GeV", "column": "pz"}, "px": {"unit": "GeV", "column": "px"}
        }),
    ],
)  # fmt: skip
def test_spelling_of_values_and_order_of_keys_do_not_matter(config: dict, edit: Callable[[dict], None]):
    before = plain(validate(config))
    edit(config)
    assert repr(plain(validate(config))) == repr(before)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (put("models", "gan", "nois", value=3), "models.gan.nois: unknown key, did you mean 'noise'?"),
        (put("dataset", value={}), "dataset: unknown key, did you mean 'datasets'?"),
        (
            put("datasets", "ecal", "axis_check", value={"x": ["px", "pz"], "u": 1}),
            "datasets.ecal.axis_check.u: unknown key, expected one of x, y",
        ),
        (
            put("datasets", "ecal", "geometry", "layers", 0, "shap", value=1),
            "datasets.ecal.geometry.layers.0.shap: unknown key, did you mean 'shape'?",
        ),
        (
            put("datasets", "ecal", "geometry", "layers", 0, "shape", value=[30]),
            "datasets.ecal.geometry.layers.0.shape.1: found nothing, expected a value",
        ),
        (put("models", "gan", "noise", value=-3), "models.gan.noise: found -3, expected greater than 0"),
        (
            put("models", "gan", "noise", value="many"),
            "models.gan.noise: found 'many', expected a valid integer",
        ),
        (
            put("models", "gan", "preprocessing", "power", value="fitted"),
            "models.gan.preprocessing.power: found 'fitted', expected 'fit' or a valid number",
        ),
        (
            put("models", "gan", "family", value="wgan"),
            "models.gan: found 'wgan', expected one of 'calogan', 'calpagan', 'conditional_calogan', ",
        ),
        (
            lambda config: config["models"]["gan"].pop("family"),
            "models.gan: found no 'family', expected one",
        ),
        (
            put("models", "gan", value={"family": "gan3d_conv3d", "noise": 9}),
            "models.gan.noise: unknown key, expected one of adam_betas, adversarial_weight, ",
        ),
        (
            put("models", "gan", value={"family": "gan3d_conv2d"}),
            "runs.0: model gan does not take data set ecal: takes layers of equal rectangular cells",
        ),
        (
            put("runs", 0, "devices", value=3),
            "runs.0.devices: found 3, expected a divisor of the batch size 64 of model gan",
        ),
        (
            put("models", "gan", "training", "validation", value="shower_shapes"),
            "models.gan.training.validation: found 'shower_shapes', expected 'observables': data set ecal",
        ),
        (
            put("models", "grid", value={"family": "gan3d_conv3d", "preprocessing": {"inputs": ["px"]}}),
            "models.grid: preprocessing.inputs: found ['px'], expected energy alone",
        ),
        (
            put("models", "grid", value={"family": "gan3d_conv3d", "particles": [11, 22]}),
            "models.grid: preprocessing.inputs: found ['energy'], expected energy and the condition",
        ),
        (
            put("models", "grid", value={"family": "gan3d_conv3d", "particles": [11]}),
            "models.grid: particles: found [11], expected none or several different ones",
        ),
        (
            put(
                "models", "grid", value={"family": "gan3d_conv3d", "energies_GeV": [1, 9], "shape_weight": 5}
            ),
            "models.grid: shape_weight: found 5 with energies_GeV [1.0, 9.0], expected 0 or ",
        ),
        (
            put("models", "grid", value={"family": "gan3d_conv3d", "energies_GeV": [9, 9]}),
            "models.grid: energies_GeV: found [9.0, 9.0], expected the lower energy first",
        ),
        (put("runs", value=[]), "runs: found [], expected at least one run, or data sets in report.datasets"),
        (put("runs", 0, "model", value="gann"), "runs.0.model: found 'gann', did you mean 'gan'?"),
        (put("runs", 0, "dataset", value="hcal"), "runs.0.dataset: found 'hcal', did you mean 'ecal'?"),
        (put("runs", 0, "dataset", value="tracks"), "runs.0.dataset: found 'tracks', expected one of ecal"),
        (put("runs", 0, "seeds", value=[2, 2]), "runs.0.seeds: found [2, 2], expected every seed once"),
        (
            put("report", value={"datasets": ["ecla"]}),
            "report.datasets.0: found 'ecla', did you mean 'ecal'?",
        ),
        (
            put("report", value={"datasets": ["ecal", "ecal"]}),
            "report.datasets: found ['ecal', 'ecal'], expected every data set once",
        ),
        (put("runs", 0, "seeds", value=[]), "runs.0.seeds: found [], expected at least 1 item"),
        (
            lambda config: config["runs"].append({"dataset": "ecal", "model": "gan", "seeds": [2]}),
            "runs.1: found ecal with gan again, expected its seeds in runs.0",
        ),
        (
            put("datasets", "ecal", "source", "files", value=["*.root", "more/*.root"]),
            "datasets.ecal.source.files.1: found 'more/*.root', which matches no file in ",
        ),
        (
            put("datasets", "ecal", "geometry", "layers", 0, "shape", value=[30, 33]),
            "runs.0: model gan does not take data set ecal: 4 channels reach 32 x 32 cells, "
            "geometry ECAL has 30 x 33",
        ),
        (
            put("models", "gan", "regressor", "channels", value=[8, 8, 8]),
            "runs.0: model gan does not take data set ecal: 3 regressor.channels reach 16 x 16 cells",
        ),
        (
            lambda config: config["datasets"]["ecal"]["geometry"]["layers"].append(
                {"shape": [3, 3], "cell_size_mm": [20, 20]}
            ),
            "runs.0: model gan does not take data set ecal: takes one layer of cells, geometry ECAL has 2",
        ),
        (
            put("models", "gan", "preprocessing", "inputs", value=["log(energy)", "px/eta"]),
            "models.gan.preprocessing.inputs.1: found 'eta', expected one of energy, px, pz (data set ecal)",
        ),
        (
            put(
                "runs",
                0,
                "grid",
                value={"values": {"px": [0, 1], "pz": [10], "energi": [10], "energy": [10]}},
            ),
            "runs.0.grid.values: found 'energi', did you mean 'energy'?",
        ),
        (
            put("runs", 0, "grid", value={"values": {"px": [0, 1], "energy": [10]}}),
            "runs.0.grid.values: found no pz, expected every condition of the data set",
        ),
        (
            put("runs", 0, "grid", value={"values": {"px": [0, 1], "pz": [10]}}),
            "runs.0.grid.values: found no energy, expected it [GeV]",
        ),
        (
            put("runs", 0, "traversals", value={"steps": {"px": [0, 1]}, "at": {"pzz": 10}}),
            "runs.0.traversals.at: found 'pzz', did you mean 'pz'?",
        ),
        (
            put("runs", 0, "traversals", value={"steps": {"px": [0]}}),
            "runs.0.traversals.steps.px: found [0], expected at least 2 items",
        ),
        (
            put("datasets", "ecal", "split", value={"train": 0.5, "val": 0.1, "test": 0.1}),
            "datasets.ecal.split: train + val + test is 0.7, expected 1",
        ),
        (
            put("datasets", "ecal", "split", value={"test_files": ["b.root"]}),
            "datasets.ecal.split: found test_files and a share of 0.1 for the test, expected test: 0",
        ),
        (
            put("datasets", "ecal", "split", value={"train": 0.9, "val": 0.1, "test": 0}),
            "datasets.ecal.split: found 0 for the test, expected a share or test_files",
        ),
        (
            put("datasets", "ecal", "conditions", "px", "unit", value="Gev"),
            "datasets.ecal.conditions.px.unit: found 'Gev', expected 'eV'",
        ),
        (
            lambda config: config["datasets"].update({"my-set": config["datasets"]["ecal"]}),
            "datasets.my-set: found 'my-set', expected pattern",
        ),
        (
            lambda config: config["datasets"].update({"report": config["datasets"]["ecal"]}),
            "datasets.report: found 'report', expected another name",
        ),
        (
            lambda config: config["models"].update({"data": config["models"]["gan"]}),
            "models.data: found 'data', expected another name",
        ),
        (put("models", value="gan"), "models: found 'gan', expected a valid dictionary"),
        (lambda config: config.pop("runs"), "runs: found nothing, expected a value"),
    ],
)
def test_a_problem_is_one_line_with_its_key_path(config: dict, edit: Callable[[dict], None], message: str):
    edit(config)
    with pytest.raises(CaloforgeError) as failure:
        validate(config)
    title, *problems = str(failure.value).splitlines()
    assert title == "the configuration is not valid:"
    assert len(problems) == 1
    assert problems[0].startswith(f"  {message}")


def test_all_problems_are_listed(config: dict):
    put("models", "gan", "nois", value=3)(config)
    put("runs", 0, "label", value=7)(config)
    with pytest.raises(CaloforgeError) as failure:
        validate(config)
    assert [line.split(":")[0].strip() for line in str(failure.value).splitlines()[1:]] == [
        "models.gan.nois",
        "runs.0.label",
    ]


def test_the_committed_schema_is_in_step():
    committed = (CHECKOUT / "config.schema.json").read_text()
    assert committed == schema_text(), "run `make schema`"
    assert json.loads(committed)["properties"]["runs"]["description"]


@pytest.mark.parametrize("overlay", [None, *(CHECKOUT / "config").rglob("*.yaml")], ids=str)
def test_the_committed_configurations_are_valid(overlay: Path | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(CHECKOUT)
    config = yaml.safe_load(Path("config.yaml").read_text())
    if overlay:
        merge(config, yaml.safe_load(overlay.read_text()))
    assert len(source_files(validate(config).datasets["lhcb_ecal"])) == 6


def merge(config: dict, overlay: dict) -> None:
    """Lay one configuration over another: mappings are merged, everything else is replaced."""
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            merge(config[key], value)
        else:
            config[key] = copy.deepcopy(value)


def test_reading_a_configuration_loads_no_heavy_library():
    heavy = {"torch", "uproot", "awkward", "h5py", "matplotlib", "pandas", "scipy"}
    code = "import sys, caloforge.config.load, caloforge.code_digest; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not heavy & set(loaded.split())
