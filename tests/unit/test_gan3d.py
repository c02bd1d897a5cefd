import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from caloforge import checkpoint
from caloforge.config.project import model_settings
from caloforge.errors import CaloforgeError
from caloforge.geometry import Geometry
from caloforge.models.energy_score import energy_score
from caloforge.models.family import build
from caloforge.models.gan3d.family import percent_error, shapes
from caloforge.models.gan3d.networks import Verdict, images_of
from caloforge.models.primary.shares import VisibleShares
from caloforge.preprocessing import Preprocessing
from caloforge.sampling import generate
from caloforge.showers import ShowerFile, Showers, ShowerWriter
from caloforge.trained import load_model
from caloforge.training.validation import ShowerValidation

SIDE = 8
GEOMETRY = Geometry(name="box", layers=[{"shape": (SIDE, SIDE), "cell_size_mm": (5, 5), "repeat": SIDE}])
RESPONSE = (0.02, -0.003, 0.0005)
FAMILIES = ["gan3d_conv3d", "gan3d_conv2d"]


def preprocessing(inputs=("energy",), response=RESPONSE, **changes):
    cells = np.arange(1, SIDE**3 + 1)
    fitted = Preprocessing(
        readout_threshold_MeV=0.05,
        power=None,
        scale=1000.0,
        inputs=inputs,
        mean=(0.0,) * len(inputs),
        std=(1.0,) * len(inputs),
        response=response,
        response_spread=(0.2, 0.01),
        mean_shower=tuple((cells / cells.sum()).tolist()),
        rare_hit_MeV=0.2,
    )
    return replace(fitted, **changes)


def model(family="gan3d_conv3d", *, inputs=("energy",), response=RESPONSE, **settings):
    torch.manual_seed(0)
    return build(plain(family, **settings), GEOMETRY, preprocessing(inputs, response))


def plain(family, **settings):
    return model_settings(
        {
            "family": family,
            "latent": 16,
            "generator_steps": 1,
            "free_output_steps": 0,
            "training": {"epochs": 1},
        }
        | settings
    )


