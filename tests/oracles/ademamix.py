"""Oracle of AdEMAMix."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def ademamix(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Pagliardini et al. 2024, algorithm 1: alpha_t = min(t alpha / T, alpha), beta_3,t by the paper's exponential."""
    alpha, beta3 = h["alpha"], h["beta3"]
    if t < h["warmup"]:
        share = t / h["warmup"]
        alpha = share * alpha
        start, end = np.log(h["beta1"]), np.log(beta3)
        beta3 = min(np.exp(start * end / ((1 - share) * end + share * start)), beta3)
    s["m1"] = h["beta1"] * s.get("m1", 0) + (1 - h["beta1"]) * g
    s["m2"] = beta3 * s.get("m2", 0) + (1 - beta3) * g
    s["nu"] = h["beta2"] * s.get("nu", 0) + (1 - h["beta2"]) * g**2
    m1, nu = s["m1"] / (1 - h["beta1"] ** t), s["nu"] / (1 - h["beta2"] ** t)
    return w - h["lr"] * ((m1 + alpha * s["m2"]) / (np.sqrt(nu) + h["eps"]) + h["weight_decay"] * w)
