"""What the lectures say of gradient descent and momentum: rows O3 to O11."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ravine.rules.descent import (
    SGD,
    HeavyBall,
    Momentum,
    MomentumAverage,
    MomentumInside,
    Nesterov,
    NesterovAhead,
    NesterovPrinted,
    NesterovVariables,
)
from ravine.rules.rule import Rule, with_values
from tests.driving import Noisy, constant, descend, drive, normal, starts, step

F64 = torch.float64
RAVINE = torch.tensor([1.0, 100.0], dtype=F64)  # curvatures of a quadratic with condition number 100
SMALLEST, LARGEST = 1.0, 100.0


def to_bottom(rule: Rule, most: int = 5000) -> int:
    """Steps after which the loss of the ravine stays below 1e-12 of the start's; ``most`` where it never does."""
    path = descend(rule, lambda w: RAVINE * w, torch.ones(2, dtype=F64), most)
    loss = (RAVINE * path**2).sum(1)
    late = (~(loss < 1e-12 * loss[0])).nonzero()
    return int(late[-1]) + 1 if int(late[-1]) < most else most


def regression(samples: int, features: int) -> tuple[Tensor, Tensor, Tensor]:
    x, w = normal("x", samples, features), normal("w", features)
    return x, x @ w + 0.1 * normal("noise", samples), w


def mean_gradient(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    return x.T @ (x @ w - y) / len(x)


def test_o03_the_mean_of_single_sample_gradients_is_the_full_gradient() -> None:
    """O3: the mean of 1e5 draws is the full gradient within 3 standard errors."""
    x, y, w = regression(50, 3)
    w = w + 1.0
    each = x * (x @ w - y)[:, None]
    draws = each[torch.from_numpy(np.random.default_rng(0).integers(0, 50, 100_000))]
    error = (draws.mean(0) - mean_gradient(x, y, w)).abs()
    assert bool((error <= 3 * draws.std(0) / 100_000**0.5).all())


def test_o03_cyclic_and_random_order_both_descend_on_curves_of_their_own() -> None:
    """O3: randomised against cyclic index; a cycle visits each sample once, so only it is exact over an epoch."""
    x, y, truth = regression(50, 3)
    random = np.random.default_rng(1).integers(0, 50, 50 * 40)
    curves: list[Tensor] = []
    for order in (np.arange(50 * 40) % 50, random):

        def slope(t: int, points: list[Tensor], order: np.ndarray = order) -> list[Tensor]:
            i = int(order[t - 1])
            return [x[i] * (x[i] @ points[0] - y[i])]

        path = drive(SGD(0.02), slope, [torch.zeros(3, dtype=F64)], 50 * 40)
        curves.append(torch.stack([(w - truth).norm() for (w,) in path[::50]]))
    cyclic, shuffled = curves
    assert float(cyclic[-1]) < 0.1 * float(cyclic[0]) and float(shuffled[-1]) < 0.1 * float(shuffled[0])
    assert not torch.allclose(cyclic[1:], shuffled[1:], rtol=1e-3)


def test_o04_a_minibatch_gradient_is_unbiased() -> None:
    """O4: the mean over all minibatches of size b is the full gradient."""
    x, y, w = regression(7, 3)
    for b in (1, 2, 5):
        batches = [list(pick) for pick in itertools.combinations(range(7), b)]
        mean = torch.stack([mean_gradient(x[pick], y[pick], w + 1) for pick in batches]).mean(0)
        torch.testing.assert_close(mean, mean_gradient(x, y, w + 1), rtol=1e-12, atol=0)


def test_o04_the_cost_of_a_step_is_linear_in_the_batch_size() -> None:
    """O4: O(md), O(d) and O(bd): counted in floating-point operations, which no busy machine can change."""

    def operations(b: int, d: int) -> int:
        x, w = torch.ones(b, d), torch.ones(d, 1, requires_grad=True)
        with FlopCounterMode(display=False) as counter:
            (x @ w).square().mean().backward()
        return counter.get_total_flops()

    one = operations(1, 10)
    assert [operations(b, 10) / one for b in (2, 32, 1000)] == [2, 32, 1000]
    assert operations(8, 30) == 3 * operations(8, 10)


def test_o05_a_multiplier_of_the_rate_is_lambdalr() -> None:
    """O5: theta - eta_t eta g equals torch's SGD under LambdaLR exactly."""

    def multiplier(t: int) -> float:
        return 0.95**t

    slope, w = Noisy.of("o5", [(5,)], 50), normal("o5", 5)
    parameter = w.clone().requires_grad_()
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, multiplier)
    for t in range(1, 51):
        rate = 0.1 * multiplier(t - 1)
        assert optimizer.param_groups[0]["lr"] == rate
        parameter.grad = slope.tensors(t, [parameter.detach()])[0]
        ((u,), _) = step(with_values(SGD(), {"lr": rate}), slope.tensors, [w], [{}], t)
        w = w + u
        optimizer.step()
        schedule.step()
    torch.testing.assert_close(parameter.detach(), w, rtol=1e-14, atol=1e-15)


def under_constant_gradient(rule: Rule, steps: int) -> Tensor:
    """The updates [steps] under a gradient of 1."""
    path = descend(rule, torch.ones_like, torch.zeros(1, dtype=F64), steps)
    return (path[1:] - path[:-1])[:, 0]


def test_o06_the_effective_rate_of_momentum_is_eta_over_one_minus_beta() -> None:
    """O6: under a constant gradient the step over eta g tends to 10.0 (beta = 0.9) within 1e-4."""
    assert -float(under_constant_gradient(Momentum(lr=0.01, momentum=0.9), 200)[-1]) / 0.01 == pytest.approx(
        10.0, abs=1e-4
    )


