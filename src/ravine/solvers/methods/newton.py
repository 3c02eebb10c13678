"""Newton's method: the whole Hessian, or as much of it as conjugate gradient asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ravine.errors import UserError
from ravine.rules.rule import hyper
from ravine.solvers.linear import steihaug
from ravine.solvers.method import Memory, Method, Stalled
from ravine.solvers.methods.descent import sufficient
from ravine.solvers.objective import Objective, Point, check_dense
from ravine.solvers.search import backtracking, dot

FLAT = 1e-12  # of the largest eigenvalue: a smaller one counts as zero


def spectrum(owner: str, objective: Objective, at: Point) -> tuple[Tensor, Tensor, float]:
    """Eigenvalues [d] of the Hessian in ascending order, their vectors [d, d], and the largest size of one."""
    check_dense(owner, at.x.numel())
    if at.norm == 0:
        raise Stalled("the gradient is zero")
    hessian = objective.hessian(at.x)
    if not bool(torch.isfinite(hessian).all()):
        raise UserError(f"{owner}: the Hessian holds NaN or Inf: nothing was changed")
    values, vectors = torch.linalg.eigh(hessian)
    return values, vectors, float(values.abs().max())


def solved(values: Tensor, vectors: Tensor, g: Tensor) -> Tensor:
    """-H^-1 g from the spectrum."""
    return -(vectors @ ((vectors.T @ g) / values))


@final
@dataclass(frozen=True)
class Newton(Method):
    """Newton's method where the Hessian is positive definite; elsewhere it refuses.

        w <- w - H^-1 g

    An indefinite or singular Hessian is an error that says so, and nothing is changed.
    Reference: Nocedal & Wright 2006, section 3.3.
    """

    family = "newton"
    differs = "refuses an indefinite Hessian"
    needs = "curvature"
    contender = False  # the Hessian of a network is never definite
    latex = (r"w \leftarrow w - (\nabla^2 f)^{-1} \nabla f",)

    def iterate(self, objective: Objective, at: Point, memory: Memory) -> tuple[Point, Memory]:
        """The whole step."""
        values, vectors, largest = spectrum("newton", objective, at)
        low = float(values[0])
        if low <= FLAT * largest:
            kind = "indefinite" if low < -FLAT * largest else "singular"
            raise UserError(
                f"newton: the Hessian is {kind} (smallest eigenvalue {low:.3g}), so its step may lead to a saddle or "
                "a maximum: use newton/damped, or newton/undamped to go there"
            )
        return objective.point(at.x + solved(values, vectors, at.gradient)), {}


@final
@dataclass(frozen=True)
class NewtonUndamped(Method):
    """Newton's method as it stands: to the nearest stationary point, a saddle or a maximum as well.

        w <- w - H^-1 g

    Directions without curvature are left as they are. It says where the Hessian was indefinite.
    Reference: Dauphin et al. 2014, arXiv:1406.2572, on why saddles attract it.
    """

    family = "newton"
    dialect = "undamped"
    differs = "goes to saddles as well, and says so"
    needs = "curvature"
    contender = False
    latex = (r"w \leftarrow w - (\nabla^2 f)^{-1} \nabla f",)

    def iterate(self, objective: Objective, at: Point, memory: Memory) -> tuple[Point, Memory]:
        """The whole step, wherever it leads."""
        values, vectors, largest = spectrum("newton/undamped", objective, at)
        flat = values.abs() <= FLAT * largest
        step = solved(torch.where(flat, math.inf, values), vectors, at.gradient)
        note = {"note": INDEFINITE.format(float(values[0]))} if float(values[0]) < 0 else {}
        return objective.point(at.x + step), {**memory, **note}


INDEFINITE = "The Hessian was indefinite on the way (an eigenvalue of {:.3g}): Newton's steps may lead to a saddle."


@final
@dataclass(frozen=True)
class NewtonDamped(Method):
    """Damped Newton: as much of the identity is added as makes the Hessian positive definite, then a line search.

        w <- w - a (H + m I)^-1 g        m = max(0, damping max|eigenvalue| - min eigenvalue)

    a is 1 or shrinks until Armijo's condition holds, so a positive definite Hessian gives Newton's own steps.
    Reference: Nocedal & Wright 2006, section 3.4; Goodfellow et al. 2016, Deep Learning, section 8.6.1.
    """

    family = "newton"
    dialect = "damped"
    differs = "adds to an indefinite Hessian what makes it positive definite, and searches along the step"
    needs = "curvature"
    dense = True
    latex = (
        r"w \leftarrow w - \alpha (\nabla^2 f + \mu I)^{-1} \nabla f",
        r"\mu = \max\{0, \delta \max_i \lvert\lambda_i\rvert - \min_i \lambda_i\}",
    )
    damping: float = hyper(1e-3, "(0, inf)", "smallest eigenvalue allowed, over the largest", symbol=r"\delta")
    c1: float = sufficient()

    def iterate(self, objective: Objective, at: Point, memory: Memory) -> tuple[Point, Memory]:
        """A search along the damped direction."""
        values, vectors, largest = spectrum("newton/damped", objective, at)
        low = float(values[0])
        needed = low < FLAT * largest
        added = self.damping * largest - low if needed else 0.0
        direction = solved(values + added, vectors, at.gradient)
        if largest == 0:
            direction = -at.gradient
        _, new = backtracking(objective, at, direction, 1.0, self.c1, 0.5)
        note = {"note": f"The Hessian was not positive definite on the way (an eigenvalue of {low:.3g}): damped."}
        return new, {**memory, **(note if needed else {})}


@final
@dataclass(frozen=True)
class NewtonCG(Method):
    """Newton-CG, free of the Hessian itself: conjugate gradient within a trust region, cut on negative curvature.

        s = argmin g.s + s^T H s / 2 over |s| <= R, as far as conjugate gradient leads        w <- w + s

    Conjugate gradient ends at the region's boundary, on a direction of negative curvature (along which it goes to the
    boundary), or where the residual is min(forcing, sqrt|g|) |g|. R doubles where the model was right and
    shrinks to a quarter of the step where it was not. Reference: Steihaug 1983, doi:10.1137/0720042; Martens 2010,
    Deep learning via Hessian-free optimization, ICML, on negative curvature and products; Nocedal & Wright 2006,
    algorithms 4.1 and 7.2.
    """

    family = "newton-cg"
    differs = "a trust region, truncated on negative curvature"
    needs = "curvature"
    memory = "1 number"
    latex = (
        r"s \approx \mathrm{arg}\min_{\lVert s \rVert \le R} g^\top s + \tfrac12 s^\top H s",
        r"w \leftarrow w + s",
    )
    radius: float = hyper(1.0, "(0, inf)", "first radius of trust", unit="w", symbol="R")
    forcing: float = hyper(
        0.5, "(0, 1)", "largest relative residual at which a system counts as solved", symbol=r"\eta"
    )
    most: float = hyper(100, "[1, inf)", "products an iteration at most", symbol="k")

    def iterate(self, objective: Objective, at: Point, memory: Memory) -> tuple[Point, Memory]:
        """A step that the model foresees rightly; the region shrinks until there is one."""
        if at.norm == 0:
            raise Stalled("the gradient is zero")
        product, radius = objective.products(at.x), memory.get("radius", self.radius)
        tol = min(self.forcing, math.sqrt(at.norm))
        noise = 10 * torch.finfo(at.x.dtype).eps * abs(at.value)
        for _ in range(40):
            found = steihaug(product, at.gradient, radius, tol, int(self.most))
            length = math.sqrt(dot(found.step, found.step))
            x = at.x + found.step
            value = objective.value(x)
            gained = at.value - value if math.isfinite(value) else -math.inf
            if max(found.gain, abs(gained)) <= noise:
                gained = found.gain if value <= at.value else -math.inf
            if gained > 1e-4 * found.gain:
                wider = gained > 0.75 * found.gain and length > 0.99 * radius
                narrower = gained < 0.25 * found.gain
                new = 2 * radius if wider else length / 4 if narrower else radius
                return objective.point(x), {"radius": new}
            if found.gain <= noise:
                raise Stalled("no lower value can be told apart at this precision")
            radius = length / 4
        raise Stalled("no step along the direction lowers the value", -at.norm)
