"""Counts against those made by hand from the tables of layers, and what records say of them."""

import json
import subprocess
import sys
from math import prod

import numpy as np
import pytest
import torch
from torch import nn

from caloforge import checkpoint
from caloforge.config.stages import SamplingSettings, TrainingSettings
from caloforge.cost import count_flop, n_dense_parameters, n_parameters, peak_memory
from caloforge.geometry import Geometry
from caloforge.models.conditional_wgan.settings import ConditionalWGANSettings
from caloforge.models.family import Trainable, build
from caloforge.models.gan3d_conv2d import networks as conv2d
from caloforge.models.gan3d_conv3d import networks as conv3d
from caloforge.preprocessing import Preprocessing
from caloforge.sampling import sample
from caloforge.showers import Showers, ShowerWriter
from caloforge.training.run import run_training

CPU = torch.device("cpu")


def convolution(wide: int, narrow: int, kernel: tuple[int, ...], cells: int) -> int:
    """FLOP of a convolution with so many cells of output, or of a transposed one with so many of input."""
    return 2 * wide * narrow * prod(kernel) * cells


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(3, 4, (2, 3), stride=2), nn.ConvTranspose2d(3, 4, (2, 3), stride=(1, 2))]
)
def test_every_multiplication_of_a_convolution_counts_twice(layer):
    """Against the products that a loop over cells, taps and channels makes."""
    images = torch.randn(5, 3, 6, 7)
    sides = images.shape[2:] if layer.transposed else layer(images).shape[2:]
    products = sum(1 for _ in np.ndindex(5, *sides, *layer.weight.shape))
    assert count_flop(lambda: layer(images)) == 2 * products


def test_flop_of_the_published_conv2d_generator():
    """Three branches from 5x5x5 cells, then the convolution that joins them."""
    branch = (
        convolution(5, 32, (5, 5), 5 * 5)
        + convolution(32, 64, (5, 5), 5 * 5)  # transposed
        + convolution(64, 64, (5, 5), 15 * 15)
        + convolution(64, 64, (5, 5), 15 * 15)  # transposed
        + convolution(64, 64, (8, 8), 30 * 30)
        + convolution(64, 64, (5, 5), 26 * 26)
        + convolution(64, 32, (4, 4), 26 * 26)
        + convolution(32, 32, (3, 3), 26 * 26)
        + convolution(32, 25, (2, 2), 25 * 25)
    )
    expected = 2 * 200 * 125 + 3 * branch + convolution(75, 25, (3, 3), 25 * 25)
    generator = conv2d.Generator().eval()
    with torch.inference_mode():
        assert count_flop(lambda: generator(torch.randn(2, 200))) == 2 * expected
    assert round(expected / 1e6) == 2319


def test_flop_of_the_published_conv3d_generator_layer_by_layer():
    """Upsampling and convolution apart, as published: 511 MFLOP, twice what the layers here compute."""
    layers = nn.Sequential(
        nn.Linear(200, 3136),
        nn.Unflatten(1, (8, 7, 7, 8)),
        nn.ConstantPad3d((3, 4, 2, 3, 2, 3), 0.0),
        nn.Conv3d(8, 64, (6, 6, 8)),
        nn.Upsample(scale_factor=2),
        nn.ConstantPad3d((0, 0, 2, 2, 2, 2), 0.0),
        nn.Conv3d(64, 6, (6, 5, 8)),
        nn.Upsample(scale_factor=(2, 2, 3)),
        nn.ConstantPad3d((3, 3, 0, 0, 1, 1), 0.0),
        nn.Conv3d(6, 6, (3, 3, 8)),
        nn.Conv3d(6, 1, 2),
    )
    expected = (
        2 * 200 * 3136
        + convolution(8, 64, (6, 6, 8), 7 * 7 * 8)
        + convolution(64, 6, (6, 5, 8), 13 * 14 * 9)
        + convolution(6, 6, (3, 3, 8), 26 * 26 * 26)
        + convolution(6, 1, (2, 2, 2), 25 * 25 * 25)
    )
    assert count_flop(lambda: layers(torch.randn(1, 200))) == expected
    assert round(expected / 1e6) == 511
    fused = count_flop(lambda: conv3d.Generator()(torch.randn(2, 200))) / 2
    assert 0.48 < fused / expected < 0.5


def test_flop_of_a_small_conv3d_generator():
    """8x8x8 cells from 3x3x6. Upsampling convolutions are transposed ones of the input cells with kernels of
    kernel + factor - 1 taps, which are made once per call."""
    start = 3 * 3 * 6
    per_shower = (
        2 * 4 * 8 * start
        + convolution(8, 64, (6, 6, 8), start)
        + convolution(64, 6, (7, 6, 9), start)
        + convolution(6, 6, (4, 4, 10), 5 * 6 * 5)
        + convolution(6, 1, (2, 2, 2), 9 * 9 * 13)
    )
    kernels = convolution(64, 6, (2, 2, 2), 7 * 6 * 9) + convolution(6, 6, (2, 2, 3), 4 * 4 * 10)
    generator = conv3d.Generator((8, 8, 8), latent=4).eval()
    for n in (1, 5):
        assert count_flop(lambda n=n: generator(torch.randn(n, 4))) == n * per_shower + kernels


