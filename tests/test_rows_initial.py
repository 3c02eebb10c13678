"""The lectures' claims on initialisation (rows I1 to I6), each measured."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from ravine.initial import init_
from ravine.models import mlp

WIDTH, DEPTH = 256, 10


def tower(activation: type[nn.Module], width: int = WIDTH, depth: int = DEPTH) -> nn.Sequential:
    """A net of equal layers, without a last one that differs."""
    return nn.Sequential(*[part for _ in range(depth) for part in (nn.Linear(width, width), activation())])


def inputs(width: int = WIDTH, samples: int = 500) -> Tensor:
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def outputs(made: nn.Sequential, x: Tensor) -> list[Tensor]:
    """What comes out of each nonlinearity."""
    found: list[Tensor] = []
    for layer in made:
        x = layer(x)
        if not isinstance(layer, nn.Linear):
            found.append(x)
    return found


def stds(activation: type[nn.Module], init: str) -> list[float]:
    made = tower(activation)
    init_(made, init)
    return [float(out.std()) for out in outputs(made, inputs())]


def loss_of(made: nn.Module) -> Tensor:
    """The loss on a toy problem of three classes."""
    x = inputs(6, 30)
    return nn.functional.cross_entropy(made(x), torch.arange(30) % 3)


def trained(init: str) -> nn.Sequential:
    made = mlp([6, 8, 8, 3], nn.Tanh)
    init_(made, init)
    optimizer = torch.optim.SGD(made.parameters(), lr=0.3)
    for _ in range(20):
        optimizer.zero_grad()
        loss_of(made).backward()
        optimizer.step()
    return made


@pytest.mark.parametrize("bias_std", [0, 1])
def test_i1_zeros_send_no_gradient_to_the_weights_before(bias_std: float) -> None:
    made = mlp([6, 8, 3])
    init_(made, f"zeros:bias_std={bias_std}")
    loss_of(made).backward()
    first, last = (layer for layer in made if isinstance(layer, nn.Linear))
    assert first.weight.grad is not None and last.weight.grad is not None
    assert not first.weight.grad.any()
    assert bool(last.weight.grad.any()) == bool(bias_std)  # random biases feed the last layer alone


@pytest.mark.parametrize(("init", "distinct"), [("constant:value=42", 1), ("constant:value=0.1", 1), ("xavier", 8)])
def test_i1_equal_units_stay_equal(init: str, distinct: int) -> None:
    second = trained(init)[3]
    assert isinstance(second, nn.Linear)
    rows = torch.cat([second.weight, second.bias.unsqueeze(1)], 1).detach()
    assert len(torch.unique((rows * 1e4).round(), dim=0)) == distinct


def test_i2_small_weights_vanish_and_large_ones_saturate() -> None:
    small, large = stds(nn.Tanh, "normal:std=0.01"), stds(nn.Tanh, "normal:std=1")
    for before, after in pairwise(small):  # Var[out] = n_in std^2 Var[x], as tanh is linear there
        assert after / before == pytest.approx(0.01 * math.sqrt(WIDTH), rel=0.1)
    assert small[-1] < 1e-3
    made = tower(nn.Tanh)
    init_(made, "normal:std=1")
    assert float((outputs(made, inputs())[-1].abs() > 0.99).float().mean()) > 0.8 and large[-1] > 0.9
    lectures = stds(nn.Tanh, "normal:std=0.1")  # S4's variance of 0.01 is another thing
    assert lectures[-1] > 100 * small[-1]


def test_i2_the_variance_of_a_layer_is_n_in_std_squared_times_that_of_its_input() -> None:
    layer = nn.Linear(400, 300)
    init_(layer, "normal:std=0.05")
    out = layer(3 * inputs(400)).detach()
    assert float(out.var()) == pytest.approx(400 * 0.05**2 * 9, rel=0.02)


@pytest.mark.parametrize(
    "init", ["xavier", "xavier:distribution=uniform", "xavier:fan=in", "lecun", "xavier:follow=true"]
)
def test_i3_the_variance_is_kept_through_ten_tanh_layers(init: str) -> None:
    found = stds(nn.Tanh, init)
    ratios = [(b / a) ** 2 for a, b in pairwise(found)]
    assert all(0.5 < ratio < 2 for ratio in ratios)
    made = tower(nn.Tanh)
    init_(made, init)
    made(inputs()).square().sum().backward()
    norms = [float(layer.weight.grad.norm()) for layer in made if isinstance(layer, nn.Linear)]  # pyright: ignore[reportOptionalMemberAccess]
    assert 0.2 < norms[0] / norms[-1] < 5


def test_i3_the_misprint_vanishes() -> None:
    misprint, right = stds(nn.Tanh, "xavier-misprint"), stds(nn.Tanh, "xavier:distribution=uniform")
    assert misprint[-1] < 1e-8 * right[-1]
    # its bound is sqrt(n_in + n_out) times too small, in every layer
    assert misprint[1] / misprint[0] == pytest.approx(1 / math.sqrt(2 * WIDTH), rel=0.1)


def test_i3_sigmoid_wants_four_times_as_much() -> None:
    """Its slope at zero is a quarter of tanh's: four times the weights keep gradients."""

    def first_gradient(init: str) -> float:
        made = tower(nn.Sigmoid, depth=5)
        init_(made, init)
        out = made(inputs())
        (out - out.detach().mean(0)).square().sum().backward()
        layer = made[0]
        assert isinstance(layer, nn.Linear) and layer.weight.grad is not None
        return float(layer.weight.grad.norm())

    assert first_gradient("xavier:distribution=uniform,gain=4") > 100 * first_gradient("xavier:distribution=uniform")


