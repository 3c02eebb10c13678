"""Oracle of Sophia."""

from __future__ import annotations

import numpy as np

from tests.driving import curvature_like
from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def sophia(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Liu et al. 2023, algorithm 3: m by b1; every k-th step h by b2; then decay, then clip(m / max(gamma h, eps))."""
    s["m"] = h["beta1"] * s.get("m", np.longdouble(0)) + (1 - h["beta1"]) * g
    due = s.get("next", np.longdouble(1))  # measurements at 1, 1 + k, 1 + 2 k, each rounded up to a step
    if t >= due:
        s["next"] = due + h["period"]
        s["h"] = h["beta2"] * s.get("h", np.longdouble(0)) + (1 - h["beta2"]) * curvature_like(w)
    ratio = s["m"] / max(h["gamma"] * s["h"], h["eps"])
    w = w - h["lr"] * h["weight_decay"] * w
    return w - h["lr"] * min(1, max(-1, ratio))
