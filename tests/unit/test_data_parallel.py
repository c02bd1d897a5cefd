"""Trainings in two processes that share every batch, on the CPU."""

import hashlib
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from caloforge.config.project import model_settings
from caloforge.config.stages import TrainingSettings
from caloforge.errors import CaloforgeError, StoppedError
from caloforge.geometry import Geometry
from caloforge.models.conditional_wgan.settings import RegressorSettings
from caloforge.models.family import Trainable, build
from caloforge.preprocessing import Preprocessing
from caloforge.showers import Showers, ShowerWriter
from caloforge.training.batches import TrainingBatches
from caloforge.training.data_parallel import in_processes, of_the_first, process_number
from caloforge.training.loop import fit
from caloforge.training.regressor import train_regressor

GEOMETRY = Geometry(name="box", layers=[{"shape": (8, 8), "cell_size_mm": (10, 10)}])
PREPROCESSING = Preprocessing(0.5, 1.0, 1.0, ("px",), (0.0,), (1.0,), (0.2,), (0.1, 0.0), (), 0.0)


def write(path: Path, n: int, geometry=GEOMETRY, conditions=("px",), paired=False) -> Path:
    rng = np.random.default_rng(n)
    cells, fast = rng.uniform(1, 9, (2, n, geometry.n_cells)).astype(np.float32)
    values = {name: rng.uniform(1, 2, n).astype(np.float32) for name in conditions}
    energies = rng.uniform(2e4, 9e4, (n, 1)).astype(np.float32)
    units = dict.fromkeys(conditions, "GeV")
    with ShowerWriter(path, geometry, units, paired=paired) as writer:
        writer.append(Showers(cells, energies, values, np.arange(n), fast if paired else None))
    return path


class Pair(Trainable):
    """Two networks and optimisers: one takes two steps of its own loss, then the other one of both."""

    def __init__(self, noise: float = 0.0, normalised: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Linear(64, 4), *([nn.BatchNorm1d(4)] if normalised else []))
        self.second = nn.Linear(4, 1)
        self.noise = noise
        self.gradients: list[torch.Tensor] = []

    @property
    def product(self):
        return self.first

    def optimisers(self):
        return {
            "first": torch.optim.Adam(self.first.parameters(), 0.003),
            "second": torch.optim.SGD(self.second.parameters(), 0.001),
        }

    def losses(self, showers, inputs, rng=None):
        noise = torch.randn(len(inputs), 1, generator=rng) if self.noise else 0
        read = self.first(showers)
        yield (self.second(read.detach()) - inputs - self.noise * noise).square().mean()
        yield (self.second(read) - inputs).abs().mean() + read.square().mean()

    def training_step(self, step, showers, inputs, optimisers, rng):
        for _ in range(2):
            optimisers["second"].zero_grad()
            of_second, _ = self.losses(showers, inputs, rng)
            of_second.backward()
            optimisers["second"].step()
        optimisers["first"].zero_grad()
        _, of_first = self.losses(showers, inputs, rng)
        of_first.backward()
        optimisers["first"].step()
        self.gradients.append(self.first[0].weight.grad.clone())
        return {"second": of_second.detach(), "first": of_first.detach()}


def train(path, work, network, done=None, **settings):
    """Train and say what came out in the file `done`; other processes must have the same in the end."""
    result = fit(
        network,
        TrainingSettings(**{"epochs": 3, "batch_size": 32, "keep": "last"} | settings),
        TrainingBatches(path, PREPROCESSING, batch_size=32, seed=1, memory_budget_MB=100),
        validate=lambda: {"validation": network.second.weight.square().sum().item()},
        seed=5,
        identity="one",
        work=work,
    )
    assert_same_everywhere(network)
    if result:
        content = {"history": result.history, "processes": result.processes}
        torch.save(
            content | {"state": network.state_dict(), "gradients": network.gradients}, done or work / "done"
        )


def assert_same_everywhere(network):
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    assert of_the_first(digest.hexdigest()) == digest.hexdigest()


def trained(n, path, work, make=Pair, **settings):
    in_processes(n, "cpu", lambda: train(path, work, make(), **settings))
    return torch.load(work / "done", weights_only=True)


def assert_close(found, expected):
    for row, other in zip(found["history"], expected["history"], strict=True):
        assert row == pytest.approx(other, rel=2e-4)
    torch.testing.assert_close(found["state"], expected["state"], rtol=1e-3, atol=1e-5)


def test_two_processes_train_as_one_does_with_the_same_batches(tmp_path):
    path = write(tmp_path / "train.h5", 320)
    alone, together = (trained(n, path, tmp_path / str(n)) for n in (1, 2))
    assert_close(together, alone)
    assert (alone["processes"], together["processes"]) == ([(0, 1)], [(0, 2)])


