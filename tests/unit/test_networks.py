import pytest
import torch
from torch.nn import functional

from caloforge.models.conditional_wgan.networks import Critic, Generator, Regressor
from caloforge.models.upsampling import UpsampleConv2d

PAPER = (256, 128, 64, 32)


@pytest.mark.parametrize("bias", [True, False])
def test_upsample_conv_equals_upsampling_then_convolution(bias):
    torch.manual_seed(0)
    layer = UpsampleConv2d(5, 3, bias=bias).double()
    if bias:
        torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 5, 7, 4, dtype=torch.float64, requires_grad=True)
    expected = functional.conv2d(
        functional.interpolate(x, scale_factor=2), layer.weight, layer.bias, padding=1
    )
    torch.testing.assert_close(layer(x), expected)
    towards = torch.randn_like(expected)
    gradients = [torch.autograd.grad((y * towards).sum(), [x, layer.weight]) for y in (layer(x), expected)]
    torch.testing.assert_close(*gradients)


def test_generator_has_the_maps_of_the_paper():
    """Section 4.1: 256x4x4, 128x8x8, 64x16x16, 32x32x32, cropped to 30x30."""
    shapes = []
    generator = Generator(512, 5, PAPER, (30, 30))
    for block in (generator.start, *generator.levels):
        block.register_forward_hook(lambda _module, _inputs, maps: shapes.append(tuple(maps.shape[1:])))
    images = generator(torch.randn(3, 512), torch.randn(3, 5))
    assert shapes == [(256, 4, 4), (128, 8, 8), (64, 16, 16), (32, 32, 32)]
    assert images.shape == (3, 30, 30)
    assert images.min() >= 0


def test_parameter_counts_follow_from_the_sizes():
    generator = Generator(512, 5, PAPER, (30, 30))
    linear = 517 * 4096 + 4096
    convolutions = 9 * (256 * 128 + 128 * 64 + 64 * 32 + 32) + 1
    normalisation = 2 * sum(PAPER)
    assert sum(p.numel() for p in generator.parameters()) == linear + convolutions + normalisation

    critic = Critic(PAPER[::-1], 5, (30, 30))
    body = (9 + 1) * 32 + (32 * 9 + 1) * 64 + (64 * 9 + 1) * 128 + (128 * 9 + 1) * 256
    head = (4096 + 10 + 1) * 256 + 257
    assert sum(p.numel() for p in critic.parameters()) == body + head


@pytest.mark.parametrize("image", [(30, 30), (12, 16), (7, 32)])
def test_networks_take_any_image_that_fits_the_finest_map(image):
    generator = Generator(8, 2, (16, 8, 4, 4), image)
    images = generator(torch.randn(3, 8), torch.randn(3, 2))
    assert images.shape == (3, *image)
    regressor = Regressor((4, 8, 8, 16), 2, image)
    assert regressor(images).shape == (3, 2)
    assert Critic((4, 8, 8, 16), 2, image)(images, regressor(images), torch.randn(3, 2)).shape == (3,)


def test_the_image_is_the_middle_of_the_finest_map():
    generator = Generator(8, 2, (16, 8, 4, 4), (30, 30)).eval()
    whole = Generator(8, 2, (16, 8, 4, 4), (32, 32)).eval()
    whole.load_state_dict(generator.state_dict())
    noise, inputs = torch.randn(2, 8), torch.randn(2, 2)
    torch.testing.assert_close(generator(noise, inputs), whole(noise, inputs)[:, 1:31, 1:31])


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(1)
    generator, regressor = Generator(8, 2, (16, 8, 4, 4), (30, 30)), Regressor((4, 8, 8, 16), 2, (30, 30))
    critic, inputs = Critic((4, 8, 8, 16), 2, (30, 30)), torch.randn(6, 2)
    images = generator(torch.randn(6, 8), inputs)
    critic(images, regressor(images), inputs).sum().backward()
    for network in (generator, regressor, critic):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
