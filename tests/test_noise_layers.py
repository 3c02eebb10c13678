"""Layers of noise: shares told apart by name, expectation kept, lanes equal to runs alone, uncertainty by draws."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.engines.noise import Keyed
from ravine.errors import UserError
from ravine.noise import (
    DropConnect,
    GaussianNoise,
    InvertedDropout,
    SpatialDropout,
    StandardDropout,
    StochasticDepth,
    WeightNoise,
    monte_carlo,
    set_keys,
)
from ravine.problems.problem import Part
from ravine.rules.rule import make

F64 = torch.float64
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "inverted": lambda: InvertedDropout(drop=0.2),
    "standard": lambda: StandardDropout(drop=0.2),
    "connect": lambda: DropConnect(30, 30, drop=0.2),
    "weights": lambda: WeightNoise(30, 30, std=0.05),
    "gaussian": lambda: GaussianNoise(0.3),
    "depth": lambda: StochasticDepth(nn.Linear(30, 30), drop=0.2),
}


def keyed(layer: nn.Module, step: int, x: Tensor) -> Tensor:
    set_keys(layer, 0, step)
    return layer(x)


def test_r10_keep_and_drop_are_two_names_of_one_share() -> None:
    for kind in (InvertedDropout, StandardDropout, SpatialDropout, partial(DropConnect, 2, 2)):
        assert kind(drop=0.2).p == kind(keep=0.8).p == 0.2
    x = torch.ones(200, 500)
    assert float((keyed(StandardDropout(keep=0.8), 1, x) == 0).float().mean()) == pytest.approx(0.2, abs=0.01)


def test_r10_inverted_and_standard_dropout_differ_by_the_share_kept_alone() -> None:
    inverted, standard, x = InvertedDropout(keep=0.8), StandardDropout(keep=0.8), torch.randn(50, 20)
    for step in range(3):
        torch.testing.assert_close(0.8 * keyed(inverted, step, x), keyed(standard, step, x))
    torch.testing.assert_close(0.8 * inverted.eval()(x), standard.eval()(x))


@pytest.mark.parametrize("name", LAYERS)
def test_r10_the_mean_of_training_is_the_output_at_test(name: str) -> None:
    torch.manual_seed(0)
    layer, x = LAYERS[name](), torch.rand(8, 30)
    with torch.no_grad():
        mean = torch.stack([keyed(layer, step, x) for step in range(3000)]).mean(0)
        still = layer.eval()(x)
    assert float((mean - still).norm() / still.norm()) < 1e-2
    assert not torch.equal(mean, still)


def test_spatial_dropout_drops_whole_channels_and_depth_whole_samples() -> None:
    out = keyed(SpatialDropout(drop=0.5), 1, torch.ones(8, 6, 4, 4))
    assert bool((out == out[:, :, :1, :1]).all()) and set(out.unique().tolist()) == {0.0, 2.0}
    block = nn.Linear(3, 3)
    with torch.no_grad():
        added = keyed(StochasticDepth(block, drop=0.5), 1, x := torch.rand(64, 3)) - x
        scale = (added / block(x)).round(decimals=3)
    assert bool((scale == scale[:, :1]).all()) and set(scale[:, 0].tolist()) == {0.0, 2.0}


def test_gaussian_noise_has_its_deviation() -> None:
    noise = keyed(GaussianNoise(0.1), 3, torch.zeros(400, 500, dtype=F64))
    assert float(noise.std()) == pytest.approx(0.1, rel=5e-3) and abs(float(noise.mean())) < 1e-3
    assert float((noise.abs() < 0.1).double().mean()) == pytest.approx(0.6827, abs=4e-3)


def test_r14_noise_on_the_inputs_of_a_linear_model_is_ridge() -> None:
    """R14: with squared error, noise of deviation sigma on n inputs adds n sigma^2 |w|^2."""
    drawn, n, sigma = torch.Generator().manual_seed(0), 40, 0.5
    x = torch.randn(n, 3, generator=drawn, dtype=F64)
    y = x @ torch.tensor([1.0, -2.0, 0.5], dtype=F64) + 0.1 * torch.randn(n, generator=drawn, dtype=F64)
    layer = GaussianNoise(sigma)
    draws = 4000
    noisy = keyed(layer, 1, x.repeat(draws, 1))
    found = torch.linalg.lstsq(noisy, y.repeat(draws)).solution
    ridge = torch.linalg.solve(x.T @ x + n * sigma**2 * torch.eye(3, dtype=F64), x.T @ y)
    torch.testing.assert_close(found, ridge, rtol=1e-2, atol=1e-2)
    assert float((found - torch.linalg.lstsq(x, y).solution).norm()) > 0.2


def network() -> nn.Module:
    def block() -> nn.Module:
        return nn.Sequential(nn.Linear(8, 8), nn.Tanh(), StandardDropout(keep=0.7))

    layers = [GaussianNoise(0.1), DropConnect(4, 8, drop=0.3), nn.Tanh(), StochasticDepth(block(), drop=0.4)]
    return nn.Sequential(*layers, InvertedDropout(drop=0.2), WeightNoise(8, 3, std=0.05)).double()


def test_each_lane_draws_what_the_run_alone_draws() -> None:
    drawn = torch.Generator().manual_seed(3)
    x = torch.randn(40, 4, generator=drawn, dtype=F64)
    part = Part(x, (x[:, 0] > 0).long())
    model = Model(network)
    assert len(model.noise) == 6

    def go(seeds: list[int]) -> list[Tensor]:
        lanes = Lanes(model, functional.cross_entropy, [model.lane(make("sgd", {"lr": 0.3}), {}, s) for s in seeds])
        for step in range(10):
            index = torch.stack([torch.arange(10) + 7 * (step % 4) for _ in lanes.seeds])
            lanes.step(part, index, float(step))
        return [lane.weights for lane in lanes.export()]

    company = go([1, 2, 1])
    assert torch.equal(company[0], company[2])
    for seed, weights in zip((1, 2), company, strict=False):
        torch.testing.assert_close(weights, go([seed])[0], rtol=1e-10, atol=1e-12)
    assert not torch.allclose(company[0], company[1])


def test_without_a_key_a_layer_draws_from_torchs_generator() -> None:
    layer, x = InvertedDropout(drop=0.5), torch.ones(30, 30)
    torch.manual_seed(0)
    first, second = layer(x), layer(x)
    torch.manual_seed(0)
    assert torch.equal(first, layer(x)) and not torch.equal(first, second)


@pytest.mark.parametrize("kind", [nn.Dropout, lambda p: InvertedDropout(drop=p)])
def test_monte_carlo_tells_the_spread_and_changes_nothing(kind: Callable[[float], nn.Module]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(4), kind(0.5), nn.Linear(4, 1, bias=False)).eval()
    x = torch.tensor([[1.0, 1.0, 1.0, 1.0], [3.0, 3.0, 3.0, 3.0]])
    before, state = torch.get_rng_state(), {n: b.clone() for n, b in model.state_dict().items()}
    mean, deviation = monte_carlo(model, x, draws=300, seed=1)
    weight = model.get_parameter("2.weight").detach()
    exact = (x @ weight.T, (x**2 @ (weight**2).T).sqrt())  # the variance of inverted dropout at 1/2 is (w x)^2
    torch.testing.assert_close((mean, deviation), exact, rtol=0.15, atol=0.1)
    again = monte_carlo(model, x, draws=300, seed=1)
    assert torch.equal(mean, again[0]) and not torch.equal(mean, monte_carlo(model, x, draws=300, seed=2)[0])
    assert torch.equal(before, torch.get_rng_state()) and not any(part.training for part in model.modules())
    assert all(torch.equal(state[n], b) for n, b in model.state_dict().items())
    assert all(int(layer.noise_key) == 0 for layer in model.modules() if isinstance(layer, Keyed))


@pytest.mark.parametrize(
    ("make_it", "words"),
    [
        (lambda: InvertedDropout(drop=1.0), "drop must lie in (0, 1), got 1, with which all is dropped"),
        (lambda: InvertedDropout(keep=0.0), "keep must lie in (0, 1), got 0, with which all is dropped"),
        (lambda: StandardDropout(keep=1.0), "nothing is dropped"),
        (lambda: DropConnect(2, 2, drop=0.0), "nothing is dropped"),
        (lambda: SpatialDropout(), "give drop"),
        (lambda: InvertedDropout(drop=0.5, keep=0.5), "one of them"),
        (lambda: GaussianNoise(0.0), "std must be positive, got 0"),
        (lambda: WeightNoise(2, 2, std=-1.0), "std must be positive, got -1"),
        (lambda: monte_carlo(nn.Linear(2, 2), torch.ones(1, 2)), "no layer of noise"),
        (lambda: monte_carlo(nn.Dropout(0.5), torch.ones(1, 2), draws=1), "needs 2 draws or more, got 1"),
    ],
)
def test_a_mistake_is_one_sentence(make_it: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError) as refused:
        make_it()
    assert words in str(refused.value) and "\n" not in str(refused.value)
