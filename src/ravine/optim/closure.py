"""Where a closure is called: at the weights, where look-ahead rules look, and again for rules that climb or measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from ravine.engines import eager
from ravine.engines.curvature import estimate, signs
from ravine.errors import UserError
from ravine.optim.groups import Group
from ravine.optim.made import Made, time_of
from ravine.rules.rule import Rule
from ravine.rules.sharpness import ascent_of, footing
from ravine.rules.sophia import curved
from ravine.types import State

Measured: TypeAlias = Mapping[Tensor, Tensor]  # the curvature of each parameter that measured it at this step


@dataclass(slots=True)
class Looking:
    """A parameter whose rule chooses where its gradient is taken, or wants two, and a copy of its state."""

    rule: Rule
    p: Tensor
    state: State
    t: int
    place: int  # among all parameters
    is_rising: bool


def looking(groups: Sequence[Group], made: Sequence[Made], state: Mapping[Tensor, State]) -> list[Looking]:
    """The parameters of all groups whose rules want more than a gradient at the weights."""
    found: list[Looking] = []
    place = -1
    for group, each in zip(groups, made, strict=True):
        for p in group["params"]:
            place += 1
            if each.ahead and p.requires_grad:
                known = dict(state[p]) if state.get(p) else eager.init_state(each.rule, p, each.kept)
                t = time_of(state.get(p), each.slots)
                found.append(Looking(each.rule, p, known, t, place, bool(group.get("maximize"))))
    return found


def evaluate(
    closure: Callable[[], Any], moving: Sequence[Looking], every: Sequence[Tensor], seed: int
) -> tuple[Any, Measured]:
    """The closure's loss, at its first call, and the curvature; the gradients that it leaves are those of the rules.

    ``every`` are the optimizer's parameters, whose gradients a measurement leaves as they were.
    """
    ahead = [(each.rule, each.p, each.state) for each in moving]
    with torch.enable_grad(), eager.looking_ahead([(footing(rule), p, state) for rule, p, state in ahead]):
        loss = closure()
    if any(ascent_of(rule) for rule, _, _ in ahead):
        eager.climbing(ahead, [_falling(each) for each in moving])
        with torch.enable_grad(), eager.looking_ahead(ahead):
            closure()
    due = [each for each in moving if (part := curved(each.rule)) is not None and part.due(each.t)]
    return loss, _measured(closure, moving, due, every, seed) if due else {}


def _measured(
    closure: Callable[[], Any], moving: Sequence[Looking], due: Sequence[Looking], every: Sequence[Tensor], seed: int
) -> Measured:
    """The curvature of those that are due, from one more gradient with all of them displaced."""
    kept = [(p, p.grad, None if p.grad is None else p.grad.clone()) for p in every]
    near, steps = [_dense(each) for each in due], [_offset(each, seed) for each in due]
    with torch.enable_grad(), eager.looking_ahead([(each.rule, each.p, each.state) for each in moving]):
        with torch.no_grad():
            for each, step in zip(due, steps, strict=True):
                eager.as_real(each.p).add_(step)
        closure()
    both = zip(due, near, [_dense(each) for each in due], steps, strict=True)
    found = {each.p: estimate(a, b, step) for each, a, b, step in both}
    for p, grad, copy in kept:
        if grad is not None and p.grad is grad:
            grad.copy_(cast(Tensor, copy))
        else:
            p.grad = copy
    return found


def _offset(each: Looking, seed: int) -> Tensor:
    real, part = eager.as_real(each.p.detach()), curved(each.rule)
    if hasattr(each.p, "full_tensor"):
        raise UserError(f"{type(part).__name__} does not measure the curvature of sharded parameters: use another rule")
    assert part is not None
    return part.radius * signs(seed, each.t, each.place, real.to(eager.wide(real.dtype)))


def _dense(each: Looking) -> Tensor:
    """The parameter's gradient of descent as plain real numbers, of its own memory; zeros where it has none."""
    g, real = _falling(each), eager.as_real(each.p.detach())
    if g is None:
        return torch.zeros_like(real, dtype=eager.wide(real.dtype))
    return eager.as_real(g.detach().to_dense()).to(eager.wide(real.dtype), copy=True)


def _falling(each: Looking) -> Tensor | None:
    return -each.p.grad if each.is_rising and each.p.grad is not None else each.p.grad
