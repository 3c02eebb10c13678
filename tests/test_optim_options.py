"""What groups, schedulers, clips and decay do to a step, and what other libraries wrap around it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

import ravine.optim
from ravine.optim import FromRule
from ravine.rules.combine import ClipGlobalNorm, CoupledDecay
from ravine.rules.rule import catalogue
from ravine.schedules import Cosine
from tests.optimizing import LIGHT, drive, flat, weights

RULES = list(catalogue())
TORCH = [name for name in ravine.optim.__all__ if hasattr(torch.optim, name)]


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, 3),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [2, 5]),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, 0.5, 3),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, 0.1, 1.0, 4),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 8, 2.0),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 5),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 / (t + 1)),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=12),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 3),
}


@pytest.mark.parametrize("name", ["SGD", "Adam", "NAdam"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_torch_schedulers_write_lr_momentum_and_betas(scheduler: str, name: str) -> None:
    ends: list[Tensor] = []
    for home in (ravine.optim, torch.optim):
        params = weights((4,), dtype=torch.float64)
        optimizer = getattr(home, name)(params, lr=0.05, **({"momentum": 0.9} if name == "SGD" else {}))
        schedule = SCHEDULERS[scheduler](optimizer)
        for _ in range(10):
            drive(optimizer, 1)
            schedule.step()
        ends.append(flat(params))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-6, atol=1e-8)


def test_reduce_on_plateau() -> None:
    optimizer = ravine.optim.SGD(weights((2,)), lr=1.0)
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    for _ in range(4):
        drive(optimizer, 1)
        schedule.step(1.0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_our_schedules_scale_any_hyperparameter_of_a_group() -> None:
    ours, plain, other = weights((2,)), weights((2,)), weights((2,))
    cosine = Cosine(10)
    schedules = {"lr": cosine, "momentum": lambda t: 0.5}
    groups = [{"params": ours, "schedules": schedules}, {"params": other}]
    optimizer = ravine.optim.SGD(groups, lr=0.3, momentum=0.8)
    by_hand = ravine.optim.SGD(plain, lr=0.3, momentum=0.4)
    for t in range(5):
        by_hand.param_groups[0]["lr"] = 0.3 * cosine(t)
        drive(optimizer, 1, seed=t)
        drive(by_hand, 1, seed=t)
    assert torch.equal(ours[0], plain[0]) and not torch.equal(other[0], ours[0])


def test_every_option_and_dialect_may_differ_by_group() -> None:
    params = weights((2,), (2,), (2,))
    one = ravine.optim.Adam([params[0]], lr=0.1, betas=(0.5, 0.9), dialect="eps-inside", eps=1e-3)
    two = ravine.optim.Adam([params[1]], weight_decay=0.1, amsgrad=True)
    three = ravine.optim.Adam([params[2]], decay="decoupled", weight_decay=0.3)
    together = weights((2,), (2,), (2,))
    grouped = ravine.optim.Adam(
        [
            {"params": [together[0]], "lr": 0.1, "betas": (0.5, 0.9), "dialect": "eps-inside", "eps": 1e-3},
            {"params": [together[1]], "weight_decay": 0.1, "amsgrad": True},
            {"params": [together[2]], "decay": "decoupled", "weight_decay": 0.3},
        ]
    )
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        for p, q in zip(params, together, strict=True):
            p.grad = q.grad = torch.randn(2, generator=generator)
        for optimizer in (one, two, three, grouped):
            optimizer.step()
    assert torch.equal(flat(params), flat(together))


@pytest.mark.parametrize("engine", LIGHT)
def test_clipping_is_torch_s(engine: Any) -> None:
    clips: dict[str, Callable[[list[nn.Parameter]], Any]] = {
        "clip_value": lambda ps: nn.utils.clip_grad_value_(ps, 0.5),
        "clip_norm": lambda ps: [nn.utils.clip_grad_norm_([p], 0.5) for p in ps],
        "clip_global_norm": lambda ps: nn.utils.clip_grad_norm_(ps, 0.5),
    }
    for clip, cut in clips.items():
        ours, theirs = weights((3,), (2, 2)), weights((3,), (2, 2))
        limit: Any = {clip: 0.5}
        mine = ravine.optim.Adam([{"params": [p]} for p in ours], weight_decay=0.1, engine=engine, **limit)
        other = torch.optim.Adam(theirs, weight_decay=0.1)
        generator = torch.Generator().manual_seed(2)
        for _ in range(5):
            for p, q in zip(ours, theirs, strict=True):
                p.grad = torch.randn(p.shape, generator=generator)
                q.grad = p.grad.clone()
            mine.step()
            cut(theirs)
            other.step()
        torch.testing.assert_close(flat(ours), flat(theirs), rtol=2e-6, atol=1e-6)


DECAY = {"coupled": 0.98, "coupled-full": 0.96, "decoupled": 0.98, "independent": 0.8}


@pytest.mark.parametrize("decay", DECAY)
def test_each_decay_shrinks_by_its_own_factor(decay: Any) -> None:
    w = nn.Parameter(torch.ones(1))
    w.grad = torch.zeros(1)
    ravine.optim.SGD([w], lr=0.1, weight_decay=0.2, decay=decay).step()
    assert w.item() == pytest.approx(DECAY[decay])


def test_from_rule_takes_a_composed_rule() -> None:
    rule = ClipGlobalNorm(CoupledDecay(ravine.optim.of("adam")([nn.Parameter(torch.ones(1))]).rules()[0], 0.1), 0.5)
    ours, same = weights((3,)), weights((3,))
    composed = FromRule(ours, rule)
    named = ravine.optim.Adam(same, weight_decay=0.1, clip_global_norm=0.5)
    drive(composed, 5)
    drive(named, 5)
    assert torch.equal(flat(ours), flat(same))
    composed.param_groups[0]["lr"] = 0.0
    before = flat(ours)
    drive(composed, 1)
    assert torch.equal(flat(ours), before)


def test_differentiable_steps_carry_gradients_to_the_start() -> None:
    def end(x: Tensor) -> Tensor:
        w = x.clone()
        optimizer = ravine.optim.Adam([w], differentiable=True)
        for _ in range(3):
            w.grad = w.clone().square()  # its graph keeps the clone, which the step does not overwrite
            optimizer.step()
        return w

    x = torch.tensor([0.5, -2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(end, (x,))


def test_grad_scaler_scales_back_and_skips_infinite_steps() -> None:
    w = nn.Parameter(torch.tensor([1.0]))
    optimizer = ravine.optim.SGD([w], lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(w.sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert w.item() == pytest.approx(0.9)
    w.grad = torch.tensor([float("inf")])
    scaler.scale(torch.zeros(1))
    scaler.step(optimizer)
    assert w.item() == pytest.approx(0.9)


def test_add_param_group_late_by_name() -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 1)})
    optimizer = ravine.optim.AdamW(model["a"].named_parameters(prefix="a"))
    optimizer.add_param_group({"params": model["b"].named_parameters(prefix="b"), "lr": 1e-4})
    assert optimizer.param_groups[1]["param_names"] == ["b.weight", "b.bias"]
    assert optimizer.param_groups[1]["lr"] == 1e-4


def test_every_rule_is_an_optimizer_by_its_class_name() -> None:
    for kind in catalogue().values():
        made = getattr(ravine.optim, kind.__name__)
        assert issubclass(made, torch.optim.Optimizer) and kind.__name__ in dir(ravine.optim)
        assert "lr" in inspect.signature(made).parameters
    with pytest.raises(AttributeError, match="did you mean 'HeavyBall'"):
        getattr(ravine.optim, "Hevy" + "Ball")
