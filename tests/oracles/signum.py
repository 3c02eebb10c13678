"""Oracle of Signum."""

from __future__ import annotations

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def signum(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Bernstein et al. 2018, algorithm 2: m = beta m + (1 - beta) g; x = x - delta sign(m)."""
    s["m"] = h["momentum"] * s.get("m", 0) + (1 - h["momentum"]) * g
    if s["m"] > 0:
        return w - h["lr"]
    return w + h["lr"] if s["m"] < 0 else w
