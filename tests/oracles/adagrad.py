"""Oracles of AdaGrad."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


def _sum_of_squares(g: Number, s: Memory, h: Settings) -> Number:
    seen = s.setdefault("seen", [])
    seen.append(g)
    return h["start"] + sum(old**2 for old in seen)


@each_entry
def adagrad(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lecture S1 and torch.optim.Adagrad: w = w - eta / (sqrt(sum of all g^2) + eps) g."""
    return w - h["lr"] / (np.sqrt(_sum_of_squares(g, s, h)) + h["eps"]) * g


@each_entry
def adagrad_eps_inside(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lecture S2, equation 6: theta = theta - eta / sqrt(G + eps) g."""
    return w - h["lr"] / np.sqrt(_sum_of_squares(g, s, h) + h["eps"]) * g
