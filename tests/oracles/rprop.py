"""Oracles of Rprop."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def rprop(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """The algorithm in the documentation of torch.optim.Rprop, case by case."""
    before, size = s.get("g", 0), s.get("size", h["lr"])
    if before * g > 0:
        size = min(size * h["up"], h["largest"])
    elif before * g < 0:
        size = max(size * h["down"], h["smallest"])
        g = np.longdouble(0)
    s.update(g=g, size=min(max(size, h["smallest"]), h["largest"]))
    return w - s["size"] * np.sign(g)


@each_entry
def rprop_backtracking(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Riedmiller & Braun 1993, the adaptation rule with its backtracking, as a program."""
    before, size = s.get("g", 0), s.get("size", h["lr"])
    if before * g > 0:
        size = min(size * h["up"], h["largest"])
    if before * g < 0:
        size = max(size * h["down"], h["smallest"])
        s.update(g=np.longdouble(0), size=size)
        return w - s["step"]
    size = min(max(size, h["smallest"]), h["largest"])
    s.update(g=g, size=size, step=-np.sign(g) * size)
    return w + s["step"]
