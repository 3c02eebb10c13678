"""The rule of each group, made anew only where an option has changed, and the parameters that move by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import is_
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from ravine.optim import groups
from ravine.optim.groups import Group
from ravine.rules.rule import CLOSURE, Rule, chain, needs_of, slots_of
from ravine.types import State

if TYPE_CHECKING:
    from ravine.optim.base import RuleOptimizer

IGNORED = ("foreach", "fused", "capturable", "maximize", "differentiable")  # torch's options that change no equation
Form: TypeAlias = tuple[type[Rule], ...]  # a rule without its values: what a kernel is made from
Kind: TypeAlias = tuple[Any, ...]  # a form and the type that its slots are kept in


@dataclass(slots=True)
class Made:
    """The rule that a group's options made, and what a step asks of it."""

    options: list[Any]
    seen: list[Any]  # the group's entries themselves; none where one may change within
    step: int | None  # the step that it is for, where it differs by step
    rule: Rule
    kind: Kind
    kept: torch.dtype | None
    slots: tuple[str, ...]
    ahead: bool


@dataclass(slots=True)
class Moving:
    """A parameter that is about to move: its group, place and rule, and the step that it takes."""

    which: int
    index: int
    number: int  # counted through all groups
    p: Tensor
    made: Made
    t: int


class Rules:
    """What `RuleOptimizer.rule_of` says of each group, remembered."""

    def __init__(self) -> None:
        self._known: dict[int, Made] = {}

    def forget(self) -> None:
        """Make every rule anew when it is asked for next."""
        self._known.clear()

    def of(self, optimizer: RuleOptimizer, which: int, step: int | None = None) -> Made:
        """The rule of a group as its options stand; that of any step where ``step`` is None."""
        group = optimizer.param_groups[which]
        known = self._known.get(which)
        if known is not None and len(group) == len(known.seen) and all(map(is_, group.values(), known.seen)):
            return known
        names = (*optimizer.defaults, *groups.OURS)
        options = [groups.resolved(group.get(name)) for name in names if name not in IGNORED]
        if known is None or known.options != options or (step is not None and known.step not in (None, step)):
            rule = optimizer.rule_of(group, step or 1)
            when = (step or 1) if optimizer.depends_on_step(group) else None
            kept = groups.kept_type(type(optimizer).__name__, group)
            kind = (*(type(part) for part in chain(rule)), kept)
            known = Made(options, [], when, rule, kind, kept, slots_of(rule), bool(CLOSURE & needs_of(rule)))
            self._known[which] = known
        known.seen = list(group.values()) if known.step is None and _is_fixed(group, names) else []
        return known


def _is_fixed(group: Group, names: tuple[str, ...]) -> bool:
    """Whether no option can change while it stays the same object."""
    parts = [part for name in names for part in _parts(group.get(name))]
    return all(part.__class__ in groups.PLAIN or part.__class__ is torch.dtype for part in parts)


def _parts(option: Any) -> tuple[Any, ...]:
    return option if option.__class__ is tuple else (option,)


def time_of(state: State | None, slots: Sequence[str]) -> int:
    """The step that a parameter is about to take, 1 at its first; a memory that is wholly new starts time anew."""
    if not state or (slots and not any(slot in state for slot in slots)):
        return 1
    return state["step"] + 1
