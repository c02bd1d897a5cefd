import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from caloforge.config.project import model_settings
from caloforge.errors import CaloforgeError
from caloforge.geometry import Geometry
from caloforge.models.calogan.networks import Discriminator, Generator, LayerFeatures
from caloforge.models.family import build
from caloforge.models.layer_stack.layers import Attention, LocallyConnected2d
from caloforge.preprocessing import Preprocessing
from caloforge.sampling import generate
from caloforge.showers import Showers

PUBLISHED = ((3, 96), (12, 12), (12, 6))
SHAPES = ((3, 8), (4, 4), (4, 2))
N_CELLS = 24 + 16 + 8
RESPONSE = (0.2, -0.003, 0.0005)
CLASSES = {"particles": (11, 22), "preprocessing": {"inputs": ("energy", "pdg")}}


def preprocessing(inputs=("energy",), response=RESPONSE):
    n = len(inputs)
    return Preprocessing(0.05, None, 1000.0, inputs, (0.0,) * n, (1.0,) * n, response, (0.1, 0.0), (), 0.0)


def geometry(shapes=SHAPES, kind="cartesian"):
    if kind == "eta_phi":
        layers = [{"kind": kind, "eta_edges": {"bins": 6, "low": -1, "high": 1}, "n_phi": 8}]
    elif kind == "cylindrical":
        layers = [{"kind": kind, "n_alpha": 4, "r_edges_mm": (0, 5, 10)}]
    else:
        layers = [{"shape": shape, "cell_size_mm": (20, 20)} for shape in shapes]
    return Geometry(name="stack", layers=layers)


def plain(**settings):
    return model_settings({"family": "calogan", "latent": 16, "training": {"epochs": 1}} | settings)


def model(*, shapes=SHAPES, inputs=("energy",), response=RESPONSE, **settings):
    torch.manual_seed(0)
    return build(plain(**settings), geometry(shapes), preprocessing(inputs, response))


def rng(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def share(energy_GeV: torch.Tensor) -> torch.Tensor:
    """Visible share of the energy, written out."""
    a, b, c = RESPONSE
    return a + b * torch.log(energy_GeV) + c * torch.log(energy_GeV) ** 2


def showers(n: int, shapes=SHAPES) -> tuple[torch.Tensor, torch.Tensor]:
    """Round showers in GeV whose sums are the mean visible energy, and the energies of their primaries."""
    energy_GeV = 10 + 80 * torch.rand(n, 1, generator=rng(5))
    layers = []
    for rows, columns in shapes:
        x, y = torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns)
        layers.append(torch.exp(-5 * (x[:, None] ** 2 + y**2)).flatten())
    cells = torch.cat(layers)
    return energy_GeV * share(energy_GeV) * cells / cells.sum(), energy_GeV


class Says(nn.Module):
    """A discriminator that says the same of every shower and remembers what it saw."""

    def __init__(self, logit=0.3, classes=None):
        super().__init__()
        self.logit, self.classes = nn.Parameter(torch.tensor(logit)), classes
        self.seen, self.expected_GeV = [], []

    def forward(self, cells, expected_GeV):
        self.seen.append(cells.detach())
        self.expected_GeV.append(expected_GeV)
        classes = None if self.classes is None else torch.tensor(self.classes).expand(len(cells), -1)
        return self.logit.expand(len(cells)), classes


class Makes(nn.Module):
    """A generator of showers with the same energy in every cell that remembers its latent vectors."""

    def __init__(self, total_GeV):
        super().__init__()
        self.total_GeV, self.factor, self.latents = total_GeV, nn.Parameter(torch.ones(())), []

    def forward(self, latent, classes=None):
        self.latents.append(latent.detach())
        cell_GeV = self.factor * self.total_GeV / N_CELLS
        return cell_GeV[:, None].expand(-1, N_CELLS)