@pytest.mark.parametrize(
    ("network", "total", "dense"),
    [
        (conv3d.Generator(), 872_808, 200 * 3136 + 3136),
        (conv2d.Generator(), 2_053_446, 200 * 125 + 125),
        (nn.Sequential(nn.Conv2d(2, 3, 2), nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4)), 55, 20),
    ],
)
def test_parameters_are_those_of_the_papers(network, total, dense):
    assert (n_parameters(network), n_dense_parameters(network)) == (total, dense)


PEAK = """
import json
import numpy as np
import torch
from caloforge.cost import peak_memory

cpu = torch.device("cpu")
np.ones(100_000_000, np.uint8)
before_MB = peak_memory(cpu)["peak_memory_MB"]
n = int((before_MB + 50) * 1e6)
np.ones(n, np.uint8)
print(json.dumps([before_MB, n / 1e6, peak_memory(cpu)]))
"""


def test_peak_memory_is_that_of_the_largest_moment():
    """More ones than the process ever held, written and freed again; it holds less then than at its peak."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    before_MB, ones_MB, after = json.loads(done.stdout)
    assert ones_MB < after["peak_memory_MB"] < ones_MB + before_MB
    assert after["peak_gpu_memory_MB"] is None


BOX = Geometry(name="box", layers=[{"shape": (14, 14), "cell_size_mm": (10, 10)}])
PREPROCESSING = Preprocessing(
    0.5, 0.0, 1.0, ("log(energy)", "px"), (0.0, 0.0), (1.0, 1.0), (0.2,), (0.1, 0.0), (), 0.0
)


@pytest.fixture
def files(tmp_path):
    """Paths of a canonical file and a preprocessing, and a folder for results."""
    rng = np.random.default_rng(0)
    with ShowerWriter(tmp_path / "showers.h5", BOX, {"px": "GeV"}) as writer:
        writer.append(
            Showers(
                rng.uniform(0, 9, (50, 196)).astype(np.float32),
                rng.uniform(1000, 9000, (50, 1)).astype(np.float32),
                {"px": rng.uniform(1, 2, 50).astype(np.float32)},
                np.arange(50),
            )
        )
    (tmp_path / "preprocessing.json").write_text(json.dumps(PREPROCESSING.as_dict()))
    return tmp_path


def test_the_record_of_sampling_has_the_arithmetic_of_a_shower(files):
    """Sizes 16x4x4 -> 8x8x8 -> 4x16x16 -> 1x16x16. A 3x3 kernel W folds into F W F^T with a 4x3 matrix F once
    per batch: for a pair of channels 4*3*3 + 4*4*3 products."""
    model = ConditionalWGANSettings(family="conditional_wgan", noise=8, channels=(16, 8, 4))
    network = build(model, BOX, PREPROCESSING)
    checkpoint.save(
        files / "checkpoint.pt",
        {
            "kind": "conditional_wgan",
            "settings": model.model_dump(mode="json"),
            "geometry": BOX.model_dump(mode="json"),
            "preprocessing": PREPROCESSING.as_dict(),
            "weights": network.state_dict(),
        },
    )
    sample(
        model,
        SamplingSettings(batch_size=20, threads=1, device="cpu"),
        checkpoint=files / "checkpoint.pt",
        preprocessing=files / "preprocessing.json",
        test=files / "showers.h5",
        seed=1,
        output=files / "samples.h5",
        record=files / "sample.json",
    )
    per_shower = (
        2 * (8 + 2) * 16 * 16
        + convolution(16, 8, (4, 4), 4 * 4)
        + convolution(8, 4, (4, 4), 8 * 8)
        + convolution(4, 1, (3, 3), 16 * 16)
    )
    folds = 2 * (16 * 8 + 8 * 4) * (4 * 3 * 3 + 4 * 4 * 3)
    record = json.loads((files / "sample.json").read_text())
    assert record["flop_per_shower"] == per_shower + folds / 20


class Pair(Trainable):
    """A generator with a convolution and a linear layer, and a critic that is not trained."""

    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(2 * 196, 196))
        self.critic = nn.Linear(196, 1).requires_grad_(False)

    @property
    def product(self):
        return self.generator

    def optimisers(self):
        return {"generator": torch.optim.SGD(self.generator.parameters(), 1e-4)}

    def training_step(self, step, showers, inputs, optimisers, rng):
        loss = self.generator(showers[:, None]).square().mean()
        loss.backward()
        optimisers["generator"].step()
        return {"loss": loss.detach()}


def test_the_record_of_a_training_has_parameters_and_memory(files):
    run_training(
        lambda geometry: Pair(),
        lambda network: lambda: {"validation": 0.0},
        score="nothing",
        stage="train",
        kind="pair",
        settings={},
        training=TrainingSettings(epochs=1, batch_size=10, device="cpu", threads=1),
        inputs={
            "train": files / "showers.h5",
            "val": files / "showers.h5",
            "preprocessing": files / "preprocessing.json",
        },
        seed=1,
        code="",
        work=files / "work",
        checkpoint=files / "checkpoint.pt",
        history=files / "history.csv",
        record=files / "train.json",
    )
    record = json.loads((files / "train.json").read_text())
    assert record["parameters"] == {"generator": 8 + 392 * 196 + 196, "critic": 197}
    assert record["dense_parameters"] == {"generator": 392 * 196 + 196, "critic": 197}
    assert record["peak_memory_MB"] == pytest.approx(peak_memory(CPU)["peak_memory_MB"], rel=0.2)
    assert record["peak_gpu_memory_MB"] is None