def showers(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cascades in GeV that rise and fall in depth, with 2 % of the energy, and the energies of primaries."""
    rng = torch.Generator().manual_seed(5)
    energy_GeV = 50 + 350 * torch.rand(n, 1, generator=rng)
    axis = torch.arange(SIDE) - (SIDE - 1) / 2
    across = torch.exp(-(axis**2) / 2)
    depth = torch.exp(-((torch.arange(SIDE) - 2 - energy_GeV / 100) ** 2) / 4)
    grid = depth[:, :, None, None] * across[:, None] * across
    grid = grid / grid.sum(dim=(1, 2, 3), keepdim=True)
    return (0.02 * energy_GeV * grid.flatten(1)), energy_GeV


def rng(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Says(nn.Module):
    """A discriminator that says the same of every shower and remembers what it saw."""

    def __init__(self, logit=0.3, energy=2.0, classes=None):
        super().__init__()
        self.said = nn.Parameter(torch.tensor([logit, energy]))
        self.classes, self.seen = classes, []

    def forward(self, images):
        self.seen.append(images.detach())
        logit, energy = (said.expand(len(images)) for said in self.said)
        classes = None if self.classes is None else torch.tensor(self.classes).expand(len(images), -1)
        return Verdict(logit, energy, images.sum(dim=(1, 2, 3)), classes)


class Makes(nn.Module):
    """A generator of images with the same energy in every cell that remembers its latent vectors."""

    def __init__(self, total_GeV):
        super().__init__()
        self.total_GeV, self.factor, self.latents, self.free = total_GeV, nn.Parameter(torch.ones(())), [], []

    def forward(self, latent, classes, *, output_relu):
        self.latents.append(latent.detach())
        self.free.append(not output_relu)
        cell_GeV = self.factor * self.total_GeV / SIDE**3
        return cell_GeV[:, None, None, None].expand(-1, SIDE, SIDE, SIDE)


# Losses


def entropy(label: float, logit: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -label * math.log(p) - (1 - label) * math.log(1 - p)


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_by_hand(family):
    """D and e are the same for all showers, so that losses are sums over energies alone."""
    gan = model(family, flipped_labels=0, real_label=0.9, total_weight=0.3)
    cells, energy_GeV = showers(4)
    y = (energy_GeV[:, 0] / 100).tolist()
    gan.discriminator, gan.generator = Says(0.3, 2.0), Makes(torch.full((4,), 3.0))
    losses = gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    assert losses["discriminator_adversarial"].item() == pytest.approx(
        (entropy(0.9, 0.3) + entropy(0, 0.3)) / 2, rel=1e-5
    )
    percent = 100 * sum(abs(2 - e) / e for e in y) / 4
    assert losses["discriminator_energy"].item() == pytest.approx(percent, rel=1e-5)
    logit, energy = gan.discriminator.said.tolist()  # after its own step
    assert losses["generator_adversarial"].item() == pytest.approx(entropy(1, logit), rel=1e-5)
    percent = 100 * sum(abs(energy - e) / e for e in y) / 4
    assert losses["generator_energy"].item() == pytest.approx(percent, rel=1e-5)
    visible_GeV = [
        E * (0.02 - 0.003 * math.log(E) + 0.0005 * math.log(E) ** 2) for E in energy_GeV[:, 0].tolist()
    ]
    percent = 100 * sum(abs(3 - v) / v for v in visible_GeV) / 4
    assert losses["generator_total"].item() == pytest.approx(percent, rel=1e-5)


def test_weights_scale_the_gradients():
    """Of the generator with one weight f: sums are f R, so 0.3 * 100 |f - 1| has the slope 30 at f > 1."""
    gan = model(total_weight=0.3)
    cells, energy_GeV = showers(4)
    gan.discriminator, gan.generator = Says(), Makes(gan.mean_visible_GeV(energy_GeV[:, 0]))
    gan.generator.factor.data += 0.5
    gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    assert gan.generator.factor.grad.item() == pytest.approx(30, rel=1e-4)


def test_weights_of_the_discriminator():
    """Slopes in its logit l, 6 (2 sigmoid(l) - 1) / 2 for both kinds, and energy e, 0.2 * 100 mean(1 / y)."""
    gan = model(flipped_labels=0)
    cells, energy_GeV = showers(4)
    gan.discriminator, gan.generator = Says(0.3, 9.0), Makes(torch.ones(4))
    gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    slopes = gan.discriminator.said.grad.tolist()
    expected = [3 * (2 / (1 + math.exp(-0.3)) - 1), 20 * (100 / energy_GeV).mean().item()]
    assert slopes == pytest.approx(expected, rel=1e-5)


def test_a_generator_that_sums_up_to_the_response_has_no_total_loss():
    cells, energy_GeV = showers(5)
    gan = model(total_weight=0.3)
    gan.generator = Makes(gan.mean_visible_GeV(energy_GeV[:, 0]))
    losses = gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    assert losses["generator_total"].item() == pytest.approx(0, abs=1e-3)
    flat = model(response=(0.02,))
    torch.testing.assert_close(flat.mean_visible_GeV(energy_GeV), 0.02 * energy_GeV)


def test_percent_error_has_the_least_denominator_of_keras():
    assert percent_error(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0])).item() == pytest.approx(75)
    assert percent_error(torch.tensor([1e-7]), torch.tensor([0.0])).item() == pytest.approx(100)


def test_labels_are_exchanged_at_the_stated_share():
    gan = model(flipped_labels=0.05)
    real, generated = (gan._labels(label, 100_000, rng()) for label in (0.9, 0.0))
    assert real.unique().tolist() == pytest.approx([0, 0.9])
    assert generated.unique().tolist() == [0, 1]
    sigma = math.sqrt(0.05 * 0.95 / 100_000)
    assert (real == 0).float().mean().item() == pytest.approx(0.05, abs=5 * sigma)
    assert generated.mean().item() == pytest.approx(0.05, abs=5 * sigma)


def test_the_discriminator_sees_both_kinds_in_one_batch():
    cells, energy_GeV = showers(4)
    gan = model(generator_steps=2)
    gan.discriminator, gan.generator = Says(), Makes(torch.full((4,), 5.12))
    gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    real = cells.reshape(4, SIDE, SIDE, SIDE).permute(0, 2, 3, 1)
    learning, *judging = gan.discriminator.seen
    assert len(judging) == 2
    torch.testing.assert_close(learning[:4], real)
    torch.testing.assert_close(learning[4:], torch.full_like(real, 0.01))
    for images in judging:
        torch.testing.assert_close(images[4:], real)


# Energies


def requested_energies(step: int, **settings) -> torch.Tensor:
    """Energies of the generated showers of one training step, from the widths of the latent vectors [GeV]."""
    gan = model(latent=20_000, **settings)
    cells, energy_GeV = showers(6)
    gan.discriminator, gan.generator = Says(), Makes(torch.ones(6))
    gan.training_step(step, cells, energy_GeV, gan.optimisers(), rng())
    expected_free = step < settings.get("free_output_steps", 0)
    assert gan.generator.free == [expected_free] * 2
    return 100 * gan.generator.latents[0].std(dim=1)


def test_energies_are_those_of_the_data():
    torch.testing.assert_close(requested_energies(0), showers(6)[1][:, 0], rtol=0.03, atol=0)


def test_energies_come_from_a_range():
    energies_GeV = requested_energies(0, energies_GeV=(10, 20))
    assert 9.7 < energies_GeV.min() < energies_GeV.max() < 20.6
    assert energies_GeV.std() > 1


def test_output_is_free_for_energies_of_its_own_at_first():
    settings = {"free_output_steps": 3, "free_output_energies_GeV": (1000, 1100), "energies_GeV": (10, 20)}
    assert requested_energies(2, **settings).min() > 950
    assert requested_energies(3, **settings).max() < 21


# Training


@pytest.mark.parametrize("family", FAMILIES)
def test_as_published_leaves_the_statistics_of_normalisation_alone(family):
    for as_published in (True, False):
        gan = model(family, as_published=as_published)
        before = copy.deepcopy(dict(gan.named_buffers()))
        gan.train()
        cells, energy_GeV = showers(4)
        gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
        after = dict(gan.named_buffers())
        same = [torch.equal(before[name], after[name]) for name in after if "running" in name]
        assert len(same) > 4
        assert all(same) if as_published else not any(same)


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_repeat_with_the_same_random_state_and_differ_with_another(family):
    cells, energy_GeV = showers(4)
    made = []
    for seed in (1, 1, 2):
        gan = model(family)
        optimisers, random = gan.optimisers(), rng(seed)
        for step in range(2):
            gan.training_step(step, cells, energy_GeV, optimisers, random)
        made.append(gan.eval().generate(energy_GeV, rng()).detach())
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@pytest.mark.parametrize("family", FAMILIES)
def test_generators_can_overfit_a_handful_of_showers(family):
    """Asked directly, a generator makes four showers from four latent vectors."""
    cells, _ = showers(4)
    gan = model(family)
    generator = gan.generator.eval()
    real = images_of(cells, gan.shape) / 0.01
    latent = torch.randn(4, 16, generator=rng(3))
    optimiser = torch.optim.Adam(generator.parameters(), 2e-3)

    def distance() -> torch.Tensor:
        return (generator(latent, None) - real).norm() / real.norm()

    before = distance().item()
    for step in range(60):
        optimiser.zero_grad()
        (generator(latent, None, output_relu=step >= 10) - real).square().mean().backward()
        optimiser.step()
    assert distance() < 0.2 * before


@pytest.mark.parametrize(
    ("family", "steps", "of_total"), [("gan3d_conv3d", 250, 0.5), ("gan3d_conv2d", 40, 0.8)]
)
def test_adversarial_training_learns_sums_and_energies(family, steps, of_total):
    """A stated share is left of the error of the sums; the three-dimensional one learns the shape too."""
    cells, energy_GeV = showers(4)
    gan = model(
        family,
        cell_unit_GeV=0.01,
        optimiser="adam",
        learning_rate=1e-3,
        discriminator_learning_rate=5e-4,
        flipped_labels=0,
        response=(0.02,),
    )
    optimisers, random = gan.optimisers(), rng(3)

    def distance() -> float:
        """Of the mean generated shower from the mean real one, over the size of the latter."""
        made = gan.generate(energy_GeV.repeat(8, 1), rng(4)).detach().mean(dim=0)
        return ((made - cells.mean(dim=0)).norm() / cells.mean(dim=0).norm()).item()

    before = distance()
    losses = [gan.training_step(step, cells, energy_GeV, optimisers, random) for step in range(steps)]
    first, last = (
        {name: np.mean([step[name].item() for step in part]) for name in losses[0]}
        for part in (losses[:3], losses[-10:])
    )
    assert last["generator_total"] < of_total * first["generator_total"]
    assert last["discriminator_energy"] < first["discriminator_energy"]
    assert family == "gan3d_conv2d" or distance() < 0.8 * before


def test_bfloat16_sums_cells_in_float32():
    gan = model(training={"epochs": 1, "precision": "bfloat16"}, response=(0.02,))
    cells, energy_GeV = showers(4)
    seen = []
    gan.discriminator.register_forward_hook(lambda _network, images, verdict: seen.append((*images, verdict)))
    gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    for images, verdict in seen:
        assert images.dtype == verdict.total_energy.dtype == torch.float32
        torch.testing.assert_close(verdict.total_energy, images.sum(dim=(1, 2, 3)))
        assert verdict.real.dtype == torch.bfloat16


def test_networks_see_cells_in_their_unit():
    """The same step with cells in units of 10 MeV: images 100 times as large, sums as before."""
    cells, energy_GeV = showers(4)
    gan = model(cell_unit_GeV=0.01)
    gan.discriminator, gan.generator = Says(), Makes(100 * gan.mean_visible_GeV(energy_GeV[:, 0]))
    losses = gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    assert losses["generator_total"].item() == pytest.approx(0, abs=1e-3)
    torch.testing.assert_close(
        gan.discriminator.seen[0][:4], 100 * cells.reshape(4, SIDE, SIDE, SIDE).permute(0, 2, 3, 1)
    )
    visible_GeV = gan.generate(energy_GeV, rng()).detach().sum(dim=1)
    torch.testing.assert_close(
        visible_GeV, gan.generator.factor.detach() * gan.mean_visible_GeV(energy_GeV[:, 0])
    )


# Shares of the visible energy


@pytest.mark.parametrize("family", FAMILIES)
def test_shares_of_the_visible_energy_cell_by_cell(family):
    """Without threshold and rare hits, so that a cell reads its share."""
    gan = build(
        plain(family, cells="shares", cell_unit_GeV=0.01),
        GEOMETRY,
        preprocessing(readout_threshold_MeV=1e-12, rare_hit_MeV=0.0),
    ).eval()
    output = torch.linspace(-1.5, 2, SIDE**3).reshape(1, SIDE, SIDE, SIDE)
    latents = []

    def generator(latent, _classes, *, output_relu):
        assert not output_relu
        latents.append(latent)
        return output.expand(len(latent), -1, -1, -1)

    gan.generator.forward = generator
    energies_GeV = [3.0, 400.0]
    made = gan.generate(torch.tensor(energies_GeV)[:, None], rng(7)).numpy()
    noise = torch.randn(2, 16, generator=rng(7))
    torch.testing.assert_close(latents[0][:, 0], torch.tensor([math.log(0.03), math.log(4)]))
    torch.testing.assert_close(latents[0][:, 1:], noise[:, 1:])
    of_cells = output[0].permute(2, 0, 1).flatten().tolist()
    for energy_GeV, n, cells_GeV in zip(energies_GeV, noise[:, 0].tolist(), made, strict=True):
        logarithm = math.log(energy_GeV)
        mean_GeV = energy_GeV * sum(c * logarithm**power for power, c in enumerate(RESPONSE))
        visible_GeV = mean_GeV * (1 + n * math.sqrt(0.2**2 / energy_GeV + 0.01**2))
        weights = [
            share * max(0, 1 + g) for share, g in zip(preprocessing().mean_shower, of_cells, strict=True)
        ]
        expected = [visible_GeV * weight / sum(weights) for weight in weights]
        assert expected.count(0) > SIDE**3 / 8
        np.testing.assert_allclose(cells_GeV, expected, rtol=2e-4, atol=1e-12)


def test_rare_hits_keep_the_mean_and_have_an_exponential_excess():
    """Of one shower read 4,000 times: 1.5 GeV in two cells, 0.1 MeV on average in every other one."""
    n_cells, n = SIDE**3, 4000
    mean_MeV = np.full(n_cells, 0.1)
    mean_MeV[:2] = 750
    weights = torch.from_numpy(mean_MeV).float().expand(n, -1)
    shares = VisibleShares(weights[0], preprocessing(response_spread=(0.0, 0.0)))
    visible_GeV = torch.full((n,), mean_MeV.sum() / 1000)
    cells_MeV = 1000 * shares.cells_GeV(weights, torch.zeros(n, 4), visible_GeV, visible_GeV, rng(2)).numpy()
    np.testing.assert_allclose(cells_MeV.sum(axis=1), mean_MeV.sum(), rtol=1e-5)
    np.testing.assert_allclose(cells_MeV[:, :2], 750, rtol=0.02)
    rare = cells_MeV[:, 2:]
    p = 0.1 / 0.25
    assert (rare > 0).mean() == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / rare.size))
    assert rare.mean() == pytest.approx(0.1, rel=0.01)
    hits = rare[rare > 0][:20_000]
    assert stats.kstest(hits - 0.05, "expon", args=(0, 0.2)).statistic < 0.02
    assert np.abs(np.corrcoef(rare[:, :20], rowvar=False) - np.eye(20)).max() < 5 / math.sqrt(n)


def test_gradients_pass_hits_as_if_cells_read_their_mean():
    shares = VisibleShares(torch.rand(SIDE, SIDE, SIDE, generator=rng(1)), preprocessing())
    generator = torch.Generator().manual_seed(3)
    output = torch.randn(2, SIDE, SIDE, SIDE, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(2, SIDE, SIDE, SIDE, generator=generator, dtype=torch.float64)
    energy_GeV, visible_GeV = torch.tensor([0.5, 100.0]), torch.tensor([0.01, 2.0])
    noise = torch.zeros(2, 4)
    mean = shares.double().mean_shower * (1 + output).relu()
    images_GeV = shares.cells_GeV(mean, noise, visible_GeV, energy_GeV, rng())
    (found,) = torch.autograd.grad((images_GeV * weights).sum(), output, retain_graph=True)
    mean_GeV = visible_GeV[:, None, None, None] * mean / mean.sum(dim=(1, 2, 3), keepdim=True)
    (expected,) = torch.autograd.grad((mean_GeV * weights).sum(), output)
    torch.testing.assert_close(found, expected)
    assert ((images_GeV > 0) != (mean_GeV > 0)).any()


def test_a_generator_without_any_cell_makes_empty_showers_with_finite_gradients():
    gan = model(cells="shares")
    weight = nn.Parameter(torch.tensor(-2.0))
    gan.generator.forward = lambda latent, _classes, output_relu: weight.expand(len(latent), *gan.shape)
    made = gan.generate(torch.tensor([[300.0]]), rng())
    made.sum().backward()
    assert (made == 0).all()
    assert torch.isfinite(weight.grad)


def test_training_with_shares_has_no_free_output():
    cells, energy_GeV = showers(4)
    gan = model(
        cells="shares", free_output_steps=5, free_output_energies_GeV=(1000, 1100), cell_unit_GeV=0.01
    )
    before = copy.deepcopy(gan.generator.state_dict())
    losses = gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    assert losses["generator_total"] < 10
    assert any(not torch.equal(before[name], new) for name, new in gan.generator.state_dict().items())


def test_the_discriminator_sees_powers_and_sums_energies():
    cells, energy_GeV = showers(4)
    gan = model(discriminator_power=0.5, cell_unit_GeV=0.01)
    gan.discriminator, gan.generator = Says(), Makes(100 * gan.mean_visible_GeV(energy_GeV[:, 0]))
    losses = gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    assert losses["generator_total"].item() == pytest.approx(0, abs=1e-3)
    images = 100 * cells.reshape(4, SIDE, SIDE, SIDE).permute(0, 2, 3, 1)
    torch.testing.assert_close(gan.discriminator.seen[0][:4], (images + 0.1).sqrt() - math.sqrt(0.1))


def test_shapes_are_roots_of_the_shares_of_slices():
    images = torch.rand(3, 4, 5, 6, generator=rng())
    found = shapes(images)
    for image, features in zip(images.numpy(), found.numpy(), strict=True):
        slices = [*image.sum((1, 2)), *image.sum((0, 2)), *image.sum((0, 1))]
        np.testing.assert_allclose(features, [math.sqrt(e / image.sum() + 1e-6) for e in slices], rtol=1e-5)
    assert torch.isfinite(shapes(torch.zeros(1, 4, 5, 6))).all()


def test_the_energy_score_is_least_for_the_right_distribution():
    """Of normal numbers with mean 1 and standard deviation 2, by their closed form and by its slope.

    For X and X' with deviation s and x with deviation 2 and the same mean, E|X - x| = sqrt(2 (s^2 + 4) / pi)
    and E|X - X'| = 2 s / sqrt(pi). The slope of the score in s counts the second with half its slope: it is
    zero at s = 2, positive above and negative below.
    """
    generator = rng(4)
    real, z, other = (torch.randn(200_000, 1, generator=generator) for _ in range(3))
    for s in (1.0, 2.0, 3.0):
        width = torch.tensor(s, requires_grad=True)
        score = energy_score(1 + width * z, 1 + width * other, 1 + 2 * real)
        expected = math.sqrt(2 * (s**2 + 4) / math.pi) - 2 * s / math.sqrt(math.pi)
        assert score.item() == pytest.approx(expected, abs=0.02)
        (slope,) = torch.autograd.grad(score, width)
        expected = s * math.sqrt(2 / math.pi) / math.sqrt(s**2 + 4) - 1 / math.sqrt(math.pi)
        assert slope.item() == pytest.approx(expected, abs=0.01)


def test_the_loss_of_shapes_compares_showers_of_one_energy():
    """Generators that repeat a real shower leave no distance to it, and none to each other."""
    cells, energy_GeV = showers(4)
    gan = model(shape_weight=10.0)
    real, zero = images_of(cells, gan.shape), nn.Parameter(torch.zeros(()))
    gan.generator.forward = lambda _latent, _classes, output_relu: real + zero
    losses = gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    assert losses["generator_shape"].item() == pytest.approx(0, abs=1e-6)
    gan.generator.forward = lambda _latent, _classes, output_relu: real.roll(1, 0) + zero
    losses = gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    features = shapes(real)
    expected = (features.roll(1, 0) - features).norm(dim=1).mean().item()
    assert losses["generator_shape"].item() == pytest.approx(expected, rel=1e-4)
    assert "generator_shape" not in model().training_step(0, cells, energy_GeV, model().optimisers(), rng())


def test_momentum_of_the_running_statistics_is_a_setting():
    layers = [
        layer for layer in model(normalisation_momentum=0.1).modules() if hasattr(layer, "running_mean")
    ]
    assert len(layers) > 4
    assert {layer.momentum for layer in layers} == {0.1}


# Particles

PARTICLES = {"particles": (11, 22), "preprocessing": {"inputs": ("energy", "pdg")}}


def test_the_loss_of_the_class_by_hand():
    gan = model(
        inputs=("energy", "pdg"), **PARTICLES, class_weight=2.0, adversarial_weight=0, energy_weight=0
    )
    cells, energy_GeV = showers(3)
    gan.discriminator, gan.generator = Says(classes=[0.5, -0.2]), Makes(torch.ones(3))
    inputs = torch.cat([energy_GeV, torch.tensor([[22.0], [11.0], [22.0]])], dim=1)
    losses = gan.training_step(0, cells, inputs, gan.optimisers(), rng())
    weights = [math.exp(0.5), math.exp(-0.2)]
    electron, photon = (-math.log(weight / sum(weights)) for weight in weights)
    for name in ("discriminator_class", "generator_class"):
        assert losses[name].item() == pytest.approx((electron + 2 * photon) / 3, rel=1e-5)
    assert gan._weighted({"class": torch.tensor(0.7)}).item() == pytest.approx(1.4)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_particle_has_its_own_vector(family):
    """With the vector of photons at zero, a photon is what zero noise makes; electrons stay as they are."""
    gan = model(family, inputs=("energy", "pdg"), **PARTICLES).eval()
    inputs = torch.tensor([[100.0, 11.0], [100.0, 22.0]])
    before = gan.generate(inputs, rng()).detach()
    gan.generator.particle.weight.data[1] = 0
    after = gan.generate(inputs, rng()).detach()
    torch.testing.assert_close(after[0], before[0])
    assert not torch.allclose(after[1], before[1])
    nothing = gan.generator(torch.zeros(1, 16), torch.tensor([0])).detach()
    torch.testing.assert_close(after[1], nothing[0].permute(2, 0, 1).flatten())


def test_an_unknown_particle_is_refused():
    gan = model(inputs=("energy", "pdg"), **PARTICLES)
    with pytest.raises(CaloforgeError, match=r"particle -11 found, expected one of the particles .* 11, 22"):
        gan.generate(torch.tensor([[100.0, 11.0], [100.0, -11.0]]), rng())


# Checkpoints


@pytest.mark.parametrize("family", FAMILIES)
def test_a_loaded_checkpoint_makes_the_same_showers(family, tmp_path):
    gan, settings = model(family), plain(family)
    cells, energy_GeV = showers(4)
    gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    checkpoint.save(
        tmp_path / "checkpoint.pt",
        {
            "kind": family,
            "settings": settings.model_dump(mode="json"),
            "geometry": GEOMETRY.model_dump(mode="json"),
            "preprocessing": preprocessing().as_dict(),
            "weights": gan.state_dict(),
        },
    )
    energies_MeV = (1000 * energy_GeV).numpy()
    requested = Showers(
        np.zeros((4, SIDE**3), np.float32), energies_MeV, {"energy": energy_GeV[:, 0].numpy()}, np.arange(4)
    )
    with ShowerWriter(tmp_path / "test.h5", GEOMETRY, {"energy": "GeV"}) as writer:
        writer.append(requested)
    with ShowerFile(tmp_path / "test.h5") as reference:
        loaded = load_model(settings, reference, preprocessing(), tmp_path / "checkpoint.pt")
    made_MeV = [
        generate(network, preprocessing(), requested, 1, torch.device("cpu"))
        for network in (gan.eval(), loaded)
    ]
    np.testing.assert_array_equal(*made_MeV)
    with torch.no_grad():
        np.testing.assert_allclose(made_MeV[0], 1000 * gan.generate(energy_GeV, rng()).numpy(), rtol=1e-6)
    assert made_MeV[0].max() > 0


# Validation


def test_validation_by_shower_shapes_sees_the_axes_and_the_threshold(tmp_path):
    """Twice the energy is an error of 1, turned showers more; cells below the threshold do not count."""
    cells, energy_GeV = showers(30)
    condition = {"energy": energy_GeV[:, 0].numpy()}
    with ShowerWriter(tmp_path / "val.h5", GEOMETRY, {"energy": "GeV"}) as writer:
        writer.append(Showers(1000 * cells.numpy(), 1000 * energy_GeV.numpy(), condition, np.arange(30)))
    score = ShowerValidation(tmp_path / "val.h5", preprocessing(), "shower_shapes", seed=1)

    def of(made: torch.Tensor) -> float:
        gan = model()
        gan.generate = lambda inputs, rng: made
        return score(gan)["validation"]

    assert of(cells) == pytest.approx(0, abs=1e-6)
    assert of(2 * torch.where(cells > 5e-5, cells, 0)) == pytest.approx(1, rel=1e-5)
    assert of(torch.where(cells > 5e-5, cells, 4e-5)) == pytest.approx(0, abs=1e-6)
    turned = cells.reshape(-1, SIDE, SIDE, SIDE).transpose(1, 2).flatten(1)
    assert of(turned) > 0.2
