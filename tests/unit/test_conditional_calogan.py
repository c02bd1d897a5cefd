import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage
from torch import nn

from caloforge import checkpoint
from caloforge.config.dataset import DatasetSettings
from caloforge.config.project import model_settings
from caloforge.geometry import Geometry
from caloforge.models.calogan.networks import Discriminator
from caloforge.models.conditional_calogan.networks import (
    AttributeHead,
    Generator,
    LayerFeatures,
    blurred,
    refining_kernels,
)
from caloforge.models.family import build
from caloforge.models.layer_stack.layers import published_soft_sparsity, sparsity
from caloforge.preprocessing import Preprocessing
from caloforge.sampling import generate, load_model
from caloforge.showers import ShowerFile, Showers, ShowerWriter

PUBLISHED = [(3, 96), (12, 12), (12, 6)]

SHAPES = [(4, 12), (6, 6)]
GEOMETRY = Geometry(
    name="stack",
    layers=[{"shape": shape, "cell_size_mm": (120 / shape[0], 120 / shape[1])} for shape in SHAPES],
)
N_CELLS = 84

INPUTS = ("energy", "x0", "py/pz")
MEAN, STD = (40.0, 2.0, 0.01), (20.0, 25.0, 0.1)
RESPONSE = (0.2, -0.01, 0.002)
CONDITIONS = {"x0": "mm", "py": "GeV", "pz": "GeV"}


def preprocessing(response=RESPONSE) -> Preprocessing:
    return Preprocessing(0.3, None, 1000.0, INPUTS, MEAN, STD, response, (0.1, 0.0), (), 0.0)


def plain(**settings):
    return model_settings(
        {
            "family": "conditional_calogan",
            "latent": 8,
            "preprocessing": {"inputs": INPUTS},
            "training": {"epochs": 1},
        }
        | settings
    )


def model(geometry=GEOMETRY, *, response=RESPONSE, **settings):
    torch.manual_seed(0)
    return build(plain(**settings), geometry, preprocessing(response))


def showers(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Spots around x0, one cell wide, with a fifth of the energy, and the inputs of their primaries."""
    rng = torch.Generator().manual_seed(5)
    inputs = 3 * torch.rand(n, 3, generator=rng) - 1.5
    energy_GeV, x0_mm = (inputs[:, i] * STD[i] + MEAN[i] for i in (0, 1))
    cells = []
    for layer in GEOMETRY.layers:
        x, y = (torch.from_numpy(layer.centres_mm(axis)).float() / 20 for axis in (0, 1))
        cells.append((-((x - x0_mm[:, None] / 20) ** 2)[:, :, None] / 2 - y**2 / 2).exp().flatten(1))
    cells = torch.cat(cells, dim=1)
    return 0.2 * energy_GeV[:, None] * cells / cells.sum(dim=1, keepdim=True), inputs


def rng(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Says(nn.Module):
    """A discriminator or a head that says the same of every shower and remembers what it saw."""

    def __init__(self, *said):
        super().__init__()
        self.said, self.seen = nn.Parameter(torch.tensor(said)), []

    def forward(self, cells, expected_GeV=None):
        self.seen.append(cells.detach())
        said = self.said.expand(len(cells), -1)
        return said if expected_GeV is None else (said[:, 0], None)


class Makes(nn.Module):
    """A generator of showers with the same energy in every cell that remembers its latent vectors."""

    def __init__(self, total_GeV):
        super().__init__()
        self.total_GeV, self.factor, self.latents = total_GeV, nn.Parameter(torch.ones(())), []

    def forward(self, latent):
        self.latents.append(latent.detach())
        return (self.factor * self.total_GeV / N_CELLS)[:, None].expand(-1, N_CELLS)


# Published sizes


def test_parameter_counts_are_the_published_ones():
    with torch.device("meta"):
        layer_features = partial(LayerFeatures, sparsity=sparsity)
        discriminator = Discriminator(PUBLISHED, layer_features=layer_features)
        networks = Generator(PUBLISHED, 1024 + 4), discriminator, AttributeHead(504, 4)
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert counts == [29_639_802, 2_233_188, 1_965_188]


def maps_of(network: nn.Module, size: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Channels, rows, columns, kernel and stride of every convolution that `network` calls."""
    found = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(
                lambda layer, _inputs, maps: found.append((*maps.shape[1:], layer.kernel_size, layer.stride))
            )
    network(torch.zeros(size, device="meta"))
    return found


def test_streams_have_the_published_maps():
    with torch.device("meta"):
        generator = Generator(PUBLISHED, 8)
    front, middle, back = (maps_of(stream, (2, 8)) for stream in generator.streams)
    one = (1, 1)
    assert front == [
        (64, 5, 98, (3, 3), one),
        (16, 4, 97, (2, 2), one),
        (1, 3, 96, (2, 2), one),
        (32, 3, 96, (3, 7), one),
        (1, 3, 96, (3, 5), one),
    ]
    assert middle[3:] == [(32, 12, 12, (5, 5), one), (1, 12, 12, (3, 3), one)]
    assert back[3:] == [(32, 12, 6, (5, 3), one), (1, 12, 6, (5, 3), one)]


def test_the_discriminator_has_the_published_maps():
    with torch.device("meta"):
        front, back = (
            maps_of(LayerFeatures(shape, sparsity).maps, (2, math.prod(shape)))
            for shape in (PUBLISHED[0], PUBLISHED[2])
        )
    assert front == [
        (16, 3, 96, (5, 5), (1, 1)),
        (32, 3, 48, (3, 3), (1, 2)),
        (64, 4, 49, (2, 2), (1, 1)),
    ]
    assert back[-1][:3] == (64, 13, 4)


def test_activations_normalisation_and_dropout_are_the_published_ones():
    layers = list(model().modules())
    assert {layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)} == {0.3}
    normalisations = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    assert {(layer.momentum, layer.eps) for layer in normalisations} == {(0.01, 1e-3)}
    assert [layer.p for layer in layers if isinstance(layer, nn.Dropout)] == [0.2, 0.5, 0.5, 0.5]


