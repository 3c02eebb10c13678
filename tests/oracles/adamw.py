"""Oracles of AdamW."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


def _adaptive(g: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lines 7 to 10 of Loshchilov & Hutter 2019, algorithm 2, and the fraction of line 12."""
    s["m"] = h["beta1"] * s.get("m", 0) + (1 - h["beta1"]) * g
    s["v"] = h["beta2"] * s.get("v", 0) + (1 - h["beta2"]) * g**2
    return (s["m"] / (1 - h["beta1"] ** t)) / (np.sqrt(s["v"] / (1 - h["beta2"] ** t)) + h["eps"])


@each_entry
def adamw(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """The algorithm in the documentation of torch.optim.AdamW: the decay first, then the step."""
    decayed = w - h["lr"] * h["weight_decay"] * w
    return decayed - h["lr"] * _adaptive(g, t, s, h)


@each_entry
def adamw_independent(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Loshchilov & Hutter 2019, algorithm 2, line 12, with the schedule multiplier at 1."""
    return w - (h["lr"] * _adaptive(g, t, s, h) + h["weight_decay"] * w)
