"""Oracle of Schedule-Free AdamW."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def schedule_free_adamw(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Defazio et al. 2024, algorithm 1 without warm-up, x read off y = w; c_t = gamma^2 / sum of gamma^2."""
    s["v"] = h["beta2"] * s.get("v", 0) + (1 - h["beta2"]) * g**2
    root = np.sqrt(s["v"] / (1 - h["beta2"] ** t)) + h["eps"]
    z = s.get("z", w)
    x = (w - (1 - h["beta"]) * z) / h["beta"]
    s["z"] = z - h["lr"] * g / root - h["lr"] * h["weight_decay"] * w
    s["squares"] = s.get("squares", 0) + h["lr"] ** 2
    c = h["lr"] ** 2 / s["squares"]
    return (1 - h["beta"]) * s["z"] + h["beta"] * ((1 - c) * x + c * s["z"])