def test_gradients_are_those_of_the_whole_batch(tmp_path):
    """Against autograd on the first batch, with the second network after its two steps of plain descent."""
    path = write(tmp_path / "train.h5", 32)
    (found,) = trained(2, path, tmp_path / "work", epochs=1)["gradients"]
    showers, inputs = next(
        TrainingBatches(path, PREPROCESSING, batch_size=32, seed=1, memory_budget_MB=100).epoch(
            0, torch.device("cpu")
        )
    )
    network = Pair()
    for _ in range(2):
        of_second, _ = network.losses(showers, inputs)
        slopes = torch.autograd.grad(of_second, list(network.second.parameters()))
        with torch.no_grad():
            for weight, slope in zip(network.second.parameters(), slopes, strict=True):
                weight -= 0.001 * slope
    _, of_first = network.losses(showers, inputs)
    (expected,) = torch.autograd.grad(of_first, [network.first[0].weight])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_another_number_of_processes_goes_on_where_a_training_stopped(tmp_path, before, after):
    path = write(tmp_path / "train.h5", 320)
    undisturbed = trained(1, path, tmp_path / "alone")

    class Stopped(Pair):
        def training_step(self, step, *arguments):
            if step == 14:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().training_step(step, *arguments)

    with pytest.raises(StoppedError, match="in epoch 2 after step 15"):
        trained(before, path, tmp_path / "work", Stopped)
    resumed = trained(after, path, tmp_path / "work")
    assert resumed["processes"] == [(0, before), (15, after)]
    assert_close(resumed, undisturbed)


def noisy() -> Pair:
    """With what differs between processes: noise, and statistics of batch normalisation."""
    return Pair(noise=1.0, normalised=True)


def in_a_process(target, *arguments):
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    return process


def slow_training(path, work, folder):
    """Two processes that write down their ids and take seconds for an epoch."""

    class Slow(Pair):
        def training_step(self, step, *arguments):
            (folder / str(process_number())).write_text(str(os.getpid()))
            time.sleep(0.05)
            return super().training_step(step, *arguments)

    try:
        trained(2, path, work, lambda: Slow(noise=1.0, normalised=True), checkpoint_minutes=0)
    except StoppedError:
        raise SystemExit(3) from None


def ids_in(folder: Path) -> list[int]:
    while not all((folder / name).exists() and (folder / name).read_text() for name in "01"):
        time.sleep(0.05)
    return [int((folder / name).read_text()) for name in "01"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL])
def test_a_training_of_two_processes_resumes_to_the_same_bytes(tmp_path, number):
    """Asked to stop or killed in the parent of both, which neither of them survives."""
    path = write(tmp_path / "train.h5", 960)
    undisturbed = trained(2, path, tmp_path / "undisturbed", noisy)
    training = in_a_process(slow_training, path, tmp_path / "work", tmp_path)
    ids = ids_in(tmp_path)
    while not (tmp_path / "work/state.pt").exists() and number == signal.SIGKILL:
        time.sleep(0.05)
    os.kill(training.pid, number)
    training.join()
    assert training.exitcode == (-number if number == signal.SIGKILL else 3)
    while any(map(is_running, ids)):
        time.sleep(0.05)
    assert 0 < torch.load(tmp_path / "work/state.pt", weights_only=True)["step"] < 90
    resumed = trained(2, path, tmp_path / "work", noisy)
    assert resumed["history"] == undisturbed["history"]
    torch.testing.assert_close(resumed["state"], undisturbed["state"], rtol=0, atol=0)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Refusing(Pair):
    def __init__(self, action):
        super().__init__()
        self.action = action

    def training_step(self, step, *arguments):
        if step == 25 and process_number() == 1:
            self.action()
        return super().training_step(step, *arguments)


def fail(error):
    raise error


@pytest.mark.parametrize(
    ("action", "error", "text"),
    [
        (
            lambda: os.kill(os.getpid(), signal.SIGKILL),
            CaloforgeError,
            "^process 2 of 2 of the training was ended by SIGKILL$",
        ),
        (lambda: fail(CaloforgeError("showers.h5: cut short")), CaloforgeError, r"^showers\.h5: cut short$"),
        (
            lambda: fail(ZeroDivisionError("by noughts")),
            RuntimeError,
            "(?s)Traceback.*ZeroDivisionError: by no",
        ),
    ],
    ids=["killed", "refused", "bug"],
)
def test_what_ends_one_process_ends_the_training_with_its_reason(tmp_path, action, error, text):
    path = write(tmp_path / "train.h5", 960)
    with pytest.raises(error, match=text):
        trained(2, path, tmp_path / "work", lambda: Refusing(action), checkpoint_minutes=0)
    assert torch.load(tmp_path / "work/state.pt", weights_only=True)["step"] == 20


