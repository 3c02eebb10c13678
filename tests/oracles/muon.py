"""Oracles of Muon, with its companion AdamW for vectors."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Settings
from tests.oracles.tensors import Tensor, each_tensor, length


def _newton_schulz(g: Tensor, eps: float) -> Tensor:
    """Jordan et al. 2024: X <- a X + b (X X^T) X + c (X X^T)^2 X, five times, transposed where it is tall."""
    x = g / max(length(g), eps)
    if len(x) > len(x[0]):
        return _newton_schulz(x.T, 0.0).T
    for _ in range(5):
        gram = np.zeros((len(x), len(x)))
        for i in range(len(x)):
            for j in range(len(x)):
                gram[i, j] = sum(x[i, k] * x[j, k] for k in range(len(x[0])))
        x = 3.4445 * x - 4.7750 * gram.dot(x) + 2.0315 * gram.dot(gram).dot(x)
    return x


def _adamw(g: Tensor, w: Tensor, t: int, s: Memory, h: Settings) -> Tensor:
    lr = h["lr"] * h["rest"]
    s["m"] = h["beta1"] * s.get("m", 0 * w) + (1 - h["beta1"]) * g
    s["v"] = h["beta2"] * s.get("v", 0 * w) + (1 - h["beta2"]) * g**2
    m_hat, v_hat = s["m"] / (1 - h["beta1"] ** t), s["v"] / (1 - h["beta2"] ** t)
    return w - lr * h["weight_decay"] * w - lr * m_hat / (np.sqrt(v_hat) + h["eps"])


def _step(g: Tensor, w: Tensor, s: Memory, h: Settings, nesterov: bool) -> tuple[Tensor, int, int]:
    rows, columns = w.shape[0], w.size // w.shape[0]
    s["m"] = h["beta"] * s.get("m", 0 * w) + (1 - h["beta"]) * g
    n = (1 - h["beta"]) * g + h["beta"] * s["m"] if nesterov else s["m"]
    return _newton_schulz(n.reshape(rows, columns), h["eps"]).reshape(w.shape), rows, columns


@each_tensor
def muon(g: Tensor, w: Tensor, t: int, s: Memory, h: Settings) -> Tensor:
    """Jordan et al. 2024 with decoupled decay; vectors by AdamW."""
    if w.ndim < 2:
        return _adamw(g, w, t, s, h)
    o, rows, columns = _step(g, w, s, h, nesterov=True)
    return w - h["lr"] * h["weight_decay"] * w - h["lr"] * np.sqrt(max(1, rows / columns)) * o


@each_tensor
def muon_match_rms(g: Tensor, w: Tensor, t: int, s: Memory, h: Settings) -> Tensor:
    """Liu et al. 2025, equation 4: W - eta (0.2 O sqrt(max(A, B)) + lambda W)."""
    if w.ndim < 2:
        return _adamw(g, w, t, s, h)
    o, rows, columns = _step(g, w, s, h, nesterov=True)
    return w - h["lr"] * (0.2 * o * np.sqrt(max(rows, columns)) + h["weight_decay"] * w)


@each_tensor
def muon_heavy_ball(g: Tensor, w: Tensor, t: int, s: Memory, h: Settings) -> Tensor:
    """As muon, of the momentum itself."""
    if w.ndim < 2:
        return _adamw(g, w, t, s, h)
    o, rows, columns = _step(g, w, s, h, nesterov=False)
    return w - h["lr"] * h["weight_decay"] * w - h["lr"] * np.sqrt(max(1, rows / columns)) * o


muon_bfloat16 = muon  # of float64, which is never shortened
