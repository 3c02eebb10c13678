"""Nonlinear conjugate gradient: directions that remember the last one."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import final

from torch import Tensor

from ravine.rules.rule import hyper
from ravine.solvers.method import Memory, Method
from ravine.solvers.methods.descent import sufficient
from ravine.solvers.objective import Objective, Point
from ravine.solvers.search import dot, strong_wolfe


@dataclass(frozen=True)
class Conjugate(Method):
    """What both forms share; begins anew every d iterations, and where a direction would not lead down."""

    memory = "2 x w"
    c1: float = sufficient()
    c2: float = hyper(0.1, "(0, 0.5)", "share of the slope that may be left", symbol="c_2")

    @abstractmethod
    def beta(self, g: Tensor, before: Tensor) -> float:
        """The share of the last direction that is kept, from this gradient and the last."""

    def iterate(self, objective: Objective, at: Point, memory: Memory) -> tuple[Point, Memory]:
        """A search for the strong Wolfe conditions along d = -g + beta d."""
        g, count = at.gradient, memory.get("count", 0)
        direction = -g
        if memory and count % g.numel():
            direction = memory["d"] * self.beta(g, memory["g"]) - g
            if not dot(g, direction) < 0:
                direction, count = -g, 0
        slope = dot(g, direction)
        first = memory["step"] * memory["slope"] / slope if memory and slope else 1 / max(1.0, at.norm)
        step, new = strong_wolfe(objective, at, direction, first, self.c1, self.c2)
        return new, {"d": direction, "g": g, "step": step, "slope": slope, "count": count + 1}


@final
@dataclass(frozen=True)
class PolakRibiere(Conjugate):
    """Nonlinear conjugate gradient in the form of Polak and Ribière, kept at zero or above.

        d <- -g + b d        b = max(0, g . (g - g') / g' . g')        w <- w + a d

    g' is the gradient of the last iteration; a satisfies the strong Wolfe conditions.
    Reference: Polak & Ribière 1969; Gilbert & Nocedal 1992, doi:10.1137/0802003; Nocedal & Wright 2006, (5.45).
    """

    family = "conjugate-gradient"
    differs = "begins anew by itself where the gradient hardly changes (Polak-Ribière, non-negative)"
    latex = (
        r"d \leftarrow -g + \beta d, \qquad \beta = \max\{0,\; g^\top (g - g') / g'^\top g'\}",
        r"w \leftarrow w + \alpha d",
    )

    def beta(self, g: Tensor, before: Tensor) -> float:
        """Polak and Ribière's, not below zero."""
        return max(0.0, dot(g, g - before) / dot(before, before))


@final
@dataclass(frozen=True)
class FletcherReeves(Conjugate):
    """Nonlinear conjugate gradient in the form of Fletcher and Reeves.

        d <- -g + b d        b = g . g / g' . g'        w <- w + a d

    g' is the gradient of the last iteration; a satisfies the strong Wolfe conditions.
    Reference: Fletcher & Reeves 1964, doi:10.1093/comjnl/7.2.149; Nocedal & Wright 2006, algorithm 5.4.
    """

    family = "conjugate-gradient"
    dialect = "fletcher-reeves"
    differs = "the first form, which may take many short steps in a row"
    latex = (r"d \leftarrow -g + \beta d, \qquad \beta = g^\top g / g'^\top g'", r"w \leftarrow w + \alpha d")

    def beta(self, g: Tensor, before: Tensor) -> float:
        """Fletcher and Reeves'."""
        return dot(g, g) / dot(before, before)