def test_kernels_start_narrow():
    """Widths of a normal distribution cut off at two standard deviations: 0.880 of the uncut one."""
    weight = model(latent=512).generator.streams[0][0].weight
    assert weight.abs().max() <= 0.04
    assert weight.std().item() == pytest.approx(0.02 * 0.8796, rel=0.01)


@pytest.mark.parametrize(
    ("shape", "wide", "narrow"),
    [((1, 1), (3, 3), (3, 3)), ((30, 30), (5, 5), (3, 3)), ((4, 12), (3, 5), (3, 5))],
)
def test_refining_kernels_of_other_layers(shape, wide, narrow):
    assert refining_kernels(shape) == (wide, narrow)


# Layers


def test_streams_follow_a_shift_of_their_maps():
    """What is three columns and a row further in the maps is as far in the image, away from borders."""
    stream = model().generator.streams[0].eval()[2:]
    maps = torch.randn(2, 36, 30, 40, generator=rng())
    with torch.no_grad():
        image = stream(maps)[:, 0]
        shifted = stream(maps.roll((1, 3), dims=(2, 3)))[:, 0]
    inner = (slice(None), slice(8, -8), slice(8, -8))
    torch.testing.assert_close(shifted.roll((-1, -3), dims=(1, 2))[inner], image[inner], rtol=1e-4, atol=1e-9)
    assert not torch.allclose(shifted[inner], image[inner], rtol=1e-2, atol=0)


def test_attention_follows_a_shift():
    attention = model().generator.attention[0]
    attention.scores.weight.data.normal_(generator=rng(2))
    attention.scores.bias.data.zero_()
    images, before = torch.randn(2, 3, 12, 12, generator=rng())
    with torch.no_grad():
        mixed = attention(images, before)
        shifted = attention(images.roll(2, dims=2), before.roll(2, dims=2))
    torch.testing.assert_close(shifted[:, 1:-1, 3:-1], mixed[:, 1:-1, 1:-3])


def test_attention_mixes_in_the_layer_before():
    """With all weights on the layer before, the second layer repeats the first."""
    generator = Generator([(4, 6), (4, 6)], 8)
    generator.attention[0].scores.bias.data = torch.tensor([-50.0, 50.0])
    with torch.no_grad():
        first, second = generator.eval()(torch.randn(3, 8, generator=rng())).split(24, dim=1)
    torch.testing.assert_close(second, first)
    assert first.max() > 0


def test_blur_is_the_mean_of_nine_cells():
    image = torch.randn(2, 5, 7, generator=rng())
    expected = [ndimage.uniform_filter(one, 3, mode="constant") for one in image.numpy()]
    np.testing.assert_allclose(blurred(image).numpy(), expected, rtol=1e-5, atol=1e-6)
    spot = torch.zeros(1, 5, 7)
    spot[0, 2, 3] = 1
    assert blurred(spot).sum().item() == pytest.approx(1)