def test_o07_both_momenta_agree_at_a_constant_rate_and_part_after_a_rate_step() -> None:
    """O7: A = B at constant eta (1e-12); after eta drops tenfold A's step drops to 0.10 at once, B's only to 0.91."""
    slope, start = Noisy.of("o7", [(5,)], 200), [normal("o7", 5)]
    outside, inside = Momentum(lr=0.01, momentum=0.9), MomentumInside(lr=0.01, momentum=0.9)
    a, b = (torch.stack([w for (w,) in drive(rule, slope.tensors, start, 200)]) for rule in (outside, inside))
    assert float(((a - b).abs() / a.abs().cummax(0).values).max()) <= 1e-12

    def drop(rule: Rule) -> float:
        g, weights = constant(torch.ones(1, dtype=F64)), [torch.zeros(1, dtype=F64)]
        states = starts(rule, weights)
        before = [torch.zeros(1)]
        for t in range(1, 401):
            before, states = step(rule, g, weights, states, t)
        after, _ = step(with_values(rule, {"lr": 0.001}), g, weights, states, 401)
        return float(after[0] / before[0])

    assert drop(outside) == pytest.approx(0.10, abs=1e-12)
    assert drop(inside) == pytest.approx(0.91, abs=1e-12)


def test_o08_heavy_ball_is_momentum_b_and_beats_gradient_descent_five_times() -> None:
    """O8: C = B (1e-12); condition number 100: iterations GD/HB >= 5, both at their best constants."""
    slope, start = Noisy.of("o8", [(5,)], 200), [normal("o8", 5)]
    c, b = (torch.stack([w for (w,) in drive(rule(0.01, 0.9), slope.tensors, start, 200)]) for rule in KINDS)
    assert float(((c - b).abs() / b.abs().cummax(0).values).max()) <= 1e-12
    gradient_descent = to_bottom(SGD(2 / (LARGEST + SMALLEST)))
    assert gradient_descent / to_bottom(best_heavy_ball()) >= 5


KINDS: tuple[Callable[[float, float], Rule], ...] = (HeavyBall, MomentumInside)


def best_heavy_ball() -> HeavyBall:
    """Polyak's constants for a quadratic."""
    low, high = SMALLEST**0.5, LARGEST**0.5
    return HeavyBall(4 / (high + low) ** 2, ((high - low) / (high + low)) ** 2)


def test_o09_a_running_mean_forgets_to_one_over_e() -> None:
    """O9: 0.9^10 = .3487 and 0.98^50 = .3642, near 1/e = .3679 (the deck says .35); corrected, V_1 = S."""

    def kept(beta: float, steps: int) -> float:
        rule, w = MomentumAverage(1.0, beta), [torch.zeros(1, dtype=F64)]
        _, states = step(rule, constant(torch.ones(1, dtype=F64)), w, starts(rule, w), 1)
        first = float(states[0]["m"])
        for t in range(2, steps + 2):
            _, states = step(rule, constant(torch.zeros(1, dtype=F64)), w, states, t)
        return float(states[0]["m"]) / first

    assert [f"{x:.4f}" for x in (kept(0.9, 10), kept(0.98, 50), np.exp(-1))] == ["0.3487", "0.3642", "0.3679"]
    means = -under_constant_gradient(MomentumAverage(lr=1.0, momentum=0.9), 100)
    torch.testing.assert_close(means, torch.ones(100, dtype=F64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("beta", [9 / 11, 0.9, 0.95, 0.99])
def test_o10_looking_ahead_needs_no_more_iterations_than_the_heavy_ball(beta: float) -> None:
    """O10: condition number 100, the same constants (eta = 1/L): Nesterov <= heavy ball."""
    assert to_bottom(NesterovAhead(1 / LARGEST, beta)) <= to_bottom(HeavyBall(1 / LARGEST, beta)) < 5000


def test_o10_at_its_own_best_constants_the_heavy_ball_wins_on_a_quadratic() -> None:
    """O10, the limit of the claim: Polyak's constants beat the best of Nesterov, which diverges with them."""
    best = best_heavy_ball()
    assert to_bottom(best) < to_bottom(NesterovAhead(1 / LARGEST, 9 / 11))
    assert to_bottom(NesterovAhead(best.lr, best.momentum)) == 5000


def test_o10_algorithm_6_as_printed_diverges() -> None:
    """O10: S2's algorithm 6, theta + m without beta and with the sign slipped, climbs where look-ahead descends."""
    start = torch.ones(2, dtype=F64)
    printed, right = (
        descend(rule(1 / LARGEST, 0.9), lambda w: RAVINE * w, start, 200).abs()
        for rule in (NesterovPrinted, NesterovAhead)
    )
    assert float(printed[-1].max()) > 1e6 and float(right[-1].max()) < 1e-3


def test_o11_the_change_of_variables_is_the_look_ahead_and_torch() -> None:
    """O11: theta~ - alpha v is the look-ahead trajectory to 1e-12, and theta~ is torch's nesterov=True."""
    start = torch.ones(2, dtype=F64)
    rate, beta, weights = 1 / LARGEST, 0.9, [start]
    ahead = descend(NesterovAhead(rate, beta), lambda w: RAVINE * w, start, 200)
    torchs = descend(Nesterov(rate, beta), lambda w: RAVINE * w, start, 200)
    states = starts(NesterovVariables(rate, beta), weights)
    for t in range(1, 201):
        (u,), states = step(NesterovVariables(rate, beta), lambda _, points: [RAVINE * points[0]], weights, states, t)
        weights = [weights[0] + u]
        torch.testing.assert_close(weights[0] - beta * states[0]["v"], ahead[t], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(weights[0], torchs[t], rtol=1e-12, atol=1e-12)
