"""The averaged weights of an optimizer that keeps them: to read, and to swap in for an evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import torch
from torch import Tensor

from ravine.errors import UserError
from ravine.optim.base import RuleOptimizer
from ravine.rules.rule import slots_of

SLOT = "average"


def averaged(optimizer: RuleOptimizer) -> dict[str | int, Tensor]:
    """A copy of each parameter's average, by its name, else by its number (counted through all groups, as torch does).

    A parameter that has not stepped yet is its own average; groups without an average are left out.

    Raises:
        UserError: if no group keeps an average.
    """
    return {key: _average(optimizer, p).detach().clone() for key, p in _kept(optimizer)}


@contextlib.contextmanager
def swapped(optimizer: RuleOptimizer) -> Generator[None]:
    """Within it the parameters are the averages; after it, what they were, to the bit.

    Raises:
        UserError: if no group keeps an average; nothing is changed then.
    """
    kept = [p for _, p in _kept(optimizer)]
    homes = [p.detach().clone() for p in kept]
    try:
        with torch.no_grad():
            for p in kept:
                p.copy_(_average(optimizer, p))
        yield
    finally:
        with torch.no_grad():
            for p, home in zip(kept, homes, strict=True):
                p.copy_(home)


def _kept(optimizer: RuleOptimizer) -> list[tuple[str | int, Tensor]]:
    found: list[tuple[str | int, Tensor]] = []
    number = 0
    for group, rule in zip(optimizer.param_groups, optimizer.rules(), strict=True):
        names = group.get("param_names") or range(number, number + len(group["params"]))
        number += len(group["params"])
        if SLOT in slots_of(rule):
            found += zip(names, group["params"], strict=True)
    if not found:
        raise UserError("this optimizer keeps no average of the weights: make it with ema=0.999 or swa_start=1000")
    return found


def _average(optimizer: RuleOptimizer, p: Tensor) -> Tensor:
    """The average in the parameter's own form: a complex parameter's is kept as two real parts."""
    kept = optimizer.state[p].get(SLOT) if p in optimizer.state else None
    if kept is None:
        return p
    return torch.view_as_complex(kept) if p.is_complex() else kept