def test_blur_is_fixed_and_of_the_stated_layers():
    sharp, smeared = (Generator(SHAPES, 8, layers).eval() for layers in ((), (1,)))
    assert sharp.state_dict().keys() == smeared.state_dict().keys()
    smeared.load_state_dict(sharp.state_dict())
    for generator in (sharp, smeared):
        for stream in generator.streams:
            stream[-1].bias.data += 1  # no cell is cut off by the ReLU
    latent = torch.randn(3, 8, generator=rng())
    with torch.no_grad():
        (first, second), (same, blurry) = (
            generator(latent).split([48, 36], dim=1) for generator in (sharp, smeared)
        )
    torch.testing.assert_close(same, first)
    expected = [ndimage.uniform_filter(one, 3, mode="constant") for one in second.view(3, 6, 6).numpy()]
    np.testing.assert_allclose(blurry.view(3, 6, 6).numpy(), expected, rtol=1e-5)


def test_the_discriminator_sees_sums_and_how_far_they_are_off():
    """With weights for these features alone, by hand: layers of 30 and 6 GeV, 42 or 40 expected."""
    discriminator = model().discriminator.eval()
    weight = discriminator.real.weight.data.zero_()[0]
    weight[-15:-10] = torch.tensor([1.0, 10.0, 100.0, 1000.0, 10_000.0])
    cells = torch.cat([torch.full((2, 48), 30 / 48), torch.full((2, 36), 6 / 36)], dim=1)
    with torch.no_grad():
        said, _ = discriminator(cells, torch.tensor([42.0, 40.0]))
    near = 1 * 3 + 10 * 0.6 + 100 * 0.36
    assert said.tolist() == pytest.approx([near + 1000 * 6 + 10_000 * 10, near + 1000 * 4], rel=1e-5)


def test_the_discriminator_sees_the_soft_sparsity_at_the_threshold():
    """A cell at the threshold of 0.3 MeV is half a hit; one at three times that 9 / 10 of one."""
    gan = model(response=(0.2,))
    cells = torch.tensor([[0.0, 0.3, 0.9, 0.0]]) / 1000 / 0.2
    assert gan.discriminator.layers[0].sparsity(cells).item() == pytest.approx((0.5 + 0.9) / 4, rel=1e-5)
    assert model(sparsity="published").discriminator.layers[0].sparsity is published_soft_sparsity


# Losses


