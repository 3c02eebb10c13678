"""Oracle of gradient descent with D-Adaptation."""

from __future__ import annotations

import numpy as np

from tests.oracles.distance import apart, total
from tests.oracles.loop import Memory, Settings, Slope, Vectors


def dadapt_sgd(slope: Slope, weights: Vectors, t: int, memory: Memory, h: Settings) -> Vectors:
    """Defazio & Mishchenko 2023, algorithm 4, with G = |g_0|."""
    g = slope(weights)
    size = memory.setdefault("G", np.sqrt(total(g, g)))
    z, s = memory.get("z", weights), memory.get("s", [0 * w for w in weights])
    d, inner = memory.get("d", h["first"]), memory.get("inner", 0)
    rate = d * h["lr"] / size
    inner = inner + rate * total(g, s)
    s = [a + rate * b for a, b in zip(s, g, strict=True)]
    z = apart(z, [rate * b for b in g])
    memory.update(z=z, s=s, inner=inner, d=max(d, 2 * inner / np.sqrt(total(s, s))))
    return [h["beta"] * w + (1 - h["beta"]) * b for w, b in zip(weights, z, strict=True)]
