"""Oracles of NAdam."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


def _step(g: Number, w: Number, t: int, s: Memory, h: Settings, mu: Callable[[int], Number]) -> Number:
    """Dozat 2016, algorithm 2, every product of momenta made anew from its first factor."""
    upto = 1
    for i in range(1, t + 1):
        upto = upto * mu(i)
    s["m"] = h["beta1"] * s.get("m", 0) + (1 - h["beta1"]) * g
    s["n"] = h["beta2"] * s.get("n", 0) + (1 - h["beta2"]) * g**2
    n_hat = s["n"] / (1 - h["beta2"] ** t)
    g_hat = g / (1 - upto)
    m_hat = s["m"] / (1 - upto * mu(t + 1))
    m_bar = (1 - mu(t)) * g_hat + mu(t + 1) * m_hat
    return w - h["lr"] * m_bar / (np.sqrt(n_hat) + h["eps"])


@each_entry
def nadam(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """The algorithm in the documentation of torch.optim.NAdam: mu_t = beta_1 (1 - 0.96^(t psi) / 2)."""
    base = np.longdouble(0.96)
    return _step(g, w, t, s, h, lambda i: h["beta1"] * (1 - base ** (i * h["momentum_decay"]) / 2))


@each_entry
def nadam_constant(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Dozat 2016, algorithm 2, with mu_t = beta_1 at every step."""
    return _step(g, w, t, s, h, lambda i: h["beta1"])
