"""What the spread over seeds allows to be said: means, intervals, ties."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import stats

from ravine.results import Interval


def interval(numbers: Sequence[float], comparisons: int = 1, level: float = 0.95) -> Interval:
    """The mean with its interval by Student's t; ``comparisons`` at once widen it (Bonferroni).

    A single number has no spread: its interval is itself.
    """
    mean = float(np.mean(numbers))
    if len(numbers) < 2:
        return Interval(mean=mean, low=mean, high=mean, values=list(numbers))
    error = float(np.std(numbers, ddof=1)) / math.sqrt(len(numbers))
    half = _student(1 - (1 - level) / (2 * comparisons), len(numbers) - 1) * error
    return Interval(mean=mean, low=mean - half, high=mean + half, values=list(numbers))


@cache
def _student(below: float, freedom: int) -> float:
    """The quantile of Student's t: a ranking asks for few of them, many times."""
    return float(stats.t.ppf(below, freedom))


def paired(one: Sequence[float], other: Sequence[float], comparisons: int = 1) -> Interval:
    """The mean difference ``one - other``, seed by seed: what both share by their draw cancels."""
    return interval([a - b for a, b in zip(one, other, strict=True)], comparisons)


def change(one: Sequence[float], other: Sequence[float]) -> Interval:
    """The relative change from ``other`` to ``one``, seed by seed: -0.38 is 38 % lower.

    Taken as a difference over the mean of ``other``, so that a seed with a tiny loss does not outweigh the rest.
    """
    scale = float(np.mean(other)) or 1.0
    return interval([(a - b) / scale for a, b in zip(one, other, strict=True)])
