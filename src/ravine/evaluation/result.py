"""What came of folds, as plain values, and the interval over them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from ravine.results import Interval


@dataclass(frozen=True)
class Outside:
    """What came of one fold: on its samples, and where settings were chosen, by what and at which loss."""

    fold: int
    train: int
    test: int
    loss: float
    metric: float
    inner: float | None = None  # the lowest validation loss, by which the settings were chosen
    chosen: str = ""
    repeat: int = 0
    metrics: Mapping[str, float | None] = field(default_factory=dict[str, float | None])  # further ones


@dataclass(frozen=True)
class Evaluation:
    """All folds."""

    problem: str
    metric_name: str
    folds: tuple[Outside, ...]

    @property
    def loss(self) -> Interval:
        """On the samples of each fold."""
        return self._over([fold.loss for fold in self.folds])

    @property
    def metric(self) -> Interval:
        """On the samples of each fold."""
        return self._over([fold.metric for fold in self.folds])

    @property
    def metrics(self) -> dict[str, Interval]:
        """The further ones, of which every fold has a number."""
        first = self.folds[0].metrics if self.folds else {}
        found = {name: [fold.metrics[name] for fold in self.folds] for name in first}
        whole = {name: [value for value in values if value is not None] for name, values in found.items()}
        return {name: self._over(values) for name, values in whole.items() if len(values) == len(self.folds)}

    @property
    def gap(self) -> Interval | None:
        """How much lower the loss was by which settings were chosen: what choosing makes of an estimate."""
        pairs = [(fold.loss, fold.inner) for fold in self.folds if fold.inner is not None]
        return self._over([outer - inner for outer, inner in pairs]) if pairs else None

    def _over(self, numbers: list[float]) -> Interval:
        share = sum(fold.test / fold.train for fold in self.folds) / len(self.folds)
        return over_folds(numbers, share)


def over_folds(numbers: Sequence[float], share: float) -> Interval:
    """The mean over folds with its interval, widened since the folds' training parts overlap.

    ``share`` is a fold's samples over those that trained. The variance of the mean is taken as (1 / k + share) s^2
    rather than s^2 / k, where k counts the folds of all repeats.   Reference: Nadeau and Bengio 2003 (Machine Learning
    52:239); of repeats: Bouckaert and Frank 2004 (PAKDD, 3056:3).

    >>> over_folds([1.0, 2.0, 3.0], 0.0).mean
    2.0
    """
    k, mean = len(numbers), float(np.mean(numbers))
    if k < 2:
        return Interval(mean=mean, low=mean, high=mean, values=list(numbers))
    half = float(stats.t.ppf(0.975, k - 1)) * float(np.std(numbers, ddof=1)) * math.sqrt(1 / k + share)
    return Interval(mean=mean, low=mean - half, high=mean + half, values=list(numbers))
