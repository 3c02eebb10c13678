"""Oracles of Yogi."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


def _moments(g: Number, s: Memory, h: Settings) -> tuple[Number, Number]:
    s["m"] = h["beta1"] * s.get("m", 0) + (1 - h["beta1"]) * g
    v = s.get("v", h["start"])
    s["v"] = v + (1 - h["beta2"]) * g**2 if v < g**2 else v - (1 - h["beta2"]) * g**2
    return s["m"], s["v"]


@each_entry
def yogi(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Zaheer et al. 2018, algorithm 2: v = v - (1 - b2) sign(v - g^2) g^2; x = x - eta m / (sqrt(v) + eps)."""
    m, v = _moments(g, s, h)
    return w - h["lr"] * m / (np.sqrt(v) + h["eps"])


@each_entry
def yogi_corrected(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """The same with m over 1 - b1^t and v over 1 - b2^t."""
    m, v = _moments(g, s, h)
    return w - h["lr"] * (m / (1 - h["beta1"] ** t)) / (np.sqrt(v / (1 - h["beta2"] ** t)) + h["eps"])