def entropy(label: float, logit: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -label * math.log(p) - (1 - label) * math.log(1 - p)


def visible_GeV(energy_GeV: float) -> float:
    logarithm = math.log(energy_GeV)
    return energy_GeV * sum(c * logarithm**power for power, c in enumerate(RESPONSE))


VISIBLE_SHARE = visible_GeV(MEAN[0]) / MEAN[0]


def test_losses_by_hand():
    """Discriminator and head say the same of all showers, so that losses are means over the inputs alone."""
    weights = {"py/pz": 0.7, "x0": 0.2}
    gan = model(flipped_labels=0, attribute_weights=weights, energy_weight=0.5, generator_steps=1)
    cells, inputs = showers(4)
    gan.discriminator, gan.attribute_head, gan.generator = (
        Says(0.3),
        Says(0.4, -0.6),
        Makes(torch.full((4,), 30.0)),
    )
    losses = gan.training_step(0, cells, inputs, gan.optimisers(), rng())

    def of_attributes(x0: float, slope: float) -> float:
        return sum(0.2 * abs(i[1] - x0) + 0.7 * abs(i[2] - slope) for i in inputs.tolist()) / 4

    rate, approx = 2e-5, {"rel": 1e-5}  # of a step of Adam, whose first one has the size of the rate
    assert losses["discriminator_real_adversarial"].item() == pytest.approx(entropy(1, 0.3), **approx)
    assert losses["discriminator_real_attributes"].item() == pytest.approx(of_attributes(0.4, -0.6), **approx)
    generated = losses["discriminator_generated_adversarial"].item()
    assert generated == pytest.approx(entropy(0, 0.3 + rate), **approx)
    assert losses["generator_adversarial"].item() == pytest.approx(
        entropy(1, gan.discriminator.said.item()), **approx
    )
    head = gan.attribute_head.said.tolist()
    assert losses["generator_attributes"].item() == pytest.approx(of_attributes(*head), **approx)
    energies_GeV = [20 * i[0] + 40 for i in inputs.tolist()]
    miss_GeV = sum(abs(30 - visible_GeV(energy_GeV) / VISIBLE_SHARE) for energy_GeV in energies_GeV) / 4
    assert losses["generator_energy"].item() == pytest.approx(0.5 * miss_GeV, **approx)


def test_an_error_of_one_standard_deviation_costs_the_weight_in_any_unit():
    """Attributes in mm and as a ratio, read by a head that is wrong by one standard deviation of each."""
    gan = model(attribute_weights=0.3)
    x0_mm, slope = np.array([12.0, -30.0], np.float32), np.array([0.2, -0.1], np.float32)
    conditions = {"x0": x0_mm, "py": 50 * slope, "pz": np.full(2, 50, np.float32)}
    batch = Showers(
        np.zeros((2, N_CELLS), np.float32), np.full((2, 1), 5e4, np.float32), conditions, np.arange(2)
    )
    inputs = torch.from_numpy(gan.preprocessing.network_inputs(batch))
    said = torch.from_numpy(np.stack([(x0_mm + 25 - 2) / 25, (slope + 0.1 - 0.01) / 0.1], axis=1)).float()
    gan.attribute_head.forward = lambda cells: said
    assert gan._attribute_loss(torch.zeros(2, N_CELLS), inputs).item() == pytest.approx(0.3 + 0.3, rel=1e-5)


def test_a_generator_that_sums_up_to_the_response_has_no_energy_loss():
    cells, inputs = showers(5)
    gan = model(generator_steps=1)
    energies_GeV = (20 * inputs[:, 0] + 40).tolist()
    gan.generator = Makes(torch.tensor([visible_GeV(e) / VISIBLE_SHARE for e in energies_GeV]))
    losses = gan.training_step(0, cells, inputs, gan.optimisers(), rng())
    assert losses["generator_energy"].item() == pytest.approx(0, abs=1e-5)
    made = gan.generate(inputs, rng()).sum(dim=1).tolist()
    assert made == pytest.approx([visible_GeV(e) for e in energies_GeV], rel=1e-3)


def test_labels_are_exchanged_at_the_stated_share():
    gan = model(flipped_labels=0.1)
    sigma = math.sqrt(0.1 * 0.9 / 100_000)
    for kind, share in (("real", 0.9), ("generated", 0.1)):
        labels = gan._labels(kind, 100_000, rng())
        assert labels.unique().tolist() == [0, 1]
        assert labels.mean().item() == pytest.approx(share, abs=5 * sigma)


def test_kinds_of_showers_never_share_a_batch():
    cells, inputs = showers(4)
    gan = model(generator_steps=2)
    gan.discriminator, gan.attribute_head, gan.generator = (
        Says(0.3),
        Says(0.0, 0.0),
        Makes(torch.full((4,), 8.4)),
    )
    gan.training_step(0, cells, inputs, gan.optimisers(), rng())
    for judge, times in ((gan.discriminator, 3), (gan.attribute_head, 2)):
        real, *generated = judge.seen
        torch.testing.assert_close(real, cells / VISIBLE_SHARE)
        assert len(generated) == times
        for seen in generated:
            torch.testing.assert_close(seen, torch.full_like(cells, 0.1), rtol=0.01, atol=0)


def test_latent_vectors_carry_energy_and_attributes():
    gan = model(latent=2000, generator_steps=1)
    cells, inputs = showers(4)
    gan.discriminator, gan.attribute_head, gan.generator = Says(0.3), Says(0.0, 0.0), Makes(torch.ones(4))
    gan.training_step(0, cells, inputs, gan.optimisers(), rng())
    for latent in gan.generator.latents:
        noise, attributes = latent.split([2000, 2], dim=1)
        torch.testing.assert_close(noise.std(dim=1), (20 * inputs[:, 0] + 40) / 100, rtol=0.08, atol=0)
        assert torch.equal(attributes, inputs[:, 1:])


# Training


def test_the_penalty_is_on_kernels_alone():
    gan = model(kernel_penalty=1e-3)
    for optimiser in gan.optimisers().values():
        kernels, others = optimiser.param_groups
        assert (kernels["weight_decay"], others["weight_decay"]) == (2e-3, 0)
        assert {parameter.ndim for parameter in kernels["params"]} == {2, 4}
        assert {parameter.ndim for parameter in others["params"]} == {1}
    listed = [p for o in gan.optimisers().values() for group in o.param_groups for p in group["params"]]
    assert len(listed) == len(set(map(id, listed))) == len(list(gan.parameters()))


@pytest.mark.parametrize("sparsity", ["threshold", "published"])
def test_gradients_are_finite_and_reach_every_network(sparsity):
    """Also for a shower without any energy and for cells at zero."""
    cells, inputs = showers(4)
    cells[0] = 0
    cells[:, ::2] = 0
    gan = model(sparsity=sparsity, head_learns_from="both")
    gan.training_step(0, cells, inputs, gan.optimisers(), rng())
    for network in gan.children():
        slopes = [parameter.grad for parameter in network.parameters()]
        assert all(slope is not None and slope.isfinite().all() for slope in slopes)
        assert sum((slope != 0).any() for slope in slopes) > 0.8 * len(slopes)


def test_soft_sparsity_moves_the_generator():
    """A discriminator that looks at the sparsity alone passes a gradient on to the cells."""
    gan = model()
    layer = gan.discriminator.layers[0]
    cells = torch.full((3, 48), 1e-3, requires_grad=True)
    layer(cells)[:, -11].sum().backward()
    assert (cells.grad > 0).all()


def changed(before: dict[str, torch.Tensor], network: nn.Module) -> bool:
    return any(not torch.equal(before[name], value) for name, value in network.named_parameters())


@pytest.mark.parametrize(("learns_from", "learns"), [("both", True), ("full_simulation", False)])
def test_the_head_learns_from_the_stated_showers(learns_from, learns):
    cells, inputs = showers(4)
    gan = model(head_learns_from=learns_from)
    optimiser = gan.optimisers()["discriminator"]
    for kind, expected in (("generated", learns), ("real", True)):
        before = copy.deepcopy(dict(gan.attribute_head.named_parameters()))
        gan._update_discriminator(kind, cells, inputs, optimiser, rng())
        assert changed(before, gan.attribute_head) == expected


def test_the_generator_learns_through_the_frozen_head():
    cells, inputs = showers(4)
    gan = model(energy_weight=0, attribute_weights=1)
    gan.discriminator = Says(0.3)
    before = copy.deepcopy(dict(gan.attribute_head.named_parameters()))
    gan._update_generator(cells, inputs, cells, gan.optimisers()["generator"], rng())
    assert not changed(before, gan.attribute_head)
    assert all(parameter.requires_grad for parameter in gan.attribute_head.parameters())
    assert all(parameter.grad.abs().max() > 0 for parameter in gan.generator.streams[0].parameters())


def test_steps_repeat_with_the_same_random_state_and_differ_with_another():
    cells, inputs = showers(4)
    made = []
    for seed in (1, 1, 2):
        gan = model()
        optimisers, random = gan.optimisers(), rng(seed)
        for step in range(2):
            gan.training_step(step, cells, inputs, optimisers, random)
        gan.eval()
        with torch.no_grad():
            made.append(torch.cat([gan.generate(inputs, rng()), gan.reconstruct(cells)], dim=1))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_bfloat16_sums_cells_in_float32():
    gan = model(training={"epochs": 1, "precision": "bfloat16"})
    cells, inputs = showers(4)
    seen = []
    gan.discriminator.register_forward_hook(
        lambda _network, args, said: seen.append((args[0].dtype, said[0].dtype))
    )
    losses = gan.training_step(0, cells, inputs, gan.optimisers(), rng())
    assert seen == [(torch.float32, torch.bfloat16)] * 4
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())


