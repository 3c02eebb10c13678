"""Gradient descent whose step is measured: one over the curvature, or by a line search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from ravine.rules.rule import hyper
from ravine.solvers.linear import largest_eigenvalue
from ravine.solvers.method import Memory, Method, Stalled
from ravine.solvers.objective import Objective, Point
from ravine.solvers.search import backtracking, dot, strong_wolfe


def sufficient() -> float:
    """The share of the linear decrease that Armijo's condition asks for."""
    return hyper(1e-4, "(0, 0.5)", "share of the linear decrease that a step must reach", symbol="c_1")


@final
@dataclass(frozen=True)
class GradientDescent(Method):
    """Gradient descent with the step 1/L, where L is the largest curvature, measured by Lanczos.

        w <- w - (scale / L) g        L = largest eigenvalue of H(w)

    L is measured at the start, and again where a step falls short of the decrease |g|^2 / (2 L) that a curvature of L
    promises; where that does not help, it is doubled. With scale above 1 nothing is promised, and nothing checked.
    Reference: Nesterov 2004, Introductory Lectures on Convex Optimization, theorem 2.1.14.
    """

    family = "gradient-descent"
    differs = "step one over the largest eigenvalue of the Hessian"
    needs = "curvature"
    memory = "1 number"
    latex = (r"w \leftarrow w - \frac{\eta}{L} \nabla f(w), \qquad L = \lambda_{\max}(\nabla^2 f(w))",)
    scale: float = hyper(1.0, "(0, inf)", "step in units of one over the curvature", symbol=r"\eta")

    def iterate(self, objective: Objective, at: Point, memory: Memory) -> tuple[Point, Memory]:
        """A step that keeps its promise."""
        largest = memory.get("L") or self._measure(objective, at)
        power = dot(at.gradient, at.gradient)
        noise = 10 * torch.finfo(at.x.dtype).eps * abs(at.value)
        measured = "L" not in memory
        for _ in range(60):
            new = objective.point(at.x - self.scale / largest * at.gradient)
            promised = self.scale * (1 - self.scale / 2) * power / largest
            if self.scale > 1 or new.value <= at.value - promised + noise:
                return new, {"L": largest}
            found = 0.0 if measured else self._measure(objective, at)
            largest, measured = found if found > 1.01 * largest else 2 * largest, True
        raise Stalled("no step along the direction lowers the value", -power)

    @staticmethod
    def _measure(objective: Objective, at: Point) -> float:
        """The curvature; where nothing bends upwards, one that makes the step a length of one."""
        found = largest_eigenvalue(objective.products(at.x), at.x, iterations=12, tol=1e-2)
        return found if found > 0 else max(at.norm, 1e-12)


@final
@dataclass(frozen=True)
class BacktrackingDescent(Method):
    """Gradient descent with a backtracking line search (Armijo).

        w <- w - a g        a = the first of a0, r a0, r^2 a0 ... with f(w - a g) <= f(w) - c1 a |g|^2

    A search begins one shrinking above the step that the last one found.
    Reference: Armijo 1966, doi:10.2140/pjm.1966.16.1; Nocedal & Wright 2006, algorithm 3.1.
    """

    family = "gradient-descent"
    dialect = "backtracking"
    differs = "a step that lowers the value by its share, found by shrinking"
    memory = "1 number"
    latex = (
        r"w \leftarrow w - \alpha \nabla f(w)",
        r"\alpha = \max\{\alpha_0 \rho^k : f(w - \alpha \nabla f) \le f(w) - c_1 \alpha \lVert\nabla f\rVert^2\}",
    )
    first: float = hyper(1.0, "(0, inf)", "first step tried", unit="w/g", symbol=r"\alpha_0")
    c1: float = sufficient()
    shrink: float = hyper(0.5, "(0, 1)", "factor of the next step tried", symbol=r"\rho")

    def iterate(self, objective: Objective, at: Point, memory: Memory) -> tuple[Point, Memory]:
        """A search along the negative gradient."""
        first = memory["step"] / self.shrink if memory else self.first
        step, new = backtracking(objective, at, -at.gradient, first, self.c1, self.shrink)
        return new, {"step": step}


@final
@dataclass(frozen=True)
class WolfeDescent(Method):
    """Gradient descent with a line search for the strong Wolfe conditions.

        w <- w - a g        f(w - a g) <= f(w) - c1 a |g|^2        |g(w - a g) . g| <= c2 |g|^2

    Reference: Wolfe 1969, doi:10.1137/1011036; Nocedal & Wright 2006, algorithms 3.5 and 3.6.
    """

    family = "gradient-descent"
    dialect = "wolfe"
    differs = "a step at which the slope has fallen as well"
    memory = "2 numbers"
    latex = (
        r"w \leftarrow w - \alpha \nabla f(w)",
        r"f(w - \alpha \nabla f) \le f(w) - c_1 \alpha \lVert\nabla f\rVert^2, \qquad "
        r"\lvert \nabla f(w - \alpha \nabla f) \cdot \nabla f \rvert \le c_2 \lVert\nabla f\rVert^2",
    )
    c1: float = sufficient()
    c2: float = hyper(0.9, "(0, 1)", "share of the slope that may be left", symbol="c_2")

    def iterate(self, objective: Objective, at: Point, memory: Memory) -> tuple[Point, Memory]:
        """A search that begins where the last step would give the last decrease."""
        power = dot(at.gradient, at.gradient)
        first = memory["step"] * memory["power"] / power if memory and power else 1 / max(1.0, at.norm)
        step, new = strong_wolfe(objective, at, -at.gradient, first, self.c1, self.c2)
        return new, {"step": step, "power": power}
