"""Oracle of AdaBelief."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def adabelief(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Zhuang et al. 2020, algorithm 2: s = b2 s + (1 - b2) (g - m)^2 + eps, both hats, eps added to the root."""
    s["m"] = h["beta1"] * s.get("m", 0) + (1 - h["beta1"]) * g
    s["s"] = h["beta2"] * s.get("s", 0) + (1 - h["beta2"]) * (g - s["m"]) ** 2 + h["eps"]
    m_hat, s_hat = s["m"] / (1 - h["beta1"] ** t), s["s"] / (1 - h["beta2"] ** t)
    return w - h["lr"] * m_hat / (np.sqrt(s_hat) + h["eps"])
