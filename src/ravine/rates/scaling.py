"""How a learning rate goes with the batch size."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ravine.engines import eager
from ravine.errors import UserError, unknown
from ravine.rules.rule import Rule, chain, needs_of, resolve

Law: TypeAlias = Literal["linear", "sqrt"]
LAWS: tuple[Law, ...] = ("linear", "sqrt")


def scaled_rate(lr: float, batch: int, new_batch: int, law: Law | None = None, rule: str | Rule | None = None) -> float:
    """The learning rate for another batch size.

        linear: lr new_batch / batch             for steps proportional to the gradient: SGD, momentum
        sqrt:   lr sqrt(new_batch / batch)       for steps that do not grow with the gradient: Adam, RMSprop, ...

    Twice the batch takes half the steps an epoch; under the linear law the steps of an epoch add up to the same while
    the gradient changes little, under the other the noise of the steps does. Both hold up to a critical batch size
    only, beyond which a larger batch gains nothing, and a large first rate wants a warm-up. Without a law, that of the
    rule is taken; without a rule, the linear one.
    Reference: Goyal et al. 2017, arXiv:1706.02677, section 2.1; Malladi et al. 2022, arXiv:2205.10287.

    Raises:
        UserError: for a batch size below 1, a rate that is not positive, or an unknown law or rule.

    >>> scaled_rate(0.1, 256, 8192), scaled_rate(0.001, 64, 256, rule="adam")
    (3.2, 0.002)
    """
    for name, size in (("batch", batch), ("new_batch", new_batch)):
        if size < 1:
            raise UserError(f"scaled_rate({name}={size!r}): a batch has 1 sample or more")
    if not (math.isfinite(lr) and lr > 0):
        raise UserError(f"scaled_rate(lr={lr!r}): give a positive number")
    if law is not None and law not in LAWS:
        raise unknown("law", law, LAWS)
    chosen = law or (law_of(rule) if rule is not None else "linear")
    ratio = new_batch / batch
    return lr * (ratio if chosen == "linear" else math.sqrt(ratio))


def law_of(rule: str | Rule) -> Law:
    """The law that fits a rule: "linear" where twice the gradient makes twice the step, found by trying.

    >>> law_of("momentum"), law_of("nadam")
    ('linear', 'sqrt')
    """
    *_, inner = chain(resolve(rule)() if isinstance(rule, str) else rule)
    w = torch.ones(2, 2, dtype=torch.float64)
    state = eager.init_state(inner, w)
    steps: list[Tensor] = []
    for size in (1.0, 2.0):
        g = torch.full_like(w, size)
        [facts] = eager.facts([inner], [g])
        facts |= {"curvature": g} if "curvature" in needs_of(inner) else {}  # it grows with the loss as g does
        sums = eager.totals(inner, w, g, state, 1, facts)
        steps.append(inner.update(g, {**state, **facts, **sums}, w, 1)[0])
    return "linear" if torch.allclose(steps[1], 2 * steps[0], rtol=1e-3) else "sqrt"
