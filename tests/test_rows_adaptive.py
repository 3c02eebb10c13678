"""What the lectures say of AdaGrad, RMSProp, Adadelta and the Adam family: rows O12 to O23."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ravine.rules.adam import Adam, AdamInside, AdamPrinted, AdamUncorrected, AdamUncorrectedInside, AdamW
from ravine.rules.adamax import Adamax
from ravine.rules.combine import CoupledDecay
from ravine.rules.descent import SGD
from ravine.rules.nadam import NAdam
from ravine.rules.rmsprop import (
    RMSprop,
    RMSpropInside,
    RMSpropLagged,
    RMSpropMomentum,
    RMSpropMomentumInside,
    RMSpropNesterov,
    RMSpropTwice,
)
from ravine.rules.rule import Rule
from ravine.rules.scaled import Adadelta, Adagrad, AdagradInside
from tests.driving import Noisy, constant, descend, drive, normal, starts, step

F64 = torch.float64


def updates(rule: Rule, gradient: float, steps: int) -> Tensor:
    """The updates [steps] under a constant gradient."""
    path = drive(rule, constant(torch.tensor(gradient, dtype=F64)), [torch.zeros((), dtype=F64)], steps)
    points = torch.stack([w for (w,) in path])
    return points[1:] - points[:-1]


def noisy_paths(seed: str, *rules: Rule, steps: int = 500) -> list[Tensor]:
    """The paths [steps + 1, 5] of several rules under the same noisy gradient."""
    slope, start = Noisy.of(seed, [(5,)], steps), [normal(seed, 5)]
    return [torch.stack([w for (w,) in drive(rule, slope.tensors, start, steps)]) for rule in rules]


def torch_path(seed: str, cls: str, steps: int = 500, dtype: torch.dtype = F64, **given: Any) -> Tensor:
    """The same for an optimizer of torch."""
    slope, made = Noisy.of(seed, [(5,)], steps), getattr(torch.optim, cls)
    parameter = normal(seed, 5, dtype=dtype).requires_grad_()
    optimizer = made([parameter], **given)
    path = [parameter.detach().clone()]
    for t in range(1, steps + 1):
        parameter.grad = slope.tensors(t, [path[-1]])[0]
        optimizer.step()
        path.append(parameter.detach().clone())
    return torch.stack(path)


def apart(x: Tensor, y: Tensor) -> float:
    """The largest difference relative to the largest weight so far."""
    return float(((x - y).abs() / y.abs().cummax(0).values).max())


def test_o12_adagrad_steps_shrink_as_one_over_root_t() -> None:
    """O12: epsilon inside, constant g: step t = eta / sqrt(t) within 1e-6."""
    steps = -updates(AdagradInside(lr=1.0), 1.0, 500)
    torch.testing.assert_close(steps, torch.arange(1, 501, dtype=F64) ** -0.5, rtol=0, atol=1e-6)


def test_o13_epsilon_inside_or_outside_is_four_digits_of_the_first_step() -> None:
    """O13: g = epsilon = 1e-8: inside 1e-4 eta, outside 0.5 eta; torch's is outside."""
    assert -float(updates(AdagradInside(lr=1.0, eps=1e-8), 1e-8, 1)) == pytest.approx(1e-4, rel=1e-6)
    assert -float(updates(Adagrad(lr=1.0, eps=1e-8), 1e-8, 1)) == pytest.approx(0.5, rel=1e-12)
    parameter = torch.zeros((), dtype=F64, requires_grad=True)
    parameter.grad = torch.tensor(1e-8, dtype=F64)
    torch.optim.Adagrad([parameter], lr=1.0, eps=1e-8).step()
    assert -float(parameter.detach()) == pytest.approx(0.5, rel=1e-12)


