"""Oracle of Prodigy."""

from __future__ import annotations

import numpy as np

from tests.oracles.distance import apart, total
from tests.oracles.loop import Memory, Settings, Slope, Vectors


def prodigy(slope: Slope, weights: Vectors, t: int, memory: Memory, h: Settings) -> Vectors:
    """Mishchenko & Defazio 2024, algorithm 4, with the decoupled decay of the authors' code."""
    g = slope(weights)
    zeros = [0 * w for w in weights]
    x0 = memory.setdefault("x0", weights)
    d, r = memory.get("d", h["first"]), memory.get("r", 0)
    m, v, s = (memory.get(name, zeros) for name in "mvs")
    m = [h["beta1"] * a + (1 - h["beta1"]) * d * b for a, b in zip(m, g, strict=True)]
    v = [h["beta2"] * a + (1 - h["beta2"]) * d**2 * b**2 for a, b in zip(v, g, strict=True)]
    root = np.sqrt(h["beta2"])
    r = root * r + (1 - root) * h["lr"] * d**2 * total(g, apart(x0, weights))
    s = [root * a + (1 - root) * h["lr"] * d**2 * b for a, b in zip(s, g, strict=True)]
    memory.update(m=m, v=v, s=s, r=r, d=max(d, r / total([abs(x) for x in s])))
    step = [a / (np.sqrt(b) + d * h["eps"]) for a, b in zip(m, v, strict=True)]
    return [w - h["lr"] * d * (u + h["weight_decay"] * w) for w, u in zip(weights, step, strict=True)]
