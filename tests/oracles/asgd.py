"""Oracle of ASGD."""

from __future__ import annotations

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def asgd(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Torch's program: w decays by lambda eta_t and moves by -eta_t g, eta_t = lr / (1 + lambda lr t)^alpha."""
    eta = h["lr"] / (1 + h["lambd"] * h["lr"] * (t - 1)) ** h["alpha"]
    return w * (1 - h["lambd"] * eta) - eta * g
