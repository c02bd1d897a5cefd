import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from caloforge.models.cropping import centre
from caloforge.models.dropout import Dropout
from caloforge.models.gan3d.networks import images_of, showers_of
from caloforge.models.gan3d_conv2d import networks as conv2d
from caloforge.models.gan3d_conv3d import networks as conv3d
from caloforge.models.keras_layers import SameConvTranspose2d, glorot_uniform, he_uniform, same_padding
from caloforge.models.primary.conditions import conditioned_latent

GRIDS = [(25, 25, 25), (8, 8, 8), (12, 10, 16), (51, 51, 25)]

NETWORKS = [conv3d.Generator, conv3d.Discriminator, conv2d.Generator, conv2d.Discriminator]


def shapes_after(network: nn.Module, kinds: type | tuple[type, ...], *inputs: torch.Tensor) -> list[tuple]:
    """Shapes, without the batch, that layers of some kinds give, in the order in which they are called."""
    shapes = []
    hooks = [
        layer.register_forward_hook(lambda _layer, _inputs, maps: shapes.append(tuple(maps.shape[1:])))
        for layer in network.modules()
        if isinstance(layer, kinds)
    ]
    with torch.no_grad():
        network(*inputs)
    for hook in hooks:
        hook.remove()
    return shapes


# Published sizes


@pytest.mark.parametrize(
    ("network", "trainable", "moving_averages"),
    [
        (conv3d.Generator, 872_808, 140),
        (conv3d.Discriminator, 73_402, 48),
        (conv2d.Generator, 2_053_446, 1_878),
        (conv2d.Discriminator, 712_888, 1_226),
    ],
)
def test_parameter_counts_are_the_published_ones(network, trainable, moving_averages):
    network = network()
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == trainable
    state = network.state_dict()
    assert sum(v.numel() for k, v in state.items() if k.endswith(("_mean", "_var"))) == moving_averages
    uncounted = {k for k in state if not k.endswith(("_mean", "_var"))} - dict(
        network.named_parameters()
    ).keys()
    assert all(name.endswith("num_batches_tracked") for name in uncounted)


def test_conv3d_generator_has_the_published_maps():
    kinds = (nn.Unflatten, nn.Conv3d, conv3d.UpsampleConv3d)
    assert shapes_after(conv3d.Generator(), kinds, torch.randn(2, 200)) == [
        (8, 7, 7, 8),
        (64, 7, 7, 8),
        (6, 13, 14, 9),
        (6, 26, 26, 26),
        (1, 25, 25, 25),
    ]


def test_conv3d_discriminator_has_the_published_maps():
    images = torch.rand(2, 25, 25, 25)
    assert shapes_after(conv3d.Discriminator(), (nn.Conv3d, nn.AvgPool3d, nn.Flatten), images) == [
        (32, 25, 25, 25),
        (8, 25, 25, 25),
        (8, 25, 25, 25),
        (8, 23, 23, 23),
        (8, 11, 11, 11),
        (10_648,),
    ]


def test_conv2d_generator_has_the_published_maps():
    branch = [
        (32, 5, 5),
        (64, 15, 15),
        (64, 15, 15),
        (64, 30, 30),
        (64, 30, 30),
        (64, 26, 26),
        (32, 26, 26),
        (32, 26, 26),
        (25, 25, 25),
    ]
    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    assert shapes_after(conv2d.Generator(), convolutions, torch.randn(2, 200)) == [*branch * 3, (25, 25, 25)]


def test_conv2d_discriminator_has_the_published_maps():
    branch = [(64, 25, 25), (32, 20, 20), (32, 16, 16), (32, 13, 13), (32, 11, 11), (9, 9, 9)]
    images = torch.rand(2, 25, 25, 25)
    assert shapes_after(conv2d.Discriminator(), nn.Conv2d, images) == branch * 3
    assert conv2d.Discriminator().features[0].in_features == 27 * 9 * 9


