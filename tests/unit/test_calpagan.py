import csv
import json
import math
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional

from caloforge.config.load import validate
from caloforge.config.project import model_settings
from caloforge.config.stages import JetSettings, SamplingSettings
from caloforge.cost import n_parameters
from caloforge.errors import CaloforgeError
from caloforge.geometry import Geometry
from caloforge.models.calpagan.networks import Contracting, Discriminator, Expanding, Generator
from caloforge.models.calpagan.scales import LogarithmScale, MaximumScale
from caloforge.models.calpagan.settings import CalpaganSettings
from caloforge.models.family import build
from caloforge.preprocessing import Preprocessing, fit_preprocessing
from caloforge.sampling import generate, sample
from caloforge.showers import ShowerFile, Showers, ShowerWriter
from caloforge.training.model import train_model

CHECKOUT = Path(__file__).parents[2]
SIDE = 24
POOLS = (2, 3)
GEOMETRY = Geometry(
    name="towers",
    layers=[{"kind": "eta_phi", "eta_edges": {"bins": SIDE, "low": -2.4, "high": 2.4}, "n_phi": SIDE}],
)
PREPROCESSING = Preprocessing(5.0, None, 1000.0, ("reference",), (0.0,), (1.0,), (1.0,), (0.1, 0.0), (), 0.0)
PUBLISHED_POOLS = (2, 2, 2, 3, 3)


def plain(**settings) -> CalpaganSettings:
    narrow = {"channels": 4, "discriminator_channels": 2, "pools": POOLS, "training": {"epochs": 1}}
    return model_settings({"family": "calpagan"} | narrow | settings)


def model(**settings):
    torch.manual_seed(0)
    return build(plain(**settings), GEOMETRY, PREPROCESSING)


