import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from caloforge.models.layer_stack.layers import (
    Attention,
    LocallyConnected2d,
    MinibatchDiscrimination,
    published_soft_sparsity,
    resized,
    soft_sparsity,
    sparsity,
)

LOCAL = [
    ((3, 3), (5, 8), (1, 2)),
    ((2, 2), (5, 8), (1, 1)),
    ((2, 2), (4, 7), (1, 2)),
    ((2, 3), (7, 9), (3, 4)),
    ((4, 5), (4, 5), (1, 1)),
    ((1, 1), (2, 3), (1, 1)),
]


def by_position(layer: LocallyConnected2d, x: torch.Tensor, stride: tuple[int, int]) -> torch.Tensor:
    """The same layer, position by position and tap by tap: (row, column, channel) of a window."""
    rows, columns = (
        (s - k) // step + 1 for s, k, step in zip(x.shape[2:], layer.kernel, stride, strict=True)
    )
    out = x.new_zeros(len(x), layer.weight.shape[2], rows, columns)
    for row, column in itertools.product(range(rows), range(columns)):
        position = row * columns + column
        taps = itertools.product(*map(range, layer.kernel), range(x.shape[1]))
        for tap, (i, j, channel) in enumerate(taps):
            seen = x[:, channel, row * stride[0] + i, column * stride[1] + j]
            out[:, :, row, column] += seen[:, None] * layer.weight[position, tap]
        if layer.bias is not None:
            out[:, :, row, column] += layer.bias[position]
    return out


# Locally connected layers


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "size", "stride"), LOCAL)
def test_locally_connected_equals_a_loop_over_positions(kernel, size, stride, bias):
    torch.manual_seed(1)
    layer = LocallyConnected2d(3, 2, kernel, size, stride, bias).double()
    if bias:
        nn.init.normal_(layer.bias)
    x = torch.randn(4, 3, *size, dtype=torch.float64, requires_grad=True)
    expected, found = by_position(layer, x, stride), layer(x)
    assert layer.positions == found.shape[2:]
    torch.testing.assert_close(found, expected)
    towards = torch.randn_like(expected)
    learnt = [x, *layer.parameters()]
    gradients = [torch.autograd.grad((y * towards).sum(), learnt) for y in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_locally_connected_gradients_equal_differences():
    layer = LocallyConnected2d(2, 3, (2, 3), (3, 5), (1, 2)).double()
    x = torch.randn(2, 2, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))


def test_one_kernel_everywhere_is_a_convolution():
    torch.manual_seed(2)
    convolution = nn.Conv2d(3, 4, (3, 2), (1, 2))
    layer = LocallyConnected2d(3, 4, (3, 2), (5, 8), (1, 2))
    with torch.no_grad():
        layer.weight.copy_(convolution.weight.permute(2, 3, 1, 0).flatten(0, 2).expand_as(layer.weight))
        layer.bias.copy_(convolution.bias.expand_as(layer.bias))
    x = torch.randn(6, 3, 5, 8)
    torch.testing.assert_close(layer(x), convolution(x))


def test_a_position_sees_its_own_window_alone():
    """A cell at row 2, column 4 is in the windows of rows 0 to 2 and, with steps of two, columns 1 and 2."""
    layer = LocallyConnected2d(1, 1, (3, 3), (5, 9), (1, 2), bias=False)
    cells = torch.zeros(1, 1, 5, 9)
    cells[0, 0, 2, 4] = 1
    reached = layer(cells)[0, 0].detach().nonzero().tolist()
    assert reached == [[row, column] for row in range(3) for column in (1, 2)]


def test_initial_weights_have_the_width_of_keras():
    """glorot_uniform of Keras for a kernel of shape (positions, taps, out): every position counts."""
    torch.manual_seed(3)
    layer = LocallyConnected2d(16, 6, (2, 2), (5, 98))
    bound = math.sqrt(6 / (388 * (64 + 6)))
    assert 0.98 * bound < layer.weight.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert not layer.bias.any()
    assert layer.weight.shape == (388, 64, 6)


def test_half_precision_gives_nearly_the_same():
    torch.manual_seed(4)
    layer = LocallyConnected2d(4, 3, (2, 2), (6, 7))
    x = torch.randn(5, 4, 6, 7, requires_grad=True)
    exact = torch.autograd.grad(layer(x).square().sum(), [x, layer.weight])
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x.bfloat16())
        assert found.dtype == torch.bfloat16
        near = torch.autograd.grad(found.float().square().sum(), [x, layer.weight])
    for one, other in zip(near, exact, strict=True):
        assert (one - other).norm() < 0.02 * other.norm()


def test_a_kernel_larger_than_the_input_is_refused():
    with pytest.raises(ValueError, match=r"kernel: found \(3, 2\), expected one within the size \(2, 5\)"):
        LocallyConnected2d(1, 1, (3, 2), (2, 5))


