"""A step that a CUDA graph can capture: time, norms and options that are tensors stay where the parameters are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from ravine.engines.eager import as_real, check_whole, init_state, wide
from ravine.errors import UserError
from ravine.optim import groups
from ravine.optim.finite import Policy
from ravine.optim.groups import Group
from ravine.optim.sweep import PLAIN
from ravine.rules.rule import Rule, chain, filled, hypers, name_of, needs_of, scalars_of, slots_of, sums_of, values
from ravine.types import State

if TYPE_CHECKING:
    from ravine.optim.base import RuleOptimizer

POLICIES: tuple[Policy, ...] = ("ignore", "skip", "zero")  # what can be decided without waiting for the device
BETAS = ("beta1", "beta2")


@dataclass
class _Made:
    """A group's rule from its options as they stood, and the hyperparameters that each step reads where they lie."""

    options: list[Any]
    rule: Rule
    live: dict[str, Tensor]


class Captured:
    """Steps by plain torch, in place, without asking the device anything; so a graph of one can be replayed.

    Options are those that stood when a step was captured; those that are tensors on the parameters' device are read
    at each replay. State holds tensors of no dimensions where other steps keep numbers ("step", scalars): float64.

    Raises:
        UserError: for a rule or an option that needs the host at every step; nothing is changed then.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy: Policy = policy
        self._made: dict[int, _Made] = {}

    def step(self, optimizer: RuleOptimizer, closure: Callable[[], Any] | None) -> Any:
        """One step of every parameter that has a gradient; the closure's loss."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        made = [self._of(optimizer, which) for which in range(len(optimizer.param_groups))]
        moving = [
            (each, p, _falling(each.rule, p, bool(group.get("maximize"))))
            for each, group in zip(made, optimizer.param_groups, strict=True)
            for p in group["params"]
            if p.grad is not None
        ]
        with torch.no_grad():
            states = [_state(optimizer.state, each.rule, p) for each, p, _ in moving]
            gradients, may = _treated([g for *_, g in moving], self.policy)
            rules = [filled(each.rule, {n: x.double() for n, x in each.live.items()}) for each, *_ in moving]
            weights = [as_real(p) for _, p, _ in moving]
            known = _facts(rules, weights, gradients, states)
            for rule, w, g, state, fact in zip(rules, weights, gradients, states, known, strict=True):
                _apply(rule, w, g, state, fact, may)
        return loss

    def _of(self, optimizer: RuleOptimizer, which: int) -> _Made:
        group = optimizer.param_groups[which]
        options = [value for name, value in group.items() if name not in ("params", "param_names")]
        known = self._made.get(which)
        if known is None or len(known.options) != len(options) or not all(map(is_, known.options, options)):
            rule = optimizer.rule_of(group)
            owner = type(optimizer).__name__
            self._made[which] = known = _Made(options, rule, _live(owner, group, rule))
        return known


def check(owner: str, group: Group, rule: Rule, depends_on_step: bool) -> None:
    """Raise one sentence on what in a capturable group would need the host at every step."""
    if not group.get("capturable"):
        return
    wrong = ""
    if needs := needs_of(rule) - {"norm", "global_norm"}:
        wrong = f"{name_of(rule)} needs {sorted(needs)[0].replace('_', ' ')}, which the host keys or a closure gives"
    elif depends_on_step:
        wrong = "schedules and lr_decay are read on the host: give lr as a tensor on the device and change it in place"
    elif group.get("state_dtype") is not None:
        wrong = "state_dtype rounds by a key of the host"
    elif group.get("differentiable"):
        wrong = "a differentiable step is recorded by autograd, not by a graph"
    elif any(part.scope == "tensor" for part in chain(rule)):
        wrong = f"{name_of(rule)} decomposes whole tensors, for which the host waits"
    if wrong:
        raise UserError(f"{owner}(capturable=True): {wrong}; leave one of them out")
    _live(owner, group, rule)


def _live(owner: str, group: Group, rule: Rule) -> dict[str, Tensor]:
    """The options that are tensors, by the hyperparameter that each of them is."""
    found: dict[str, Tensor] = {}
    now = values(rule)
    given = {**group, **dict(zip(BETAS, group.get("betas", ()), strict=False))}
    for name, value in given.items():
        if name in ("params", "param_names", "betas") or not isinstance(value, Tensor):
            continue
        if name not in hypers(rule) or float(now[name]) != float(value):
            raise UserError(f"{owner}(capturable=True): {name} is read once, on the host: give it as a number")
        places = {p.device for _, p in groups.tensors(group)} - {value.device}
        if places:
            raise UserError(
                f"{owner}(capturable=True): {name} lies on {value.device} and parameters on {min(map(str, places))}: "
                "a graph would keep the value that it has now; put it on their device"
            )
        found[name] = value
    return found


