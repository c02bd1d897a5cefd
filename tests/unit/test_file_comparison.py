"""Two files scored without the workflow; the faults of generators show where they should."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from test_ingest import CONDITIONS, SAMPLES, events, settings, write_root

from caloforge.cli import main
from caloforge.config.stages import EvaluationSettings, FigureSettings
from caloforge.errors import CaloforgeError
from caloforge.file_comparison import compare_files
from caloforge.ingest.formats import root_cells
from caloforge.showers import Showers, ShowerWriter

N = 1200
THRESHOLD_MEV = 0.5
DATASET = settings(
    geometry={
        **settings().geometry.model_dump(),
        "radiation_length_mm": 16.4,
        "critical_energy_MeV": 9.7,
    }
)


@pytest.fixture(scope="module")
def parts() -> dict[str, Showers]:
    """Real showers: N to compare with, N for the floor, N of a training and N more."""
    found = [batch.showers for batch in root_cells.read(DATASET, SAMPLES, [])]
    joined = Showers(
        np.concatenate([part.showers for part in found]),
        np.concatenate([part.incident_energies for part in found]),
        {name: np.concatenate([part.conditions[name] for part in found]) for name in CONDITIONS},
        np.concatenate([part.event for part in found]),
    )
    names = ("reference", "independent", "training", "exact")
    order = np.random.default_rng(3).permutation(len(joined))
    return {name: joined[np.sort(order[N * k : N * (k + 1)])] for k, name in enumerate(names)}


def write(path: Path, showers: Showers) -> Path:
    with ShowerWriter(path, DATASET.geometry, CONDITIONS) as writer:
        writer.append(showers)
    return path


@pytest.fixture(scope="module")
def scored(parts, tmp_path_factory):
    """Metrics of a generator that makes these showers."""
    folder = tmp_path_factory.mktemp("scored")
    roles = ("reference", "independent", "training")
    files = {name: write(folder / f"{name}.h5", parts[name]) for name in roles}
    found = {}

    def score(name: str, make) -> dict:
        if name not in found:
            output = folder / name
            compare_files(
                sample=write(folder / f"sample_{name}.h5", make()),
                **files,
                readout_threshold_MeV=THRESHOLD_MEV,
                settings=EvaluationSettings(bootstrap=30, classifiers={"use": ("trees",)}),
                figures=FigureSettings(dpi=50, displays=1),
                output=output,
            )
            found[name] = json.loads((output / "metrics.json").read_text())
        return found[name]

    return score


def excess(number: dict) -> float:
    """How far a number is from its floor, in combined errors."""
    generated, floor = number["generated"], number["floor"]
    return (generated["value"] - floor["value"]) / np.hypot(generated["error"], floor["error"])


def ks_excess(metrics: dict) -> dict[str, float]:
    return {
        name: excess({kind: observable[kind]["ks"] for kind in ("generated", "floor")})
        for name, observable in metrics["observables"].items()
    }


def test_an_exact_generator_is_at_the_floor(parts, scored):
    metrics = scored("exact", lambda: parts["exact"])
    p_values = [observable["generated"]["ks_p_value"] for observable in metrics["observables"].values()]
    assert min(p_values) > 0.05 / len(p_values) / 5
    samples = metrics["samples"]
    for name in ("fpd", "kpd", "correlation_distance", "recall", "coverage", "precision", "neighbour_ks"):
        assert abs(excess(samples[name])) < 4, name
    area = samples["auc_trees"]["generated"]
    assert abs(area["value"] - 0.5) < 4 * area["error"]
    assert samples["neighbour_close_share"]["generated"]["value"] < 0.03


def test_an_energy_scale_of_two_per_cent_is_seen_by_the_response(parts, scored):
    exact = parts["exact"]
    metrics = scored("scale", lambda: replace(exact, showers=exact.showers * np.float32(1.02)))
    found = ks_excess(metrics)
    assert found["response"] > 5
    assert max(found[name] for name in ("width_along_mm", "width_across_mm", "hottest_fraction")) < 4
    assert excess(metrics["samples"]["auc_trees"]) > 3


def narrow(showers: Showers) -> Showers:
    """Showers whose energy is drawn to the hot cells, each with the same sum."""
    cells = showers.showers.astype(np.float64) ** 1.075
    cells *= (showers.showers.sum(axis=1) / cells.sum(axis=1))[:, None]
    return replace(showers, showers=cells.astype(np.float32))


def widths_mm(showers: Showers) -> np.ndarray:
    """Standard deviation along x of the energy above the threshold."""
    cells = np.where(showers.showers > THRESHOLD_MEV, showers.showers, 0).reshape(-1, 30, 30).sum(axis=2)
    x_mm = 20 * (np.arange(30) - 14.5)
    mean = cells @ x_mm / cells.sum(axis=1)
    return np.sqrt(cells @ x_mm**2 / cells.sum(axis=1) - mean**2)


def test_widths_that_are_ten_per_cent_too_narrow_are_seen_by_the_widths(parts, scored):
    ratio = np.median(widths_mm(narrow(parts["exact"]))) / np.median(widths_mm(parts["exact"]))
    assert 0.87 < ratio < 0.93
    metrics = scored("narrow", lambda: narrow(parts["exact"]))
    for name in ("width_across_mm", "radius_90_mm"):
        assert metrics["observables"][name]["generated"]["ks_p_value"] < 1e-8, name
        assert metrics["observables"][name]["floor"]["ks_p_value"] > 1e-3, name
    assert abs(ks_excess(metrics)["response"]) < 4
    assert excess(metrics["samples"]["fpd"]) > 3
    assert excess(metrics["samples"]["auc_trees"]) > 5


def test_copies_of_training_showers_are_seen_by_their_distance_to_the_training_set(parts, scored):
    exact, training = parts["exact"], parts["training"]
    copied = np.arange(N) < N // 2

    def half() -> Showers:
        return Showers(
            np.where(copied[:, None], training.showers, exact.showers),
            np.where(copied[:, None], training.incident_energies, exact.incident_energies),
            {
                name: np.where(copied, training.conditions[name], exact.conditions[name])
                for name in exact.conditions
            },
            exact.event,
        )

    metrics = scored("copied", half)
    share = metrics["samples"]["neighbour_close_share"]
    assert 0.48 < share["generated"]["value"] < 0.55
    assert share["floor"]["value"] < 0.03
    assert max(ks_excess(metrics).values()) < 4
    assert abs(metrics["samples"]["auc_trees"]["generated"]["value"] - 0.5) < 0.08


def test_a_collapse_onto_ten_showers_is_seen_by_recall_and_coverage(parts, scored):
    metrics = scored("collapsed", lambda: parts["exact"][np.arange(N) % 10])
    samples = metrics["samples"]
    assert samples["coverage"]["generated"]["value"] < 0.15
    assert samples["coverage"]["floor"]["value"] > 0.85
    assert samples["recall"]["generated"]["value"] < 0.15
    assert samples["recall"]["floor"]["value"] > 0.7
    assert samples["precision"]["generated"]["value"] > 0.7
    assert excess(samples["auc_trees"]) > 5


def test_the_same_events_are_compared_in_pairs(parts, tmp_path):
    reference = write(tmp_path / "full.h5", parts["reference"][:300])
    order = np.random.default_rng(1).permutation(300)
    other = replace(parts["exact"][:300], event=parts["reference"].event[:300])
    same = replace(other, incident_energies=parts["reference"].incident_energies[:300])
    samples = {"same": (same, True), "other": (other, False), "mixed": (same[order], False)}
    for name, (sample, paired) in samples.items():
        output = tmp_path / name
        compare_files(
            reference,
            write(tmp_path / f"{name}.h5", sample),
            readout_threshold_MeV=THRESHOLD_MEV,
            settings=EvaluationSettings(bootstrap=10, classifiers={"use": ()}),
            figures=FigureSettings(dpi=50, displays=1),
            output=output,
        )
        record = json.loads((output / "record.json").read_text())
        assert record["same_events"] is paired
        assert record["events"] == {"generated": 150, "reference": 150, "independent": 150}
        assert set(record["inputs"]) == {str(reference), str(tmp_path / f"{name}.h5")}
        drawn = {entry["file"] for entry in json.loads((output / "figures/index.json").read_text())}
        assert ("matched_showers.svg" in drawn) is paired
        assert "average_shower.svg" in drawn


def test_the_command_line(parts, tmp_path, capsys):
    reference = write(tmp_path / "full.h5", parts["reference"][:240])
    sample = write(tmp_path / "sample.h5", parts["exact"][:200])
    output = tmp_path / "scores"
    arguments = [str(reference), str(sample), "--readout-threshold-MeV", "0.5", "--output", str(output)]
    assert main(["compare", *arguments]) == 0
    text = capsys.readouterr().out
    assert "120 events scored beside 120 of the full simulation; floor: 120 independent ones" in text
    assert "Width along the incident direction [mm]" in text
    assert "Fréchet physics distance" in text
    assert {path.name for path in output.iterdir()} >= {
        "metrics.json",
        "record.json",
        "figures",
        "index.html",
    }

    assert main(["compare", *arguments]) == 1
    assert capsys.readouterr().err == f"error: {output}: exists, expected a new folder\n"


def test_bad_input_has_one_clear_error_and_leaves_nothing(parts, tmp_path):
    reference = write(tmp_path / "full.h5", parts["reference"][:100])
    sample = write(tmp_path / "sample.h5", parts["exact"][:100])
    output = tmp_path / "scores"

    def refused(message: str, **arguments) -> None:
        options = {
            "reference": reference,
            "sample": sample,
            "readout_threshold_MeV": 0.5,
            "settings": EvaluationSettings(bootstrap=10, classifiers={"use": ()}),
            "figures": FigureSettings(),
            "output": output,
        }
        with pytest.raises(CaloforgeError, match=message):
            compare_files(**options | arguments)
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(("scores", ".scores"))]

    refused(r"full\.h5: states no readout threshold, expected one", readout_threshold_MeV=None)
    refused(r"nowhere\.h5: no such file", sample=tmp_path / "nowhere.h5")

    image = write_root(tmp_path / "image.root", events(0, 20))
    refused(r"^\S+/image\.root: geometry image states no radiation_length_mm", reference=image, sample=image)

    other = tmp_path / "other.h5"
    layer = DATASET.geometry.layers[0].model_copy(update={"cell_size_mm": (10.0, 10.0)})
    with ShowerWriter(other, DATASET.geometry.model_copy(update={"layers": (layer,)}), CONDITIONS) as writer:
        writer.append(parts["exact"][:10])
    refused(r"other\.h5: another geometry found, expected that of \S+full\.h5$", sample=other)

    few = write(tmp_path / "few.h5", parts["exact"][:3])
    refused(r"few\.h5: 3 showers found, expected at least 4", reference=few)

    unknown = tmp_path / "unknown.h5"
    with h5py.File(unknown, "w") as file:
        file["noise"] = np.arange(3)
    refused(r"unknown\.h5: .*describe it by an entry of config\.yaml \(--geometry\)", sample=unknown)

    entry = tmp_path / "entry.yaml"
    entry.write_text("models: {}\n")
    root = write_root(tmp_path / "some.root", events(0, 20))
    refused(r"entry\.yaml: datasets: found none, expected one data set", sample=root, geometry=entry)


def test_an_entry_describes_files(tmp_path, capsys):
    root = write_root(tmp_path / "some.root", events(0, 60))
    assert main(["inspect", "--yaml", str(root)]) == 0
    entry = tmp_path / "entry.yaml"
    described = yaml.safe_load(capsys.readouterr().out)
    (dataset,) = described["datasets"].values()
    dataset |= {"geometry": DATASET.geometry.model_dump(mode="json"), "readout_threshold_MeV": 0.7}
    entry.write_text(yaml.safe_dump(described))
    output = tmp_path / "scores"
    compare_files(
        root,
        write_root(tmp_path / "more.root", events(60, 60)),
        geometry=entry,
        settings=EvaluationSettings(bootstrap=10, classifiers={"use": ()}),
        figures=FigureSettings(dpi=50),
        output=output,
    )
    record = json.loads((output / "record.json").read_text())
    assert record["readout_threshold_MeV"] == 0.7
    assert str(entry) in record["inputs"]
