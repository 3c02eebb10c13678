"""Oracle of QHM."""

from __future__ import annotations

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def qhm(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Ma & Yarats 2019, equations 3 and 4; the mean as the sum of all gradients so far with their weights."""
    seen = s.setdefault("seen", [])
    seen.append(g)
    beta = h["momentum"]
    mean = sum((1 - beta) * beta ** (t - j) * old for j, old in enumerate(seen, start=1))
    return w - h["lr"] * ((1 - h["nu"]) * g + h["nu"] * mean)