@pytest.mark.parametrize("network", NETWORKS)
def test_activations_normalisation_and_dropout_are_those_of_keras(network):
    layers = list(network().modules())
    assert {layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)} == {0.3}
    normalisations = [layer for layer in layers if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    assert {(layer.momentum, layer.eps) for layer in normalisations} == {(0.01, 1e-3)}
    dropouts = {layer.p for layer in layers if isinstance(layer, Dropout)}
    assert dropouts == (set() if network is conv3d.Generator else {0.2})


# Layers


def test_dropout_drops_a_share_and_keeps_the_mean():
    torch.manual_seed(1)
    x = torch.ones(50, 4, 10, 10, 10).contiguous(memory_format=torch.channels_last_3d)
    x.requires_grad_()
    y = Dropout(0.2)(x)
    sigma = np.sqrt(0.2 * 0.8 / x.numel())
    assert (y == 0).float().mean().item() == pytest.approx(0.2, abs=5 * sigma)
    torch.testing.assert_close(y[y > 0], torch.full_like(y[y > 0], 1.25), rtol=1e-4, atol=0)
    dropped = (y == 0).double()
    for axis in (0, 1, 2, 3, 4):
        shifted = (dropped * dropped.roll(1, axis)).mean().item()
        assert shifted == pytest.approx(0.04, abs=5 * np.sqrt(0.04 / x.numel()))
    y.sum().backward()
    assert torch.equal(x.grad, y)


def test_dropout_repeats_with_the_seed_and_is_off_in_evaluation():
    x = torch.randn(3, 7)[:, 1:6]
    made = [(torch.manual_seed(seed), Dropout(0.5)(x))[1] for seed in (1, 1, 2)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert torch.equal(Dropout(0.5).eval()(x), x)


def correlation(image: np.ndarray, kernel: np.ndarray, before: list[int], after: list[int]) -> np.ndarray:
    """Correlation of one channel with one kernel, with zeros before and after, cell by cell."""
    padded = np.pad(image, list(zip(before, after, strict=True)))
    sides = [n - k + 1 for n, k in zip(padded.shape, kernel.shape, strict=True)]
    result = np.empty(sides)
    for cell in np.ndindex(*sides):
        window = padded[tuple(slice(i, i + k) for i, k in zip(cell, kernel.shape, strict=True))]
        result[cell] = (window * kernel).sum()
    return result


@pytest.mark.parametrize(
    ("kernel", "before", "after"),
    [
        ((2, 2), [0, 0], [1, 1]),
        ((3, 4), [1, 1], [1, 2]),
        ((8, 5), [3, 2], [4, 2]),
        ((6, 6, 8), [2, 2, 3], [3, 3, 4]),
    ],
)
def test_same_padding_has_the_smaller_half_before(kernel, before, after):
    rng = np.random.default_rng(1)
    image, weights = rng.normal(size=(9, 7, 8)[: len(kernel)]), rng.normal(size=kernel)
    convolve = functional.conv2d if len(kernel) == 2 else functional.conv3d
    padded = functional.pad(torch.as_tensor(image), same_padding(kernel))
    found = convolve(padded[None, None], torch.as_tensor(weights)[None, None])[0, 0].numpy()
    assert found.shape == image.shape
    np.testing.assert_allclose(found, correlation(image, weights, before, after))


@pytest.mark.parametrize(("kernel", "stride"), [(5, 3), (5, 2), (4, 2), (3, 3)])
def test_same_transposed_convolution_is_the_transpose_of_a_same_convolution(kernel, stride):
    """A strided convolution pads what its last window lacks, floor half before; this is its transpose."""
    torch.manual_seed(2)
    layer = SameConvTranspose2d(2, 3, kernel, stride).double()
    maps = torch.randn(1, 2, 4, 5, dtype=torch.float64)
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    sides = 4 * stride, 5 * stride
    lacking = [(side // stride - 1) * stride + kernel - side for side in sides]
    before = [total // 2 for total in lacking]
    expected = np.broadcast_to(bias[:, None, None], (3, *sides)).copy()
    for i, j, row, column in itertools.product(range(4), range(5), range(kernel), range(kernel)):
        y, x = i * stride + row - before[0], j * stride + column - before[1]
        if 0 <= y < sides[0] and 0 <= x < sides[1]:
            expected[:, y, x] += maps[0, :, i, j].numpy() @ weight[:, :, row, column]
    np.testing.assert_allclose(layer(maps)[0].detach().numpy(), expected)


@pytest.mark.parametrize(
    ("kernel", "factors", "padding"),
    [((6, 5, 8), (2, 2, 2), (2, 2, 0)), ((3, 3, 8), (2, 2, 3), (1, 0, 3)), ((2, 4, 1), (1, 3, 2), (1, 3, 0))],
)
def test_upsample_conv3d_equals_upsampling_padding_and_convolution(kernel, factors, padding):
    torch.manual_seed(3)
    layer = conv3d.UpsampleConv3d(4, 3, kernel, factors, padding).double()
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 4, 5, 6, 7, dtype=torch.float64, requires_grad=True)
    upsampled = functional.pad(
        functional.interpolate(x, scale_factor=factors),
        [p for zeros in reversed(padding) for p in (zeros, zeros)],
    )
    expected = functional.conv3d(upsampled, layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), expected)
    towards = torch.randn_like(expected)
    learnt = [x, layer.weight, layer.bias]
    gradients = [torch.autograd.grad((y * towards).sum(), learnt) for y in (layer(x), expected)]
    torch.testing.assert_close(*gradients)


def test_initial_weights_fill_the_range_of_keras():
    torch.manual_seed(4)
    taps = 3 * 3
    for initialise, bound in (
        (glorot_uniform, math.sqrt(6 / ((8 + 24) * taps))),
        (he_uniform, math.sqrt(6 / (8 * taps))),
    ):
        layer = initialise(nn.Conv2d(8, 24, 3))
        assert 0.98 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert not layer.bias.any()


# Axes


def test_flattened_showers_are_images_with_the_layers_last():
    nx, ny, nz = 3, 4, 5
    showers = torch.arange(2 * nx * ny * nz).reshape(2, -1)
    images = images_of(showers, (nx, ny, nz))
    assert images.shape == (2, nx, ny, nz)
    for shower, x, y, z in itertools.product(range(2), range(nx), range(ny), range(nz)):
        assert images[shower, x, y, z] == showers[shower, z * nx * ny + x * ny + y]
    assert torch.equal(showers_of(images), showers)


def test_the_centre_loses_one_more_cell_at_the_end():
    assert centre(torch.arange(8)[None], (5,)).tolist() == [[1, 2, 3, 4, 5]]
    assert centre(torch.arange(6).reshape(1, 2, 3), (1, 1)).tolist() == [[[1]]]


def published_rotations(images: torch.Tensor) -> list[np.ndarray]:
    """Inputs of the branches in the public code: three orders of the axes, the last being the channels."""
    permuted = [images.numpy(), images.numpy().transpose(0, 3, 1, 2), images.numpy().transpose(0, 2, 3, 1)]
    return [np.moveaxis(image, -1, 1) for image in permuted]


def test_branches_see_the_axes_of_the_published_networks():
    seen = []
    discriminator = conv2d.Discriminator((9, 10, 11)).eval()
    for branch in discriminator.branches:
        branch.register_forward_pre_hook(lambda _branch, inputs: seen.append(inputs[0]))
    images = torch.rand(2, 9, 10, 11)
    discriminator(images)
    assert [tuple(maps.shape[1:]) for maps in seen] == [(11, 9, 10), (10, 11, 9), (9, 10, 11)]
    for maps, expected in zip(seen, published_rotations(images), strict=True):
        np.testing.assert_array_equal(maps.numpy(), expected)


def test_a_rotated_image_moves_on_by_one_branch():
    torch.manual_seed(5)
    discriminator = conv2d.Discriminator((9, 9, 9)).eval()
    for branch in discriminator.branches[1:]:
        branch.load_state_dict(discriminator.branches[0].state_dict())
    features = []
    discriminator.features.register_forward_pre_hook(
        lambda _layer, inputs: features.append(inputs[0].chunk(3, 1))
    )
    images = torch.rand(2, 9, 9, 9)
    discriminator(images)
    discriminator(images.permute(0, 2, 3, 1))
    before, after = features
    for k in range(3):
        torch.testing.assert_close(after[k], before[(k + 2) % 3])
    assert not torch.allclose(before[0], before[1])


def test_branches_of_the_generator_are_joined_in_the_same_orientation():
    """Branches that only magnify the start grid by five all give the same layers."""

    class Magnify(nn.Module):
        def forward(self, maps):
            return functional.interpolate(maps[:, None], scale_factor=5)[:, 0]

    joined = []
    generator = conv2d.Generator((25, 25, 25))
    generator.branches = nn.ModuleList(Magnify() for _ in range(3))
    generator.join.register_forward_pre_hook(lambda _layer, inputs: joined.append(inputs[0]))
    latent = torch.randn(2, 200)
    images = generator(latent, output_relu=False)
    start = generator.start(latent)
    for layers in joined[0].chunk(3, dim=1):
        for x, y, z in itertools.product((0, 6, 24), (3, 12), (4, 5, 20)):
            torch.testing.assert_close(layers[:, z, x, y], start[:, x // 5, y // 5, z // 5])
    torch.testing.assert_close(images[:, 7, 11, 13], generator.join(joined[0])[:, 13, 7, 11])


# What goes in and comes out


def test_the_latent_vector_scales_with_the_energy():
    noise = torch.randn(4, 200)
    torch.testing.assert_close(conditioned_latent(noise, torch.full((4,), 100.0)), noise)
    energy_GeV = torch.tensor([2.0, 50.0, 100.0, 500.0])
    latent = conditioned_latent(noise, energy_GeV)
    torch.testing.assert_close(latent[1], noise[1] / 2)
    torch.testing.assert_close(conditioned_latent(noise, 2 * energy_GeV), 2 * latent)


@pytest.mark.parametrize("family", [conv3d, conv2d])
@pytest.mark.parametrize("grid", GRIDS)
def test_networks_take_any_grid(family, grid):
    torch.manual_seed(6)
    images = family.Generator(grid, latent=20)(torch.randn(2, 20))
    assert images.shape == (2, *grid)
    assert images.min() >= 0
    verdict = family.Discriminator(grid)(images)
    assert verdict.real.shape == verdict.energy.shape == verdict.total_energy.shape == (2,)
    assert verdict.particle is None


@pytest.mark.parametrize(
    ("family", "grown"),
    [
        (conv3d, lambda x, y, z: (4 * x - 3, 4 * y - 3, 6 * z - 23)),
        (conv2d, lambda *start: [6 * s - 5 for s in start]),
    ],
)
@pytest.mark.parametrize("grid", [*GRIDS, (13, 26, 31)])
def test_the_start_grid_is_the_smallest_that_grows_enough(family, grown, grid):
    start = family.start_grid(grid)
    assert all(side >= wanted for side, wanted in zip(grown(*start), grid, strict=True))
    smaller = grown(*(cells - 1 for cells in start))
    assert all(side < wanted for side, wanted in zip(smaller, grid, strict=True))
    if grid == (25, 25, 25):
        assert tuple(grown(*start)) == grid


def test_conv3d_images_are_the_middle_of_what_the_layers_make():
    generator = conv3d.Generator((8, 9, 10), latent=5).eval()
    latent = torch.randn(2, 5)
    whole = generator.layers(latent)
    assert whole.shape == (2, 1, 9, 9, 13)
    torch.testing.assert_close(generator(latent), whole[:, 0, 0:8, 0:9, 1:11].clamp(min=0))


@pytest.mark.parametrize(
    ("side", "remaining"), [(25, 9), (51, 35), (26, 10), (24, 10), (16, 9), (12, 9), (9, 9), (8, 8)]
)
def test_the_discriminator_shrinks_maps_to_nine_cells_at_the_least(side, remaining):
    """By hand: 25, 20, 16, 13, 11, 9; 24, 19, 15, 12, 10, 10; 16, 11, 11, 11, 9, 9."""
    discriminator = conv2d.Discriminator((side, 30, 25))
    maps = shapes_after(discriminator, nn.Conv2d, torch.rand(2, side, 30, 25))
    assert maps[5] == (9, remaining, 14)
    assert maps[-1] == (remaining, 14, 9)


@pytest.mark.parametrize("family", [conv3d, conv2d])
def test_the_total_energy_is_the_sum_of_the_cells(family):
    images = torch.rand(3, 8, 9, 10)
    expected = [sum(cell.item() for cell in image.flatten()) for image in images]
    found = family.Discriminator((8, 9, 10)).eval()(images).total_energy
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.parametrize("family", [conv3d, conv2d])
def test_the_last_relu_can_be_left_out(family):
    torch.manual_seed(7)
    generator = family.Generator((8, 8, 8), latent=20).eval()
    latent = torch.randn(3, 20)
    without = generator(latent, output_relu=False)
    assert without.min() < 0
    torch.testing.assert_close(generator(latent), without.clamp(min=0))


@pytest.mark.parametrize("network", [conv2d.Generator, conv2d.Discriminator, conv3d.Discriminator])
def test_dropout_is_at_work_in_training_only(network):
    torch.manual_seed(8)
    network = network((8, 8, 8))
    given = torch.randn(4, 200) if isinstance(network, conv2d.Generator) else torch.rand(4, 8, 8, 8)

    def output():
        result = network(given)
        return result if isinstance(result, torch.Tensor) else result.real

    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()
    assert not torch.equal(output(), output())
    network.eval()
    assert torch.equal(output(), output())


@pytest.mark.parametrize("family", [conv3d, conv2d])
def test_classes_multiply_the_latent_vector(family):
    torch.manual_seed(9)
    generator = family.Generator((8, 8, 8), latent=20, n_classes=3).eval()
    latent, classes = torch.randn(4, 20), torch.tensor([0, 2, 1, 2])
    plain = family.Generator((8, 8, 8), latent=20).eval()
    plain.load_state_dict({k: v for k, v in generator.state_dict().items() if not k.startswith("particle")})
    torch.testing.assert_close(generator(latent, classes), plain(latent))
    with torch.no_grad():
        generator.particle.weight.copy_(torch.tensor([1.0, 2.0, -3.0])[:, None].expand(3, 20))
    factors = torch.tensor([1.0, -3.0, 2.0, -3.0])
    torch.testing.assert_close(generator(latent, classes), plain(latent * factors[:, None]))


@pytest.mark.parametrize(
    ("family", "parameters", "features"), [(conv3d, 73_402, 10_648), (conv2d, 712_888, 10)]
)
def test_discriminator_with_classes_has_one_more_head(family, parameters, features):
    discriminator = family.Discriminator(n_classes=3)
    assert sum(p.numel() for p in discriminator.parameters()) == parameters + (features + 1) * 3
    assert family.Discriminator((8, 8, 8), n_classes=3)(torch.rand(2, 8, 8, 8)).particle.shape == (2, 3)


@pytest.mark.parametrize("family", [conv3d, conv2d])
@pytest.mark.parametrize("n_classes", [0, 1])
def test_one_class_is_none(family, n_classes):
    images = family.Generator((8, 8, 8), n_classes=n_classes)(torch.randn(2, 200))
    assert family.Discriminator((8, 8, 8), n_classes=n_classes)(images).particle is None


# Training


@pytest.mark.parametrize("family", [conv3d, conv2d])
@pytest.mark.parametrize("grid", [(25, 25, 25), (8, 12, 10)])
def test_every_parameter_gets_a_gradient(family, grid):
    torch.manual_seed(10)
    generator, discriminator = family.Generator(grid), family.Discriminator(grid)
    verdict = discriminator(generator(torch.randn(4, 200)))
    ((verdict.real - 1).square() + (verdict.energy - 2).square()).sum().backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("family", [conv3d, conv2d])
def test_every_parameter_of_networks_with_classes_gets_a_gradient(family):
    torch.manual_seed(11)
    generator, discriminator = family.Generator((8, 8, 8), 200, 3), family.Discriminator((8, 8, 8), 3)
    classes = torch.tensor([0, 1, 2, 0])
    verdict = discriminator(generator(torch.randn(4, 200), classes))
    (functional.cross_entropy(verdict.particle, classes) + (verdict.real * verdict.energy).sum()).backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("network", NETWORKS)
def test_the_seed_decides_the_initial_weights(network):
    def initial(seed):
        torch.manual_seed(seed)
        return torch.cat([parameter.detach().flatten() for parameter in network((8, 8, 8)).parameters()])

    assert torch.equal(initial(1), initial(1))
    assert not torch.equal(initial(1), initial(2))
