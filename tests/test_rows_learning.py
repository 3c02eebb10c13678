"""Rows R19 and R24: what an error is made of and how it falls with the data; likelihood and what makes it largest."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ravine.ensembles import bias_variance
from ravine.errors import UserError
from ravine.rules.rule import make

SPREAD = 0.3  # deviation of the targets


def truth(x: Tensor) -> Tensor:
    return torch.sin(3 * x)


def drawn(sets: int, samples: int, seed: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(sets, samples, generator=source, dtype=torch.float64) - 1
    return x, truth(x) + SPREAD * torch.randn(sets, samples, generator=source, dtype=torch.float64)


def powers(x: Tensor, degree: int) -> Tensor:
    return torch.stack([torch.special.legendre_polynomial_p(x, k) for k in range(degree + 1)], -1)


def fitted(degree: int, x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    """Predictions [sets, n] of polynomials, one fitted to each training set."""
    weights = torch.linalg.lstsq(powers(x, degree), y.unsqueeze(-1)).solution
    return (powers(at, degree) @ weights).squeeze(-1)


@pytest.mark.parametrize("degree", [1, 3, 9])
def test_r19_bias_variance_and_noise_add_up_to_the_error_on_new_targets(degree: int) -> None:
    """2,000 training sets of 80: the parts, from predictions and the truth, against an error on targets of its own."""
    x, y = drawn(2000, 80, seed=1)
    at = torch.linspace(-0.85, 0.85, 101, dtype=torch.float64)
    said = fitted(degree, x, y, at)
    parts = bias_variance(said, truth(at), SPREAD**2)
    fresh = truth(at) + SPREAD * torch.randn(
        said.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    assert parts.total == pytest.approx(float((said - fresh).square().mean()), rel=1e-2)
    assert min(parts.bias, parts.variance, parts.noise) >= -1e-6


def test_r19_simple_fits_are_biased_and_rich_ones_vary() -> None:
    x, y = drawn(500, 60, seed=3)
    at = torch.linspace(-0.85, 0.85, 101, dtype=torch.float64)
    low, middle, high = (bias_variance(fitted(d, x, y, at), truth(at), SPREAD**2) for d in (1, 5, 11))
    assert low.bias > 10 * low.variance and low.bias > 10 * abs(high.bias)
    assert low.variance < middle.variance < high.variance and high.variance > 10 * abs(high.bias)
    assert middle.total < min(low.total, high.total)  # between under- and overfitting


def test_r19_the_error_of_estimation_falls_as_one_over_the_root_of_n() -> None:
    """The error beyond the best of its class, as a root mean square, for a class that holds the truth nearly."""
    at = torch.linspace(-0.85, 0.85, 101, dtype=torch.float64)
    counts = (100, 200, 400, 800, 1600)
    errors: list[float] = []
    for n in counts:
        x, y = drawn(400, n, seed=n)
        errors.append(math.sqrt(bias_variance(fitted(7, x, y, at), truth(at)).variance))
    assert float(np.polyfit(np.log(counts), np.log(errors), 1)[0]) == pytest.approx(-0.5, abs=0.05)
    rich = [math.sqrt(bias_variance(fitted(d, *drawn(400, 400, seed=9), at), truth(at)).variance) for d in (3, 7, 15)]
    assert rich[2] / rich[0] == pytest.approx(math.sqrt(16 / 4), rel=0.15)  # and grows as the root of what is fitted


def test_r19_overfitting_shows_in_the_size_of_the_weights() -> None:
    x, y = drawn(200, 15, seed=5)
    norms = [float(torch.linalg.lstsq(powers(x, d), y.unsqueeze(-1)).solution.norm(dim=1).median()) for d in (3, 12)]
    assert norms[1] > 5 * norms[0]


@pytest.mark.parametrize("given", [torch.zeros(1, 3), torch.zeros(4, 2)])
def test_a_decomposition_needs_two_sets_at_the_points_of_the_truth(given: Tensor) -> None:
    with pytest.raises(UserError, match="give 2 training sets or more"):
        bias_variance(given, torch.zeros(3))


# --- R24: likelihood -------------------------------------------------------------------------------------------------

TOSSES = torch.tensor([1.0, 0, 0, 1, 1, 0, 1, 0], dtype=torch.float64)  # four heads in eight


def likelihood(theta: float) -> float:
    """The probability of the tosses, by the chain rule: a product, since each is independent of those before."""
    return float(torch.where(TOSSES == 1, theta, 1 - theta).prod())


def test_r24_the_likelihood_of_a_coin_and_the_theta_that_makes_it_largest() -> None:
    assert likelihood(0.0) == 0.0
    assert likelihood(0.25) == pytest.approx(0.001236, abs=5e-7)  # a deck prints .00124
    assert likelihood(0.5) == pytest.approx(0.003906, abs=5e-7)  # and .0039
    grid = np.linspace(0, 1, 1001)
    assert grid[int(np.argmax([likelihood(theta) for theta in grid]))] == 0.5


def test_r24_the_mean_loss_is_the_log_likelihood_and_descent_on_it_ends_at_the_maximum() -> None:
    """Binary cross-entropy summed over the tosses is minus the log of the product; any start ends at the frequency."""
    for heads in (TOSSES, torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64)):
        for start in (-3.0, 2.0):
            rule, a = make("adam", {"lr": 0.05}), torch.tensor(start, dtype=torch.float64)
            state = rule.init(a)
            for step in range(1, 601):
                leaf = a.clone().requires_grad_()
                loss = nn.functional.binary_cross_entropy_with_logits(leaf.expand_as(heads), heads)
                u, state = rule.update(torch.autograd.grad(loss, leaf)[0], state, a, step)
                a = a + u
            assert float(torch.sigmoid(a)) == pytest.approx(float(heads.mean()), abs=1e-3)
    logit = torch.logit(torch.tensor(0.25, dtype=torch.float64))
    total = nn.functional.binary_cross_entropy_with_logits(logit.expand_as(TOSSES), TOSSES, reduction="sum")
    assert math.exp(-float(total)) == pytest.approx(likelihood(0.25), rel=1e-12)


def test_r24_the_chain_rule_of_probability_holds_for_any_order_and_dependent_events() -> None:
    """p(x1, x2, x3) = p(x1) p(x2 | x1) p(x3 | x1, x2), whichever comes first."""
    joint = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    joint /= joint.sum()
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        table = joint.permute(order)
        first = table.sum((1, 2), keepdim=True)
        second = table.sum(2, keepdim=True) / first
        third = table / table.sum(2, keepdim=True)
        assert torch.allclose(first * second * third, table, rtol=1e-13, atol=0)
    marginals = joint.sum((1, 2), keepdim=True) * joint.sum((0, 2), keepdim=True) * joint.sum((0, 1), keepdim=True)
    assert not torch.allclose(marginals, joint, rtol=0.1)  # a product of marginals is not it
