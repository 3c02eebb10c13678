"""Metrics of classes, as functions of labels [n] and probabilities [n, classes] in float64."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Whole: TypeAlias = NDArray[np.int64]
BINS = 15  # of confidence, as in the paper of the calibration error


def confusion(labels: Whole, taken_for: Whole, classes: int) -> Whole:
    """How many samples of each class (row) were taken for each class (column)."""
    return np.bincount(labels * classes + taken_for, minlength=classes * classes).reshape(classes, classes)


def _counts(labels: Whole, chances: Floats) -> tuple[Floats, Floats, Floats]:
    """Right, true and predicted samples of each class."""
    matrix = confusion(labels, chances.argmax(-1), chances.shape[-1]).astype(np.float64)
    return matrix.diagonal(), matrix.sum(1), matrix.sum(0)


def _share(part: Floats, whole: Floats) -> Floats:
    """Part over whole, and 0 where there is nothing to have a share of."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def accuracy(labels: Whole, chances: Floats) -> float:
    """The share of right classes."""
    return float((chances.argmax(-1) == labels).mean())


def balanced_accuracy(labels: Whole, chances: Floats) -> float:
    """The mean over the classes that there are of the share found."""
    right, true, _ = _counts(labels, chances)
    return float(_share(right, true)[true > 0].mean())


def precision(labels: Whole, chances: Floats) -> float:
    """The mean over classes, seen or named, of the share of right ones among those named."""
    right, true, named = _counts(labels, chances)
    return float(_share(right, named)[true + named > 0].mean())


def recall(labels: Whole, chances: Floats) -> float:
    """The mean over classes, seen or named, of the share found."""
    right, true, named = _counts(labels, chances)
    return float(_share(right, true)[true + named > 0].mean())


def f1_macro(labels: Whole, chances: Floats) -> float:
    """The mean over classes, seen or named, of 2 right / (true + named)."""
    right, true, named = _counts(labels, chances)
    return float(_share(2 * right, true + named)[true + named > 0].mean())


def f1_weighted(labels: Whole, chances: Floats) -> float:
    """The same, a class counting as often as it is seen."""
    right, true, named = _counts(labels, chances)
    return float((_share(2 * right, true + named) * true).sum() / true.sum())


def matthews(labels: Whole, chances: Floats) -> float:
    """The correlation of true and named classes (Gorodkin 2004); 0 where either never changes."""
    right, true, named = _counts(labels, chances)
    n = true.sum()
    above = right.sum() * n - true @ named
    below = math.sqrt((n * n - named @ named) * (n * n - true @ true))
    return float(above / below) if below > 0 else 0.0


def kappa(labels: Whole, chances: Floats) -> float:
    """Agreement beyond chance (Cohen 1960): NaN where chance alone would agree always."""
    right, true, named = _counts(labels, chances)
    n = true.sum()
    by_chance = float(true @ named) / n**2
    return float((right.sum() / n - by_chance) / (1 - by_chance)) if by_chance < 1 else math.nan


def top(k: int) -> Any:
    """The share of samples whose class is among the k most probable; of equal ones the first come first."""

    def among(labels: Whole, chances: Floats) -> float:
        first = np.argsort(-chances, axis=-1, kind="stable")[:, :k]
        return float((first == labels[:, None]).any(-1).mean())

    return among


def log_loss(labels: Whole, chances: Floats) -> float:
    """The mean of -log of the probability of the right class."""
    own = np.take_along_axis(chances, labels[:, None], -1)
    return float(-np.log(np.maximum(own, np.finfo(np.float64).tiny)).mean())


def brier(labels: Whole, chances: Floats) -> float:
    """The mean squared distance to the right answer, summed over classes: between 0 and 2 (Brier 1950)."""
    right = np.zeros_like(chances)
    np.put_along_axis(right, labels[:, None], 1.0, -1)
    return float(((chances - right) ** 2).sum(-1).mean())


def calibration_error(labels: Whole, chances: Floats) -> float:
    """The mean gap between confidence and accuracy over 15 equal bins of confidence.

    Reference: Guo et al. 2017, arXiv:1706.04599, equation 3.
    """
    sure = chances.max(-1)
    gap = sure - (chances.argmax(-1) == labels)
    place = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)  # a bin holds its upper end
    return float(np.abs(np.bincount(place, gap, BINS)).sum() / len(labels))


def auroc(labels: Whole, chances: Floats) -> float:
    """Area under the curve of hits against false alarms; of several classes each against the rest, the plain mean.

    The mean is over the classes that are there; NaN where only one is.
    """
    from sklearn.metrics import roc_auc_score

    return _one_against_rest(roc_auc_score, labels, chances)


def average_precision(labels: Whole, chances: Floats) -> float:
    """Area under the curve of precision against recall, in steps; of several classes as `auroc`."""
    from sklearn.metrics import average_precision_score

    return _one_against_rest(average_precision_score, labels, chances)


def _one_against_rest(score: Any, labels: Whole, chances: Floats) -> float:
    there = np.unique(labels)
    if len(there) < 2 or not np.isfinite(chances).all():
        return math.nan
    chosen = [1] if chances.shape[-1] == 2 else there
    return float(np.mean([score(labels == one, chances[:, one]) for one in chosen]))
