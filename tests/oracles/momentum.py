"""Oracles of momentum."""

from __future__ import annotations

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def momentum(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lecture S1: v = rho v + grad f(x); x = x - alpha v."""
    s["v"] = h["momentum"] * s.get("v", 0) + g
    return w - h["lr"] * s["v"]


@each_entry
def momentum_lr_inside(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Sutskever et al. 2013, equations 1 and 2: v = mu v - eps grad f(theta); theta = theta + v."""
    s["v"] = h["momentum"] * s.get("v", 0) - h["lr"] * g
    return w + s["v"]


@each_entry
def momentum_heavy_ball(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Polyak 1964, equation 9: x_(n+1) = x_n - alpha grad f(x_n) + beta (x_n - x_(n-1)), x_(-1) = x_0."""
    before = s.get("x", w)
    s["x"] = w
    return w - h["lr"] * g + h["momentum"] * (w - before)


@each_entry
def momentum_dampened(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """The algorithm in the documentation of torch.optim.SGD: b = mu b + (1 - tau) g after a first b = g."""
    s["b"] = h["momentum"] * s["b"] + (1 - h["dampening"]) * g if t > 1 else g
    return w - h["lr"] * s["b"]


@each_entry
def momentum_average(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lecture S1: V_t = beta V_(t-1) + (1 - beta) S_t over 1 - beta^t, here as the mean of all gradients so far."""
    seen = s.setdefault("seen", [])
    seen.append(g)
    total = sum((1 - h["momentum"]) * h["momentum"] ** (t - j) * old for j, old in enumerate(seen, start=1))
    return w - h["lr"] * total / (1 - h["momentum"] ** t)
