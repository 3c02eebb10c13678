"""Averaged SGD: the path of SGD with a falling rate, and beside it the mean of the weights that it passes."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, final

from ravine.rules.descent import rate
from ravine.rules.math import maximum, mix, where
from ravine.rules.rule import Rule, hyper
from ravine.types import Array, Scalar, State


@dataclass(frozen=True)
class _Averaged(Rule, ABC):
    """The mean of the weights is one more slot, and where one evaluates."""

    contender = False
    slots: ClassVar[tuple[str, ...]] = ("x",)

    def init(self, w: Array) -> State:
        return {"x": w.clone()}

    def readout(self, s: State, w: Array) -> Array:
        return s["x"]


@final
@dataclass(frozen=True)
class ASGD(_Averaged):
    """ASGD: SGD whose weights decay and whose rate falls; one evaluates at the mean of the weights since step t0.

        u = -eta (g + lambda w)      x <- x + mu (w + u - x)
        eta <- lr / (1 + lambda lr t)^alpha      mu <- 1 / max(1, t - t0)

    State: x [w], the mean; eta and mu, those of the next step, at first lr and 1. A new lr acts a step later, as in
    torch.   Reference: Polyak & Juditsky 1992, doi:10.1137/0330046, in the form of torch.optim.ASGD.
    """

    family = "asgd"
    differs = "the mean begins at step t0, the rate falls as (1 + lambda lr t)^-alpha (torch)"
    when = "For convex problems and last layers, where the mean of many points beats the last one; the rate is small."
    scalars: ClassVar[dict[str, float]] = {"eta": 0.0, "mu": 1.0}
    lr: Scalar = rate(1e-2, "1e-4 1e0")
    lambd: Scalar = hyper(1e-4, "[0, inf)", "decay of the weights and of the rate", unit="g per w", symbol=r"\lambda")
    alpha: Scalar = hyper(0.75, "[0, inf)", "power by which the rate falls", symbol=r"\alpha", search="linear 0.5 1")
    t0: Scalar = hyper(1e6, "[0, inf)", "step from which the weights are averaged", unit="steps", symbol="t_0")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        eta = where(t > 1, s["eta"], self.lr)
        u = -eta * (g + self.lambd * w)
        x = mix(w + u, s["x"], s["mu"])
        falling = self.lr / (1 + self.lambd * self.lr * t) ** self.alpha
        return u, {"x": x, "eta": falling, "mu": 1 / maximum(t - self.t0, 1.0)}
