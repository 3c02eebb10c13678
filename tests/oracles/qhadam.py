"""Oracle of QHAdam."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def qhadam(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Ma & Yarats 2019: Adam's step with (1 - nu1) g + nu1 g' above and (1 - nu2) g^2 + nu2 s' below the root."""
    s["g"] = h["beta1"] * s.get("g", 0) + (1 - h["beta1"]) * g
    s["s"] = h["beta2"] * s.get("s", 0) + (1 - h["beta2"]) * g**2
    first, second = s["g"] / (1 - h["beta1"] ** t), s["s"] / (1 - h["beta2"] ** t)
    above = (1 - h["nu1"]) * g + h["nu1"] * first
    below = np.sqrt((1 - h["nu2"]) * g**2 + h["nu2"] * second) + h["eps"]
    return w - h["lr"] * above / below
