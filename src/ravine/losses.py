"""Losses by name, whether labels fit them, and the metric that a report shows beside them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ravine.errors import UserError, unknown
from ravine.problems.problem import Problem
from ravine.types import Loss

CLASS_LOSSES: dict[str, Loss] = {"cross_entropy": functional.cross_entropy}
NUMBER_LOSSES: dict[str, Loss] = {
    "mse": functional.mse_loss,
    "l1": functional.l1_loss,
    "huber": functional.huber_loss,
}


def loss_of(problem: Problem) -> Loss:
    """The loss of a problem as a function of (prediction, target); a `UserError` where labels do not fit it."""
    if not isinstance(problem.loss, str):
        return problem.loss
    fitting, other = CLASS_LOSSES, NUMBER_LOSSES
    if problem.task == "regression":
        fitting, other = other, fitting
    if problem.loss == "auto":
        return next(iter(fitting.values()))
    if problem.loss in other:
        kind = "classes" if problem.task == "classification" else "numbers"
        raise UserError(
            f"loss {problem.loss} does not fit {problem.name}, whose target is {kind}: use {' or '.join(fitting)}"
        )
    if problem.loss not in fitting:
        raise unknown("loss", problem.loss, fitting)
    return fitting[problem.loss]


def loss_name(problem: Problem) -> str:
    """The loss in words."""
    if not isinstance(problem.loss, str):
        return getattr(problem.loss, "__name__", type(problem.loss).__name__)
    if problem.loss != "auto":
        return problem.loss
    return next(iter(CLASS_LOSSES if problem.task == "classification" else NUMBER_LOSSES))


def metric_name(problem: Problem) -> str:
    """What `metric_of` measures: the share of right classes, or the share of variance explained."""
    return "accuracy" if problem.task == "classification" else "R²"


def metric_of(problem: Problem) -> Callable[[Tensor, Tensor], Tensor]:
    """The metric summed over samples: (prediction [..., n, outputs], target [n, ...]) -> [...].

    Divided by n it is the accuracy for classes, over all of a sample that has several; for numbers, one minus it is
    R^2, the squared error in units of the variance of the standardised target's part.
    """
    if problem.task == "classification":
        return lambda out, y: (out.argmax(-1) == y).sum(tuple(range(-y.dim(), 0))).double() / y[:1].numel()
    return lambda out, y: ((out - y) ** 2).sum((-2, -1)).double()


def finish_metric(problem: Problem, total: Tensor, target: Tensor) -> Tensor:
    """The metric itself from `metric_of` summed over a whole part with that target."""
    if problem.task == "classification":
        return total / len(target)
    spread = ((target - target.mean(0)) ** 2).sum().double().clamp_min(torch.finfo(torch.float64).tiny)
    return 1 - total / spread
