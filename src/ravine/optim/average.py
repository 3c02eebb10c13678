"""The weights to evaluate with, where they are not those of training: to read, and to swap in for an evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import torch
from torch import Tensor

from ravine.engines.eager import as_real, wide
from ravine.errors import UserError
from ravine.optim.base import RuleOptimizer
from ravine.rules.rule import Rule, reads_elsewhere, slots_of

SLOT = "average"


def averaged(optimizer: RuleOptimizer) -> dict[str | int, Tensor]:
    """A copy of each parameter's average, by its name, else by its number (counted through all groups, as torch does).

    The average is that of ``ema=``, else where a rule says that it is evaluated (Schedule-Free's x, ASGD's mean).
    A parameter that has not stepped yet is its own average; groups without an average are left out.

    Raises:
        UserError: if no group keeps an average.
    """
    return {key: _average(optimizer, p, rule).detach().clone() for key, p, rule in _kept(optimizer)}


@contextlib.contextmanager
def swapped(optimizer: RuleOptimizer) -> Generator[None]:
    """Within it the parameters are the averages; after it, what they were, to the bit.

    Raises:
        UserError: if no group keeps an average; nothing is changed then.
    """
    kept = [(p, rule) for _, p, rule in _kept(optimizer)]
    homes = [p.detach().clone() for p, _ in kept]
    try:
        with torch.no_grad():
            for p, rule in kept:
                p.copy_(_average(optimizer, p, rule))
        yield
    finally:
        with torch.no_grad():
            for (p, _), home in zip(kept, homes, strict=True):
                p.copy_(home)


def _kept(optimizer: RuleOptimizer) -> list[tuple[str | int, Tensor, Rule]]:
    found: list[tuple[str | int, Tensor, Rule]] = []
    number = 0
    for group, rule in zip(optimizer.param_groups, optimizer.rules(), strict=True):
        names = group.get("param_names") or range(number, number + len(group["params"]))
        number += len(group["params"])
        if SLOT in slots_of(rule) or reads_elsewhere(rule):
            found += [(name, p, rule) for name, p in zip(names, group["params"], strict=True)]
    if not found:
        raise UserError("this optimizer keeps no average of the weights: make it with ema=0.999 or swa_start=1000")
    return found


def _average(optimizer: RuleOptimizer, p: Tensor, rule: Rule) -> Tensor:
    """The average in the parameter's own form: a complex parameter's is kept as two real parts."""
    state = optimizer.state.get(p)
    if not state or not all(slot in state for slot in slots_of(rule)):
        return p
    real = as_real(p.detach())
    kept = state[SLOT] if SLOT in slots_of(rule) else rule.readout(state, real.to(wide(real.dtype)))
    return torch.view_as_complex(kept.contiguous()) if p.is_complex() else kept
