"""What is timed, how often and how it is recorded, on a clock of the test; no time is measured here."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from caloforge import checkpoint as checkpoints
from caloforge import timing
from caloforge.config.stages import FigureSettings, TimingSettings
from caloforge.errors import CaloforgeError
from caloforge.figures.style import figure_style
from caloforge.figures.timing import Line, time_per_shower
from caloforge.geometry import Geometry
from caloforge.models.conditional_wgan.settings import ConditionalWGANSettings
from caloforge.models.family import build
from caloforge.preprocessing import Preprocessing
from caloforge.sampling import generate
from caloforge.seeds import derive_seed
from caloforge.showers import Showers, ShowerWriter
from caloforge.timing import WARM_UP, batch_sharing, choose_hardware, pass_times_s, time_generation
from caloforge.timing_figures import draw_timing

CPU = torch.device("cpu")
GEOMETRY = Geometry(name="box", layers=[{"shape": (14, 14), "cell_size_mm": (10, 10)}])
MODEL = ConditionalWGANSettings(family="conditional_wgan", noise=8, channels=(16, 8, 4))
PREPROCESSING = Preprocessing(
    0.5, 0.0, 1.0, ("log(energy)", "px"), (0.0, 0.0), (1.0, 1.0), (0.2,), (0.1, 0.0), (), 0.0
)


def showers(n, paired=False):
    rng = np.random.default_rng(0)
    return Showers(
        np.zeros((n, 196), np.float32),
        rng.uniform(1000, 9000, (n, 1)).astype(np.float32),
        {"px": rng.uniform(1, 2, n).astype(np.float32)},
        np.arange(n),
        rng.uniform(0, 9, (n, 196)).astype(np.float32) if paired else None,
    )


def save(folder, requested, model=MODEL):
    torch.manual_seed(0)
    (folder / "preprocessing.json").write_text(json.dumps(PREPROCESSING.as_dict()))
    checkpoints.save(
        folder / "checkpoint.pt",
        {
            "kind": "conditional_wgan",
            "settings": model.model_dump(mode="json"),
            "geometry": GEOMETRY.model_dump(mode="json"),
            "preprocessing": PREPROCESSING.as_dict(),
            "weights": build(model, GEOMETRY, PREPROCESSING).state_dict(),
        },
    )
    paired = requested.reference is not None
    with ShowerWriter(folder / "test.h5", GEOMETRY, {"px": "GeV"}, paired=paired) as writer:
        writer.append(requested)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Time a model on a machine without a GPU, on a clock that ticks once a second; the record."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)

    def run(requested, clock=None, model=MODEL, **settings):
        save(tmp_path, requested, model)
        time_generation(
            MODEL,
            TimingSettings(threads=1, **settings),
            checkpoint=tmp_path / "checkpoint.pt",
            preprocessing=tmp_path / "preprocessing.json",
            test=tmp_path / "test.h5",
            seed=1,
            record=tmp_path / "timing.json",
            clock=clock or Ticks(),
        )
        return json.loads((tmp_path / "timing.json").read_text())

    return run


class Ticks:
    """A clock whose readings are so many seconds apart."""

    def __init__(self, *steps_s):
        self.readings_s = iter(np.cumsum([0.0, *steps_s])) if steps_s else iter(range(10**6))

    def __call__(self):
        return float(next(self.readings_s))


@pytest.fixture
def passes(monkeypatch):
    """The requests and seeds that the generator was called with; it makes nothing."""
    found = []

    def generate(network, preprocessing, requested, seed, device):
        found.append((requested, seed))
        return np.zeros((len(requested), 196), np.float32)

    monkeypatch.setattr(timing, "generate", generate)
    return found


def test_times_are_those_of_the_clock_per_shower_with_quantiles(run):
    """Passes of 1 to 5 ms, shuffled: the quantile q is 1 ms + q * 4 ms; then five of 8 ms for 4 showers."""
    clock = Ticks(*np.array([3, 1, 5, 2, 4]) / 1000, 100, *5 * [0.008])
    record = run(showers(3), clock, batch_sizes=(1, 4), repeats=5)
    assert [device["label"] for device in record["devices"]] == ["CPU, 1 thread", "1 GPU", "2 GPUs"]
    one, four = record["devices"][0]["times"]
    assert (one["batch_size"], one["repeats"]) == (1, 5)
    assert one["ms_per_shower"] == pytest.approx({"low": 1.64, "median": 3, "high": 4.36})
    assert (four["batch_size"], four["repeats"]) == (4, 5)
    assert four["ms_per_shower"] == pytest.approx(dict.fromkeys(("low", "median", "high"), 2))
    assert record["stage"] == "time_generation"
    assert record["seed"] == 1
    assert record["threads"] == 1
    assert record["warm_up"] == WARM_UP
    assert record["settings"]["time_limit_s"] == 3
    assert len(record["inputs"]) == 3


def test_gpus_that_are_missing_are_said_to_be(run):
    record = run(showers(3), batch_sizes=(1,), gpus=(2,))
    cpu, gpus = record["devices"]
    assert (cpu["gpus"], cpu["not_measured"]) == ([], None)
    assert gpus == {
        "label": "2 GPUs",
        "gpus": [],
        "times": [],
        "not_measured": "PyTorch finds no CUDA devices",
    }


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (0, {"1 GPU": "PyTorch finds no CUDA devices", "2 GPUs": "PyTorch finds no CUDA devices"}),
        (1, {"1 GPU": ["cuda:0"], "2 GPUs": "PyTorch finds 1 CUDA device"}),
        (3, {"1 GPU": ["cuda:0"], "2 GPUs": ["cuda:0", "cuda:1"]}),
    ],
)
def test_hardware_is_what_the_machine_has(found, expected):
    cpu, *gpus = choose_hardware(TimingSettings(threads=3), found)
    assert cpu == ("CPU, 3 threads", [CPU], None)
    assert {choice.label: choice.lacking or [*map(str, choice.devices)] for choice in gpus} == expected


def test_every_pass_has_the_first_conditions_of_the_test_set_again_and_again(run, passes):
    requested = showers(3, paired=True)
    run(requested, batch_sizes=(2, 7), repeats=4, time_limit_s=100)
    assert [len(batch) for batch, _ in passes] == (WARM_UP + 4) * [2] + (WARM_UP + 4) * [7]
    rows = [0, 1, 2, 0, 1, 2, 0]
    for batch, _ in passes:
        expected = requested[rows[: len(batch)]]
        np.testing.assert_array_equal(batch.incident_energies, expected.incident_energies)
        np.testing.assert_array_equal(batch.conditions["px"], expected.conditions["px"])
        np.testing.assert_array_equal(batch.reference, expected.reference)
    seeds = [seed for batch, seed in passes if len(batch) == 7]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ("steps_s", "repeats", "expected"),
    [
        ([1, 1, 1, 1, 1], 3, [1, 1, 1]),
        ([2, 2, 2, 2, 2], 9, [2, 2]),  # the third would begin after 4 s
        ([60, 1], 9, [60]),
    ],
)
def test_passes_end_with_their_number_or_at_the_limit(steps_s, repeats, expected):
    calls = []
    settings = TimingSettings(repeats=repeats, time_limit_s=3)
    np.testing.assert_allclose(pass_times_s(calls.append, settings, Ticks(*steps_s)), expected)
    assert calls == list(range(WARM_UP + len(expected)))


def test_the_warm_up_is_over_before_the_clock_is_read():
    events = []
    clock = Ticks()

    def reading():
        events.append("clock")
        return clock()

    pass_times_s(lambda number: events.append("pass"), TimingSettings(repeats=2), reading)
    assert events == [*WARM_UP * ["pass"], "clock", *2 * ["pass", "clock"]]


def test_a_batch_without_memory_ends_the_times_of_a_device(run, monkeypatch):
    def generate(network, preprocessing, requested, seed, device):
        if len(requested) > 2:
            raise torch.OutOfMemoryError
        return np.zeros((len(requested), 196), np.float32)

    monkeypatch.setattr(timing, "generate", generate)
    cpu = run(showers(3), batch_sizes=(1, 2, 4, 8), gpus=())["devices"][0]
    assert [time["batch_size"] for time in cpu["times"]] == [1, 2]
    assert cpu["not_measured"] == "no GPU memory for batches of 4 or more"


def test_devices_share_a_batch():
    """Two copies on the CPU stand for two GPUs: 5 showers are 2 and 3, each part with noise of its own."""
    torch.manual_seed(0)
    network = build(MODEL, GEOMETRY, PREPROCESSING).eval()
    requested = showers(5)
    parts = [
        generate(network, PREPROCESSING, requested[start:end], derive_seed(7, number), CPU)
        for number, (start, end) in enumerate(pairwise([0, 2, 5]))
    ]
    with batch_sharing(network, PREPROCESSING, [CPU, CPU]) as generator:
        shared = generator(requested, 7)
        single = generator(requested[:1], 7)
    assert shared.shape == (5, 196)
    assert shared.max() > 0
    np.testing.assert_array_equal(shared, np.concatenate(parts))
    assert single.shape == (1, 196)


def test_one_device_has_the_batch_for_itself(passes):
    with batch_sharing(torch.nn.Identity(), PREPROCESSING, [CPU]) as generator:
        generator(showers(5), 7)
    assert [len(batch) for batch, _ in passes] == [5]


@pytest.mark.parametrize(
    ("n", "model", "message"),
    [
        (0, MODEL, r"test\.h5: holds no showers, expected at least one"),
        (3, MODEL.model_copy(update={"noise": 9}), r"checkpoint\.pt: .*settings\.noise is 9, expected 8"),
    ],
)
def test_what_cannot_be_timed_is_refused(run, tmp_path, n, model, message):
    with pytest.raises(CaloforgeError, match=message):
        run(showers(n), model=model)
    assert not (tmp_path / "timing.json").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_sizes": []},
        {"batch_sizes": [0, 1]},
        {"batch_sizes": [1, 4, 2]},
        {"batch_sizes": [1, 1]},
        {"gpus": [2, 1]},
        {"gpus": [0]},
        {"repeats": 0},
        {"time_limit_s": 0},
        {"threads": 0},
    ],
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        TimingSettings(**settings)


def test_the_figure_has_a_line_per_device_and_one_for_the_full_simulation():
    sizes, ms = np.array([1, 2, 8]), np.array([4.0, 2.0, 1.0])
    lines = [
        Line("CPU, 2 threads", sizes, ms, 0.9 * ms, 1.1 * ms),
        Line("1 GPU", sizes, ms / 4, ms / 4, ms / 4),
    ]
    with figure_style(FigureSettings()):
        (axes,) = time_per_shower(lines, full_simulation_ms=250.0).axes
        (without,) = time_per_shower(lines, full_simulation_ms=None).axes
    assert [line.get_label() for line in axes.lines] == ["CPU, 2 threads", "1 GPU", "Geant4 (CPU time)"]
    np.testing.assert_array_equal(axes.lines[1].get_data(), [sizes, ms / 4])
    np.testing.assert_array_equal(axes.lines[2].get_ydata(), [250, 250])
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.9, 4.4)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "8"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Batch size [showers]", "Time per shower [ms]")
    assert len(without.lines) == 2


def draw(folder, devices, ingest):
    (folder / "timing.json").write_text(json.dumps({"devices": devices}))
    (folder / "ingest.json").write_text(json.dumps(ingest))
    draw_timing(
        FigureSettings(),
        label="test",
        timing=folder / "timing.json",
        ingest=folder / "ingest.json",
        figure_directory=folder / "timing_figures",
        record=folder / "timing_figures.json",
    )
    return json.loads((folder / "timing_figures/index.json").read_text())


CPU_TIMES = [
    {
        "batch_size": size,
        "repeats": 5,
        "ms_per_shower": {"low": 0.9 / size, "median": 1 / size, "high": 2 / size},
    }
    for size in (1, 2, 4)
]
DEVICES = [
    {"label": "CPU, 2 threads", "gpus": [], "times": CPU_TIMES, "not_measured": None},
    {"label": "1 GPU", "gpus": ["Fast"], "times": CPU_TIMES[:1], "not_measured": "no GPU memory"},
    {"label": "2 GPUs", "gpus": [], "times": [], "not_measured": "PyTorch finds 1 CUDA device"},
]


def test_the_figure_says_what_was_not_measured(tmp_path):
    (entry,) = draw(tmp_path, DEVICES, {"geant4_cpu_s_per_event": 0.25})
    assert entry["section"] == "Generation time"
    missing = " Not measured: 1 GPU (no GPU memory); 2 GPUs (PyTorch finds 1 CUDA device)."
    assert entry["caption"].endswith(missing)
    assert (tmp_path / "timing_figures" / entry["file"]).read_text().startswith("<?xml")
    assert json.loads((tmp_path / "timing_figures.json").read_text())["stage"] == "draw_timing"
    (entry,) = draw(tmp_path, DEVICES[:1], {"geant4_cpu_s_per_event": None})
    assert "Not measured" not in entry["caption"]


def test_a_record_of_something_else_is_not_drawn(tmp_path):
    with pytest.raises(CaloforgeError, match=r"ingest\.json: .*geant4_cpu_s_per_event"):
        draw(tmp_path, DEVICES, {"events": 5})
    assert not (tmp_path / "timing_figures").exists()
