"""Oracle of Lion."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def lion(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Chen et al. 2023, algorithm 2: c = b1 m + (1 - b1) g; theta -= eta (sign(c) + lambda theta); m by b2."""
    m = s.get("m", np.longdouble(0))
    c = h["beta1"] * m + (1 - h["beta1"]) * g
    s["m"] = h["beta2"] * m + (1 - h["beta2"]) * g
    return w - h["lr"] * (np.sign(c) + h["weight_decay"] * w)
