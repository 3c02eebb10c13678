"""Sophia: a step scaled by the curvature of each weight, which is measured every few steps, and cut to a largest."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, final

from ravine.rules.math import maximum, minimum, mix, sign
from ravine.rules.rule import Need, Rule, chain, hyper
from ravine.rules.usual import shrinking, step_size
from ravine.types import Array, Scalar, State


@dataclass(frozen=True)
class Curved(Rule, ABC):
    """Is told, at steps 1, k + 1, 2 k + 1, ..., an estimate of the diagonal of the Hessian, as "curvature".

    At other steps it is told zeros. The engine makes it of a second gradient, ``radius`` away in every entry.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"curvature"})
    lr: Scalar = step_size(1e-3, "1e-5 1e-1")
    period: Scalar = hyper(10.0, "[1, inf)", "steps between two measurements", unit="steps", symbol="k")
    radius: Scalar = hyper(1e-3, "(0, inf)", "how far off the second gradient is", unit="w", symbol="r")

    def due(self, t: Scalar) -> Scalar:
        """1 at the steps that measure, else 0; a period that is no whole number is kept on average."""
        return sign(maximum(1 - (t - 1) % self.period, 0.0))


@final
@dataclass(frozen=True)
class Sophia(Curved):
    """Sophia-H: the mean gradient over a running diagonal of the Hessian, at most 1 in each entry, times the rate.

        m <- b1 m + (1 - b1) g      h <- b2 h + (1 - b2) c  at t = 1, k + 1, 2 k + 1, ...
        u = -lr (clip(m / max(gamma h, eps), 1) + wd w)

    State: m [g], h [g per w]. c = z (g(w + r z) - g(w)) / r, with random signs z, is Hutchinson's estimate of the
    diagonal, on the same minibatch. The paper's z is normal, and meets the Hessian itself, not a difference.
    Reference: Liu et al. 2023, arXiv:2305.14342, algorithms 1 and 3.
    """

    family = "sophia"
    differs = "Hutchinson's estimate from a second gradient every k steps; needs a closure in torch code"
    when = "For language models, where curvature differs much among weights; its authors' gains are on those alone."
    contender = False
    slots: ClassVar[tuple[str, ...]] = ("m", "h")
    beta1: Scalar = hyper(0.96, "[0, 1)", "memory of the mean gradient", symbol=r"\beta_1", search="log1m 0.5 0.998")
    beta2: Scalar = hyper(0.99, "[0, 1)", "memory of the curvature", symbol=r"\beta_2", search="log1m 0.9 0.999")
    gamma: Scalar = hyper(0.01, "(0, inf)", "share of h", unit="w", symbol=r"\gamma", search="log 1e-3 1e-1")
    eps: Scalar = hyper(1e-12, "(0, inf)", "keeps the denominator from zero", unit="g", symbol=r"\epsilon")
    weight_decay: Scalar = shrinking(0.0)

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m = mix(s["m"], g, self.beta1)
        h = s["h"] + self.due(t) * (1 - self.beta2) * (s["curvature"] - s["h"])
        step = minimum(maximum(m / maximum(self.gamma * h, self.eps), -1.0), 1.0)
        return -self.lr * (step + self.weight_decay * w), {"m": m, "h": h}


def curved(rule: Rule) -> Curved | None:
    """The part of a rule that is told the curvature, if there is one."""
    return next((part for part in chain(rule) if isinstance(part, Curved)), None)