def entropy(label: float, logit: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -label * math.log(p) - (1 - label) * math.log(1 - p)


# Networks


def test_networks_have_the_published_sizes():
    generator, discriminator = Generator(PUBLISHED), Discriminator(PUBLISHED)
    assert sum(p.numel() for p in generator.parameters()) == 29_726_280
    assert sum(p.numel() for p in discriminator.parameters()) == 2_744_332
    linear = [stream[0] for stream in generator.streams]
    assert sum(p.numel() for layer in linear for p in layer.parameters()) == 29_446_200


@pytest.mark.parametrize(
    ("shape", "maps"),
    [
        ((3, 96), [(3, 96), (3, 48), (4, 49), (5, 25)]),
        ((12, 12), [(12, 12), (12, 6), (13, 7), (14, 4)]),
        ((12, 6), [(12, 6), (12, 3), (13, 4), (14, 3)]),
        ((1, 1), [(1, 1), (1, 1), (2, 2), (3, 2)]),
        ((96, 3), [(96, 3), (96, 2), (97, 3), (98, 2)]),
    ],
)
def test_maps_of_the_discriminator(shape, maps):
    """By hand: one zero on every side, then 3x3 taps in steps of (1, 2), 2x2, 2x2 in steps of (1, 2)."""
    layer, seen = LayerFeatures(shape), []
    for part in layer.maps:
        if isinstance(part, nn.Conv2d | LocallyConnected2d):
            part.register_forward_hook(lambda _part, _inputs, made: seen.append(tuple(made.shape[1:])))
    features = layer(torch.rand(2, math.prod(shape)))
    assert seen == [(channels, *size) for channels, size in zip((64, 16, 8, 8), maps, strict=True)]
    assert features.shape == (2, 8 * math.prod(maps[-1]) + 21)


def test_streams_of_the_generator():
    """Two rows and columns more than the layer at the start; each locally connected layer takes one."""
    generator, seen = Generator(PUBLISHED, latent=8), []
    for part in generator.streams[0]:
        part.register_forward_hook(lambda part, _inputs, made: seen.append((type(part), *made.shape[1:])))
    assert generator(torch.randn(2, 8)).shape == (2, 504)
    assert [shape[1:] for shape in seen if shape[0] is nn.Unflatten] == [(36, 5, 98)]
    assert [shape[1:] for shape in seen if shape[0] is nn.Conv2d] == [(16, 5, 98)]
    assert [shape[1:] for shape in seen if shape[0] is LocallyConnected2d] == [(6, 4, 97), (1, 3, 96)]


def test_layers_get_the_mixed_image_of_the_one_before():
    """The attention of the back sees what that of the middle made; the ReLU comes after all."""
    torch.manual_seed(1)
    generator, seen = Generator(SHAPES, latent=8).eval(), []
    for attention in generator.attention:
        with torch.no_grad():
            attention.scores.bias[:, 1] = 1.0  # so that mixing matters
        attention.register_forward_hook(lambda _a, inputs, made: seen.append((*inputs, made)))
    latent = torch.randn(3, 8)
    made = generator(latent)
    front, middle, back = (stream(latent)[:, 0] for stream in generator.streams)
    (own_middle, before_middle, mixed_middle), (own_back, before_back, mixed_back) = seen
    for found, expected in [
        (own_middle, middle),
        (before_middle, front),
        (own_back, back),
        (before_back, mixed_middle),
    ]:
        torch.testing.assert_close(found, expected)
    assert not torch.allclose(mixed_middle, middle)
    flat = torch.cat([layer.flatten(1) for layer in (front, mixed_middle, mixed_back)], dim=1)
    assert flat.min() < 0
    torch.testing.assert_close(made, flat.clamp(min=0))


def test_the_discriminator_sees_energies_on_the_published_scales():
    torch.manual_seed(2)
    discriminator, seen = Discriminator(SHAPES), []
    discriminator.real.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0].detach()))
    cells = torch.rand(4, N_CELLS) * torch.tensor([0.5, 1.0, 2.0, 3.0])[:, None]
    totals_GeV = cells.double().sum(dim=1).numpy()
    away_GeV = np.array([1.0, -4.9, 5.1, -30])
    discriminator(cells, torch.tensor(totals_GeV + away_GeV, dtype=torch.float32))
    found = seen[0][:, -16:].numpy()
    parts = np.split(cells.double().numpy(), [24, 40], axis=1)
    layers_GeV = np.stack([part.sum(axis=1) for part in parts], axis=1)
    np.testing.assert_allclose(found[:, :3], layers_GeV / 10, rtol=1e-5)
    np.testing.assert_allclose(found[:, 3], totals_GeV / 100, rtol=1e-5)
    np.testing.assert_allclose(found[:, 4], abs(away_GeV), rtol=1e-4)
    assert found[:, 5].tolist() == [0, 0, 10, 10]
    alike = discriminator.alike_energies(torch.tensor(layers_GeV, dtype=torch.float32))
    np.testing.assert_allclose(found[:, 6:], alike.tanh().detach().numpy(), rtol=1e-4)


