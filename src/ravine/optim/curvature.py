"""The curvature that a closure's second call has measured, for the rules that are told it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ravine.engines.eager import as_real, wide
from ravine.optim.closure import Measured
from ravine.optim.finite import Policy, finite
from ravine.optim.made import Moving
from ravine.rules.rule import needs_of
from ravine.types import State


def tell(
    facts: Sequence[State], found: Sequence[Moving], measured: Measured, policy: Policy, label: Callable[[Moving], str]
) -> bool:
    """Add the curvature to the facts of each parameter whose rule wants it; zeros where none was measured.

    What is not finite is treated as in a gradient; the answer is whether the step may be taken.
    """
    wanting = [
        (each, known) for each, known in zip(found, facts, strict=True) if "curvature" in needs_of(each.made.rule)
    ]
    if not wanting:
        return True
    values = [measured[each.p] if each.p in measured else _zeros(each) for each, _ in wanting]
    checked = finite(values, policy, lambda i: f"{label(wanting[i][0])}, displaced to measure curvature,")
    if checked is None:
        return False
    for (_, known), value in zip(wanting, checked[0], strict=True):
        known["curvature"] = value
    return True


def _zeros(each: Moving) -> torch.Tensor:
    real = as_real(each.p.detach())
    return torch.zeros_like(real, dtype=wide(real.dtype))
