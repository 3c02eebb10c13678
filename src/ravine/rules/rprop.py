"""Rprop: each weight has a step size of its own, which grows while its gradient keeps its sign."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, final

from ravine.rules.math import maximum, minimum, sign, where
from ravine.rules.rule import Rule, hyper
from ravine.types import Array, Scalar, State


@dataclass(frozen=True)
class _Resilient(Rule, ABC):
    family = "rprop"
    contender = False
    slots: ClassVar[tuple[str, ...]] = ("p", "d")
    lr: Scalar = hyper(1e-2, "[0, inf)", "size of the first step", unit="w", symbol=r"\Delta_0", search="log 1e-5 1e-1")
    down: Scalar = hyper(0.5, "(0, 1)", "factor where the sign changes", symbol=r"\eta^-", search="linear 0.3 0.8")
    up: Scalar = hyper(1.2, "(1, inf)", "factor where the sign stays", symbol=r"\eta^+", search="linear 1.05 1.5")
    smallest: Scalar = hyper(1e-6, "[0, inf)", "smallest step", unit="w", symbol=r"\Delta_{\min}")
    largest: Scalar = hyper(50.0, "(0, inf)", "largest step", unit="w", symbol=r"\Delta_{\max}")

    def init(self, w: Array) -> State:
        return {slot: w.new_zeros(w.shape) + (self.lr if slot == "d" else 0.0) for slot in self.slots}

    def resized(self, turn: Array, d: Array) -> Array:
        """The step size after a gradient times its last, ``turn``, within its limits."""
        grown = where(turn > 0, self.up * d, where(turn < 0, self.down * d, d))
        return minimum(maximum(grown, self.smallest), self.largest)


@final
@dataclass(frozen=True)
class Rprop(_Resilient):
    """Rprop without backtracking: where the gradient turns, the weight rests for a step.

        d <- d times up if g p > 0, down if g p < 0, kept in [smallest, largest]
        p <- 0 if g p < 0, else g      u = -d sign(p)

    State: p [g], the last gradient, d [w], the step size. For whole batches: noise turns gradients' signs.
    Reference: Igel & Huesken 2000, iRprop-; torch.optim.Rprop.
    """

    differs = "a weight whose gradient turns rests for a step (iRprop-, torch)"
    when = "For full batches only, where the sign of a gradient is reliable: then it needs hardly any tuning."

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        turn = g * s["p"]
        d = self.resized(turn, s["d"])
        p = where(turn < 0, 0 * g, g)
        return -d * sign(p), {"p": p, "d": d}


@final
@dataclass(frozen=True)
class RpropBacktracking(_Resilient):
    """Rprop as first published: where the gradient turns, the weight goes back to where it was.

        d as in Rprop      u = -q if g p < 0, else -d sign(g)      p <- 0 if g p < 0, else g      q <- u

    State: p [g], d [w], q [w], the last update.   Reference: Riedmiller & Braun 1993, ICNN.
    """

    dialect = "backtracking"
    differs = "a weight whose gradient turns takes its last step back (Riedmiller & Braun)"
    slots = ("p", "d", "q")
    lr: Scalar = hyper(1e-1, "[0, inf)", "size of the first step", unit="w", symbol=r"\Delta_0", search="log 1e-5 1e0")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        turn = g * s["p"]
        d = self.resized(turn, s["d"])
        u = where(turn < 0, -s["q"], -d * sign(g))
        return u, {"p": where(turn < 0, 0 * g, g), "d": d, "q": u}
