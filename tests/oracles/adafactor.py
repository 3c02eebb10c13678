"""Oracles of Adafactor."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Settings
from tests.oracles.tensors import Tensor, each_tensor, length


def _estimate(square: Tensor, t: int, s: Memory, h: Settings, least: float) -> Tensor:
    """Algorithm 4, lines 4 to 6, with sums, over the last two axes; the vectors' own second moment else."""
    b = 1 - t ** (-h["growth"])
    if square.ndim < 2:
        s["V"] = b * s.get("V", 0 * square) + (1 - b) * square
        return s["V"]
    estimate = np.empty_like(square)
    for lead in np.ndindex(*square.shape[:-2]):
        x = square[lead]
        rows, columns = x.shape
        old_r, old_c = s.get(("R", lead), np.zeros(rows)), s.get(("C", lead), np.zeros(columns))
        r = np.array([b * old_r[i] + (1 - b) * sum(x[i]) for i in range(rows)])
        c = np.array([b * old_c[j] + (1 - b) * sum(x[:, j]) for j in range(columns)])
        s["R", lead], s["C", lead] = r, c
        whole = max(sum(r), least * rows * columns)
        for i in range(rows):
            for j in range(columns):
                estimate[lead][i, j] = r[i] * c[j] / whole
    return estimate


def _step(u: Tensor, w: Tensor, t: int, h: Settings) -> Tensor:
    """Algorithm 4, lines 7 and 8, with algorithm 5's relative step."""
    root = np.sqrt(w.size)
    rho = min(h["lr"], 1 / np.sqrt(t))
    alpha = max(h["smallest"], length(w) / root) * rho
    bounded = u / max(1.0, length(u) / root / h["limit"])
    return w - alpha * bounded - h["lr"] * h["weight_decay"] * w


@each_tensor
def adafactor(g: Tensor, w: Tensor, t: int, s: Memory, h: Settings) -> Tensor:
    """Shazeer & Stern 2018, algorithms 4 and 5: epsilon_1 is added to every square."""
    return _step(g / np.sqrt(_estimate(g**2 + h["eps"], t, s, h, 0.0)), w, t, h)


@each_tensor
def adafactor_clamped(g: Tensor, w: Tensor, t: int, s: Memory, h: Settings) -> Tensor:
    """Torch's documentation: epsilon_1 bounds the mean of the rows and the root from below."""
    return _step(g / np.maximum(np.sqrt(_estimate(g**2, t, s, h, h["eps"])), h["eps"]), w, t, h)
