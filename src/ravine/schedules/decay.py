"""Schedules that go one way: from the base value towards another, and stay there."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import final

from ravine.schedules.schedule import Schedule, known, power, setting

FACTOR = "[0, inf)"
LENGTH = "(0, inf)"


@final
@dataclass(frozen=True)
class Constant(Schedule):
    """The same factor for ever.

        f(t) = value

    Reference: Robbins & Monro 1951, doi:10.1214/aoms/1177729586, against which a constant step leaves a floor.
    """

    value: float = setting(1.0, "number", "the factor", FACTOR)

    def _at(self, t: float) -> float:
        return self.value


@final
@dataclass(frozen=True)
class Step(Schedule):
    """A drop at equal distances.

        f(t) = factor ^ floor(t / every)

    ``every`` of None is a third of the run. Reference: He et al. 2016, arXiv:1512.03385, section 3.4.

    >>> [Step(30, 0.5)(epoch) for epoch in (0, 29.9, 30, 60)]
    [1.0, 1.0, 0.5, 0.25]
    """

    every: float | None = setting(None, "number", "time between two drops", LENGTH, share=1 / 3)
    factor: float = setting(0.1, "number", "what each drop multiplies by", LENGTH)

    def _at(self, t: float) -> float:
        return power(self.factor, math.floor(t / known(self, self.every)))


@final
@dataclass(frozen=True)
class MultiStep(Schedule):
    """A drop at each milestone.

        f(t) = factor ^ (number of milestones <= t)

    ``milestones`` of None are a half and three quarters of the run, as for CIFAR-10 in the reference.
    Reference: He et al. 2016, arXiv:1512.03385, section 4.2.
    """

    milestones: tuple[float, ...] | None = setting(
        None, "numbers", "times of the drops, in order", FACTOR, share=(0.5, 0.75)
    )
    factor: float = setting(0.1, "number", "what each drop multiplies by", LENGTH)

    def _at(self, t: float) -> float:
        return power(self.factor, bisect_right(known(self, self.milestones), t))

    def flaw(self) -> str | None:
        """Milestones out of order."""
        times = self.milestones or ()
        return None if list(times) == sorted(times) else f"milestones must be in order, got {list(times)}"


@final
@dataclass(frozen=True)
class Exponential(Schedule):
    """The same ratio in every unit of time; above 1 it grows, which a learning-rate range test wants.

        f(t) = factor ^ t

    Reference: Li & Arora 2020, arXiv:1910.07454.
    """

    factor: float = setting(0.95, "number", "ratio per unit of time", LENGTH)

    def _at(self, t: float) -> float:
        return power(self.factor, t)


@final
@dataclass(frozen=True)
class InverseTime(Schedule):
    """The hyperbola of stochastic approximation, and of Keras' argument ``decay``.

        f(t) = 1 / (1 + decay t)

    Its sum diverges and the sum of its squares does not. Reference: Robbins & Monro 1951, doi:10.1214/aoms/1177729586.
    """

    decay: float = setting(0.01, "number", "per unit of time", FACTOR)

    def _at(self, t: float) -> float:
        return 1 / (1 + self.decay * t)


@final
@dataclass(frozen=True)
class Polynomial(Schedule):
    """A power of what is left of the run; after ``duration`` it stays at ``end``.

        f(t) = end + (1 - end) (1 - t / duration) ^ power

    Reference: Chen et al. 2017, arXiv:1606.00915, the "poly" policy.
    """

    duration: float | None = setting(None, "number", "time until the end value", LENGTH, share=1.0)
    power: float = setting(1.0, "number", "exponent", LENGTH)
    end: float = setting(0.0, "number", "factor at the end", FACTOR)

    def _at(self, t: float) -> float:
        left = 1 - min(t / known(self, self.duration), 1.0)
        return self.end + (1 - self.end) * left**self.power


@final
@dataclass(frozen=True)
class Linear(Schedule):
    """A straight line; after ``duration`` it stays at ``end``.

        f(t) = start + (end - start) t / duration

    Reference: Goodfellow, Bengio & Courville 2016, Deep Learning, equation 8.14.
    """

    start: float = setting(1.0, "number", "factor at t = 0", FACTOR)
    end: float = setting(0.0, "number", "factor at the end", FACTOR)
    duration: float | None = setting(None, "number", "time until the end value", LENGTH, share=1.0)

    def _at(self, t: float) -> float:
        progress = min(t / known(self, self.duration), 1.0)
        return self.start * (1 - progress) + self.end * progress


@final
@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine; after ``duration`` it stays at ``end`` (torch's would rise again).

        f(t) = end + (start - end) (1 + cos(pi t / duration)) / 2

    Reference: Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5 without restarts.

    >>> Cosine(duration=30, end=0.25)(15)
    0.625
    """

    duration: float | None = setting(None, "number", "time until the end value", LENGTH, share=1.0)
    end: float = setting(0.0, "number", "factor at the end", FACTOR)
    start: float = setting(1.0, "number", "factor at t = 0", FACTOR)

    def _at(self, t: float) -> float:
        progress = min(t / known(self, self.duration), 1.0)
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * progress)) / 2
