import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from caloforge.config.project import model_settings
from caloforge.geometry import Geometry
from caloforge.models.family import build
from caloforge.models.layer_stack.centre import CentreOfGravity
from caloforge.models.layer_stack.shares import layer_shapes, share_weights
from caloforge.preprocessing import Preprocessing

SHAPES = ((3, 8), (4, 4), (4, 2))
N_CELLS = 24 + 16 + 8
RESPONSE = (0.2, -0.003)
MEAN_SHOWER = tuple((np.linspace(0, 1, N_CELLS) / np.linspace(0, 1, N_CELLS).sum()).tolist())
FAMILIES = ("calogan", "conditional_calogan")


def geometry(shapes=SHAPES):
    return Geometry(name="stack", layers=[{"shape": shape, "cell_size_mm": (20, 20)} for shape in shapes])


def transforms(family, threshold_MeV=1e-12, rare_hit_MeV=0.0, quantiles_mm=((), ())):
    inputs = ("energy",) if family == "calogan" else ("energy", "x0", "y0", "px/pz", "py/pz")
    n = len(inputs)
    mean, std = ((0.0,) * n, (1.0,) * n) if family == "calogan" else ((50.0,) * n, (25.0,) * n)
    scale = (threshold_MeV, None, 1000.0)
    fitted = (RESPONSE, (0.1, 0.02), MEAN_SHOWER, rare_hit_MeV)
    return Preprocessing(*scale, inputs, mean, std, *fitted, *quantiles_mm)


def model(family, threshold_MeV=1e-12, rare_hit_MeV=0.0, quantiles_mm=((), ()), **settings):
    torch.manual_seed(0)
    plain = {"family": family, "latent": 16, "cells": "shares", "training": {"epochs": 1}} | settings
    fitted = transforms(family, threshold_MeV, rare_hit_MeV, quantiles_mm)
    return build(model_settings(plain), geometry(), fitted)


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


# Centres of gravity

QUANTILES_MM = ((-70.0, -10.0, 30.0, 50.0, 80.0), (-60.0, -60.0, 0.0, 5.0, 70.0))


def at(x_mm, y_mm):
    """A shower of the second layer, 4 x 4 cells of 20 mm, with its centre of gravity there."""
    image = torch.zeros(4, 4)
    along = [(position + 30) / 60 for position in (x_mm, y_mm)]
    for row, column in ((0, 0), (0, 3), (3, 0), (3, 3)):
        shares = [share if end else 1 - share for share, end in zip(along, (row, column), strict=True)]
        image[row, column] = shares[0] * shares[1]
    return torch.cat([torch.zeros(24), 7 * image.flatten(), torch.zeros(8)])


def test_centres_have_the_normal_scores_of_their_ranks():
    """Ranks between quantiles by hand: of x = 10 mm (1 + 20 / 40) / 4, of y = 1 mm (2 + 1 / 5) / 4."""
    centre = CentreOfGravity(geometry(), transforms("calogan", quantiles_mm=QUANTILES_MM))
    scores = centre.normal_scores(torch.stack([at(10, 1), at(30, -30), torch.zeros(N_CELLS)]))
    ranks = [[1.5 / 4, 2.2 / 4], [2 / 4, 1.5 / 4], [1.25 / 4, 2 / 4]]
    np.testing.assert_allclose(scores.numpy(), norm.ppf(ranks), atol=1e-6)


def test_scores_of_the_outermost_showers_are_finite():
    quantiles_mm = ((-5.0, 0.0, 5.0), (3.0, 3.0, 3.0))
    centre = CentreOfGravity(geometry(), transforms("calogan", quantiles_mm=quantiles_mm))
    (left,), (right,) = (centre.normal_scores(at(x, 3)[None]) for x in (-30, 30))
    assert left[0].item() == pytest.approx(-right[0].item(), rel=1e-5)
    assert left[0].item() == pytest.approx(norm.ppf(0.002), rel=1e-5)
    assert torch.isfinite(torch.stack([left, right])).all()


def test_bumps_are_near_the_number_they_stand_for():
    centre = CentreOfGravity(geometry(), transforms("calogan", quantiles_mm=QUANTILES_MM))
    (bumps,) = centre.bumps(torch.tensor([[-2.4, 2.4 - 0.32]])).unflatten(1, (2, -1))
    assert bumps.argmax(dim=1).tolist() == [0, 14]
    assert bumps[0, :2].tolist() == pytest.approx([3, 3 * math.exp(-0.5)])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_generator_is_told_the_centres_of_the_showers_it_is_compared_with(precision):
    """In every generation of a training step; without showers, centres are random and independent."""
    settings = {"drawn_centre": True, "generator_steps": 1, "training": {"epochs": 1, "precision": precision}}
    gan = model("calogan", quantiles_mm=QUANTILES_MM, **settings)
    told = []
    gan.generator.register_forward_pre_hook(lambda _, given: told.append(given[0][:, 16:].detach()))
    showers = torch.stack([at(-20 + 5 * n, 4 - n) for n in range(6)])
    energy_GeV = torch.full((6, 1), 30.0)
    gan.training_step(0, showers, energy_GeV, gan.optimisers(), rng())
    expected = gan.centre.bumps(gan.centre.normal_scores(showers))
    assert len(told) == 2
    for bumps in told:
        torch.testing.assert_close(bumps, expected)
    told.clear()
    gan.eval().generate(torch.full((4000, 1), 30.0), rng())
    numbers = told[0].unflatten(1, (2, -1)).argmax(dim=2) * 0.32 - 2.4
    assert numbers.mean(dim=0).abs().max() < 0.05
    assert (numbers.std(dim=0) - 1).abs().max() < 0.05
    assert np.corrcoef(numbers.T)[0, 1] == pytest.approx(0, abs=0.05)


def test_centres_are_drawn_for_shares_alone():
    with pytest.raises(ValueError, match="found true with cells energies, expected cells shares"):
        model_settings({"family": "calogan", "drawn_centre": True, "training": {"epochs": 1}})
