"""Oracle of DoG."""

from __future__ import annotations

import numpy as np

from tests.oracles.distance import apart, total
from tests.oracles.loop import Memory, Settings, Slope, Vectors


def dog(slope: Slope, weights: Vectors, t: int, memory: Memory, h: Settings) -> Vectors:
    """Ivgi et al. 2023: eta_t = max_i |x_i - x_0| / sqrt(sum_i |g_i|^2), the distance at least alpha (1 + |x_0|)."""
    g = slope(weights)
    path, slopes = memory.setdefault("path", []), memory.setdefault("slopes", [])
    path.append(weights)
    slopes.append(total(g, g))
    start = path[0]
    gaps = [apart(x, start) for x in path]
    farthest = max(np.sqrt(total(gap, gap)) for gap in gaps)
    distance = max(farthest, h["share"] * (1 + np.sqrt(total(start, start))))
    eta = h["lr"] * distance / np.sqrt(sum(slopes) + h["eps"])
    return [w - eta * d for w, d in zip(weights, g, strict=True)]