def test_o14_rmsprop_with_epsilon_inside_tends_to_a_step_of_eta() -> None:
    """O14: constant g: step -> eta; equals TensorFlow's formula; S0's lagged form differs at step 1."""
    assert -float(updates(RMSpropInside(lr=0.01), 1.0, 3000)[-1]) == pytest.approx(0.01, rel=1e-6)
    (path,) = noisy_paths("o14", RMSpropInside(lr=0.01, alpha=0.9, eps=1e-7), steps=50)
    slope, w, mean_square = Noisy.of("o14", [(5,)], 50), normal("o14", 5).numpy(), np.zeros(5)
    for t in range(1, 51):  # TensorFlow: ms <- rho ms + (1 - rho) g^2; w <- w - lr g / sqrt(ms + epsilon)
        g = slope.noise[t - 1][0] + 0.1 * w
        mean_square = 0.9 * mean_square + (1 - 0.9) * g**2
        w = w - 0.01 * g / np.sqrt(mean_square + 1e-7)
    np.testing.assert_allclose(path[-1].numpy(), w, rtol=1e-12)
    first, lagged = (-float(updates(rule(lr=1.0, eps=1e-7), 1.0, 1)) for rule in (RMSpropInside, RMSpropLagged))
    assert first == pytest.approx(10.0, rel=1e-5) and lagged == pytest.approx(1e-7**-0.5, rel=1e-12)


def test_o15_rmsprop_with_epsilon_outside_is_that_of_torch() -> None:
    """O15: alpha = .9, as torch.optim.RMSprop(alpha=.9)."""
    (path,) = noisy_paths("o15", RMSprop(lr=0.01, alpha=0.9))
    assert apart(path, torch_path("o15", "RMSprop", lr=0.01, alpha=0.9)) <= 1e-10


def test_o16_epsilon_twice_is_epsilon_inside_doubled() -> None:
    """O16: RMS = E[g^2] + epsilon under sqrt(RMS + epsilon) is the inside form with 2 epsilon."""
    twice, doubled = noisy_paths("o16", RMSpropTwice(eps=1e-3), RMSpropInside(eps=2e-3))
    assert apart(twice, doubled) <= 1e-12


def test_o17_rmsprop_with_momentum_is_torch_up_to_the_place_of_epsilon() -> None:
    """O17: S4's form is torch's momentum= where epsilon does not count; Nesterov's (S1) is a form of its own."""
    rules = RMSpropMomentum(), RMSpropMomentumInside(eps=0.0), RMSpropMomentumInside(eps=1e-7), RMSpropNesterov()
    outside, inside, printed, nesterov = noisy_paths("o17", *rules)
    want = torch_path("o17", "RMSprop", lr=0.01, momentum=0.9, eps=1e-8)
    assert apart(outside, want) <= 1e-10
    assert apart(inside, torch_path("o17", "RMSprop", lr=0.01, momentum=0.9, eps=0.0)) <= 1e-10
    assert 1e-10 < apart(printed, want) < 1e-3
    assert apart(nesterov, want) > 1e-2


def test_o18_adadelta_is_that_of_torch_and_ignores_the_scale_of_the_loss() -> None:
    """O18: = torch Adadelta(lr=1); a loss in other units gives the same path, while SGD's grows with it."""
    (path,) = noisy_paths("o18", Adadelta())
    assert apart(path, torch_path("o18", "Adadelta", lr=1.0)) <= 1e-10

    def scaled(rule: Rule, factor: float) -> Tensor:
        return descend(rule, lambda w: factor * (w + 1), torch.ones(3, dtype=F64), 300)

    assert apart(scaled(Adadelta(), 1e3), scaled(Adadelta(), 1.0)) < 1e-4
    assert apart(scaled(SGD(1e-3), 1e3), scaled(SGD(1e-3), 1.0)) > 0.1


def test_o19_without_bias_correction_the_first_step_is_three_times_too_long() -> None:
    """O19: (1 - beta1) / sqrt(1 - beta2) = 3.1623 eta against 1.0 eta corrected."""
    assert f"{-float(updates(AdamUncorrected(lr=1.0), 1.0, 1)):.4f}" == "3.1623"
    assert f"{-float(updates(Adam(lr=1.0), 1.0, 1)):.4f}" == "1.0000"


