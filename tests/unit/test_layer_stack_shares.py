import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from caloforge.config.project import model_settings
from caloforge.geometry import Geometry
from caloforge.models.family import build
from caloforge.models.layer_stack.shares import layer_shapes, layer_summaries, share_weights
from caloforge.preprocessing import Preprocessing

SHAPES = ((3, 8), (4, 4), (4, 2))
N_CELLS = 24 + 16 + 8
RESPONSE = (0.2, -0.003)
MEAN_SHOWER = tuple((np.linspace(0, 1, N_CELLS) / np.linspace(0, 1, N_CELLS).sum()).tolist())
FAMILIES = ("calogan", "conditional_calogan")


def geometry(shapes=SHAPES):
    return Geometry(name="stack", layers=[{"shape": shape, "cell_size_mm": (20, 20)} for shape in shapes])


def model(family, threshold_MeV=1e-12, rare_hit_MeV=0.0, **settings):
    torch.manual_seed(0)
    inputs = ("energy",) if family == "calogan" else ("energy", "x0", "y0", "px/pz", "py/pz")
    n = len(inputs)
    mean, std = ((0.0,) * n, (1.0,) * n) if family == "calogan" else ((50.0,) * n, (25.0,) * n)
    transforms = Preprocessing(
        threshold_MeV, None, 1000.0, inputs, mean, std, RESPONSE, (0.1, 0.02), MEAN_SHOWER, rare_hit_MeV
    )
    plain = {"family": family, "latent": 16, "cells": "shares", "training": {"epochs": 1}} | settings
    return build(model_settings(plain), geometry(), transforms)


def inputs_of(family, energy_GeV):
    if family == "calogan":
        return energy_GeV[:, None]
    attributes = torch.linspace(-1, 1, 4 * len(energy_GeV)).reshape(-1, 4)
    return torch.cat([(energy_GeV[:, None] - 50) / 25, attributes], dim=1)


def rng(seed=1):
    return torch.Generator().manual_seed(seed)


def test_weights_cell_by_cell():
    mean_shower = torch.tensor([0.5, 0.3, 0.2, 0.0])
    output = torch.tensor([[0.0, 0.0, 0.0, 0.0], [2.0, -1.0, 0.5, 100.0]])
    weights = share_weights(output, mean_shower)
    torch.testing.assert_close(weights[0], mean_shower)
    products = [0.5 * math.exp(2), 0.3 * math.exp(-1), 0.2 * math.exp(0.5), 0]
    torch.testing.assert_close(weights[1], torch.tensor(products) / sum(products))


def test_weights_of_cells_that_are_never_hit_have_finite_slopes():
    output = torch.zeros(1, 3, requires_grad=True)
    share_weights(output, torch.tensor([0.4, 0.6, 0.0]))[0, 0].backward()
    torch.testing.assert_close(output.grad, torch.tensor([[0.24, -0.24, 0.0]]))


def test_shapes_row_by_row_and_column_by_column():
    showers = np.random.default_rng(0).exponential(size=(2, N_CELLS))
    found = layer_shapes(torch.from_numpy(showers), SHAPES).numpy()
    for shower, roots in zip(showers, found, strict=True):
        expected, start = [], 0
        for nx, ny in SHAPES:
            image = shower[start : start + nx * ny].reshape(nx, ny) / shower.sum()
            start += nx * ny
            expected += [sum(image[i, j] for i in range(nx)) for j in range(ny)]
            expected += [sum(image[i, j] for j in range(ny)) for i in range(nx)]
        np.testing.assert_allclose(np.sort(roots), np.sort(np.sqrt(np.array(expected) + 1e-6)), rtol=1e-6)


def test_shapes_of_an_empty_shower_are_finite():
    showers = torch.zeros(1, N_CELLS, requires_grad=True)
    layer_shapes(showers, SHAPES).sum().backward()
    assert torch.isfinite(showers.grad).all()


def test_summaries_cell_by_cell():
    shower = np.random.default_rng(1).exponential(size=N_CELLS)
    found = layer_summaries(torch.from_numpy(shower)[None], SHAPES)[0].numpy()
    expected, start = [], 0
    for nx, ny in SHAPES:
        image = shower[start : start + nx * ny].reshape(nx, ny) / shower.sum()
        start += nx * ny
        q = (image + 1e-5) / (image + 1e-5).sum()
        expected += [math.sqrt(image.sum() + 1e-5), np.sqrt(q / q.size).sum(), math.sqrt((q**2).sum())]
        for profile in (image.sum(axis=1), image.sum(axis=0)):
            n = len(profile)
            p = (profile + 1e-5) / (profile + 1e-5).sum()
            expected += [sum(4 * (2 * i / (n - 1) - 1) * p[i] for i in range(n)), (p**2).sum()]
            for k in (1, 2, 4, 8):
                if k < n:
                    expected.append(sum(math.sqrt(p[i] * p[i + k]) for i in range(n - k)))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_summaries_of_a_shower_that_moves_only_change_by_its_place():
    """At least eight rows and columns from the edges, the furthest that a profile is compared with itself."""
    images = torch.zeros(2, 40, 50, dtype=torch.float64)
    images[0, 10:13, 12:15] = images[1, 25:28, 33:36] = torch.rand(3, 3, generator=rng(), dtype=torch.float64)
    one, other = layer_summaries(images.flatten(1), ((40, 50),))
    moved = [number for number, same in enumerate(torch.isclose(one, other, rtol=1e-12)) if not same]
    assert moved == [3, 9]
    steps = torch.tensor([8 * 15 / 39 / (1 + 40e-5), 8 * 21 / 49 / (1 + 50e-5)], dtype=torch.float64)
    torch.testing.assert_close((other - one)[moved], steps)