def test_the_discriminator_sees_sparsity_and_likeness_of_each_layer():
    torch.manual_seed(3)
    layer = LayerFeatures((4, 4)).eval()
    cells = torch.zeros(3, 16)
    cells[0, 5], cells[1, :4], cells[2] = 1.0, 2.0, 3.0
    features = layer(cells)
    maps, rest = features[:, :-21], features[:, -21:]
    assert rest[:, 10].tolist() == [1 / 16, 4 / 16, 1]
    torch.testing.assert_close(rest[:, :10], layer.alike_maps(maps).tanh())
    torch.testing.assert_close(rest[:, 11:], layer.alike_sparsity(rest[:, 10:11]).tanh())


@pytest.mark.parametrize("shapes", [((5, 7),), ((12, 3), (4, 9)), ((1, 1), (1, 8), (6, 1)), ((4, 4),) * 5])
def test_networks_take_any_stack(shapes):
    torch.manual_seed(4)
    gan = model(shapes=shapes)
    cells, energy_GeV = showers(4, shapes)
    losses = gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    assert all(loss.isfinite() for loss in losses.values())
    made = gan.eval().generate(energy_GeV, rng())
    assert made.shape == cells.shape
    assert made.min() >= 0
    assert sum(isinstance(part, Attention) for part in gan.modules()) == len(shapes) - 1


def test_every_weight_learns():
    """Of minibatch discriminations the biases cancel in differences of projections."""
    gan = model()
    before = {name: parameter.detach().clone() for name, parameter in gan.named_parameters()}
    cells, energy_GeV = showers(6)
    optimisers, random = gan.optimisers(), rng()
    for step in range(2):
        gan.training_step(step, cells, energy_GeV, optimisers, random)
    still = [name for name, parameter in gan.named_parameters() if torch.equal(parameter, before[name])]
    assert [name for name in still if not name.endswith("project.bias")] == []


# Losses


def test_losses_by_hand():
    gan = model(energy_weight=0.3)
    cells, energy_GeV = showers(4)
    gan.discriminator, gan.generator = Says(0.3), Makes(torch.full((4,), 30.0))
    losses = gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    assert losses["discriminator_real_adversarial"].item() == pytest.approx(entropy(1, 0.3), rel=1e-5)
    after_real = 0.3 + 2e-5  # a first step of Adam has the length of the rate
    assert losses["discriminator_generated_adversarial"].item() == pytest.approx(
        entropy(0, after_real), rel=1e-5
    )
    logit = gan.discriminator.logit.item()
    assert losses["generator_adversarial"].item() == pytest.approx(entropy(1, logit), rel=1e-5)
    made_GeV = 30 * gan.generator.factor.item()
    away_GeV = sum(abs(made_GeV - energy) for energy in energy_GeV[:, 0].tolist()) / 4
    assert losses["generator_energy"].item() == pytest.approx(0.3 * away_GeV, rel=2e-3)


