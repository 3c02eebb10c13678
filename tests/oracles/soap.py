"""Oracle of SOAP, with its companion AdamW for vectors."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Settings
from tests.oracles.tensors import Tensor, each_tensor


def _adam(m: Tensor, v: Tensor, t: int, h: Settings) -> Tensor:
    return m / (1 - h["beta1"] ** t) / (np.sqrt(v / (1 - h["beta2"] ** t)) + h["eps"])


def _eigenvectors(square: Tensor) -> Tensor:
    """The largest first; of a space without slopes, those of diag(1 .. 2) within it, the smallest first."""
    sizes, vectors = np.linalg.eigh(square)
    n = len(sizes)
    empty = [i for i in range(n) if sizes[i] <= n * np.finfo(float).eps * sizes[-1]]
    full = [i for i in range(n) if i not in empty][::-1]
    within = vectors[:, empty]
    turned = within.dot(np.linalg.eigh(within.T.dot(np.diag(np.linspace(1, 2, n))).dot(within))[1])
    return np.concatenate([vectors[:, full], turned], axis=1)


@each_tensor
def soap(g: Tensor, w: Tensor, t: int, s: Memory, h: Settings) -> Tensor:
    """Vyas et al. 2025, algorithms 3 and 4; the first step only starts L, R and their eigenvectors."""
    b1, b2, bs = h["beta1"], h["beta2"], h["beta"]
    if w.ndim < 2:
        s["M"], s["V"] = b1 * s.get("M", 0 * w) + (1 - b1) * g, b2 * s.get("V", 0 * w) + (1 - b2) * g**2
        return w - h["lr"] * (_adam(s["M"], s["V"], t, h) + h["weight_decay"] * w)
    x = g.reshape(len(g), -1)
    s["L"] = bs * s.get("L", 0.0) + (1 - bs) * x.dot(x.T)
    s["R"] = bs * s.get("R", 0.0) + (1 - bs) * x.T.dot(x)
    if t == 1:
        s["QL"], s["QR"] = _eigenvectors(s["L"]), _eigenvectors(s["R"])
        return w
    left, right = s["QL"], s["QR"]
    rotated = left.T.dot(x).dot(right)
    s["M"] = b1 * s.get("M", 0 * x) + (1 - b1) * x
    s["V"] = b2 * s.get("V", 0 * x) + (1 - b2) * rotated**2
    step = left.dot(_adam(left.T.dot(s["M"]).dot(right), s["V"], t - 1, h)).dot(right.T)
    if t % int(h["period"]) == 0:
        s["QL"], s["QR"] = np.linalg.qr(s["L"].dot(left))[0], np.linalg.qr(s["R"].dot(right))[0]
    return w - h["lr"] * (step.reshape(w.shape) + h["weight_decay"] * w)
