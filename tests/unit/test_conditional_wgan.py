import copy
import math

import pytest
import torch

from caloforge import checkpoint
from caloforge.config.stages import TrainingSettings
from caloforge.errors import CaloforgeError
from caloforge.geometry import Geometry
from caloforge.models.conditional_wgan.family import energy_score
from caloforge.models.conditional_wgan.regressor import KIND, RegressorTraining
from caloforge.models.conditional_wgan.settings import ConditionalWGANSettings, RegressorSettings
from caloforge.models.family import build
from caloforge.preprocessing import Preprocessing

GEOMETRY = Geometry(name="box", layers=[{"shape": (14, 14), "cell_size_mm": (10, 10)}])
PREPROCESSING = Preprocessing(
    0.5, 0.0, 1.0, ("px", "pz"), (0.0, 0.0), (1.0, 1.0), (0.2,), (0.1, 0.0), (), 0.0
)
REGRESSOR = RegressorSettings(channels=(4, 8, 8), training=TrainingSettings(epochs=1))


def model(**settings):
    torch.manual_seed(0)
    settings = {"noise": 8, "channels": (16, 8, 4), "regressor": REGRESSOR, "critic_steps": 1} | settings
    return build(ConditionalWGANSettings(family="conditional_wgan", **settings), GEOMETRY, PREPROCESSING)


