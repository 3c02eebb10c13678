"""A step that repeats the last one's plan is the step that it would be without, whatever changes in between."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ravine.optim
from ravine.optim import NonFiniteGradient, RuleOptimizer
from tests.optimizing import flat, weights

Change = Callable[[int, RuleOptimizer, list[nn.Parameter]], Any]
NAMES = ["SGD", "AdamW", "NAdam", "Adagrad"]


def slots(optimizer: RuleOptimizer, p: nn.Parameter) -> list[str]:
    return [name for name, value in optimizer.state[p].items() if isinstance(value, Tensor)]


def late(_: int, optimizer: RuleOptimizer, ps: list[nn.Parameter]) -> None:
    ps.append(nn.Parameter(torch.ones(2)))
    ps[-1].grad = torch.ones(2)
    optimizer.add_param_group({"params": ps[-1:], "lr": 0.3})


def replace_slots(_: int, optimizer: RuleOptimizer, ps: list[nn.Parameter]) -> None:
    optimizer.state[ps[0]].update({name: 2 * optimizer.state[ps[0]][name] for name in slots(optimizer, ps[0])})


def scale_slots(_: int, optimizer: RuleOptimizer, ps: list[nn.Parameter]) -> None:
    for p in ps:
        for name in slots(optimizer, p):
            optimizer.state[p][name].mul_(0.5)


def to_double(_: int, optimizer: RuleOptimizer, ps: list[nn.Parameter]) -> None:
    grad = ps[1].grad
    assert grad is not None
    ps[1].data, ps[1].grad = ps[1].data.double(), None
    ps[1].grad = grad.double()


def fill(p: nn.Parameter, number: float) -> None:
    assert p.grad is not None
    p.grad.view(-1)[0] = number


def sparse(p: nn.Parameter) -> None:
    assert p.grad is not None
    p.grad = p.grad.to_sparse()


def transpose(p: nn.Parameter) -> None:
    assert p.grad is not None
    p.grad = p.grad.t()


AT_ONCE: dict[str, Change] = {  # made before step 5
    "the data elsewhere": lambda t, o, ps: setattr(ps[0], "data", 0.5 * ps[0].data),
    "the data transposed": lambda t, o, ps: setattr(ps[2], "data", ps[2].data.t()),
    "another type": to_double,
    "no gradient": lambda t, o, ps: setattr(ps[1], "grad", None),
    "another time": lambda t, o, ps: o.state[ps[0]].update(step=50),
    "other slots": replace_slots,
    "slots changed in place": scale_slots,
    "no state": lambda t, o, ps: o.state.clear(),
    "no state of one": lambda t, o, ps: o.state.pop(ps[1]),
    "NaN": lambda t, o, ps: fill(ps[1], float("nan")),
    "Inf": lambda t, o, ps: fill(ps[0], float("inf")),
    "large": lambda t, o, ps: fill(ps[0], 1e30),
    "uphill": lambda t, o, ps: o.param_groups[0].update(maximize=True),
    "decay": lambda t, o, ps: o.param_groups[0].update(weight_decay=0.1),
    "schedules": lambda t, o, ps: o.param_groups[0].update(schedules={"lr": lambda time: 0.9**time}),
    "a late group": late,
    "a sparse gradient": lambda t, o, ps: sparse(ps[2]),
    "a load": lambda t, o, ps: o.load_state_dict(copy.deepcopy(o.state_dict())),
}
EVERY_TIME: dict[str, Change] = {
    "a scheduler": lambda t, o, ps: o.param_groups[0].update(lr=0.05 / (t + 1)),
    "a tensor in place": lambda t, o, ps: (
        o.param_groups[0]["lr"].mul_(0.8) if t else o.param_groups[0].update(lr=torch.tensor(0.05))
    ),
    "gradients now and then": lambda t, o, ps: setattr(ps[1], "grad", None) if t % 3 == 1 else None,
    "gradients that are views": lambda t, o, ps: transpose(ps[2]),
}
CHANGES: dict[str, Change] = {
    **{name: (lambda t, o, ps, now=change: now(t, o, ps) if t == 5 else None) for name, change in AT_ONCE.items()},
    **EVERY_TIME,
}


def walk(name: str, engine: Any, change: Change) -> Tensor | str:
    """The weights after 12 steps, or the sentence that ended them."""
    ps = weights((4, 5), (5,), (3, 3))
    optimizer: RuleOptimizer = getattr(ravine.optim, name)(ps, lr=0.05, engine=engine, nonfinite="skip")
    generator = torch.Generator().manual_seed(1)
    for t in range(12):
        for p in ps:
            p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
        change(t, optimizer, ps)
        try:
            optimizer.step()
        except ravine.UserError as error:
            return str(error)
    return torch.cat([p.detach().double().flatten() for p in ps])


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", NAMES)
def test_a_change_between_steps_acts_at_once(name: str, change: str) -> None:
    planned, plain = (walk(name, engine, CHANGES[change]) for engine in ("auto", "eager"))
    if isinstance(plain, str):
        assert planned == plain
    else:
        torch.testing.assert_close(planned, plain, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.5}, {"clip_global_norm": 0.5}], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_a_repeated_step_with_nan_changes_nothing_and_names_the_parameter(name: str, clip: dict[str, float]) -> None:
    ps = weights((4, 5), (5,))
    optimizer = getattr(ravine.optim, name)([("first", ps[0]), ("second", ps[1])], **clip)
    for _ in range(3):
        for p in ps:
            p.grad = torch.ones_like(p)
        optimizer.step()
    before, state = flat(ps), str(optimizer.state_dict())
    fill(ps[1], float("nan"))
    for _ in range(2):
        with pytest.raises(NonFiniteGradient, match="'second'"):
            optimizer.step()
    assert torch.equal(flat(ps), before) and str(optimizer.state_dict()) == state


def test_hooks_that_come_later_run_around_repeated_steps() -> None:
    ps, calls = weights((3,)), list[str]()
    optimizer = ravine.optim.Adam(ps)
    ps[0].grad = torch.ones(3)
    optimizer.step()
    optimizer.step()
    handle = optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    optimizer.step()
    handle.remove()
    optimizer.step()
    assert calls == ["after"] and optimizer.state[ps[0]]["step"] == 4


def test_a_step_is_in_a_profile() -> None:
    ps = weights((3,))
    optimizer = ravine.optim.Adam(ps)
    ps[0].grad = torch.ones(3)
    optimizer.step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        optimizer.step()
    assert any(event.key == "Optimizer.step#Adam.step" for event in profile.key_averages())