def rng(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pairs(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Full and fast images [GeV], shape (n, V): two jets, in the full one spread over more towers."""
    draw = np.random.default_rng(seed)
    full, fast = np.zeros((2, n, SIDE, SIDE), np.float32)
    for event in range(n):
        for energy in draw.uniform(60, 120, 2):
            eta, phi = draw.integers(4, SIDE - 4), draw.integers(SIDE)
            fast[event, eta, phi] += energy
            fast[event, eta + 1, phi] += energy / 4
            for _ in range(12):
                place = eta + draw.integers(-2, 3), (phi + draw.integers(-2, 3)) % SIDE
                full[event][place] += energy * draw.uniform(0, 0.2)
    return torch.from_numpy(full).flatten(1), torch.from_numpy(fast).flatten(1)


def shake(network: nn.Module) -> nn.Module:
    """Weights and statistics with which maps vary, as after a training; in evaluation mode."""
    torch.manual_seed(3)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, 0, 1.5 / math.sqrt(layer.weight[0].numel()))
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, 0.3)
            nn.init.normal_(layer.bias, 0, 0.3)
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
    return network.eval()


# Networks


def test_networks_have_the_published_numbers_of_parameters():
    published = build(
        model_settings({"family": "calpagan"}),
        Geometry(
            name="towers",
            layers=[
                {"kind": "eta_phi", "eta_edges": {"bins": 72, "low": -3.132, "high": 3.132}, "n_phi": 72}
            ],
        ),
        PREPROCESSING,
    )
    assert n_parameters(published.generator) == 7_342_353
    assert n_parameters(published.discriminator) == 72_881


def shapes(network: nn.Module, kinds: tuple[type, ...], x: torch.Tensor) -> list[tuple[int, ...]]:
    """Channels and sides of the outputs of the layers of some kinds, in the order in which they run."""
    found = []
    for layer in network.modules():
        if isinstance(layer, kinds):
            layer.register_forward_hook(lambda _layer, _inputs, output: found.append(tuple(output.shape[1:])))
    with torch.inference_mode():
        network.eval()(x)
    return found


def test_maps_have_the_published_sizes():
    generator = Generator(2, 2, PUBLISHED_POOLS, circular=False, initial_scale=0)
    assert shapes(generator, (Contracting, Expanding), torch.rand(1, 2, 72, 72)) == [
        (4, 36, 36), (8, 18, 18), (16, 9, 9), (32, 3, 3), (64, 1, 1),
        (32, 3, 3), (16, 9, 9), (8, 18, 18), (4, 36, 36), (2, 72, 72),
    ]  # fmt: skip
    discriminator = Discriminator(1, 8, circular=False, spectral=False)
    assert shapes(discriminator, (Contracting, nn.Conv2d), torch.rand(1, 1, 72, 72)) == [
        (8, 72, 72),
        (16, 72, 72), (16, 72, 72), (16, 36, 36),
        (32, 36, 36), (32, 36, 36), (32, 18, 18),
        (64, 18, 18), (64, 18, 18), (64, 9, 9),
        (1, 9, 9),
    ]  # fmt: skip


def unet(weights: dict[str, torch.Tensor], x: torch.Tensor, pools: tuple[int, ...]) -> torch.Tensor:
    """The published generator in evaluation mode, written out from section 3.1 and the public code."""

    def convolved(x, name, padding=0):
        return functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=padding)

    def activated(x, name):
        mean, var, scale, shift = (
            weights[f"{name}.{key}"][:, None, None]
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / (var + 1e-5).sqrt() * scale + shift
        return torch.where(x > 0, x, 0.2 * x)

    def upsampled(x, factor):
        """Linear between values that are spread evenly from the first to the last place."""
        for axis in (2, 3):
            n = x.shape[axis]
            places = np.linspace(0, n - 1, factor * n)
            rows = np.stack([np.interp(places, np.arange(n), unit) for unit in np.eye(n)])
            x = torch.tensordot(x, torch.from_numpy(rows).float(), dims=([axis], [0])).movedim(-1, axis)
        return x

    x = convolved(x, "start")
    skipped = []
    for level, pool in enumerate(pools):
        skipped.append(x)
        x = activated(convolved(x, f"down.{level}.0", 1), f"down.{level}.1")
        x = activated(convolved(x, f"down.{level}.3", 1), f"down.{level}.4")
        x = x.unflatten(3, (-1, pool)).unflatten(2, (-1, pool)).amax(dim=(3, 5))
    for level, pool in enumerate(reversed(pools)):
        x = convolved(upsampled(x, pool), f"up.{level}.upsampling.convolution")
        n, m = x.shape[2:]
        x = torch.cat([x, skipped.pop()[:, :, :n, :m]], dim=1)  # one row and column: half of it is none
        x = activated(convolved(x, f"up.{level}.convolutions.0", 1), f"up.{level}.convolutions.1")
        x = activated(convolved(x, f"up.{level}.convolutions.3", 1), f"up.{level}.convolutions.4")
    x = convolved(x, "end")[:, 0]
    return torch.where(x > 0, x, 0.5 * x)


@pytest.mark.parametrize(("pools", "sides"), [((2, 2), (8, 12)), ((2, 3, 2), (12, 24)), ((3,), (9, 12))])
def test_the_generator_is_the_published_one(pools, sides):
    generator = shake(Generator(2, 4, pools, circular=False, initial_scale=0))
    x = torch.rand(2, 2, *sides)
    with torch.no_grad():
        generator.end.bias -= generator(x).median()
        made, expected = generator(x), unet(generator.state_dict(), x, pools)
    assert made.min() < -0.05 < 0.05 < made.max()
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)


def test_initial_weights_are_those_of_the_public_code_or_of_pix2pix():
    for scale in (0, 1):
        torch.manual_seed(0)
        generator = Generator(2, 16, POOLS, circular=False, initial_scale=scale)
        taps = torch.cat(
            [layer.weight.flatten() for layer in generator.modules() if isinstance(layer, nn.Conv2d)]
        )
        scales = torch.cat(
            [layer.weight for layer in generator.modules() if isinstance(layer, nn.BatchNorm2d)]
        )
        assert (taps.mean().item(), taps.std().item()) == pytest.approx((0, 0.02), abs=5e-4)
        assert (scales.mean().item(), scales.std().item()) == pytest.approx((scale, 0.02), abs=5e-3)


@pytest.mark.parametrize("pools", [(2, 2), (3, 2)])
def test_networks_with_circular_phi_turn_with_their_input(pools):
    factor = math.prod(pools)
    generator = shake(Generator(2, 4, pools, circular=True, initial_scale=0))
    discriminator = shake(Discriminator(1, 2, circular=True, spectral=False))
    open_ended = shake(Generator(2, 4, pools, circular=False, initial_scale=0))
    x = torch.rand(2, 2, 12, 24)
    with torch.inference_mode():
        for turn in (factor, 3 * factor):
            turned = generator(x).roll(turn, 2)
            assert turned.std() > 0.01
            torch.testing.assert_close(generator(x.roll(turn, 3)), turned, rtol=1e-4, atol=1e-5)
            assert (open_ended(x.roll(turn, 3)) - open_ended(x).roll(turn, 2)).abs().max() > 0.01
        patches = discriminator(x[:, :1])
        torch.testing.assert_close(
            discriminator(x[:, :1].roll(8, 3)), patches.roll(1, 3), rtol=1e-4, atol=1e-5
        )
    assert generator(x).shape == (2, 12, 24)


def test_circular_upsampling_is_linear_between_neighbours_all_the_way_round():
    """A convolution that takes its first column: the upsampled map, half a tower to the left of a tower."""
    upsampling = Expanding(2, 2, circular=True).upsampling
    with torch.no_grad():
        upsampling.convolution.weight.zero_()[0, 0, 0, 0] = 1
        upsampling.convolution.bias.zero_()
        coarse = torch.tensor([8.0, 0, 4, 12])
        fine = upsampling(coarse.expand(1, 2, 3, 4))
    assert fine.shape == (1, 1, 5, 8)
    torch.testing.assert_close(fine[0, 0, 2], torch.tensor([10.0, 8, 4, 0, 2, 4, 8, 12]))


# Scales


def images(*rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)[:, None]


FAST = images([0, 8, 4], [0, 0, 0], [2, 0, 0])
FULL = images([6, 3, 1], [5, 1, 0], [0, 0, 0])


def test_energies_are_divided_by_the_maximum_of_the_fast_image():
    scale = MaximumScale(own=False)
    torch.testing.assert_close(scale.fast(FAST), images([0, 1, 0.5], [0, 0, 0], [1, 0, 0]))
    seen = scale.full(FULL, FAST)
    torch.testing.assert_close(seen, images([0.75, 0.375, 0.125], [0, 0, 0], [0, 0, 0]))
    energies_GeV = scale.energies_GeV(seen, FAST)
    torch.testing.assert_close(energies_GeV[[0, 2]], FULL[[0, 2]])
    assert (scale.energies_GeV(seen + 0.3, FAST)[1] == 0).all()


def test_energies_are_divided_by_the_own_maximum():
    scale = MaximumScale(own=True)
    torch.testing.assert_close(scale.full(FULL, FAST), images([1, 0.5, 1 / 6], [0, 0, 0], [0, 0, 0]))
    torch.testing.assert_close(scale.energies_GeV(scale.full(FULL, FAST), FAST)[0], 8 / 6 * FULL[0])


def test_logarithms_are_undone():
    scale = LogarithmScale(0.5)
    assert scale.full(FULL, FAST)[0, 0, 1].item() == pytest.approx(math.log(1 + 3 / 0.5))
    torch.testing.assert_close(scale.energies_GeV(scale.full(FULL, FAST), FAST), FULL)
    torch.testing.assert_close(scale.fast(FAST), (1 + FAST / 0.5).log())


# Losses


class Makes(nn.Module):
    """A generator of its second channel, noise, times a weight, plus an offset; remembers its input."""

    def __init__(self, weight: float, offset: float):
        super().__init__()
        self.line, self.seen = nn.Parameter(torch.tensor([float(weight), offset])), []

    def forward(self, inputs):
        self.seen.append(inputs.detach())
        return self.line[0] * inputs[:, 1] + self.line[1]


class Says(nn.Module):
    """A discriminator of two equal patches that sees the mean of the first channel; remembers its input."""

    def __init__(self, slope: float, offset: float):
        super().__init__()
        self.line, self.seen = nn.Parameter(torch.tensor([float(slope), offset])), []

    def forward(self, images):
        self.seen.append(images.detach())
        logit = self.line[0] * images[:, 0].mean(dim=(1, 2)) + self.line[1]
        return logit[:, None, None, None].expand(-1, 1, 1, 2)


def step(gan, full, fast, seed=1, **networks):
    """One training step of hardly learning networks; what it said it lost."""
    for name, network in networks.items():
        setattr(gan, name, network)
    return {
        name: loss.item()
        for name, loss in gan.training_step(0, full, fast, gan.optimisers(), rng(seed)).items()
    }


SLOW = {"learning_rate": 1e-12, "discriminator_learning_rate": 1e-12}


def entropy(label: int, logits: np.ndarray) -> float:
    """Binary cross entropy from its definition."""
    p = 1 / (1 + np.exp(-logits))
    return float(-np.mean(label * np.log(p) + (1 - label) * np.log(1 - p)))


def test_losses_by_hand():
    full, fast = pairs(3)
    maker, judge = Makes(0.8, -0.3), Says(40.0, -2.0)
    losses = step(model(**SLOW), full, fast, generator=maker, discriminator=judge)
    maximum = fast.amax(dim=1).numpy()[:, None, None]
    real = full.unflatten(1, (SIDE, SIDE)).numpy() / maximum
    noise = torch.rand(3, SIDE, SIDE, generator=rng()).numpy()
    made = 0.8 * noise - 0.3
    of_real, of_made = (40 * x.mean(axis=(1, 2)) - 2 for x in (real, np.maximum(made, 0)))
    expected = {
        "discriminator": (entropy(1, of_real) + entropy(0, of_made)) / 2,
        "generator": entropy(1, of_made),
        "distance": np.abs(made - real).mean(),
    }
    assert losses == pytest.approx(expected, rel=1e-4)
    (seen,) = maker.seen
    torch.testing.assert_close(seen[:, 0].amax(dim=(1, 2)), torch.ones(3))
    assert [len(images) for images in judge.seen] == [3, 3, 3]
    np.testing.assert_allclose(judge.seen[1][:, 0], np.maximum(made, 0), atol=1e-6)


def test_the_generator_follows_the_weighted_sum_of_its_losses():
    full, fast = pairs(3)
    gradients = {}
    for weight in (0.0, 400.0):
        gan = model(**SLOW, distance_weight=weight)
        maker = Makes(0.8, -0.3)
        step(gan, full, fast, generator=maker, discriminator=Says(40.0, -2.0))
        gradients[weight] = maker.line.grad.clone()
    real = full.unflatten(1, (SIDE, SIDE)) / fast.amax(dim=1)[:, None, None]
    noise = torch.rand(3, SIDE, SIDE, generator=rng())
    sign = (0.8 * noise - 0.3 - real).sign()
    by_hand = torch.stack([(sign * noise).mean(), sign.mean()])
    torch.testing.assert_close(gradients[400.0] - gradients[0.0], 400 * by_hand, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("energies", ["linear", "log"])
def test_the_energy_score_by_hand(energies):
    full, fast = pairs(2)
    gan = model(**SLOW, distance="energy_score", energies=energies, energy_unit_GeV=2)
    losses = step(gan, full, fast, generator=Makes(0.8, -0.3), discriminator=Says(1.0, 0.0))
    maximum = fast.amax(dim=1).numpy()[:, None, None]
    full_GeV = full.unflatten(1, (SIDE, SIDE)).numpy().astype(float)
    real = full_GeV / maximum if energies == "linear" else np.log(1 + full_GeV / 2)
    first, second = 0.8 * torch.rand(4, SIDE, SIDE, generator=rng()).numpy().reshape(2, 2, SIDE, SIDE) - 0.3

    def sums(images, side):
        if energies == "log":
            images = np.exp(images) - 1
        found = [
            image[i : i + side, j : j + side].sum() / side
            for image in images
            for i in range(0, SIDE, side)
            for j in range(0, SIDE, side)
        ]
        return np.array(found) if energies == "linear" else np.log(1 + np.array(found))

    scales = [(real, first, second)]
    for side in accumulate(POOLS, lambda a, b: a * b):
        scales.append([sums(np.maximum(x, 0), side) for x in (real, first, second)])
    scores = [(np.abs(a - x).mean() + np.abs(b - x).mean() - np.abs(a - b).mean()) / 2 for x, a, b in scales]
    assert losses["distance"] == pytest.approx(np.mean(scores), rel=1e-4)


def test_the_energy_score_is_least_for_the_fluctuations_of_the_full_simulation():
    """Full images are Gaussian noise; generators with more, less or no noise or another mean score worse."""
    draw = rng(5)
    gan = model(distance="energy_score")
    real = 1 + 0.2 * torch.randn(400, SIDE, SIDE, generator=draw)
    scores = {
        (mean, spread): gan._energy_score(
            real, *(mean + spread * torch.randn(2, 400, SIDE, SIDE, generator=draw))
        ).item()
        for mean, spread in [(1, 0.2), (1, 0), (1, 0.1), (1, 0.4), (1.02, 0.2)]
    }
    assert min(scores, key=scores.get) == (1, 0.2)


# Options


def test_the_discriminator_may_see_the_pair():
    full, fast = pairs(2)
    for choice, channels in (("image", 1), ("pair", 2)):
        gan, judge = model(**SLOW, discriminator_input=choice), Says(1.0, 0.0)
        assert gan.discriminator[0].in_channels == channels
        step(gan, full, fast, discriminator=judge)
        assert [images.shape[1] for images in judge.seen] == [channels] * 3
    expected = fast.unflatten(1, (SIDE, SIDE)) / fast.amax(dim=1)[:, None, None]
    for seen in judge.seen:
        torch.testing.assert_close(seen[:, 1], expected)


def test_residual_adds_the_fast_image():
    _, fast = pairs(2)
    gan = model(residual=True)
    gan.generator = Makes(0, 0.25)
    expected = fast + 0.25 * fast.amax(dim=1, keepdim=True)
    torch.testing.assert_close(gan.generate(fast, rng()), expected)


def test_eta_is_a_channel_of_both_networks():
    full, fast = pairs(2)
    gan, maker, judge = model(**SLOW, eta_channel=True), Makes(0.1, 0), Says(1.0, 0.0)
    assert (gan.generator.start.in_channels, gan.discriminator[0].in_channels) == (3, 2)
    step(gan, full, fast, generator=maker, discriminator=judge)
    centres = torch.linspace(-2.3, 2.3, SIDE)[:, None].expand(2, SIDE, SIDE) / 2.4
    for seen in (maker.seen[0][:, 2], judge.seen[0][:, 1]):
        torch.testing.assert_close(seen, centres)


def test_circular_phi_is_of_both_networks():
    gan, (_, fast) = model(circular_phi=True), pairs(2)
    for network, channels, turn, turned in ((gan.generator, 2, 6, 6), (gan.discriminator, 1, 8, 1)):
        shake(network)
        x = torch.rand(1, channels, SIDE, SIDE)
        with torch.inference_mode():
            torch.testing.assert_close(
                network(x.roll(turn, -1)), network(x).roll(turned, -1), rtol=1e-4, atol=1e-5
            )
    assert gan.generate(fast, rng()).shape == fast.shape


def test_spectral_normalisation_takes_the_place_of_instance_normalisation():
    published, spectral = model(), model(discriminator_normalisation="spectral")
    norms = [
        sum(isinstance(layer, nn.InstanceNorm2d) for layer in gan.discriminator.modules())
        for gan in (published, spectral)
    ]
    assert norms == [6, 0]
    for _ in range(30):
        spectral.discriminator(torch.rand(1, 1, SIDE, SIDE))
    for layer in spectral.discriminator.modules():
        if isinstance(layer, nn.Conv2d):
            largest = torch.linalg.svdvals(layer.weight.flatten(1))[0].item()
            assert largest == pytest.approx(1, abs=0.02)


def test_learning_rates_are_those_of_the_settings():
    optimisers = model(learning_rate=3e-4, discriminator_learning_rate=1e-5).optimisers()
    found = {name: optimiser.param_groups[0] for name, optimiser in optimisers.items()}
    assert {name: group["lr"] for name, group in found.items()} == {
        "generator": 3e-4,
        "discriminator": 1e-5,
    }
    assert {group["betas"] for group in found.values()} == {(0.9, 0.999)}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"training": {"epochs": 1, "precision": "bfloat16"}},
        {"distance": "energy_score", "energies": "log", "discriminator_normalisation": "spectral"},
    ],
)
def test_both_networks_learn(settings):
    full, fast = pairs(4)
    gan = model(**settings)
    before = {name: weight.clone() for name, weight in gan.named_parameters()}
    losses = step(gan, full, fast)
    assert all(map(math.isfinite, losses.values()))
    moved = {name for name, weight in gan.named_parameters() if not torch.equal(weight, before[name])}
    assert {"generator.end.weight", "generator.start.weight"} <= moved
    assert any(name.startswith("discriminator.0.") for name in moved)
    assert all(weight.requires_grad for weight in gan.parameters())


def test_four_pairs_are_learnt_by_heart():
    """The published recipe but for small images, narrow networks, a faster rate and the scales of pix2pix."""
    towers = {"kind": "eta_phi", "eta_edges": {"bins": 8, "low": -2, "high": 2}, "n_phi": 12}
    settings = plain(channels=8, pools=(2, 2), learning_rate=1e-3, initial_scale=1)
    torch.manual_seed(0)
    gan = build(settings, Geometry(name="towers", layers=[towers]), PREPROCESSING)
    fast, full = torch.rand(2, 4, 96, generator=rng(7)) * 50
    optimisers, draw = gan.optimisers(), rng()
    distances = [
        gan.training_step(number, full, fast, optimisers, draw)["distance"].item() for number in range(250)
    ]
    assert np.mean(distances[-10:]) < 0.25 * np.mean(distances[:10])
    with torch.inference_mode():
        made = gan.eval().generate(fast, rng(9))
    own, other = ((made - images).abs().mean() for images in (full, full.roll(1, 0)))
    assert own < 0.4 * other


# Generation


def test_generation_depends_on_the_noise_and_the_image():
    gan = model().eval()
    shake(gan.generator)
    _, fast = pairs(6)
    with torch.inference_mode():
        made = gan.generate(fast, rng())
        assert torch.equal(made, gan.generate(fast, rng()))
        assert not torch.equal(made, gan.generate(fast, rng(2)))
    assert made.shape == fast.shape
    assert (made >= 0).all()
    maker = Makes(1, 0)
    gan.generator = maker
    gan.generate(fast, rng())
    gan.generate(fast.flip(0), rng())
    noise = [seen[:, 1] for seen in maker.seen]
    assert torch.equal(*noise)
    assert 0 <= noise[0].min() < 0.01 < 0.99 < noise[0].max() < 1


def test_an_empty_fast_image_gives_an_empty_image_and_does_not_harm_the_others():
    full, fast = pairs(4)
    fast[2] = 0
    gan = model(**SLOW)
    gan.generator = Makes(1, 0.5)
    made = gan.generate(fast, rng())
    assert (made[2] == 0).all()
    assert (made[[0, 1, 3]] > 0).all()
    for normalisation in ("fast_maximum", "own_maximum"):
        losses = step(model(normalisation=normalisation), full, fast)
        assert all(map(math.isfinite, losses.values()))


# Settings


def dataset(*, paired=True, sides=(SIDE, SIDE), kind="eta_phi", layers=1):
    layer = {"kind": kind} | (
        {"eta_edges": {"bins": sides[0], "low": -2, "high": 2}, "n_phi": sides[1]}
        if kind == "eta_phi"
        else {"shape": sides, "cell_size_mm": (1, 1)}
    )
    return SimpleNamespace(paired=paired, geometry=Geometry(name="box", layers=[layer] * layers))


def test_misfits():
    settings = plain()
    assert settings.misfit(dataset()) is None
    assert plain(pools=PUBLISHED_POOLS).misfit(dataset(sides=(72, 144))) is None
    assert "found no pairs" in settings.misfit(dataset(paired=False))
    assert settings.misfit(dataset(kind="cartesian")) == (
        "takes one layer of towers in eta and phi, geometry box has 1 of the kind cartesian"
    )
    assert "has 2 of the kind eta_phi" in settings.misfit(dataset(layers=2))
    assert plain(pools=PUBLISHED_POOLS).misfit(dataset(sides=(72, 64))) == (
        "takes sides of at least 8 towers that are multiples of 72, the product of pools, "
        "geometry box has 72 x 64"
    )
    assert "at least 8 towers" in settings.misfit(dataset(sides=(6, 24)))


def test_a_maximum_beside_logarithms_is_refused():
    with pytest.raises(ValueError, match=r"normalisation: found 'own_maximum' with energies 'log'"):
        plain(energies="log", normalisation="own_maximum")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            {"model": "cwgan"},
            "runs.0: model cwgan does not take data set jets_wjet: takes layers of rectangular cells, those "
            "of geometry CMS-like calorimeter are eta_phi",
        ),
        ({"dataset": "lhcb_ecal"}, "runs.0: model calpagan does not take data set lhcb_ecal: takes pairs of"),
        (
            {"grid": {"values": {"energy": [1]}}},
            "runs.0.grid: found conditions, expected null: events of data set jets_wjet have no primary",
        ),
        (
            {"traversals": {"steps": {"energy": [1, 2]}}},
            "runs.0.traversals: found conditions, expected null: events of data set jets_wjet have no",
        ),
    ],
)
def test_pairs_are_for_models_that_take_them_and_are_asked_for_nothing(monkeypatch, edit, message):
    monkeypatch.chdir(CHECKOUT)
    config = yaml.safe_load((CHECKOUT / "config.yaml").read_text(encoding="utf-8"))
    config["models"]["calpagan"] = {"family": "calpagan"}
    config["runs"] = [{"dataset": "jets_wjet", "model": "calpagan", "seeds": [1]}]
    assert validate(config).models["calpagan"].preprocessing.inputs == ("reference",)
    config["runs"][0] |= edit
    with pytest.raises(CaloforgeError) as caught:
        validate(config)
    assert len(str(caught.value).splitlines()) == 2
    assert message in str(caught.value)


# Training and sampling


def write(path, n: int, seed: int, first_event: int = 0, paired: bool = True) -> None:
    full, fast = (1000 * images.numpy() for images in pairs(n, seed))
    incident = fast.sum(axis=1, keepdims=True)
    with ShowerWriter(path, GEOMETRY, {}, paired=paired) as writer:
        writer.append(Showers(full, incident, {}, first_event + 3 * np.arange(n), fast if paired else None))


def train(folder, settings, name="run") -> None:
    if not (folder / "preprocessing.json").exists():
        write(folder / "train.h5", 48, seed=1)
        write(folder / "val.h5", 40, seed=2, first_event=500)
        fit_preprocessing(
            settings.preprocessing,
            train=folder / "train.h5",
            readout_threshold_MeV=5,
            output=folder / "preprocessing.json",
            record=folder / "preprocess.json",
        )
    (folder / name).mkdir()
    train_model(
        settings,
        train=folder / "train.h5",
        val=folder / "val.h5",
        preprocessing=folder / "preprocessing.json",
        jets=JetSettings(),
        seed=1,
        code="",
        work=folder / name / "work",
        checkpoint=folder / name / "checkpoint.pt",
        history=folder / name / "history.csv",
        record=folder / name / "train.json",
    )


def test_training_on_pairs_and_sampling(tmp_path):
    settings = plain(
        training={"epochs": 3, "batch_size": 16, "validate_every": 2, "device": "cpu", "threads": 1}
    )
    for name in ("run", "again"):
        train(tmp_path, settings, name)
    a, b = ((tmp_path / name / "checkpoint.pt").read_bytes() for name in ("run", "again"))
    assert a == b

    with (tmp_path / "run/history.csv").open(newline="") as file:
        history = list(csv.DictReader(file))
    names = ("validation_frechet_jets", "validation_frechet_pixels")
    assert {"discriminator", "generator", "distance", *names} <= history[0].keys()
    assert [row["validation_frechet_pixels"] == "" for row in history] == [True, False, False]
    constants = json.loads((tmp_path / "run/train.json").read_text())["frechet"]
    assert constants.keys() == {"fast", "floor"}
    assert all(constants[name][of] > 0 for name in ("fast", "floor") for of in ("jets", "pixels"))

    write(tmp_path / "test.h5", 20, seed=4, first_event=1000)
    sample(
        settings,
        SamplingSettings(batch_size=8, device="cpu", threads=1),
        checkpoint=tmp_path / "run/checkpoint.pt",
        preprocessing=tmp_path / "preprocessing.json",
        test=tmp_path / "test.h5",
        seed=1,
        output=tmp_path / "samples.h5",
        record=tmp_path / "sample.json",
    )
    with ShowerFile(tmp_path / "samples.h5") as made, ShowerFile(tmp_path / "test.h5") as test:
        assert not made.paired
        found, asked = made.read(), test.read()
    np.testing.assert_array_equal(found.event, asked.event)
    np.testing.assert_array_equal(found.incident_energies, asked.incident_energies)
    assert np.isfinite(found.showers).all()


def test_files_without_pairs_are_refused(tmp_path):
    write(tmp_path / "train.h5", 20, seed=1, paired=False)
    write(tmp_path / "val.h5", 20, seed=2)
    (tmp_path / "preprocessing.json").write_text(json.dumps(PREPROCESSING.as_dict()))
    settings = plain(training={"epochs": 1, "batch_size": 8, "device": "cpu"})
    with pytest.raises(
        CaloforgeError, match=r"train\.h5: no data set reference, expected images of the fast"
    ):
        train(tmp_path, settings)
    assert not (tmp_path / "run/checkpoint.pt").exists()


def test_generated_energies_are_in_MeV():
    """A generator that gives the highest energy everywhere."""
    gan = model()
    gan.generator = Makes(0, 1)
    _, fast = pairs(2)
    batch = Showers(np.zeros((2, 0)), np.ones((2, 1)), {}, np.arange(2), 1000 * fast.numpy())
    made_MeV = generate(gan, PREPROCESSING, batch, 1, torch.device("cpu"))
    expected = 1000 * fast.amax(dim=1, keepdim=True).expand_as(fast).numpy()
    np.testing.assert_allclose(made_MeV, expected, rtol=1e-6)
