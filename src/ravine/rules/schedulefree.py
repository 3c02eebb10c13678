"""Schedule-Free methods: an average of the iterates in place of a falling learning rate."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, final

from ravine.rules.descent import rate
from ravine.rules.math import debias, maximum, mix, sqrt
from ravine.rules.rule import Rule, hyper
from ravine.rules.usual import epsilon, shrinking, step_size
from ravine.types import Array, Scalar, State

TINY = 1e-300  # where no rate was above zero yet, the average takes nothing in


@dataclass(frozen=True)
class _Interpolated(Rule, ABC):
    """The weights are y, between the iterate z and the average x; one evaluates at x."""

    contender = False
    slots: ClassVar[tuple[str, ...]] = ("z",)
    scalars: ClassVar[dict[str, float]] = {"q": 0.0}
    lr: Scalar = rate(1.0, "1e-2 1e1")
    beta: Scalar = hyper(0.9, "(0, 1]", "share of the average in y", symbol=r"\beta", search="log1m 0.5 0.99")

    def init(self, w: Array) -> State:
        return {**super().init(w), "z": w.clone()}

    def readout(self, s: State, w: Array) -> Array:
        return s["z"] + (w - s["z"]) / self.beta

    def interpolated(self, d: Array, s: State, w: Array) -> tuple[Array, State]:
        """The step of y, and the new z and q, where z takes a step along -d."""
        q = s["q"] + self.lr * self.lr
        c = self.lr * self.lr / maximum(q, TINY)
        u = c * (s["z"] - w) - self.lr * (1 - self.beta * (1 - c)) * d
        return u, {"z": s["z"] - self.lr * d, "q": q}


@final
@dataclass(frozen=True)
class ScheduleFreeSGD(_Interpolated):
    """Schedule-Free SGD: gradients at y = (1 - beta) z + beta x, where x is the average of all z.

        z <- z - lr g      q <- q + lr^2      c = lr^2 / q      x <- (1 - c) x + c z
        which for y, the weights, is      u = c (z - y) - lr (1 - beta (1 - c)) g

    State: z [w], q [w^2 per g^2], the sum of squared rates. Evaluate at x: `ravine.optim.average.swapped`. A constant
    lr makes c = 1 / t; while a schedule lowers lr, the authors' code goes on weighing by the largest so far.
    Reference: Defazio et al. 2024, arXiv:2405.15682, equations 3 to 5.
    """

    family = "schedule-free-sgd"
    differs = "iterates weighted by their squared rate (the paper)"
    when = "When you train with SGD and do not know for how long: it needs no decay of the rate."

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        return self.interpolated(g, s, w)


@final
@dataclass(frozen=True)
class ScheduleFreeAdamW(_Interpolated):
    """Schedule-Free AdamW: the average of the iterates in place of a schedule and of the first moment.

        v <- b2 v + (1 - b2) g^2      d = g / (sqrt(v^) + eps) + wd y
        z <- z - lr d      q, c, x as in Schedule-Free SGD      u = c (z - y) - lr (1 - beta (1 - c)) d

    State: z [w], v [g^2], q [w^2]. The weights are y; evaluate at x: `ravine.optim.average.swapped`. Warm up by a
    schedule of lr.   Reference: Defazio et al. 2024, arXiv:2405.15682, algorithm 1.
    """

    family = "schedule-free-adamw"
    differs = "v bias-corrected, decay at y, iterates weighted by their squared rate (the paper)"
    when = "When the length of training is not known in advance: it needs no decay of the rate, only a warm-up."
    slots: ClassVar[tuple[str, ...]] = ("z", "v")
    lr: Scalar = step_size(2.5e-3, "2.5e-5 2.5e-1")
    beta2: Scalar = hyper(0.999, "[0, 1)", "memory of the mean square", symbol=r"\beta_2", search="log1m 0.9 0.9999")
    eps: Scalar = epsilon(1e-8)
    weight_decay: Scalar = shrinking(0.0)

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        v = mix(s["v"], g * g, self.beta2)
        d = g / (sqrt(debias(v, self.beta2, t)) + self.eps) + self.weight_decay * w
        u, new = self.interpolated(d, s, w)
        return u, {**new, "v": v}