STACK = Geometry(name="stack", layers=[{"shape": (6, 6), "cell_size_mm": (5, 5), "repeat": 2}])
BOX = Geometry(name="box", layers=[{"shape": (8, 8), "cell_size_mm": (5, 5), "repeat": 8}])
TOWERS = {"kind": "eta_phi", "eta_edges": {"bins": 24, "low": -2.4, "high": 2.4}, "n_phi": 24}
FAMILIES = {
    "conditional_wgan": (GEOMETRY, ("px", "pz"), {"noise": 8, "channels": (8, 4), "critic_steps": 2}),
    "gan3d_conv3d": (BOX, ("energy",), {"latent": 16, "free_output_steps": 1}),
    "gan3d_conv2d": (BOX, ("energy",), {"latent": 16, "free_output_steps": 1, "shape_weight": 1}),
    "calogan": (STACK, ("energy", "pdg"), {"latent": 16, "particles": (11, 22), "shape_weight": 1}),
    "conditional_calogan": (STACK, ("energy", "x0"), {"latent": 8, "generator_steps": 2}),
    "calpagan": (
        Geometry(name="towers", layers=[TOWERS]),
        ("reference",),
        {
            "channels": 4,
            "discriminator_channels": 2,
            "pools": (2, 3),
            "discriminator_normalisation": "spectral",
        },
    ),
}


class RandomBatches:
    """Ten batches of eight showers of random cells and conditions."""

    def __init__(self, n_cells: int, inputs: tuple[str, ...]) -> None:
        rng = torch.Generator().manual_seed(3)

        def uniform(low: float, high: float, n: int = 1) -> torch.Tensor:
            return low + (high - low) * torch.rand(80, n, generator=rng)

        columns = {
            "energy": uniform(10, 90),
            "pdg": torch.tensor([11.0, 22.0]).repeat(40)[:, None],
            "reference": uniform(0, 50, n_cells) * (uniform(0, 1, n_cells) > 0.8),
        }
        self.showers = uniform(0, 0.05, n_cells)
        self.inputs = torch.cat([columns.get(name, uniform(-1, 1)) for name in inputs], dim=1)

    def in_epoch(self, _epoch: int) -> int:
        return 10

    def epoch(self, _epoch: int, _device: torch.device, start: int):
        yield from zip(self.showers.split(8), self.inputs.split(8), strict=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_processes_have_the_same_networks_of_every_family(family, tmp_path):
    """To the last bit, though each has its own noise, dropout, batch statistics and penalties."""
    geometry, inputs, settings = FAMILIES[family]
    n = len(inputs)
    mean, std = ((50.0, 0.0), (20.0, 1.0)) if family == "conditional_calogan" else ((0.0,) * n, (1.0,) * n)
    preprocessing = Preprocessing(0.05, None, 1000.0, inputs, mean, std, (0.02,), (0.1, 0.0), (), 0.0)
    model = {"family": family, "training": {"epochs": 1}, "preprocessing": {"inputs": inputs}} | settings
    if family == "conditional_wgan":
        model["regressor"] = {"channels": (4, 8)}

    def train():
        torch.manual_seed(0)
        network = build(model_settings(model), geometry, preprocessing)
        initial = {name: value.clone() for name, value in network.state_dict().items()}
        fit(
            network,
            TrainingSettings(epochs=1, keep="last", ema_decay=0.5),
            RandomBatches(geometry.n_cells, inputs),
            validate=lambda: {"validation": 1.0},
            seed=1,
            identity="",
            work=tmp_path,
        )
        if process_number() > 0:  # the first process ends with averaged weights
            assert_same_everywhere(network)
            return
        state = torch.load(tmp_path / "state.pt", weights_only=True)
        network.load_state_dict(state["network"])
        assert_same_everywhere(network)
        changed = {
            name.partition(".")[0]
            for name, value in initial.items()
            if not torch.equal(value, state["network"][name])
        }
        assert changed == {
            name for name, part in network.named_children() if any(w.requires_grad for w in part.parameters())
        }

    in_processes(2, "cpu", train)


def test_a_real_regressor_learns_the_same_with_two_processes(tmp_path):
    """Through the stage: its history and record."""
    files = {"train": write(tmp_path / "train.h5", 320), "val": write(tmp_path / "val.h5", 64)}
    preprocessing = tmp_path / "preprocessing.json"
    preprocessing.write_text(json.dumps(PREPROCESSING.as_dict()))
    settings = RegressorSettings(
        channels=(4, 8), training={"epochs": 2, "batch_size": 32, "device": "cpu", "threads": 1}
    )
    histories, checkpoints = [], []
    for devices in (1, 2):
        made = {name: tmp_path / f"{name}{devices}" for name in ("work", "checkpoint", "history", "record")}
        train_regressor(
            settings, **files, preprocessing=preprocessing, seed=1, code="", devices=devices, **made
        )
        record = json.loads(made["record"].read_text())
        assert record["processes"] == [{"from_step": 0, "processes": devices}]
        histories.append(np.loadtxt(made["history"], delimiter=",", skiprows=1))
        checkpoints.append(torch.load(made["checkpoint"], weights_only=True))
    np.testing.assert_allclose(histories[1], histories[0], rtol=1e-4)
    torch.testing.assert_close(checkpoints[1]["weights"], checkpoints[0]["weights"], rtol=1e-3, atol=1e-5)
    assert checkpoints[1]["settings"] == checkpoints[0]["settings"]