def _falling(rule: Rule, p: Tensor, is_rising: bool) -> Tensor:
    """The gradient of descent, as plain real numbers."""
    g = cast(Tensor, p.grad)
    if type(g) not in PLAIN or g.layout is not torch.strided:
        kind = "sparse" if g.layout is not torch.strided else "sharded"
        raise UserError(f"capturable=True steps dense tensors of one device, this gradient is {kind}: leave it out")
    check_whole(rule, p)
    return as_real(-g if is_rising else g)


def _state(every: Mapping[Tensor, State], rule: Rule, p: Tensor) -> State:
    """A parameter's state, its numbers as tensors on the parameter's device."""
    state = every[p]
    numbers = {"step": 0.0, **scalars_of(rule)}
    fresh = "step" not in state or any(slot not in state for slot in slots_of(rule))
    loose = [n for n in numbers if not (isinstance(state.get(n), Tensor) and state[n].device == p.device)]
    if (fresh or loose) and p.is_cuda and torch.cuda.is_current_stream_capturing():
        raise UserError("capturable=True: a graph must not make state; take a step before the capture, to warm up")
    if fresh:
        state.update({"step": 0.0, **init_state(rule, p), **state})
    for name in loose:
        state[name] = torch.as_tensor(state.get(name, numbers[name]), dtype=torch.float64, device=p.device)
    for slot in slots_of(rule):  # a model may have moved since
        if state[slot].device != p.device:
            state[slot] = state[slot].to(p.device)
    return state


def _treated(gradients: Sequence[Tensor], policy: Policy) -> tuple[list[Tensor], Tensor | None]:
    """The gradients to step with, and whether the step may be taken, as a tensor; None where it always may."""
    if policy == "zero":
        return [torch.where(torch.isfinite(g), g, 0) for g in gradients], None
    if policy == "skip" and gradients:
        first = gradients[0].device
        return list(gradients), torch.stack([torch.isfinite(g).all().to(first) for g in gradients]).all()
    return list(gradients), None


def _facts(
    rules: Sequence[Rule], weights: Sequence[Tensor], gradients: Sequence[Tensor], states: Sequence[State]
) -> list[State]:
    """What each rule is told beside its gradient: norms, and sums over all tensors; numbers of no dimensions."""
    known: list[State] = [{} for _ in rules]
    needs = [needs_of(rule) for rule in rules]
    if any(needs):
        sizes = [torch.linalg.vector_norm(g.to(wide(g.dtype))).double() for g in gradients]
        whole = torch.linalg.vector_norm(torch.stack([size.to(sizes[0].device) for size in sizes]))
        for fact, need, size in zip(known, needs, sizes, strict=True):
            own = {"norm": size, "global_norm": whole.to(size.device)}
            fact.update({name: value for name, value in own.items() if name in need})
    terms = [
        rule.terms(*_seen(rule, w, g, state, fact), w.to(wide(w.dtype)), state["step"] + 1) if sums_of(rule) else {}
        for rule, w, g, state, fact in zip(rules, weights, gradients, states, known, strict=True)
    ]
    for rule, fact in zip(rules, known, strict=True):
        for name in sums_of(rule):
            parts = [each[name].sum(dtype=torch.float64) for each in terms if name in each]
            fact[name] = torch.stack(parts).sum()
    return known


def _seen(rule: Rule, w: Tensor, g: Tensor, state: State, known: State) -> tuple[Tensor, State]:
    """The gradient and the state as a rule computes with them."""
    kind = wide(w.dtype)
    slots = {name: state[name].to(kind) for name in slots_of(rule)}
    return g.to(kind), {**slots, **{name: state[name] for name in scalars_of(rule)}, **known}


def _apply(rule: Rule, w: Tensor, g: Tensor, state: State, known: State, may: Tensor | None) -> None:
    before, t = w.to(wide(w.dtype)), state["step"] + 1
    u, new = rule.update(*_seen(rule, w, g, state, known), before, t)
    after = before + u
    for name in (*slots_of(rule), *scalars_of(rule)):  # before w changes: a rule may keep w itself
        _write(state[name], new[name], may)
    _write(state["step"], t, may)
    _write(w, after, may)


def _write(old: Tensor, new: Any, may: Tensor | None) -> None:
    value = new if isinstance(new, Tensor) else torch.full_like(old, new)
    old.copy_(value if may is None else torch.where(may.to(old.device), value.to(old.dtype), old))
