"""Oracle of signSGD."""

from __future__ import annotations

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def signsgd(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Bernstein et al. 2018, algorithm 1: x = x - delta sign(g)."""
    if g > 0:
        return w - h["lr"]
    return w + h["lr"] if g < 0 else w
