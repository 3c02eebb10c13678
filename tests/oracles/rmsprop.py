"""Oracles of RMSProp."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


def _average(s: Memory, name: str, new: Number, h: Settings) -> Number:
    s[name] = h["alpha"] * s.get(name, 0) + (1 - h["alpha"]) * new
    return s[name]


def _spread(g: Number, s: Memory, h: Settings) -> Number:
    """The centred mean of squares as Graves 2013 and torch print it: E[g^2] - E[g]^2."""
    return _average(s, "n", g**2, h) - _average(s, "g", g, h) ** 2


@each_entry
def rmsprop(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lecture S1: r = alpha r + (1 - alpha) g^2; w = w - eta / (sqrt(r) + eps) g."""
    return w - h["lr"] / (np.sqrt(_average(s, "r", g**2, h)) + h["eps"]) * g


@each_entry
def rmsprop_eps_inside(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lecture S4, 10.5: a = beta a + (1 - beta) g g; theta = theta - eps / sqrt(a + nu) g."""
    return w - h["lr"] / np.sqrt(_average(s, "a", g**2, h) + h["eps"]) * g


@each_entry
def rmsprop_eps_twice(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lecture S2, equation 7: RMS = E(g^2) + eps; theta = theta - eta / sqrt(RMS + eps) g."""
    rms = _average(s, "E", g**2, h) + h["eps"]
    return w - h["lr"] / np.sqrt(rms + h["eps"]) * g


@each_entry
def rmsprop_lagged(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lecture S0: s_t = beta s_(t-1) + (1 - beta) g_(t-1)^2, g_0 = 0; theta = theta - eta / sqrt(s_t + eps) g_t."""
    root = np.sqrt(_average(s, "s", s.get("last", 0 * g) ** 2, h) + h["eps"])
    s["last"] = g
    return w - h["lr"] / root * g


@each_entry
def rmsprop_momentum(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """The algorithm in the documentation of torch.optim.RMSprop, momentum > 0."""
    s["b"] = h["momentum"] * s.get("b", 0) + g / (np.sqrt(_average(s, "v", g**2, h)) + h["eps"])
    return w - h["lr"] * s["b"]


@each_entry
def rmsprop_momentum_inside(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lecture S4, 10.5: v = alpha v - eps / sqrt(a + nu) g; theta = theta + v."""
    s["v"] = h["momentum"] * s.get("v", 0) - h["lr"] / np.sqrt(_average(s, "a", g**2, h) + h["eps"]) * g
    return w + s["v"]


@each_entry
def rmsprop_nesterov(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lecture S4, 10.3, its change of variables, with the scaled gradient in the place of the gradient."""
    scaled = g / (np.sqrt(_average(s, "r", g**2, h)) + h["eps"])
    old = s.get("v", 0)
    s["v"] = h["momentum"] * old - h["lr"] * scaled
    return w + s["v"] + h["momentum"] * (s["v"] - old)


@each_entry
def rmsprop_centered(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """The algorithm in the documentation of torch.optim.RMSprop, centered."""
    return w - h["lr"] * g / (np.sqrt(_spread(g, s, h)) + h["eps"])


@each_entry
def rmsprop_centered_momentum(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """The algorithm in the documentation of torch.optim.RMSprop, centered, momentum > 0."""
    s["b"] = h["momentum"] * s.get("b", 0) + g / (np.sqrt(_spread(g, s, h)) + h["eps"])
    return w - h["lr"] * s["b"]