def test_summaries_of_an_empty_shower_are_finite():
    showers = torch.zeros(1, N_CELLS, requires_grad=True)
    layer_summaries(showers, SHAPES).sum().backward()
    assert torch.isfinite(showers.grad).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_generator_of_zeros_makes_mean_showers_of_the_drawn_energy(family):
    """Without threshold and rare hits, so that a cell reads its share."""
    gan = model(family).eval()
    latents = []

    def generator(latent, *_classes, output_relu):
        assert not output_relu
        latents.append(latent)
        return torch.zeros(len(latent), N_CELLS)

    gan.generator.forward = generator
    energies_GeV = torch.tensor([3.0, 80.0])
    inputs = inputs_of(family, energies_GeV)
    made_GeV = gan.generate(inputs, rng(7)).numpy()
    noise = torch.randn(2, 16, generator=rng(7))
    torch.testing.assert_close(latents[0][:, 0], torch.log(energies_GeV / 100))
    scaled = math.sqrt(16) * inputs[:, 1:]
    torch.testing.assert_close(latents[0][:, 1:], torch.cat([noise[:, 1:], scaled], dim=1))
    for energy_GeV, n, cells_GeV in zip(energies_GeV.tolist(), noise[:, 0].tolist(), made_GeV, strict=True):
        mean_GeV = energy_GeV * (0.2 - 0.003 * math.log(energy_GeV))
        visible_GeV = mean_GeV * (1 + n * math.sqrt(0.1**2 / energy_GeV + 0.02**2))
        np.testing.assert_allclose(cells_GeV, visible_GeV * np.array(MEAN_SHOWER), rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_hits_are_above_the_threshold_in_visible_energy(family):
    gan = model(family, threshold_MeV=0.3, rare_hit_MeV=0.1).eval()
    made_MeV = 1000 * gan.generate(inputs_of(family, torch.full((50,), 2.0)), rng()).detach().numpy()
    hit = made_MeV[made_MeV > 0]
    assert 0 < (made_MeV == 0).mean() < 1
    assert hit.min() > 0.3 * 0.8  # cells are scaled once more to the sum of the shower
    assert made_MeV.sum(axis=1).mean() == pytest.approx(2000 * (0.2 - 0.003 * math.log(2)), rel=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_score_of_shapes_moves_a_narrow_shower_to_its_place(family):
    """Showers with all energy in one row of the middle layer, beside a discriminator that hardly learns."""
    rates = {"learning_rate": 3e-3, "discriminator_learning_rate": 1e-9}
    gan = model(family, threshold_MeV=1e-3, shape_weight=5.0, generator_steps=1, **rates)
    energy_GeV = 20 + 60 * torch.rand(16, generator=rng(3))
    inputs = inputs_of(family, energy_GeV)
    cells = torch.zeros(16, N_CELLS)
    cells[:, 24 + 4 : 24 + 8] = energy_GeV[:, None] * 0.19 / 4

    def share_of_row():
        with torch.no_grad():
            made = gan.generate(inputs, rng(2))
        return (made[:, 28:32].sum(dim=1) / made.sum(dim=1)).mean().item()

    before, random, optimisers = share_of_row(), rng(), gan.optimisers()
    losses = []
    for step in range(60):
        losses.append(gan.training_step(step, cells, inputs, optimisers, random)["generator_shape"].item())
    assert before < 0.2
    assert share_of_row() > 0.6
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 1


@pytest.mark.parametrize("family", FAMILIES)
def test_stacks_that_would_need_too_many_weights_do_not_fit(family):
    settings = model_settings({"family": family})
    published = geometry(((3, 96), (12, 12), (12, 6)))
    assert settings.misfit(SimpleNamespace(geometry=published)) is None
    deep = geometry([(25, 25)] * 25)
    said = settings.misfit(SimpleNamespace(geometry=deep))
    assert f"{25 * 27 * 27 * 36 * 1024:,} weights" in said
    smaller = model_settings({"family": family, "latent": 100})
    assert smaller.misfit(SimpleNamespace(geometry=deep)) is None


def test_leading_noise_weighs_as_much_as_the_whole_latent_vector():
    latents = {}
    for n in (0, 3):
        gan = model("calogan", leading_noise=n).eval()
        gan.generator.register_forward_pre_hook(lambda _, given, n=n: latents.update({n: given[0]}))
        gan.generate(torch.tensor([[3.0], [80.0]]), rng(7))
    ratio = torch.ones(16)
    ratio[1:4] = 4
    torch.testing.assert_close(latents[3], latents[0] * ratio)


def test_leading_noise_is_part_of_the_latent_vector():
    with pytest.raises(ValueError, match="leading_noise: found 16, expected less than latent, 16"):
        model("calogan", leading_noise=16)
