"""Oracles of ADOPT."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


def _adopt(g: Number, w: Number, s: Memory, h: Settings, limit: Number) -> Number:
    if "v" not in s:  # the gradient at theta_0 makes v_0 and nothing else
        s["v"] = g * g
        return w
    d = g / max(np.sqrt(s["v"]), h["eps"])
    d = min(max(d, -limit), limit)
    s["m"] = h["beta1"] * s.get("m", 0) + (1 - h["beta1"]) * d
    s["v"] = h["beta2"] * s["v"] + (1 - h["beta2"]) * g * g
    return w - h["lr"] * s["m"]


@each_entry
def adopt(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Taniguchi et al. 2024, algorithm 1: v_0 = g_0^2, then m = b1 m + (1 - b1) g_t / max(sqrt(v_(t-1)), eps)."""
    return _adopt(g, w, s, h, np.longdouble(np.inf))


@each_entry
def adopt_clipped(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """The same with the scaled gradient cut to the fourth root of the number of steps that have moved, with this."""
    return _adopt(g, w, s, h, np.longdouble(t - 1) ** 0.25)
