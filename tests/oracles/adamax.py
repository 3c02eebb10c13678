"""Oracles of AdaMax."""

from __future__ import annotations

from tests.oracles.loop import Memory, Number, Settings, each_entry


def _mean(g: Number, t: int, s: Memory, h: Settings) -> Number:
    s["m"] = h["beta1"] * s.get("m", 0) + (1 - h["beta1"]) * g
    return s["m"] / (1 - h["beta1"] ** t)


@each_entry
def adamax(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """The algorithm in the documentation of torch.optim.Adamax: u = max(beta_2 u, |g| + eps)."""
    s["u"] = max(h["beta2"] * s.get("u", 0), abs(g) + h["eps"])
    return w - h["lr"] * _mean(g, t, s, h) / s["u"]


@each_entry
def adamax_eps_outside(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Kingma & Ba 2015, algorithm 2, with Keras's epsilon: theta = theta - alpha / (1 - beta_1^t) m / (u + eps)."""
    s["u"] = max(h["beta2"] * s.get("u", 0), abs(g))
    return w - h["lr"] * _mean(g, t, s, h) / (s["u"] + h["eps"])
