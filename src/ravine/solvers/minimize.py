"""Minimise a function of a tensor, or of nested tensors, and say how it ended and what it cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from ravine.errors import UserError
from ravine.rules.rule import check, name_of
from ravine.solvers.method import Memory, Method, Stalled, make
from ravine.solvers.objective import Counts, Evaluated, Objective, Point, Reduction, check_finite
from ravine.solvers.tree import Tree, flatten, leaves, one_kind, rebuilder


@dataclass(frozen=True)
class Result:
    """Where a method ended, and why. ``x`` has the form of x0; ``path`` [k + 1, d] holds every iterate if asked for."""

    x: Tree
    value: float
    gradient_norm: float  # Euclidean
    iterations: int
    evaluations: Counts
    converged: bool  # the gradient's norm is at most the tolerance
    reason: str
    notes: tuple[str, ...] = ()
    path: Tensor | None = None


def of_function(f: Callable[[Tree], Tensor], x0: Tree, reduction: Reduction) -> Objective:
    """A function of a tree as an objective of its flat vector."""
    rebuild = rebuilder(x0)

    def evaluate(x: Tensor, graph: bool) -> Evaluated:
        leaf = x.detach().clone().requires_grad_(graph)
        with torch.set_grad_enabled(graph):
            out = cast(object, f(rebuild(leaf)))
        if not isinstance(out, Tensor):
            raise UserError(f"the function must return a tensor, got {type(out).__name__}: compute it in torch")
        return Evaluated(out, [leaf])

    return Objective(evaluate, reduction)


def minimize(
    f: Callable[[Tree], Tensor],
    x0: Tree,
    method: str | Method = "lbfgs",
    *,
    tol: float = 1e-8,
    max_evaluations: float = 1000.0,
    max_iterations: int | None = None,
    path: bool = False,
    **hyperparameters: float,
) -> Result:
    """Minimise ``f`` from ``x0`` (a tensor of any shape, or a dict, list or tuple of such).

    ``f`` returns one number; for gauss-newton and levenberg-marquardt the residuals [m], of which half the sum of
    squares is minimised; for natural-gradient one loss a sample [n], of which the mean is. It ends where the gradient's
    Euclidean norm is at most ``tol``, where no lower value can be found, or before an iteration that begins beyond
    ``max_evaluations`` gradient-equivalents (a value alone counts 1/3, a Hessian-vector product 2) or
    ``max_iterations``. ``ravine rules`` lists the methods and their hyperparameters. ``x0`` is not changed.

    Raises:
        UserError: for an unknown method or hyperparameter, a function that torch cannot differentiate, or an objective
            that the method refuses (an indefinite Hessian under "newton").

    >>> minimize(lambda w: ((w - 3) ** 2).sum(), torch.zeros(2, dtype=torch.float64)).x.round(decimals=6)
    tensor([3., 3.], dtype=torch.float64)
    """
    chosen = make(method, hyperparameters) if isinstance(method, str) else check(method)
    if not isinstance(method, str) and hyperparameters:
        raise UserError(f"give {', '.join(hyperparameters)} to the method itself, not beside it")
    parts = leaves(x0)
    one_kind(parts, "minimize")
    objective = of_function(f, x0, chosen.reduction)
    at = objective.point(flatten(parts))
    check_finite(name_of(chosen), at)
    seen = [at.x]
    memory: Memory = {}
    notes: dict[str, None] = {}
    reason, count = "", 0
    while not (reason := _ending(at, tol, objective.counts, max_evaluations, count, max_iterations)):
        try:
            new, memory = chosen.iterate(objective, at, memory)
        except Stalled as stalled:
            reason = stalled.reason
            break
        notes |= {memory["note"]: None} if "note" in memory else {}
        if not math.isfinite(new.value) or not math.isfinite(new.norm):
            reason = "it diverged: the value is no longer finite"
            break
        stuck = bool(torch.equal(new.x, at.x))
        at, count = new, count + 1
        if path:
            seen.append(at.x)
        if stuck:
            reason = "the steps have become too small to change anything"
            break
    return Result(
        x=rebuilder(x0)(at.x), value=at.value, gradient_norm=at.norm, iterations=count, evaluations=objective.counts,
        converged=at.norm <= tol, reason=reason, notes=tuple(notes), path=torch.stack(seen) if path else None,
    )  # fmt: skip


def _ending(at: Point, tol: float, counts: Counts, most: float, count: int, iterations: int | None) -> str:
    """Why to stop before the next iteration; empty to go on."""
    if at.norm <= tol:
        return "the gradient is small"
    if counts.equivalents >= most:
        return f"{most:g} gradient-equivalents are spent"
    if iterations is not None and count >= iterations:
        return f"{iterations} iterations are done"
    return ""