# Geometries

DATASET = {
    "source": {"format": "root_cells", "files": ["showers.root"]},
    "geometry": GEOMETRY.model_dump(),
    "readout_threshold_MeV": 0.3,
}


@pytest.mark.parametrize("shapes", [[(7, 5)], [(1, 1), (2, 9)], [(3, 4), (8, 2), (5, 5), (1, 16)]])
def test_any_stack_of_layers(shapes):
    geometry = Geometry(name="other", layers=[{"shape": shape, "cell_size_mm": (5, 5)} for shape in shapes])
    gan = model(geometry)
    inputs = torch.randn(3, 3, generator=rng()).clamp(-1, 1)
    made = gan.generate(inputs, rng())
    assert made.shape == (3, geometry.n_cells)
    gan.training_step(0, made.detach(), inputs, gan.optimisers(), rng())


def misfit(geometry, **settings) -> str | None:
    return plain(**settings).misfit(DatasetSettings(**DATASET | {"geometry": geometry}))


def test_misfits():
    assert misfit(GEOMETRY.model_dump(), blurred_layers=(0, 1)) is None
    assert misfit(GEOMETRY.model_dump(), blurred_layers=(0, 2)) == (
        "blurred_layers has 2, geometry stack has 2 layers counted from 0"
    )
    towers = {"kind": "eta_phi", "eta_edges": [-1, 0, 1], "n_phi": 4}
    found = misfit({"name": "towers", "layers": [towers]})
    assert found == "takes layers of rectangular cells, those of geometry towers are eta_phi"


