"""Tensors of one shape stepped as the lanes of one rule: one product of stacked matrices instead of many small ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ravine.engines.column import Column
from ravine.engines.eager import follow, wide
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
) -> None:
    """One step of real, dense tensors of one shape, type and device that have the rule and t in common, in place."""
    with torch.no_grad():
        for w, state in zip(weights, states, strict=True):
            follow(slots_of(rule), state, w)
        kind, slots, scalars = wide(weights[0].dtype), slots_of(rule), scalars_of(rule)
        stacked: State = {name: torch.stack([state[name] for state in states]) for name in slots}
        stacked |= {name: Column([state[name] for state in states]) for name in scalars}
        stacked |= {name: Column([fact[name] for fact in facts]) for name in facts[0]}
        lanes = filled(rule, {name: Column([value] * len(weights)) for name, value in values(rule).items()})
        w, g = (torch.stack([x.to(kind) for x in many]) for many in (weights, gradients))
        u, new = lanes.update(g, stacked, w, t)
        for i, state in enumerate(states):
            for name in slots:
                state[name].copy_(new[name][i])
            state.update({name: float(new[name].numbers[i]) for name in scalars})
        for each, moved in zip(weights, w + u, strict=True):
            each.copy_(moved)
