"""Oracles of RAdam."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def radam(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Liu et al. 2020, algorithm 2, with torch's threshold of 5 and its epsilon."""
    s["m"] = h["beta1"] * s.get("m", 0) + (1 - h["beta1"]) * g
    s["v"] = h["beta2"] * s.get("v", 0) + (1 - h["beta2"]) * g**2
    m_hat = s["m"] / (1 - h["beta1"] ** t)
    rho_inf = 2 / (1 - h["beta2"]) - 1
    rho = rho_inf - 2 * t * h["beta2"] ** t / (1 - h["beta2"] ** t)
    if rho <= 5:
        return w - h["lr"] * m_hat
    scale = np.sqrt(1 - h["beta2"] ** t) / (np.sqrt(s["v"]) + h["eps"])
    r = np.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    return w - h["lr"] * m_hat * r * scale