def test_o20_adam_is_within_4_ulp_a_step_of_the_float64_equation() -> None:
    """O20: float32 against float64 from the same state, an ulp being 2^-23 of the update's size.

    Gradients of one sign: where m cancels, its rounding is any number of ulps of what is left.
    """
    slope, weights = Noisy.of("o20", [(20_000,)], 40), [torch.zeros(20_000)]
    states = starts(rule := Adam(), weights)
    for t in range(1, 41):
        g = slope.tensors(t, weights)[0].abs()
        exact, _ = rule.update(g.double(), {k: x.double() for k, x in states[0].items()}, weights[0].double(), t)
        (u,), states = step(rule, constant(g), weights, states, t)
        assert float(((u.double() - exact).abs() / exact.abs()).max()) <= 4 * 2.0**-23


def test_o20_adam_in_float32_stays_with_torch_for_1000_steps() -> None:
    """O20: torch.optim.Adam within 1e-6 relative over 1000 steps."""
    slope = Noisy.of("o20", [(5,)], 1000)
    path = torch.stack([w for (w,) in drive(Adam(), slope.tensors, [normal("o20", 5, dtype=torch.float32)], 1000)])
    assert apart(path, torch_path("o20", "Adam", 1000, torch.float32, lr=1e-3)) <= 1e-6


def test_o20_the_first_step_of_adam_is_eta_in_the_sign_of_the_gradient() -> None:
    """O20: first step eta sign g."""
    for g in (1e-3, -1e-3, 40.0, -40.0):
        assert float(updates(Adam(lr=0.1), g, 1)) == pytest.approx(-0.1 * np.sign(g), rel=1e-4)


def test_o21_s3_prints_adam_with_the_betas_swapped() -> None:
    """O21: v with beta, mu with beta_2: equals S4 without correction after renaming."""
    (path,) = noisy_paths("o21", AdamUncorrectedInside(lr=0.01, beta1=0.8, beta2=0.95, eps=1e-4), steps=50)
    slope, x, v, mu = Noisy.of("o21", [(5,)], 50), normal("o21", 5).numpy(), np.zeros(5), np.zeros(5)
    beta, beta_2 = 0.95, 0.8
    for t in range(1, 51):
        g = slope.noise[t - 1][0] + 0.1 * x
        v = beta * v + (1 - beta) * g**2
        mu = beta_2 * mu + (1 - beta_2) * g
        x = x - 0.01 * mu / np.sqrt(v + 1e-4)
    np.testing.assert_allclose(path[-1].numpy(), x, rtol=1e-12)


def test_o22_adam_of_g_squared_cannot_follow_a_negative_gradient() -> None:
    """O22: S4's v = beta1 v + (1 - beta1) g (.) g walks down whatever the slope: uphill where g < 0."""
    printed, right = updates(AdamPrinted(), -1.0, 100), updates(AdamInside(), -1.0, 100)
    assert bool((printed < 0).all()) and bool((right > 0).all())
    torch.testing.assert_close(updates(AdamPrinted(), 1.0, 100), printed)


@pytest.mark.parametrize(
    ("rule", "cls"), [(Adamax(), "Adamax"), (NAdam(), "NAdam"), (AdamW(), "AdamW")], ids=lambda x: str(x)[:6]
)
def test_o23_adamax_nadam_and_adamw_are_those_of_torch(rule: Rule, cls: str) -> None:
    """O23: within 1e-7 of torch at torch's defaults."""
    (path,) = noisy_paths("o23", rule)
    assert apart(path, torch_path("o23", cls)) <= 1e-7


def test_o23_adamw_is_not_adam_with_an_l2_penalty() -> None:
    """O23: AdamW decays every weight alike; through the gradient, a weight of large gradients hardly decays."""
    sizes = torch.tensor([1.0, 100.0], dtype=F64)  # alternating in sign, so that they move the weights nowhere

    def left(rule: Rule) -> Tensor:
        return drive(rule, lambda t, _: [(-1.0) ** t * sizes], [torch.ones(2, dtype=F64)], 1000)[-1][0]

    alike, unlike = left(AdamW(weight_decay=0.1)), left(CoupledDecay(Adam(), 0.1))
    torch.testing.assert_close(alike, torch.full((2,), (1 - 1e-4) ** 1000, dtype=F64), rtol=0.01, atol=0)
    lost = 1 - unlike
    assert float(lost[1]) < 0.1 * float(lost[0])
