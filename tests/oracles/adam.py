"""Oracles of Adam."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


def _moments(first: Number, second: Number, s: Memory, h: Settings) -> tuple[Number, Number]:
    s["m"] = h["beta1"] * s.get("m", 0) + (1 - h["beta1"]) * first
    s["v"] = h["beta2"] * s.get("v", 0) + (1 - h["beta2"]) * second
    return s["m"], s["v"]


@each_entry
def adam(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Kingma & Ba 2015, algorithm 1."""
    m, v = _moments(g, g**2, s, h)
    m_hat = m / (1 - h["beta1"] ** t)
    v_hat = v / (1 - h["beta2"] ** t)
    return w - h["lr"] * m_hat / (np.sqrt(v_hat) + h["eps"])


@each_entry
def adam_eps_inside(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lecture S4, 10.6, with bias correction: theta = theta - eps / sqrt(a~ + nu) v~."""
    v, a = _moments(g, g**2, s, h)
    v_tilde = 1 / (1 - h["beta1"] ** t) * v
    a_tilde = 1 / (1 - h["beta2"] ** t) * a
    return w - h["lr"] / np.sqrt(a_tilde + h["eps"]) * v_tilde


@each_entry
def adam_eps_hat(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Kingma & Ba 2015, the last lines of section 2: alpha_t and epsilon-hat."""
    m, v = _moments(g, g**2, s, h)
    alpha_t = h["lr"] * np.sqrt(1 - h["beta2"] ** t) / (1 - h["beta1"] ** t)
    return w - alpha_t * m / (np.sqrt(v) + h["eps"])


@each_entry
def adam_uncorrected(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lecture S0: theta = theta - eta / (sqrt(s_t) + eps) m_t."""
    m, v = _moments(g, g**2, s, h)
    return w - h["lr"] / (np.sqrt(v) + h["eps"]) * m


@each_entry
def adam_uncorrected_inside(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lecture S3: x = x - alpha mu / sqrt(v + eps)."""
    mu, v = _moments(g, g**2, s, h)
    return w - h["lr"] * (mu / np.sqrt(v + h["eps"]))


@each_entry
def adam_as_printed(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lecture S4, 10.6, without bias correction, letter by letter: v = beta_1 v + (1 - beta_1) g (.) g."""
    v, a = _moments(g * g, g * g, s, h)
    return w - h["lr"] / np.sqrt(a + h["eps"]) * v


@each_entry
def adam_amsgrad(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Reddi et al. 2018, algorithm 2, v^_t = max(v^_(t-1), v_t), with torch's corrections of both moments."""
    m, v = _moments(g, g**2, s, h)
    s["every v"] = [*s.get("every v", []), v]
    v_hat = max(s["every v"])
    return w - h["lr"] * (m / (1 - h["beta1"] ** t)) / (np.sqrt(v_hat) / np.sqrt(1 - h["beta2"] ** t) + h["eps"])
