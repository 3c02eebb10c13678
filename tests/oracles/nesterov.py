"""Oracles of Nesterov's momentum."""

from __future__ import annotations

from tests.oracles.loop import Memory, Number, Settings, Slope, Vectors, each_entry


@each_entry
def nesterov(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """The algorithm in the documentation of torch.optim.SGD: b = mu b + g; g = g + mu b; theta = theta - gamma g."""
    s["b"] = h["momentum"] * s.get("b", 0) + g
    return w - h["lr"] * (g + h["momentum"] * s["b"])


@each_entry
def nesterov_change_of_variables(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Lecture S4, 10.3: v_new = alpha v_old - eps g; theta~ += v_new + alpha (v_new - v_old)."""
    old = s.get("v", 0)
    s["v"] = h["momentum"] * old - h["lr"] * g
    return w + s["v"] + h["momentum"] * (s["v"] - old)


def nesterov_look_ahead(slope: Slope, weights: Vectors, t: int, s: Memory, h: Settings) -> Vectors:
    """Lecture S4, 10.3: v = alpha v - eps grad L(theta + alpha v); theta = theta + v."""
    return _looking(slope, weights, s, reach=h["momentum"], keep=h["momentum"], pull=-h["lr"], move=1)


def nesterov_as_printed(slope: Slope, weights: Vectors, t: int, s: Memory, h: Settings) -> Vectors:
    """Lecture S2, algorithm 6: g = grad f(theta + m); m = beta_1 m + eta_t g; theta = theta - m."""
    return _looking(slope, weights, s, reach=1, keep=h["momentum"], pull=h["lr"], move=-1)


def _looking(
    slope: Slope, weights: Vectors, s: Memory, reach: Number, keep: Number, pull: Number, move: int
) -> Vectors:
    """Take m = keep m + pull grad f(w + reach m), then w = w + move m."""
    points, new = [w.copy() for w in weights], [w.copy() for w in weights]
    for k, w in enumerate(weights):
        for i in range(len(w)):
            points[k][i] = w[i] + reach * s.get((k, i), 0)
    gradients = slope(points)
    for k, w in enumerate(weights):
        for i in range(len(w)):
            s[k, i] = keep * s.get((k, i), 0) + pull * gradients[k][i]
            new[k][i] = w[i] + move * s[k, i]
    return new
