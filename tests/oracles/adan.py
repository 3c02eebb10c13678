"""Oracles of Adan."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def adan(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Xie et al. 2022, algorithm 1, with its betas 1 - ours: m_0 = g_0, v_0 = 0, n_0 = g_0^2."""
    b1, b2, b3 = 1 - h["beta1"], 1 - h["beta2"], 1 - h["beta3"]
    if not s:
        s.update(m=g, v=np.longdouble(0), n=g**2)
    else:
        s["m"] = (1 - b1) * s["m"] + b1 * g
        s["v"] = (1 - b2) * s["v"] + b2 * (g - s["g"])
        s["n"] = (1 - b3) * s["n"] + b3 * (g + (1 - b2) * (g - s["g"])) ** 2
    s["g"] = g
    eta = h["lr"] / (np.sqrt(s["n"]) + h["eps"])
    return (w - eta * (s["m"] + (1 - b2) * s["v"])) / (1 + h["lr"] * h["weight_decay"])


@each_entry
def adan_corrected(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """The authors' code: means from zero, the first difference zero, each mean over 1 - beta^t."""
    change = g - s.get("g", g)
    s["g"] = g
    s["m"] = h["beta1"] * s.get("m", 0) + (1 - h["beta1"]) * g
    s["v"] = h["beta2"] * s.get("v", 0) + (1 - h["beta2"]) * change
    s["n"] = h["beta3"] * s.get("n", 0) + (1 - h["beta3"]) * (g + h["beta2"] * change) ** 2
    m, v, n = (s[k] / (1 - h[b] ** t) for k, b in (("m", "beta1"), ("v", "beta2"), ("n", "beta3")))
    moved = w - h["lr"] * (m + h["beta2"] * v) / (np.sqrt(n) + h["eps"])
    return moved / (1 + h["lr"] * h["weight_decay"])
