"""Schedules that come back: triangles, and cosines with restarts."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import final

from ravine.schedules.decay import FACTOR, LENGTH
from ravine.schedules.schedule import Schedule, known, power, setting


@dataclass(frozen=True)
class Triangle(Schedule):
    """What the triangular schedules share: a line up from ``low`` to ``high``, a line down, again and again.

        f(t) = low + (high - low) x(t) height(t, cycle),   x = 0 -> 1 -> 0 over up + down

    ``high`` may lie below ``low``: then the cycle runs the other way, as momentum does against the learning rate.
    """

    low: float = setting(0.25, "number", "factor at t = 0 and at the foot of each cycle", FACTOR)
    high: float = setting(1.0, "number", "factor at the top of the first cycle", FACTOR)
    up: float | None = setting(None, "number", "time from low to high", LENGTH, share=1 / 8)
    down: float | None = setting(None, "number", "time back; None: the same as up", LENGTH, optional=True)

    def _at(self, t: float) -> float:
        up = known(self, self.up)
        period = up + (up if self.down is None else self.down)
        cycle = math.floor(t / period)
        x = t / period - cycle
        peak = up / period
        climb = x / peak if x <= peak else (1 - x) / (1 - peak)
        return self.low + (self.high - self.low) * climb * self.height(t, cycle)

    @abstractmethod
    def height(self, t: float, cycle: int) -> float:
        """How much of the distance from low to high the cycle (0 is the first) reaches at time t."""


@final
@dataclass(frozen=True)
class Triangular(Triangle):
    """Triangles of the same height; ``up`` of None is an eighth of the run, which makes four cycles.

        f(t) = low + (high - low) x(t),   x = 0 -> 1 -> 0 over up + down

    Reference: Smith 2017, arXiv:1506.01186, section 3.1.

    >>> [Triangular(0.5, 1, up=2)(t) for t in range(6)]
    [0.5, 0.75, 1.0, 0.75, 0.5, 0.75]
    """

    def height(self, t: float, cycle: int) -> float:
        """The whole distance, always."""
        return 1.0


@final
@dataclass(frozen=True)
class Triangular2(Triangle):
    """Triangles, each half as high as the one before.

        f(t) = low + (high - low) x(t) / 2 ^ cycle,   cycle = 0, 1, ...

    Reference: Smith 2017, arXiv:1506.01186, section 3.1.
    """

    def height(self, t: float, cycle: int) -> float:
        """Half as much in each cycle."""
        return 0.5**cycle


@final
@dataclass(frozen=True)
class ExpRange(Triangle):
    """Triangles whose height decays all the time.

        f(t) = low + (high - low) x(t) gamma ^ t

    Reference: Smith 2017, arXiv:1506.01186, section 3.1 ("exp_range"; his code takes gamma per iteration).
    """

    gamma: float = setting(0.999, "number", "ratio per unit of time", "(0, 1]")

    def height(self, t: float, cycle: int) -> float:
        """A geometric decay in time."""
        return power(self.gamma, t)


@final
@dataclass(frozen=True)
class CosineRestarts(Schedule):
    """Half cosines one after another, each ``growth`` times as long as the one before (SGDR).

        f(t) = end + (1 - end) (1 + cos(pi (t - t_i) / T_i)) / 2,   T_i = first growth ^ i,   t_i = T_0 + ... + T_(i-1)

    ``first`` of None is a seventh of the run: with growth 2, three whole cycles.
    Reference: Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5.

    >>> [CosineRestarts(first=2)(t) for t in (0, 1, 2, 6)]
    [1.0, 0.5, 1.0, 1.0]
    """

    first: float | None = setting(None, "number", "length of the first cycle", LENGTH, share=1 / 7)
    growth: float = setting(2.0, "number", "ratio of the lengths of two cycles", "[1, 100]")
    end: float = setting(0.0, "number", "factor just before a restart", FACTOR)

    def _at(self, t: float) -> float:
        progress = _cycle_progress(t / known(self, self.first), self.growth)
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * progress)) / 2


def _cycle_progress(t: float, growth: float) -> float:
    """The part in [0, 1) of its cycle that t has done, where the first cycle has length 1."""
    if growth == 1:
        return t - math.floor(t)

    def begin(i: int) -> float:
        return (growth**i - 1) / (growth - 1)

    i = math.floor(math.log1p(t * (growth - 1)) / math.log(growth))
    # The logarithm may land one beside the cycle exactly where a cycle begins, which is where callers look.
    if begin(i) > t:
        i -= 1
    elif begin(i + 1) <= t:
        i += 1
    return (t - begin(i)) / growth**i
