"""What PyTorch code expects of an optimizer, asked of every rule's optimizer by discovery."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ravine.optim
from ravine.engines import eager
from ravine.errors import UserError
from ravine.rules.rule import catalogue, slots_of
from tests.optimizing import LIGHT, drive, flat, weights

RULES = list(catalogue())
TORCH = [name for name in ravine.optim.__all__ if hasattr(torch.optim, name)]


@pytest.mark.parametrize("engine", LIGHT)
@pytest.mark.parametrize("rule", RULES)
def test_an_optimizer_takes_the_rule_s_own_steps(rule: str, engine: Any) -> None:
    kind = catalogue()[rule]
    ours, alone = weights((3, 2), (4,), (3, 2)), weights((3, 2), (4,), (3, 2))
    optimizer = ravine.optim.of(kind)(ours, engine=engine)
    if engine == "kernel" and kind.scope == "tensor":
        with pytest.raises(UserError, match="whole tensors"):
            drive(optimizer, 1)
        return
    drive(optimizer, 6)
    generator = torch.Generator().manual_seed(0)
    states = [eager.init_state(kind(), w) for w in alone]
    for t in range(1, 7):
        gradients = [torch.randn(w.shape, generator=generator) for w in alone]
        told = [eager.totals(kind(), *each, t, {}) for each in zip(alone, gradients, states, strict=True)]
        sums = {name: sum(own[name] for own in told) for name in kind.sums}
        for w, g, state in zip(alone, gradients, states, strict=True):
            eager.apply(kind(), w, g, state, t, sums)
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


@pytest.mark.parametrize("engine", LIGHT)
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
