"""Oracle of gradient descent."""

from __future__ import annotations

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def sgd(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lecture S1: x_(t+1) = x_t - alpha grad f(x_t)."""
    return w - h["lr"] * g