def test_the_slope_of_the_energy_loss():
    """Of the generator with one weight f: sums are f E, so 0.3 mean |f E - E| has the slope 0.3 mean E."""
    gan = model(energy_weight=0.3, generator_steps=1)
    cells, energy_GeV = showers(4)
    gan.discriminator, gan.generator = Says(), Makes(energy_GeV[:, 0])
    gan.generator.factor.data += 0.5
    gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    assert gan.generator.factor.grad.item() == pytest.approx(0.3 * energy_GeV.mean().item(), rel=1e-4)


def test_networks_see_showers_on_the_scale_of_the_primary():
    """A shower with the mean visible energy sums up to the energy of the primary, and back."""
    gan = model()
    cells, energy_GeV = showers(5)
    gan.discriminator, gan.generator = Says(), Makes(energy_GeV[:, 0])
    losses = gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    torch.testing.assert_close(gan.discriminator.seen[0].sum(dim=1), energy_GeV[:, 0])
    torch.testing.assert_close(gan.discriminator.expected_GeV[0], energy_GeV[:, 0])
    gan.generator.factor.data.fill_(1)
    visible_GeV = gan.generate(energy_GeV, rng()).detach().sum(dim=1)
    torch.testing.assert_close(visible_GeV, (energy_GeV * share(energy_GeV))[:, 0])
    torch.testing.assert_close(visible_GeV, cells.sum(dim=1))
    assert losses["generator_energy"].item() < 0.01


def test_the_discriminator_never_sees_both_kinds_at_once():
    cells, energy_GeV = showers(4)
    gan = model(generator_steps=3)
    gan.discriminator, gan.generator = Says(), Makes(torch.full((4,), 48.0))
    gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    learnt_from, *judged = gan.discriminator.seen
    torch.testing.assert_close(learnt_from, cells / share(energy_GeV))
    assert len(judged) == 1 + 3
    for made in judged:
        torch.testing.assert_close(made, torch.ones(4, N_CELLS), atol=1e-3, rtol=0)
    assert len({latent[0, 0].item() for latent in gan.generator.latents}) == 4


def test_the_discriminator_stays_as_it_is_while_the_generator_learns():
    cells, energy_GeV = showers(4)
    gan, updates = model(generator_steps=5), []
    optimisers = gan.optimisers()
    optimisers["discriminator"].register_step_post_hook(
        lambda *_: updates.append([p.detach().clone() for p in gan.discriminator.parameters()])
    )
    gan.training_step(0, cells, energy_GeV, optimisers, rng())
    assert len(updates) == 2
    for last, now in zip(updates[-1], gan.discriminator.parameters(), strict=True):
        assert torch.equal(last, now)
        assert now.requires_grad


def test_labels_are_exchanged_at_the_stated_share():
    gan = model(flipped_labels=0.05)
    real, generated = (gan._labels(kind, 100_000, rng()) for kind in ("real", "generated"))
    sigma = math.sqrt(0.05 * 0.95 / 100_000)
    assert real.mean().item() == pytest.approx(0.95, abs=5 * sigma)
    assert generated.mean().item() == pytest.approx(0.05, abs=5 * sigma)
    as_published = model()
    assert as_published._labels("real", 9, rng()).tolist() == [1] * 9
    assert as_published._labels("generated", 9, rng()).tolist() == [0] * 9


# Energies


def test_energies_are_those_of_the_data_or_come_from_a_range():
    """Read off the widths of the latent vectors, which are the energy in units of 100 GeV."""
    cells, energy_GeV = showers(6)
    for energies_GeV in (None, (10, 20)):
        gan = model(latent=20_000, energies_GeV=energies_GeV)
        gan.discriminator, gan.generator = Says(), Makes(torch.ones(6))
        gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
        widths_GeV = [100 * latent.std(dim=1) for latent in gan.generator.latents]
        for width_GeV, expected_GeV in zip(widths_GeV, gan.discriminator.expected_GeV[1:], strict=True):
            torch.testing.assert_close(width_GeV, expected_GeV, rtol=0.03, atol=0)
            if energies_GeV is None:
                torch.testing.assert_close(expected_GeV, energy_GeV[:, 0])
            else:
                assert 10 <= expected_GeV.min() < expected_GeV.max() <= 20
        assert energies_GeV is None or not torch.equal(*gan.discriminator.expected_GeV[1:3])