# Settings


def test_attributes_are_the_inputs_that_are_reconstructed():
    settings = plain(attribute_weights={"py/pz": 2, "x0": 1})
    assert (
        settings.attributes == settings.preprocessing.inputs[settings.reconstructed_inputs] == ("x0", "py/pz")
    )
    assert settings.weights == (1, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preprocessing": {"inputs": ["x0", "energy"]}}, r"found \['x0', 'energy'\], expected energy first"),
        ({"preprocessing": {"inputs": ["energy", "x0", "x0"]}}, "expected energy first and every input once"),
        ({"preprocessing": {"inputs": ["energy"]}}, "at least 2"),
        ({"attribute_weights": {"x0": 1}}, "attribute_weights: found x0, expected x0, py/pz"),
        ({"attribute_weights": {}}, "attribute_weights: found none, expected x0, py/pz"),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(ValidationError, match=message):
        plain(**settings)


# Reconstruction


def test_generated_showers_follow_the_entry_point():
    """After overfitting twelve showers: the head reads the requested x0 off generated ones, correlation above
    0.9, and the centre of gravity follows it, more than a third as far as in the data.
    """
    cells, inputs = showers(12)
    gan = model(
        learning_rate=2e-3,
        discriminator_learning_rate=1e-3,
        attribute_weights=3,
        flipped_labels=0,
        generator_steps=1,
    )
    optimisers, random = gan.optimisers(), rng(3)
    for step in range(90):
        gan.training_step(step, cells, inputs, optimisers, random)
    gan.eval()
    requested = inputs.repeat(8, 1)
    with torch.no_grad():
        made = gan.generate(requested, rng(4))
        reconstructed = gan.reconstruct(made)
    assert reconstructed.shape == (96, 2)
    x0 = requested[:, 1].numpy()
    assert np.corrcoef(reconstructed[:, 0], x0)[0, 1] > 0.9
    x_mm = np.concatenate([layer.centres_mm(0).repeat(layer.shape[1]) for layer in GEOMETRY.layers])

    def centre_of_gravity_mm(of: torch.Tensor) -> np.ndarray:
        return of.numpy() @ x_mm / of.numpy().sum(axis=1)

    found_mm, expected_mm = centre_of_gravity_mm(made), centre_of_gravity_mm(cells)
    assert np.corrcoef(found_mm, x0)[0, 1] > 0.8
    assert np.polyfit(x0, found_mm, 1)[0] > np.polyfit(inputs[:, 1], expected_mm, 1)[0] / 3


def test_a_loaded_checkpoint_makes_and_reads_the_same_showers(tmp_path):
    gan, settings = model(), plain()
    cells, inputs = showers(4)
    gan.training_step(0, cells, inputs, gan.optimisers(), rng())
    checkpoint.save(
        tmp_path / "checkpoint.pt",
        {
            "kind": "conditional_calogan",
            "settings": settings.model_dump(mode="json"),
            "geometry": GEOMETRY.model_dump(mode="json"),
            "preprocessing": preprocessing().as_dict(),
            "weights": gan.state_dict(),
        },
    )
    values = inputs.numpy() * np.float32(STD) + np.float32(MEAN)
    conditions = {"x0": values[:, 1], "py": 50 * values[:, 2], "pz": np.full(4, 50, np.float32)}
    requested = Showers(1000 * cells.numpy(), 1000 * values[:, :1], conditions, np.arange(4))
    with ShowerWriter(tmp_path / "test.h5", GEOMETRY, CONDITIONS) as writer:
        writer.append(requested)
    with ShowerFile(tmp_path / "test.h5") as reference:
        loaded = load_model(settings, reference, preprocessing(), tmp_path / "checkpoint.pt")
    gan.eval()
    made_MeV = [
        generate(network, preprocessing(), requested, 1, torch.device("cpu")) for network in (gan, loaded)
    ]
    np.testing.assert_array_equal(*made_MeV)
    with torch.no_grad():
        torch.testing.assert_close(loaded.reconstruct(cells), gan.reconstruct(cells), rtol=0, atol=0)
        np.testing.assert_allclose(
            made_MeV[0], 1000 * gan.generate(inputs, rng()).numpy(), rtol=1e-4, atol=1e-6
        )
    assert made_MeV[0].max() > 0
