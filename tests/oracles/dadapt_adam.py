"""Oracle of Adam with D-Adaptation."""

from __future__ import annotations

import numpy as np

from tests.oracles.distance import total
from tests.oracles.loop import Memory, Settings, Slope, Vectors


def _step(slope: Slope, weights: Vectors, memory: Memory, h: Settings, is_lagged: bool) -> Vectors:
    g = slope(weights)
    zeros = [0 * w for w in weights]
    d, r = memory.get("d", h["first"]), memory.get("r", 0)
    m, v, s = (memory.get(name, zeros) for name in "mvs")
    root, rate = np.sqrt(h["beta2"]), h["lr"] * d
    old = [np.sqrt(a) + h["eps"] for a in v]
    m = [h["beta1"] * a + (1 - h["beta1"]) * rate * b for a, b in zip(m, g, strict=True)]
    v = [h["beta2"] * a + (1 - h["beta2"]) * b**2 for a, b in zip(v, g, strict=True)]
    metric = [np.sqrt(a) + h["eps"] for a in v]
    weighed = [a / b for a, b in zip(s, old if is_lagged else metric, strict=True)]
    r = root * r + (1 - root) * rate * total(g, weighed)
    s = [root * a + (1 - root) * rate * b for a, b in zip(s, g, strict=True)]
    memory.update(m=m, v=v, s=s, r=r, d=max(d, r / ((1 - root) * total([abs(x) for x in s]))))
    return [w - a / b for w, a, b in zip(weights, m, metric, strict=True)]


def dadapt_adam(slope: Slope, weights: Vectors, t: int, memory: Memory, h: Settings) -> Vectors:
    """Defazio & Mishchenko 2023, algorithm 5."""
    return _step(slope, weights, memory, h, is_lagged=False)


def dadapt_adam_lagged(slope: Slope, weights: Vectors, t: int, memory: Memory, h: Settings) -> Vectors:
    """The authors' code: the inner product is taken before the mean square is brought up to date."""
    return _step(slope, weights, memory, h, is_lagged=True)