# Training


def test_steps_repeat_with_the_same_random_state_and_differ_with_another():
    cells, energy_GeV = showers(4)
    made = []
    for seed in (1, 1, 2):
        gan = model()
        optimisers, random = gan.optimisers(), rng(seed)
        for step in range(2):
            gan.training_step(step, cells, energy_GeV, optimisers, random)
        made.append(gan.eval().generate(energy_GeV, rng()).detach())
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_the_generator_can_overfit_a_handful_of_showers():
    """Asked directly, it makes eight showers from eight latent vectors."""
    cells, energy_GeV = showers(8)
    generator = model(latent=32).generator.train()
    real, latent = cells / share(energy_GeV), torch.randn(8, 32, generator=rng(3))
    optimiser = torch.optim.Adam(generator.parameters(), 5e-3)

    def distance() -> torch.Tensor:
        return (generator(latent) - real).norm() / real.norm()

    before = distance().item()
    for _ in range(60):
        optimiser.zero_grad()
        distance().backward()
        optimiser.step()
    assert distance() < 0.1 * before


def test_adversarial_training_learns_energies_and_shapes():
    """Of the distance of mean generated showers from the real ones 60 % are left at most, of the error of the
    sums a half."""
    shapes = SHAPES[:2]
    cells, energy_GeV = showers(8, shapes)
    gan = model(shapes=shapes, learning_rate=5e-3, discriminator_learning_rate=2e-3)
    optimisers, random = gan.optimisers(), rng(3)

    def distance() -> float:
        gan.eval()
        made = gan.generate(energy_GeV.repeat(16, 1), rng(4)).detach().unflatten(0, (16, 8)).mean(dim=0)
        gan.train()
        return ((made - cells).norm() / cells.norm()).item()

    before = distance()
    losses = [gan.training_step(step, cells, energy_GeV, optimisers, random) for step in range(90)]
    first, last = (np.mean([loss["generator_energy"] for loss in part]) for part in (losses[:3], losses[-9:]))
    assert distance() < 0.6 * before
    assert last < 0.5 * first


def test_bfloat16_sums_cells_in_float32():
    gan = model(training={"epochs": 1, "precision": "bfloat16"})
    cells, energy_GeV = showers(4)
    seen = []
    gan.discriminator.register_forward_hook(lambda _network, inputs, said: seen.append((inputs[0], said[0])))
    losses = gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    assert all(loss.isfinite() for loss in losses.values())
    assert {images.dtype for images, _ in seen} == {torch.float32}
    assert {logit.dtype for _, logit in seen} == {torch.bfloat16}


def test_showers_are_generated_in_MeV():
    gan = model()
    cells, energy_GeV = showers(4)
    gan.training_step(0, cells, energy_GeV, gan.optimisers(), rng())
    gan.eval()
    asked = Showers(np.zeros((4, N_CELLS), np.float32), (1000 * energy_GeV).numpy(), {}, np.arange(4))
    made_MeV = generate(gan, preprocessing(), asked, 1, torch.device("cpu"))
    with torch.no_grad():
        expected = (
            1000 * gan.generator(torch.randn(4, 16, generator=rng()) * (energy_GeV / 100)) * share(energy_GeV)
        )
    np.testing.assert_allclose(made_MeV, expected.numpy(), rtol=1e-5)
    assert made_MeV.max() > 0


# Particles


def test_the_loss_of_the_class_by_hand():
    gan = model(inputs=("energy", "pdg"), **CLASSES, class_weight=2.0, flipped_classes=0)
    cells, energy_GeV = showers(3)
    gan.discriminator, gan.generator = Says(classes=[0.5, -0.2]), Makes(torch.ones(3))
    inputs = torch.cat([energy_GeV, torch.tensor([[22.0], [11.0], [22.0]])], dim=1)
    losses = gan.training_step(0, cells, inputs, gan.optimisers(), rng())
    weights = [math.exp(0.5), math.exp(-0.2)]
    electron, photon = (-math.log(weight / sum(weights)) for weight in weights)
    for name in ("discriminator_real_class", "discriminator_generated_class", "generator_class"):
        assert losses[name].item() == pytest.approx(2 * (electron + 2 * photon) / 3, rel=1e-5)