def mean_squares(init: str) -> float:
    """The mean square after ten ReLU layers over that after the first."""
    made = tower(nn.ReLU)
    init_(made, init)
    found = [float(out.square().mean()) for out in outputs(made, inputs())]
    return found[-1] / found[0]


def test_i4_he_keeps_the_mean_square_that_one_over_n_halves_in_each_layer() -> None:
    assert 0.5 < mean_squares("he") < 2
    # the same numbers, times sqrt(1/2) a layer: the ratio is exact
    assert mean_squares("lecun") / mean_squares("he") == pytest.approx(2.0**-9, rel=1e-4)
    layer = nn.Linear(WIDTH, WIDTH)
    init_(layer, "he")
    a = layer(inputs()).detach()
    assert float(a.relu().square().mean()) == pytest.approx(0.5 * float(a.var()), rel=0.02)


@pytest.mark.parametrize(
    "layer", [nn.Linear(30, 50), nn.Linear(50, 30), nn.Conv2d(4, 8, 3)], ids=["tall", "wide", "conv"]
)
def test_i5_singular_values_are_one(layer: nn.Module) -> None:
    init_(layer, "orthogonal")
    values = torch.linalg.svdvals(layer.get_parameter("weight").detach().flatten(1))
    torch.testing.assert_close(values, torch.ones_like(values), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid])
def test_i5_lsuv_has_unit_variance_after_one_pass(activation: type[nn.Module]) -> None:
    conv = [nn.Conv2d(1, 6, 3), activation(), nn.BatchNorm2d(6), nn.Dropout(0.5), nn.Flatten()]
    made = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *conv, nn.Linear(216, 40), activation(), nn.Linear(40, 10))
    x = 5 * inputs(64) + 2
    told = init_(made, "lsuv:bias=0.1", data=x)
    assert len(told.weights) == 3 and made.training
    assert not made.get_buffer("3.num_batches_tracked")
    made.eval()
    with torch.no_grad():
        for layer in made:
            x = layer(x)
            if isinstance(layer, nn.Linear | nn.Conv2d):
                shift = layer.bias if isinstance(layer, nn.Linear) else layer.bias.view(-1, 1, 1)  # pyright: ignore[reportOptionalMemberAccess]
                assert float((x - shift).var(correction=0)) == pytest.approx(1.0, abs=1e-4)


def dead(init: str) -> int:
    """The units of ten ReLU layers of 32 that are zero on all of 500 samples."""
    made = tower(nn.ReLU, 32, 10)
    init_(made, init)
    return sum(int((out == 0).all(0).sum()) for out in outputs(made, inputs(32)))


def test_i6_zero_biases_are_harmless_and_alexnets_ones_keep_every_unit_alive() -> None:
    assert dead("normal:std=0.01") == dead("he") < 0.1 * 320  # without biases the scale decides nothing
    assert dead("normal:std=0.01,bias=1") == 0
    assert dead("normal:std=0.01,bias=-1") == 320
    # with He's larger weights a common bias is no cure: its sum over inputs has one sign a unit
    assert dead("he:bias=1") > dead("he")


@pytest.mark.parametrize("init", ["he", "xavier", "sparse"])
def test_i7_random_matrices_have_full_rank(init: str) -> None:
    layer = nn.Linear(60, 100)
    init_(layer, init)
    assert int(torch.linalg.matrix_rank(layer.weight.detach())) == 60


def test_sparse_units_keep_so_many_inputs() -> None:
    layer = nn.Conv1d(10, 200, 3)
    init_(layer, "sparse:connections=7,std=2")
    kept = layer.weight.detach().flatten(1) != 0
    assert bool((kept.sum(1) == 7).all())
    assert float(layer.weight.detach()[layer.weight.detach() != 0].std()) == pytest.approx(2, rel=0.1)
    assert int(kept.sum(0).min()) > 20  # every input is kept by some
