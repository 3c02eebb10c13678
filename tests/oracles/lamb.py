"""Oracle of LAMB."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Settings
from tests.oracles.tensors import Tensor, each_tensor, length


@each_tensor
def lamb(g: Tensor, w: Tensor, t: int, s: Memory, h: Settings) -> Tensor:
    """You et al. 2020, algorithm 2, with phi the identity."""
    s["m"] = h["beta1"] * s.get("m", 0 * w) + (1 - h["beta1"]) * g
    s["v"] = h["beta2"] * s.get("v", 0 * w) + (1 - h["beta2"]) * g**2
    r = (s["m"] / (1 - h["beta1"] ** t)) / (np.sqrt(s["v"] / (1 - h["beta2"] ** t)) + h["eps"])
    step = r + h["weight_decay"] * w
    ratio = length(w) / length(step) if length(w) > 0 and length(step) > 0 else 1.0
    return w - h["lr"] * ratio * step
