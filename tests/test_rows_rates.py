"""Rows L7 and L8: what a step size does to stochastic and to subgradient descent, against the theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import ravine
from ravine.schedules import InverseTime, Schedule
from tests.optimizing import parameter


def wanderers(schedule: Schedule | None, lr: float, steps: int) -> np.ndarray:
    """The mean squared distance from the minimum of x^2 / 2 after each step, of 2000 walkers with noisy gradients."""
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.Parameter(torch.full((2000,), 2.0, dtype=torch.float64))
    schedules = {"lr": schedule} if schedule else {}
    optimizer = ravine.optim.SGD([x], lr=lr, schedules=schedules)
    found: list[float] = []
    for _ in range(steps):
        x.grad = x.detach() + torch.randn(2000, generator=generator, dtype=torch.float64)
        optimizer.step()
        found.append(float((x.detach() ** 2).mean()))
    return np.array(found)


def test_row_l7_rates_of_one_over_k_go_to_zero_and_a_constant_rate_to_a_floor() -> None:
    sums = [sum(InverseTime(1.0)(k) for k in range(n)) for n in (10**3, 10**5)]
    assert sums[1] - sums[0] == pytest.approx(math.log(100), rel=1e-3)  # without a limit
    assert sum(InverseTime(1.0)(k) ** 2 for k in range(10**5)) == pytest.approx(math.pi**2 / 6, rel=1e-4)
    falling = wanderers(InverseTime(1.0), 1.0, 2000)
    # x_k is the mean of k noises at lr = 1 / k, so its square is 1 / k on average
    for k in (20, 200, 2000):
        assert falling[k - 1] == pytest.approx(1 / k, rel=0.15)
    for lr in (0.2, 0.4):
        floor = wanderers(None, lr, 400)[200:].mean()
        assert floor == pytest.approx(lr / (2 - lr), rel=0.03)  # the stationary variance of x <- (1 - lr) x - lr noise


def subgradient(start: float, h: float, steps: int) -> list[float]:
    """The loss |x| along subgradient descent, from the first point on."""
    x = parameter(start, dtype=torch.float64)
    optimizer = ravine.optim.SGD([x], lr=h)
    found = [abs(start)]
    for _ in range(steps):
        optimizer.zero_grad()
        x.abs().sum().backward()
        optimizer.step()
        found.append(float(x.detach().abs().sum()))
    return found


def test_row_l8_the_bound_of_subgradient_descent_holds_and_its_floor_doubles_with_the_step() -> None:
    """min_{i <= k} f(x_i) - f* <= R^2 / (2 (k + 1) h) + G^2 h / 2, with R = |x_0 - x*| and G = 1."""
    violations = 0
    for start in (1.0, 3.3, 7.77):
        for h in (0.01, 0.03, 0.1, 0.7):
            seen = subgradient(start, h, 400)
            lowest = np.minimum.accumulate(seen)
            k = np.arange(401)
            violations += int((lowest > start**2 / (2 * (k + 1) * h) + h / 2 + 1e-12).sum())
    assert violations == 0
    # From a start half a step off the lattice of steps, it ends by jumping over the minimum: the floor is h / 2
    floors = [min(subgradient(2.5 * h, h, 50)[10:]) for h in (0.1, 0.2, 0.4)]
    assert floors == pytest.approx([0.05, 0.1, 0.2], rel=1e-9)


def test_row_l8_the_best_step_of_the_bound_is_r_over_g_root_k() -> None:
    r, g, k = 3.0, 2.0, 99
    steps = np.geomspace(1e-3, 10, 20001)
    bound = r**2 / (2 * (k + 1) * steps) + g**2 * steps / 2
    assert steps[bound.argmin()] == pytest.approx(r / (g * math.sqrt(k + 1)), rel=1e-3)
    assert bound.min() == pytest.approx(r * g / math.sqrt(k + 1), rel=1e-6)
