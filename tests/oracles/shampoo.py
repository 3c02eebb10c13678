"""Oracle of Shampoo, with its companion Adagrad for vectors."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Settings
from tests.oracles.tensors import Tensor, each_tensor


def _root(square: Tensor) -> Tensor:
    """S^(-1/4), by the singular values of a symmetric matrix."""
    u, sizes, vt = np.linalg.svd(square)
    return u.dot(np.diag(sizes**-0.25)).dot(vt)


@each_tensor
def shampoo(g: Tensor, w: Tensor, t: int, s: Memory, h: Settings) -> Tensor:
    """Gupta et al. 2018, algorithm 1: L_0 = eps I, R_0 = eps I, W - eta L^(-1/4) G R^(-1/4)."""
    if w.ndim < 2:
        s["r"] = s.get("r", 0 * w) + g**2
        return w - h["lr"] * h["rest"] * g / (np.sqrt(s["r"]) + h["eps"])
    x = g.reshape(len(g), -1)
    s["L"] = s.get("L", h["eps"] * np.eye(x.shape[0])) + x.dot(x.T)
    s["R"] = s.get("R", h["eps"] * np.eye(x.shape[1])) + x.T.dot(x)
    period = int(h["period"])
    if t <= period or t % period == 0:
        s["roots"] = _root(s["L"]), _root(s["R"])
    left, right = s["roots"]
    return w - h["lr"] * left.dot(x).dot(right).reshape(w.shape)
