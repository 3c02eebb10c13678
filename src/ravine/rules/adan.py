"""Adan: Nesterov's look-ahead estimated from the difference of gradients."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, final

from ravine.rules.math import debias, mix, sqrt, where
from ravine.rules.rule import Rule, hyper
from ravine.rules.usual import epsilon, shrinking, step_size
from ravine.types import Array, Scalar, State


@dataclass(frozen=True)
class _Differences(Rule, ABC):
    family = "adan"
    contender = False
    slots: ClassVar[tuple[str, ...]] = ("m", "v", "n", "p")
    lr: Scalar = step_size(1e-3, "1e-5 1e-1")
    beta1: Scalar = hyper(0.98, "[0, 1)", "memory of the mean gradient", symbol=r"\beta_1", search="log1m 0.8 0.998")
    beta2: Scalar = hyper(0.92, "[0, 1)", "memory of the mean difference", symbol=r"\beta_2", search="log1m 0.5 0.99")
    beta3: Scalar = hyper(0.99, "[0, 1)", "memory of the mean square", symbol=r"\beta_3", search="log1m 0.9 0.999")
    eps: Scalar = epsilon(1e-8)
    weight_decay: Scalar = shrinking(0.0)

    def shrunk(self, step: Array, w: Array) -> Array:
        """The update after which the weights are (w + step) / (1 + lr wd)."""
        return (step - self.lr * self.weight_decay * w) / (1 + self.lr * self.weight_decay)


@final
@dataclass(frozen=True)
class Adan(_Differences):
    """Adan: moments of the gradient, of its change, and of where both together point.

        d = g - p      m <- b1 m + (1 - b1) g      v <- b2 v + (1 - b2) d      n <- b3 n + (1 - b3) (g + b2 d)^2
        u = (-lr (m + b2 v) / (sqrt(n) + eps) - lr wd w) / (1 + lr wd)      p <- g

    State: m [g], v [g], n [g^2], p [g], the last gradient; at the first step d is 0, m is g and n is g^2. Our betas
    are 1 minus the paper's.   Reference: Xie et al. 2022, arXiv:2208.06677, algorithm 1.
    """

    differs = "the means start at the first gradient and are not corrected (the paper)"
    when = "For long trainings of vision and language nets when two more numbers a parameter fit in memory."

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        d = where(t > 1, g - s["p"], 0 * g)
        m = where(t > 1, mix(s["m"], g, self.beta1), g)
        v = mix(s["v"], d, self.beta2)
        square = (g + self.beta2 * d) * (g + self.beta2 * d)
        n = where(t > 1, mix(s["n"], square, self.beta3), square)
        step = -self.lr * (m + self.beta2 * v) / (sqrt(n) + self.eps)
        return self.shrunk(step, w), {"m": m, "v": v, "n": n, "p": g}


@final
@dataclass(frozen=True)
class AdanCorrected(_Differences):
    """Adan with means that start at zero and are freed of their bias.

        d, m, v, n, p as in Adan from zero      u = (-lr (m^ + b2 v^) / (sqrt(n^) + eps) - lr wd w) / (1 + lr wd)

    State: m [g], v [g], n [g^2], p [g].   Reference: Xie et al. 2022, in the form of its authors' code.
    """

    dialect = "corrected"
    differs = "the means start at zero and are bias-corrected (the authors' code, pytorch_optimizer)"

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        d = where(t > 1, g - s["p"], 0 * g)
        m, v = mix(s["m"], g, self.beta1), mix(s["v"], d, self.beta2)
        n = mix(s["n"], (g + self.beta2 * d) * (g + self.beta2 * d), self.beta3)
        ahead = debias(m, self.beta1, t) + self.beta2 * debias(v, self.beta2, t)
        step = -self.lr * ahead / (sqrt(debias(n, self.beta3, t)) + self.eps)
        return self.shrunk(step, w), {"m": m, "v": v, "n": n, "p": g}
