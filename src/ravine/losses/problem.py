"""The loss of a problem, whether labels fit it, and the metric that a report shows beside it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ravine.errors import UserError
from ravine.losses.catalogue import names_for
from ravine.losses.spec import form_of
from ravine.losses.weighted import weighted
from ravine.problems.heads import mean_score
from ravine.problems.problem import Problem
from ravine.types import Loss


def loss_of(problem: Problem) -> Loss:
    """The loss of a problem as a function of (prediction, target); a `UserError` where labels do not fit it."""
    if not isinstance(problem.loss, str):
        if problem.class_weights is not None:
            raise UserError("class_weights go with a loss of ravine's, not with a function of your own: weigh in there")
        return problem.loss
    fitting = names_for(problem.task)
    form = form_of(fitting[0] if problem.loss == "auto" else problem.loss)
    if form.task != problem.task:
        kind = "classes" if problem.task == "classification" else "numbers"
        raise UserError(
            f"loss {form.name} does not fit {problem.name}, whose target is {kind}: use {' or '.join(fitting)}"
        )
    weights = getattr(form, "weights", None)
    if weights is not None and len(weights) != problem.outputs:
        raise UserError(
            f"loss {problem.loss}: {len(weights)} weights for the {problem.outputs} outputs of {problem.name}"
        )
    return form.function() if problem.class_weights is None else weighted(form, problem.class_weights)


def loss_name(problem: Problem) -> str:
    """The loss in words."""
    if not isinstance(problem.loss, str):
        return getattr(problem.loss, "__name__", type(problem.loss).__name__)
    if problem.loss != "auto":
        return problem.loss
    return names_for(problem.task)[0]


def metric_name(problem: Problem) -> str:
    """What `metric_of` measures: the share of right classes, or the share of variance explained."""
    if problem.heads:
        return "mean score"
    return "accuracy" if problem.task == "classification" else "R²"


def metric_of(problem: Problem) -> Callable[[Tensor, Tensor], Tensor]:
    """The metric summed over samples: (prediction [..., n, outputs], target [n, ...]) -> [...].

    Divided by n it is the accuracy for classes, over all of a sample that has several; for numbers, one minus it is
    R^2, the squared error in units of the variance of the standardised target's part. Of several targets it is the mean
    over them of the accuracy, or of one minus the squared error in units of the training variance.
    """
    if heads := problem.heads:
        return lambda out, y: mean_score(heads, out, y)
    if problem.task == "classification":
        return lambda out, y: (out.argmax(-1) == y).sum(tuple(range(-y.dim(), 0))).double() / y[:1].numel()
    return lambda out, y: ((out - y) ** 2).sum((-2, -1)).double()


def finish_metric(problem: Problem, total: Tensor, target: Tensor) -> Tensor:
    """The metric itself from `metric_of` summed over a whole part with that target."""
    if problem.task == "classification" or problem.heads:
        return total / len(target)
    spread = ((target - target.mean(0)) ** 2).sum().double().clamp_min(torch.finfo(torch.float64).tiny)
    return 1 - total / spread
