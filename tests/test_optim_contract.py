"""What PyTorch code expects of an optimizer, asked of every rule's optimizer by discovery."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

import ravine.optim
from ravine.engines import eager
from ravine.optim import FromRule, RuleOptimizer
from ravine.optim.stepper import ENGINES
from ravine.rules.combine import ClipGlobalNorm, CoupledDecay
from ravine.rules.rule import catalogue, slots_of
from ravine.schedules import Cosine

RULES = list(catalogue())
TORCH = [name for name in ravine.optim.__all__ if hasattr(torch.optim, name)]


def drive(optimizer: RuleOptimizer, steps: int = 5, seed: int = 0) -> None:
    """Steps with random gradients, through a closure so that look-ahead rules run as well."""
    generator = torch.Generator().manual_seed(seed)

    def closure() -> float:
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.requires_grad:
                    p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
        return 0.0

    for _ in range(steps):
        optimizer.step(closure)


def weights(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(7)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


def flat(params: list[nn.Parameter]) -> Tensor:
    return torch.cat([p.detach().flatten() for p in params])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rule", RULES)
def test_an_optimizer_takes_the_rule_s_own_steps(rule: str, engine: Any) -> None:
    kind = catalogue()[rule]
    ours, alone = weights((3, 2), (4,)), weights((3, 2), (4,))
    optimizer = ravine.optim.of(kind)(ours, engine=engine)
    drive(optimizer, 6)
    generator = torch.Generator().manual_seed(0)
    states = [eager.init_state(kind(), w) for w in alone]
    for t in range(1, 7):
        for w, state in zip(alone, states, strict=True):
            eager.apply(kind(), w, torch.randn(w.shape, generator=generator), state, t, {})
    torch.testing.assert_close(flat(ours), flat(alone), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rule", RULES)
def test_half_precision_weights_have_float32_state(rule: str, dtype: torch.dtype) -> None:
    params = weights((3, 2), dtype=dtype)
    optimizer = ravine.optim.of(rule)(params)
    drive(optimizer, 3)
    state = optimizer.state[params[0]]
    assert {state[slot].dtype for slot in slots_of(optimizer.rules()[0])} <= {torch.float32}
    assert params[0].dtype == dtype and params[0].isfinite().all()


@pytest.mark.parametrize("rule", RULES)
def test_empty_frozen_and_late_parameters_leave_the_others_alone(rule: str) -> None:
    alone, among = weights((3,)), weights((0, 2), (3,), (2,), (0,))
    with torch.no_grad():
        among[1].copy_(alone[0])
    among[2].requires_grad_(False)
    frozen = among[2].detach().clone()
    first, second = ravine.optim.of(rule)(alone), ravine.optim.of(rule)(among)
    drive(first, 4)
    drive(second, 4)
    assert torch.equal(alone[0], among[1]) and torch.equal(among[2], frozen)
    among[2].requires_grad_(True)
    drive(second, 1)
    assert second.state[among[2]]["step"] == 1 and second.state[among[1]]["step"] == 5


@pytest.mark.parametrize("rule", RULES)
def test_deepcopy_goes_on_alike_and_shares_nothing(rule: str) -> None:
    params = weights((3, 2))
    optimizer = ravine.optim.of(rule)(params)
    drive(optimizer, 3)
    copied_params, copied = copy.deepcopy((params, optimizer))
    before = flat(params)
    drive(copied, 3, seed=5)
    assert torch.equal(flat(params), before)
    drive(optimizer, 3, seed=5)
    assert torch.equal(flat(params), flat(copied_params))


def test_a_closure_runs_with_gradients_and_its_loss_comes_back() -> None:
    w = nn.Parameter(torch.tensor([3.0]))
    optimizer = ravine.optim.SGD([w], lr=0.1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert float(optimizer.step(closure)) == 9.0
    assert w.item() == pytest.approx(3.0 - 0.6)


def test_look_ahead_takes_the_gradient_ahead_and_puts_the_weights_back() -> None:
    w = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = ravine.optim.of("nesterov/look-ahead")([w], lr=0.1, momentum=0.5)
    seen: list[float] = []

    def closure() -> float:
        seen.append(w.item())
        w.grad = 2 * w.detach()
        return 0.0

    value, v, ahead = 2.0, 0.0, []
    for _ in range(4):
        optimizer.step(closure)
        ahead.append(value - 0.5 * v)
        v = 0.5 * v + 0.1 * 2 * ahead[-1]
        value -= v
    assert seen == pytest.approx(ahead) and w.item() == pytest.approx(value)


def test_look_ahead_puts_the_weights_back_when_the_closure_fails() -> None:
    w = nn.Parameter(torch.tensor([2.0]))
    optimizer = ravine.optim.of("nesterov/look-ahead")([w])
    drive(optimizer, 2)
    before = w.item()

    def closure() -> float:
        raise KeyError("data")

    with pytest.raises(KeyError):
        optimizer.step(closure)
    assert w.item() == before


def test_hooks_run_around_the_step_and_around_checkpoints() -> None:
    params, calls = weights((2,)), list[str]()
    optimizer = ravine.optim.Adam(params)
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    optimizer.register_state_dict_pre_hook(lambda _: calls.append("save"))
    optimizer.register_state_dict_post_hook(lambda _, saved: {**saved, "note": 1})
    optimizer.register_load_state_dict_pre_hook(lambda _, given: calls.append(f"note {given.pop('note')}"))
    optimizer.register_load_state_dict_post_hook(lambda _: calls.append("loaded"))
    drive(optimizer, 1)
    optimizer.load_state_dict(optimizer.state_dict())
    assert calls == ["before", "after", "save", "note 1", "loaded"]


@pytest.mark.parametrize("to_none", [True, False])
def test_zero_grad(to_none: bool) -> None:
    params = weights((2,))
    optimizer = ravine.optim.NAdam(params)
    drive(optimizer, 1)
    optimizer.zero_grad(set_to_none=to_none)
    grad = params[0].grad
    assert grad is None if to_none else grad is not None and not grad.any()


def test_accumulated_gradients_are_one_step() -> None:
    once, twice = weights((3,)), weights((3,))
    for params, parts in ((once, 1), (twice, 2)):
        optimizer = ravine.optim.Adam(params)
        for _ in range(parts):
            (params[0].square().sum() / parts).backward()
        optimizer.step()
    assert torch.equal(flat(once), flat(twice))


def test_tied_parameters_move_once() -> None:
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    optimizer = ravine.optim.SGD(model.parameters(), lr=0.1)
    before = first.weight.detach().clone()
    model(torch.ones(1, 3)).sum().backward()
    grad = first.weight.grad
    assert grad is not None
    optimizer.step()
    torch.testing.assert_close(first.weight.detach(), before - 0.1 * grad)


@pytest.mark.parametrize("engine", ENGINES)
def test_autograd_knows_that_a_step_has_changed_the_weights(engine: Any) -> None:
    w = nn.Parameter(torch.ones(3))
    optimizer = ravine.optim.SGD([w], lr=0.1, engine=engine)
    loss = (w * w).sum()
    w.grad = torch.ones(3)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_auto_steps_without_a_compiler_after_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise ImportError("No module named 'numba'")

    ours, same = weights((3,)), weights((3,))
    drive(ravine.optim.NAdam(same, engine="eager"), 5)
    monkeypatch.setattr("ravine.engines.launch.kernel", missing)
    optimizer = ravine.optim.NAdam(ours)
    with pytest.warns(RuntimeWarning, match="kernels need Numba") as seen:
        drive(optimizer, 5)
    assert len(seen) == 1 and torch.equal(flat(ours), flat(same))


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "gaps"])
@pytest.mark.parametrize("engine", ["auto", "eager"])
def test_weights_in_any_order_of_memory(engine: Any, layout: str) -> None:
    def laid(x: Tensor) -> Tensor:
        if layout == "channels_last":
            return x.contiguous(memory_format=torch.channels_last)
        return (
            x.transpose(0, 1).contiguous().transpose(0, 1) if layout == "transposed" else x.repeat(1, 1, 1, 2)[..., :3]
        )

    (plain,) = weights((2, 4, 5, 3))
    odd = nn.Parameter(laid(plain.detach().clone()))
    straight, other = (ravine.optim.NAdam([p], engine=engine) for p in (plain, odd))
    generator = torch.Generator().manual_seed(0)
    for step in range(6):
        g = torch.randn(plain.shape, generator=generator)
        plain.grad, odd.grad = g, g if step % 2 else laid(g)
        straight.step()
        other.step()
        other.load_state_dict(other.state_dict())
    torch.testing.assert_close(plain, odd, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(straight.state[plain]["m"], other.state[odd]["m"], rtol=1e-6, atol=1e-7)


def test_a_model_that_changes_its_memory_format_keeps_its_state() -> None:
    convolution = nn.Conv2d(3, 4, 3)
    twin = copy.deepcopy(convolution)
    first, second = (ravine.optim.Adam(m.parameters()) for m in (convolution, twin))
    drive(first, 2)
    drive(second, 2)
    twin.weight.data = twin.weight.data.contiguous(memory_format=torch.channels_last)  # as model.to(...) does
    drive(first, 2, seed=1)
    drive(second, 2, seed=1)
    torch.testing.assert_close(convolution.weight, twin.weight, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", TORCH)
def test_a_moved_model_takes_its_state_along(name: str) -> None:
    model = nn.Linear(3, 2)
    optimizer = getattr(ravine.optim, name)(model.parameters())
    drive(optimizer, 2)
    model.to(torch.float64)
    drive(optimizer, 2)
    slots = [v for v in optimizer.state[model.weight].values() if isinstance(v, Tensor)]
    assert {slot.dtype for slot in slots} <= {torch.float64}


@pytest.mark.parametrize("name", TORCH)
def test_meta_parameters_step_without_numbers(name: str) -> None:
    w = nn.Parameter(torch.empty(3, device="meta"))
    w.grad = torch.empty(3, device="meta")
    optimizer = getattr(ravine.optim, name)([w])
    optimizer.step()
    assert all(v.is_meta for v in optimizer.state[w].values() if isinstance(v, Tensor))


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


@pytest.mark.parametrize("engine", ENGINES)
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