def test_classes_of_generated_showers_alone_are_exchanged():
    gan = model(inputs=("energy", "pdg"), **CLASSES, flipped_classes=0.99)
    cells, energy_GeV = showers(4)
    gan.discriminator, gan.generator = Says(classes=[9.0, -9.0]), Makes(torch.ones(4))
    inputs = torch.cat([energy_GeV, torch.full((4, 1), 11.0)], dim=1)
    losses = gan.training_step(0, cells, inputs, gan.optimisers(), rng())
    assert losses["discriminator_real_class"] < 1e-6
    assert losses["discriminator_generated_class"] > 0.2 * 9
    assert losses["generator_class"] < 1e-6


def test_exchanged_classes_are_other_ones():
    three = {"particles": (11, 22, 211), "preprocessing": {"inputs": ("energy", "pdg")}}
    gan = model(inputs=("energy", "pdg"), **three)
    classes = torch.ones(90_000, dtype=torch.int64)
    found = torch.bincount(gan._exchanged_classes(classes, rng()), minlength=3) / len(classes)
    sigma = math.sqrt(0.3 * 0.7 / len(classes))
    assert found.tolist() == pytest.approx([0.15, 0.7, 0.15], abs=5 * sigma)


def test_each_particle_has_its_own_vector():
    """With the vector of photons at zero, a photon is what zero noise makes; electrons stay as they are."""
    gan = model(inputs=("energy", "pdg"), **CLASSES).eval()
    inputs = torch.tensor([[100.0, 11.0], [100.0, 22.0]])
    before = gan.generate(inputs, rng()).detach()
    gan.generator.particle.weight.data[1] = 0
    after = gan.generate(inputs, rng()).detach()
    torch.testing.assert_close(after[0], before[0])
    assert not torch.allclose(after[1], before[1])
    nothing = gan.generator(torch.zeros(1, 16), torch.tensor([0])).detach()
    torch.testing.assert_close(after[1], nothing[0] * share(torch.tensor(100.0)))


def test_the_discriminator_with_classes_has_one_more_head():
    with_classes = Discriminator(SHAPES, n_classes=3)
    features = Discriminator(SHAPES).real.in_features
    assert with_classes.particle.weight.shape == (3, features)
    assert with_classes(torch.rand(2, N_CELLS), torch.ones(2))[1].shape == (2, 3)
    assert Discriminator(SHAPES, n_classes=1)(torch.rand(2, N_CELLS), torch.ones(2))[1] is None


def test_an_unknown_particle_is_refused():
    gan = model(inputs=("energy", "pdg"), **CLASSES)
    with pytest.raises(CaloforgeError, match=r"particle -11 found, expected one of the particles .* 11, 22"):
        gan.generate(torch.tensor([[100.0, 11.0], [100.0, -11.0]]), rng())


# Settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"particles": (11,)}, r"particles: found \[11\], expected none or several different ones"),
        ({"particles": (11, 22)}, r"preprocessing.inputs: found \['energy'\], expected energy and the cond"),
        ({"preprocessing": {"inputs": ("px",)}}, r"preprocessing.inputs: found \['px'\], expected energy al"),
        ({"energies_GeV": (9, 9)}, r"energies_GeV: found \[9.0, 9.0\], expected the lower energy first"),
        ({"preprocessing": {"energies": "box_cox"}}, r"Input should be 'linear'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        plain(**settings)


@pytest.mark.parametrize("kind", ["eta_phi", "cylindrical"])
def test_layers_without_rectangular_cells_do_not_fit(kind):
    misfit = plain().misfit(SimpleNamespace(geometry=geometry(kind=kind)))
    assert misfit == f"takes layers of rectangular cells, those of geometry stack are {kind}"
    assert plain().misfit(SimpleNamespace(geometry=geometry())) is None
