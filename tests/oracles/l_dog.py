"""Oracle of L-DoG."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Settings
from tests.oracles.tensors import Tensor, each_tensor, length


@each_tensor
def l_dog(g: Tensor, w: Tensor, t: int, s: Memory, h: Settings) -> Tensor:
    """Ivgi et al. 2023, section 4.1: DoG for each layer by itself."""
    s.setdefault("path", []).append(w)
    s.setdefault("slopes", []).append(length(g) ** 2)
    start = s["path"][0]
    distance = max([h["share"] * (1 + length(start)), *(length(x - start) for x in s["path"])])
    return w - h["lr"] * distance / np.sqrt(sum(s["slopes"]) + h["eps"]) * g
