"""What a model's outputs on a part are worth, by each of some metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ravine.errors import UserError
from ravine.metrics.catalogue import Metric, metric_of
from ravine.metrics.classes import Floats, Whole, confusion
from ravine.types import Task

Scale = tuple[float, float]  # mean and scale that take a standardised number back to its units


def measured(
    metrics: Sequence[Metric], out: Tensor, y: Tensor, task: Task, scale: Scale = (0.0, 1.0)
) -> dict[str, float | None]:
    """Each metric of outputs [n, ..., outputs] against targets [n, ...]; None where it is not defined.

    Outputs of classes are logits: probabilities are their softmax, in float64. A sample with several labels counts
    as so many samples.
    """
    if not metrics:
        return {}
    true, predicted = arrays(out, y, task, scale)
    return {one.name: _value(one, true, predicted) for one in metrics}


def arrays(out: Tensor, y: Tensor, task: Task, scale: Scale = (0.0, 1.0)) -> tuple[NDArray[Any], Floats]:
    """What metrics are told: labels and probabilities, or true and predicted numbers in their units."""
    if task == "classification":
        chances = out.detach().double().softmax(-1).reshape(-1, out.shape[-1]).cpu().numpy()
        return y.reshape(-1).cpu().numpy(), chances
    mean, factor = scale
    return (y.detach().double() * factor + mean).cpu().numpy(), (out.detach().double() * factor + mean).cpu().numpy()


def confused(out: Tensor, y: Tensor) -> Whole:
    """The confusion matrix of outputs [n, ..., classes]: a row for each true class, a column for each named one."""
    return confusion(y.reshape(-1).cpu().numpy(), out.argmax(-1).reshape(-1).cpu().numpy(), out.shape[-1])


def _value(metric: Metric, true: NDArray[Any], predicted: Floats) -> float | None:
    if not np.isfinite(predicted).all():
        return None
    try:
        found = float(metric.compute(true, predicted))
    except Exception as error:
        if metric.task is not None:
            raise
        raise UserError(
            f"metric {metric.name}: it raised {type(error).__name__} ({error}) on true values of shape {true.shape} "
            f"and predictions of shape {predicted.shape}"
        ) from error
    return found if math.isfinite(found) else None


def check_metrics(names: Sequence[str], y: Tensor, task: Task, outputs: int, scale: Scale = (0.0, 1.0)) -> list[Metric]:
    """The metrics of these names; one sentence where one does not fit the targets ``y``, found by calling it once."""
    made = [metric_of(name) for name in dict.fromkeys(names)]
    for metric in made:
        if metric.task not in (None, task):
            kind = "classes" if task == "classification" else "numbers"
            raise UserError(f"metric {metric.name} does not fit a target of {kind}: leave it out")
        if metric.name.startswith("top") and metric.name[3:].isdigit() and int(metric.name[3:]) >= outputs:
            raise UserError(f"metric {metric.name}: there are {outputs} classes, so it is always 1: leave it out")
    guess = y.new_zeros((*y.shape, outputs) if task == "classification" else y.shape).float()
    measured([metric for metric in made if metric.task is None], guess, y, task, scale)
    return made