# Minibatch discrimination


def test_minibatch_discrimination_equals_a_double_loop():
    torch.manual_seed(5)
    layer = MinibatchDiscrimination(7, kernels=3, dimensions=4).double()
    nn.init.normal_(layer.project.bias)
    features = 2 * torch.randn(6, 7, dtype=torch.float64, requires_grad=True)
    weight, bias = layer.project.weight, layer.project.bias
    found = layer(features)
    assert found.shape == (6, 3)
    of_found = torch.autograd.grad(found.square().sum(), features)[0]
    expected = torch.zeros(6, 3, dtype=torch.float64)
    for n, kernel, m in itertools.product(range(6), range(3), range(6)):
        distance = 0
        for row in range(4 * kernel, 4 * kernel + 4):
            k_n, k_m = (weight[row] @ features[shower] + bias[row] for shower in (n, m))
            distance = distance + (k_n - k_m).abs()
        expected[n, kernel] += torch.exp(-distance)
    torch.testing.assert_close(found, expected.float(), check_dtype=False)
    of_expected = torch.autograd.grad(expected.square().sum(), features)[0]
    torch.testing.assert_close(of_found, of_expected, rtol=1e-4, atol=1e-6)


def test_minibatch_discrimination_of_equal_and_of_distant_showers():
    """Equal showers have the distance zero, so each counts one; distant ones only count themselves."""
    layer = MinibatchDiscrimination(3)
    equal, distant = torch.ones(5, 3), 1e5 * torch.arange(5.0)[:, None] * torch.ones(3)
    torch.testing.assert_close(layer(equal), torch.full((5, 10), 5.0))
    torch.testing.assert_close(layer(distant), torch.ones(5, 10))
    gradient = torch.autograd.grad(layer(equal.requires_grad_()).sum(), equal)[0]
    assert gradient.isfinite().all()


# Attention


def test_resizing_as_published():
    """3 x 96 to 12 x 12: rows four times, means over eight columns; 12 x 12 to 12 x 6: over two columns."""
    front, middle = torch.rand(2, 3, 96), torch.rand(2, 12, 12)
    found_middle, found_back = resized(front, (12, 12)), resized(middle, (12, 6))
    for n, row, column in itertools.product(range(2), range(12), range(12)):
        expected = front[n, row // 4, 8 * column : 8 * column + 8].mean()
        torch.testing.assert_close(found_middle[n, row, column], expected)
    for n, row, column in itertools.product(range(2), range(12), range(6)):
        expected = middle[n, row, 2 * column : 2 * column + 2].mean()
        torch.testing.assert_close(found_back[n, row, column], expected)


@pytest.mark.parametrize("before", [(3, 96), (5, 7), (1, 1), (12, 12), (4, 9)])
@pytest.mark.parametrize("after", [(12, 12), (3, 5), (1, 1), (24, 18), (7, 2)])
def test_resizing_keeps_what_is_everywhere_the_same(before, after):
    found = resized(torch.full((2, *before), 3.0), after)
    torch.testing.assert_close(found, torch.full((2, *after), 3.0))


@pytest.mark.parametrize(("before", "after"), [((3, 96), (12, 12)), ((4, 6), (2, 24)), ((6, 1), (3, 5))])
def test_resizing_by_integer_factors_keeps_the_mean_of_cells(before, after):
    """So that the sum of cells changes as their number does."""
    images = torch.rand(3, *before)
    torch.testing.assert_close(resized(images, after).mean(dim=(1, 2)), images.mean(dim=(1, 2)))


def test_resizing_by_other_factors():
    """Two finer cells take the value of the nearest one; a coarser one the mean of all that it overlaps."""
    line = torch.tensor([[[1.0, 2.0, 4.0]]])
    assert resized(line, (1, 5)).tolist() == [[[1, 1, 2, 4, 4]]]
    assert resized(line, (1, 2)).tolist() == [[[1.5, 3]]]


def local_attention(rows: int, columns: int) -> Attention:
    return Attention(LocallyConnected2d(2, 2, (3, 3), (rows + 2, columns + 2)))


@pytest.mark.parametrize("scores", ["local", "convolution"])
def test_attention_leaves_a_layer_as_it_is_at_first(scores):
    torch.manual_seed(6)
    attention = local_attention(12, 12) if scores == "local" else Attention(nn.Conv2d(2, 2, 3))
    images, before = torch.rand(3, 12, 12), torch.rand(3, 3, 96)
    weights = attention.weights(torch.stack([images, resized(before, (12, 12))], dim=1))
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3, 12, 12))
    assert weights[:, 1].max() < 2e-3
    torch.testing.assert_close(attention(images, before), images, atol=2e-3, rtol=0)


