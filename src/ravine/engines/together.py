"""Tensors of one shape stepped as the lanes of one rule: one product of stacked matrices instead of many small ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.engines.column import Column
from ravine.engines.eager import follow, wide
from ravine.engines.rounding import Rounding, Writer
from ravine.rules.rule import Rule, chain, filled, scalars_of, slots_of, values
from ravine.types import State

SMALL = 1 << 14  # entries; above, a product fills the processor by itself and stacking only moves memory


def fits(rule: Rule, w: Tensor) -> bool:
    """Whether a tensor had better step together with others of its shape."""
    seen = any(part.scope == "tensor" for part in chain(rule))
    plain = all(isinstance(value, int | float) for value in values(rule).values())
    return seen and plain and (w.numel() <= SMALL or w.device.type != "cpu")


def apply_together(
    rule: Rule,
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    states: Sequence[State],
    t: int,
    facts: Sequence[State],
    kept: torch.dtype | None,
    roundings: Sequence[Rounding],
) -> None:
    """One step of real, dense tensors of one shape, type and device that have the rule and t in common, in place.

    Slots are of the type ``kept``, as in `eager.apply`; each tensor's rounding keys that of its slots.
    """
    with torch.no_grad():
        for w, state in zip(weights, states, strict=True):
            follow(rule, state, w, kept)
        kind, slots, scalars = wide(weights[0].dtype), slots_of(rule), scalars_of(rule)
        stacked: State = {name: torch.stack([state[name].to(kind) for state in states]) for name in slots}
        stacked |= {name: Column([state[name] for state in states]) for name in scalars}
        stacked |= {name: _side_by_side([fact[name] for fact in facts], kind) for name in facts[0]}
        lanes = filled(rule, {name: Column([value] * len(weights)) for name, value in values(rule).items()})
        w, g = (torch.stack([x.to(kind) for x in many]) for many in (weights, gradients))
        u, new = lanes.update(g, stacked, w, t)
        for i, (state, rounding) in enumerate(zip(states, roundings, strict=True)):
            writer = Writer(rounding)
            for name in slots:
                if kept or new[name] is not stacked[name]:
                    writer.write(state[name], new[name][i])
            state.update({name: float(new[name].numbers[i]) for name in scalars})
        for each, moved in zip(weights, w + u, strict=True):
            each.copy_(moved)


def _side_by_side(each: Sequence[Any], kind: torch.dtype) -> Any:
    """A fact of every tensor: [K, *shape] of one that has the tensor's shape, a column of one that is a number."""
    return torch.stack([x.to(kind) for x in each]) if isinstance(each[0], Tensor) else Column(each)
