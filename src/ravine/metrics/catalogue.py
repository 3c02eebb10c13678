"""The metrics that have a name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ravine.errors import UserError, unknown
from ravine.metrics import classes as c
from ravine.types import Task

Compute: TypeAlias = Callable[[NDArray[Any], NDArray[np.float64]], float]


@dataclass(frozen=True)
class Metric:
    """A number that says how good predictions are.

    ``compute`` takes labels [n] and probabilities [n, classes], or true and predicted numbers [n, outputs] in the
    user's own units. ``task`` is None where it takes what it is given, as a function of one's own does.
    """

    name: str
    compute: Compute
    larger: bool  # whether more is better
    task: Task | None


def _errors(y: NDArray[Any], p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.abs(p - y)


def _r2(y: NDArray[Any], p: NDArray[np.float64]) -> float:
    """One minus squared error over variance, the mean over outputs; NaN where a target does not vary."""
    spread = ((y - y.mean(0)) ** 2).sum(0)
    if not (spread > 0).all():
        return math.nan
    return float((1 - ((p - y) ** 2).sum(0) / spread).mean())


def _percent(y: NDArray[Any], p: NDArray[np.float64]) -> float:
    """Mean |error| / |true|, as scikit-learn's: a share, not a hundredth."""
    return float((_errors(y, p) / np.maximum(np.abs(y), np.finfo(np.float64).eps)).mean())


_CLASSES: dict[str, tuple[Compute, bool]] = {
    "accuracy": (c.accuracy, True),
    "balanced-accuracy": (c.balanced_accuracy, True),
    "f1-macro": (c.f1_macro, True),
    "f1-weighted": (c.f1_weighted, True),
    "precision-macro": (c.precision, True),
    "recall-macro": (c.recall, True),
    "auroc": (c.auroc, True),
    "average-precision": (c.average_precision, True),
    "matthews": (c.matthews, True),
    "kappa": (c.kappa, True),
    "log-loss": (c.log_loss, False),
    "brier": (c.brier, False),
    "calibration-error": (c.calibration_error, False),
}
_NUMBERS: dict[str, tuple[Compute, bool]] = {
    "mae": (lambda y, p: float(_errors(y, p).mean()), False),
    "mse": (lambda y, p: float((_errors(y, p) ** 2).mean()), False),
    "rmse": (lambda y, p: float(np.sqrt((_errors(y, p) ** 2).mean())), False),
    "median-error": (lambda y, p: float(np.median(_errors(y, p))), False),
    "max-error": (lambda y, p: float(_errors(y, p).max()), False),
    "mape": (_percent, False),
    "r2": (_r2, True),
}
METRICS: dict[str, Metric] = {
    **{name: Metric(name, compute, larger, "classification") for name, (compute, larger) in _CLASSES.items()},
    **{name: Metric(name, compute, larger, "regression") for name, (compute, larger) in _NUMBERS.items()},
}


@cache
def metric_of(name: str) -> Metric:
    """The metric of a name: one of the catalogue, topK, or the function ``module:function`` of the user's own.

    >>> metric_of("top3").larger
    True
    """
    if name in METRICS:
        return METRICS[name]
    if found := re.fullmatch(r"top([1-9]\d*)", name):
        return Metric(name, c.top(int(found[1])), True, "classification")
    if ":" in name:
        return _own(name)
    raise unknown("metric", name, [*METRICS, "top5", "module:function"])


def _own(name: str) -> Metric:
    """A function of (true, predicted) of the user's; it is better when larger, unless it says otherwise."""
    from ravine.code import find

    function: Any = find(name, "metric")
    if not callable(function):
        raise UserError(f"metric {name}: it is no function; give one of (true, predicted) that returns a number")
    compute: Any = function
    return Metric(name, compute, bool(getattr(function, "larger_is_better", True)), None)