def test_attention_by_hand():
    """Scores without weights are biases alone: weights of 1 / (1 + e^d) for a difference of d."""
    attention = local_attention(2, 2)
    with torch.no_grad():
        attention.scores.weight.zero_()
        attention.scores.bias[:, 0] = torch.tensor([0.0, 1.0, 2.0, 50.0])
        attention.scores.bias[:, 1] = torch.tensor([0.0, 0.0, 0.0, 0.0])
    images, before = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([[[10.0, 20.0]]])
    shares = [1 / 2, 1 / (1 + math.exp(1)), 1 / (1 + math.exp(2)), 0]
    expected = [
        own + share * (other - own)
        for own, other, share in zip([1, 2, 3, 4], [10, 20, 10, 20], shares, strict=True)
    ]
    torch.testing.assert_close(attention(images, before).flatten(), torch.tensor(expected))


def test_attention_pads_with_zeros():
    """A score that adds up 3x3 cells of the layer, all of them one: four at a corner, nine in the middle."""
    attention = local_attention(3, 3)
    with torch.no_grad():
        attention.scores.weight.zero_()
        attention.scores.weight[:, 0::2, 0] = 1  # taps of the first channel, output of the first score
        attention.scores.bias.zero_()
    weights = attention.weights(torch.stack([torch.ones(1, 3, 3), torch.zeros(1, 3, 3)], dim=1))
    for (row, column), cells in {(0, 0): 4, (0, 1): 6, (1, 1): 9, (2, 2): 4}.items():
        assert weights[0, 1, row, column].item() == pytest.approx(1 / (1 + math.exp(cells)), rel=1e-4)


# Sparsity


def test_sparsity_counts_cells():
    images = torch.tensor([[[0.0, 1e-9], [0.0, 0.0]], [[1.0, 2.0], [3.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert sparsity(images).tolist() == [0.25, 0.75, 0]


@pytest.mark.parametrize("width", [1.0, 0.5, 0.05])
def test_soft_sparsity_is_logistic_in_the_logarithm_of_the_energy(width):
    energies = np.array([1e-6, 0.01, 0.2, 0.3, 0.31, 0.7, 5.0, 4e3])
    expected = 1 / (1 + (0.3 / energies) ** (1 / width))
    cells = torch.tensor(energies, dtype=torch.float64)[:, None]
    np.testing.assert_allclose(soft_sparsity(cells, 0.3, width).numpy(), expected, rtol=1e-9)
    assert soft_sparsity(cells[3:4], 0.3, width).item() == pytest.approx(0.5)
    whole = soft_sparsity(cells.T.expand(2, -1), 0.3, width)
    np.testing.assert_allclose(whole.numpy(), [expected.mean()] * 2, rtol=1e-9)


@pytest.mark.parametrize("width", [1.0, 0.5, 0.05, 0.01])
def test_soft_sparsity_has_finite_gradients_everywhere(width):
    energies = torch.cat([torch.zeros(3), torch.logspace(-30, 6, 200)]).requires_grad_()
    values = soft_sparsity(energies[:, None], 0.3, width)
    assert values[:3].tolist() == [0, 0, 0]
    assert values.isfinite().all()
    assert (values.diff() >= 0).all()
    gradient = torch.autograd.grad(values.sum(), energies)[0]
    assert gradient.isfinite().all()
    assert gradient[:3].tolist() == pytest.approx([1 / 0.3 if width == 1 else 0] * 3)
    assert gradient.max() > 0.1


def test_soft_sparsity_approaches_sparsity():
    images = torch.where(torch.rand(4, 9, generator=torch.Generator().manual_seed(7)) < 0.4, 1.0, 0.0)
    torch.testing.assert_close(soft_sparsity(images, 0.3, 0.02), sparsity(images))


@pytest.mark.parametrize("width", [0.0, -1.0, 1.5])
def test_soft_sparsity_refuses_widths_without_a_finite_slope(width):
    with pytest.raises(ValueError, match=r"width: found .*, expected it above 0 and at most 1"):
        soft_sparsity(torch.ones(1, 1), 0.3, width)


def test_published_soft_sparsity():
    """0 at 0, 2/3 at 1 and 1 far above, by hand; finite gradients at 0, unlike the power itself."""
    energies = torch.tensor([0.0, 1.0, 2.0, 10.0, -1.0], dtype=torch.float64, requires_grad=True)
    values = published_soft_sparsity(energies[:, None])
    u = 2**6 + 2 ** (1 / 1.2)
    expected = [0, 2 / 3, u / (1 + u), 1, 2 / 3]
    torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64), atol=2e-6, rtol=0)
    assert torch.autograd.grad(values.sum(), energies)[0].isfinite().all()
    unguarded = (energies.abs() ** (1 / 1.2)).sum()
    assert torch.autograd.grad(unguarded, energies)[0][0].isnan()
    rising = published_soft_sparsity(torch.logspace(-12, 3, 100)[:, None])
    assert (rising.diff() >= 0).all()