def spots(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of one bright spot, and its standardised position."""
    inputs = torch.rand(n, 2, generator=torch.Generator().manual_seed(5)) * 2 - 1
    axis = torch.arange(14) - 6.5
    profile = torch.exp(-((axis - 3 * inputs[:, :, None]) ** 2) / 4)
    return (3 * profile[:, 0, :, None] * profile[:, 1, None, :]).flatten(1), inputs


def test_penalty_matches_a_critic_whose_gradient_is_known():
    """D(x) = a . x has the gradient a everywhere: the penalty is (|a| - 1)^2."""
    wgan = model()
    slope = torch.randn(14, 14)
    wgan.critic.forward = lambda images, _reconstructed, _inputs: (images * slope).sum(dim=(1, 2))
    images, inputs = spots(6)
    real = images.unflatten(1, (14, 14))
    penalty = wgan._gradient_penalty(real, real * 0.3, inputs, torch.Generator().manual_seed(1))
    assert penalty.item() == pytest.approx((slope.norm().item() - 1) ** 2, rel=1e-4)


def test_penalty_is_the_norm_of_the_whole_gradient_through_the_regressor():
    """Against a finite difference of the score at the same random point."""
    wgan = model().double()
    images, inputs = (tensor.double() for tensor in spots(1))
    real, fake = images.unflatten(1, (14, 14)), 0.2 * images.unflatten(1, (14, 14)) + 0.1
    share = torch.rand(1, 1, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    point = torch.lerp(real, fake, share)

    def score(at):
        with torch.no_grad():
            return wgan.critic(at, wgan.regressor(at), inputs).item()

    gradient = torch.zeros(14, 14, dtype=torch.float64)
    for cell in torch.cartesian_prod(torch.arange(14), torch.arange(14)):
        shift = torch.zeros(1, 14, 14, dtype=torch.float64)
        shift[0, *cell] = 1e-6
        gradient[*cell] = (score(point + shift) - score(point - shift)) / 2e-6
    penalty = wgan._gradient_penalty(real, fake, inputs, torch.Generator().manual_seed(3))
    assert penalty.item() == pytest.approx((gradient.norm().item() - 1) ** 2, rel=1e-5)


def test_the_generator_learns_every_critic_steps_batches():
    wgan = model(critic_steps=3)
    images, inputs = spots(8)
    optimisers, rng = wgan.optimisers(), torch.Generator().manual_seed(2)
    changed = []
    for step in range(6):
        before = copy.deepcopy(wgan.generator.start[0].weight)
        losses = wgan.training_step(step, images, inputs, optimisers, rng)
        changed.append(not torch.equal(before, wgan.generator.start[0].weight))
        assert ("generator" in losses) == changed[-1]
    assert changed == [False, False, True, False, False, True]


def test_the_regressor_stays_frozen():
    wgan = model()
    images, inputs = spots(8)
    before = copy.deepcopy(wgan.regressor.state_dict())
    wgan.training_step(0, images, inputs, wgan.optimisers(), torch.Generator().manual_seed(2))
    torch.testing.assert_close(wgan.regressor.state_dict(), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in wgan.regressor.parameters())


def test_steps_repeat_with_the_same_random_state_and_differ_with_another():
    images, inputs = spots(8)
    weights = []
    for seed in (1, 1, 2):
        wgan = model()
        wgan.training_step(0, images, inputs, wgan.optimisers(), torch.Generator().manual_seed(seed))
        weights.append(wgan.generator.end.weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def train(network, images, inputs, steps):
    optimisers, rng = network.optimisers(), torch.Generator().manual_seed(3)
    return [network.training_step(step, images, inputs, optimisers, rng) for step in range(steps)]


def test_the_regressor_overfits_a_handful_of_showers():
    torch.manual_seed(0)
    images, inputs = spots(16)
    losses = train(RegressorTraining(REGRESSOR, GEOMETRY, 2), images, inputs, 150)
    assert losses[-1]["squared_error"] < 0.02 * losses[0]["squared_error"]


def test_generator_and_critic_overfit_a_handful_of_showers(tmp_path):
    """Generated spots move to where they were asked for, five times closer to the real ones than at first."""
    images, inputs = spots(16)
    wgan = model(learning_rate=2e-3, critic_learning_rate=2e-3, condition_weight=10, adam_betas=(0.5, 0.9))
    regressor = RegressorTraining(REGRESSOR, GEOMETRY, 2)
    train(regressor, images, inputs, 150)
    save(tmp_path / "regressor.pt", regressor)
    wgan.adopt(tmp_path / "regressor.pt")

    def distance() -> float:
        generated = wgan.eval().generate(inputs, torch.Generator().manual_seed(4))
        wgan.train()
        return (generated - images).square().mean().item()

    before = distance()
    train(wgan, images, inputs, 600)
    assert distance() < before / 5


def save(path, network, **changes):
    content = {
        "kind": KIND,
        "settings": REGRESSOR.model_dump(mode="json"),
        "geometry": {},
        "preprocessing": {},
        "weights": network.state_dict(),
    }
    checkpoint.save(path, content | changes)


def test_a_regressor_of_other_settings_is_refused(tmp_path):
    other = RegressorSettings(channels=(4, 8, 16), training=TrainingSettings(epochs=1))
    save(
        tmp_path / "regressor.pt",
        RegressorTraining(other, GEOMETRY, 2),
        settings=other.model_dump(mode="json"),
    )
    with pytest.raises(
        CaloforgeError, match=r"regressor\.pt: checkpoint of another model: settings\.channels"
    ):
        model().adopt(tmp_path / "regressor.pt")


def test_energy_score_of_gaussians_has_its_closed_form():
    """E|Y - x| - E|Y - Y'| / 2 for standard normal x and Y ~ N(m, s): from the folded normal distribution."""
    x, first, second = torch.randn(3, 400_000, 1, generator=torch.Generator().manual_seed(1)).unbind()

    def mean_of_folded_normal(m: float, s: float) -> float:
        return s * math.sqrt(2 / math.pi) * math.exp(-(m**2) / (2 * s**2)) + m * math.erf(
            m / (s * math.sqrt(2))
        )

    for m, s in ((0.0, 1.0), (0.5, 1.0), (0.0, 0.4), (0.3, 2.0)):
        expected = mean_of_folded_normal(m, math.hypot(s, 1)) - mean_of_folded_normal(0, s * math.sqrt(2)) / 2
        score = energy_score(x, m + s * first, m + s * second).item()
        assert score == pytest.approx(expected, abs=0.004), (m, s)


def test_energy_score_is_lowest_for_the_right_spread():
    x, first, second = torch.randn(3, 100_000, 3, generator=torch.Generator().manual_seed(2)).unbind()
    right = energy_score(x, first, second)
    for scale, shift in ((0.0, 0.0), (0.8, 0.0), (1.2, 0.0), (1.0, 0.2)):
        assert energy_score(x, scale * first + shift, scale * second + shift) > right + 0.002


def test_a_penalty_at_every_other_step_weighs_double():
    """The first step of interval 2 and weight 10 is that of interval 1 and weight 20; the second has none."""
    images, inputs = spots(8)
    every, other = (
        model(penalty_interval=1, gradient_penalty=20),
        model(penalty_interval=2, gradient_penalty=10),
    )
    for wgan in (every, other):
        wgan.training_step(0, images, inputs, wgan.optimisers(), torch.Generator().manual_seed(1))
    torch.testing.assert_close(other.critic.state_dict(), every.critic.state_dict())
    losses = other.training_step(1, images, inputs, other.optimisers(), torch.Generator().manual_seed(1))
    assert "gradient_penalty" not in losses
