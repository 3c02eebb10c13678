"""Oracle of Schedule-Free SGD."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def schedule_free_sgd(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Defazio et al. 2024, equations 3 to 5, x read off y = w by equation 3; a constant rate makes c = 1 / t."""
    z = s.get("z", w)
    x = (w - (1 - h["beta"]) * z) / h["beta"]
    s["z"] = z - h["lr"] * g
    x = (1 - np.longdouble(1) / t) * x + s["z"] / t
    return (1 - h["beta"]) * s["z"] + h["beta"] * x
