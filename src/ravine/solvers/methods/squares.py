"""Least squares: half the sum of squared residuals, with the curvature that their Jacobian gives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch

from ravine.errors import UserError
from ravine.rules.rule import hyper
from ravine.solvers.linear import damped_least_squares
from ravine.solvers.method import Memory, Method, Stalled
from ravine.solvers.methods.descent import sufficient
from ravine.solvers.objective import Objective, Point, check_dense
from ravine.solvers.search import backtracking, dot


@final
@dataclass(frozen=True)
class GaussNewton(Method):
    """Gauss-Newton: the step that solves the residuals' linear model, with a line search.

        s = argmin |r + J s|^2        w <- w + a s        f = r.r / 2

    A Jacobian without full column rank has no one answer: it is an error that says so.
    Reference: Nocedal & Wright 2006, section 10.3.
    """

    family = "gauss-newton"
    differs = "the linear model's own solution"
    needs = "vector"
    reduction = "half-square"
    memory = "m x w, for m residuals"
    latex = (r"s = \mathrm{arg}\min_s \lVert r + J s \rVert^2, \qquad w \leftarrow w + \alpha s",)
    c1: float = sufficient()

    def iterate(self, objective: Objective, at: Point, memory: Memory) -> tuple[Point, Memory]:
        """A search along the solution, from the whole of it."""
        if at.norm == 0:
            raise Stalled("the gradient is zero")
        r, jacobian = objective.jacobian(at.x)
        rank = int(torch.linalg.matrix_rank(jacobian))
        if rank < at.x.numel():
            raise UserError(
                f"gauss-newton: the Jacobian of {len(r)} residuals has rank {rank}, fewer than the {at.x.numel()} "
                "parameters, so the step is not unique: use levenberg-marquardt"
            )
        step = -damped_least_squares(jacobian, r, 0.0)
        _, new = backtracking(objective, at, step, 1.0, self.c1, 0.5)
        return new, {}


@final
@dataclass(frozen=True)
class LevenbergMarquardt(Method):
    """Levenberg-Marquardt: Gauss-Newton damped in the parameters' own units.

        (J^T J + m D) s = -J^T r        w <- w + s where it gains        f = r.r / 2

    D holds the largest squared norm of each column so far. m falls by 1 - (2 q - 1)^3, to a third at least, where the
    step gained the share q of what the model foresaw; where it gained nothing, m doubles, quadruples ...
    Reference: Marquardt 1963, doi:10.1137/0111030; Moré 1978, doi:10.1007/BFb0067700; Nielsen 1999, Damping parameter
    in Marquardt's method, for the rule of m.
    """

    family = "levenberg-marquardt"
    differs = "damped in the units of each parameter"
    needs = "vector"
    reduction = "half-square"
    memory = "m x w, for m residuals"
    latex = (r"(J^\top J + \mu D)\, s = -J^\top r, \qquad w \leftarrow w + s",)
    damping: float = hyper(1e-3, "(0, inf)", "first damping", symbol=r"\mu")

    def iterate(self, objective: Objective, at: Point, memory: Memory) -> tuple[Point, Memory]:
        """A step that gains; the damping grows until there is one."""
        if at.norm == 0:
            raise Stalled("the gradient is zero")
        r, jacobian = objective.jacobian(at.x)
        if not bool(torch.isfinite(jacobian).all()):
            raise UserError("levenberg-marquardt: the Jacobian holds NaN or Inf: nothing was changed")
        check_dense("levenberg-marquardt", min(jacobian.shape))
        scale = jacobian.square().sum(0)
        scale = torch.maximum(scale, memory["D"]) if memory else scale
        safe = torch.where(scale > 0, scale, torch.ones_like(scale))
        damping, growth = memory.get("damping", self.damping), 2.0
        for _ in range(60):
            step = -damped_least_squares(jacobian, r, damping, safe)
            image = jacobian @ step
            foreseen = dot(image, image) / 2 + damping * dot(safe * step, step)
            x = at.x + step
            value = objective.value(x)
            if math.isfinite(value) and value < at.value and foreseen > 0:
                share = (at.value - value) / foreseen
                factor = max(1 / 3, 1 - (2 * share - 1) ** 3)
                return objective.point(x), {"damping": max(damping * factor, 1e-15), "D": scale}
            if foreseen <= 10 * torch.finfo(r.dtype).eps * at.value:
                raise Stalled("no lower value can be told apart at this precision")
            damping, growth = damping * growth, 2 * growth
        raise Stalled("no step along the direction lowers the value", -at.norm)
