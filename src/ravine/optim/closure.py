"""Where a closure is called: at the weights, where look-ahead rules look, or twice for rules that climb first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.engines import eager
from ravine.rules.rule import Rule
from ravine.rules.sharpness import ascent_of, footing
from ravine.types import State


def evaluate(closure: Callable[[], Any], moving: Sequence[tuple[Rule, Tensor, State]], rises: Sequence[bool]) -> Any:
    """The closure's loss, at its first call; the gradients that it leaves are those that the rules want.

    ``moving`` are the parameters whose rules look ahead and copies of their states; ``rises`` says which of them are
    maximized.
    """
    with torch.enable_grad(), eager.looking_ahead([(footing(rule), p, state) for rule, p, state in moving]):
        loss = closure()
    if any(ascent_of(rule) for rule, _, _ in moving):
        falling = [
            -p.grad if up and p.grad is not None else p.grad for (_, p, _), up in zip(moving, rises, strict=True)
        ]
        eager.climbing(moving, falling)
        with torch.enable_grad(), eager.looking_ahead(moving):
            closure()
    return loss
