"""Oracle of LARS."""

from __future__ import annotations

from tests.oracles.loop import Memory, Settings
from tests.oracles.tensors import Tensor, each_tensor, length


@each_tensor
def lars(g: Tensor, w: Tensor, t: int, s: Memory, h: Settings) -> Tensor:
    """You et al. 2017, algorithm 1: lambda = eta |w| / (|g| + beta |w|), v = m v + gamma lambda (g + beta w)."""
    size, slope = length(w), length(g) + h["weight_decay"] * length(w)
    local = h["trust"] * size / slope if size > 0 and slope > 0 else 1.0
    s["v"] = h["beta"] * s.get("v", 0 * w) + h["lr"] * local * (g + h["weight_decay"] * w)
    return w - s["v"]
