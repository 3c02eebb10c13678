"""Schedules made of schedules: warm-up before any, one after another; and factors from absolute values."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, final

from ravine.errors import UserError
from ravine.schedules.decay import FACTOR, LENGTH, Constant
from ravine.schedules.schedule import Schedule, Setting, known, setting


@final
@dataclass(frozen=True)
class WarmUp(Schedule):
    """A linear rise before any schedule.

        ramp(t) = start + (1 - start) t / duration for t < duration, then 1
        f(t) = ramp(t) then(max(t - duration, 0))        the schedule begins when the warm-up ends
        f(t) = ramp(t) then(t)                           with overlay: both begin at once

    ``duration`` of None is a twentieth of the run; the schedule inside lasts the rest of it (with overlay, all of it).
    ``start`` above zero spares a first step of length zero.
    Reference: Goyal et al. 2017, arXiv:1706.02677, section 2.2.

    >>> [WarmUp(Constant(0.5), duration=2, start=0)(t) for t in range(4)]
    [0.0, 0.25, 0.5, 0.5]
    """

    then: Schedule = field(
        default=Constant(), metadata={"setting": Setting("schedule", "what comes after the warm-up")}
    )
    duration: float | None = setting(None, "number", "length of the warm-up", LENGTH, share=0.05)
    start: float = setting(0.01, "number", "factor at t = 0", FACTOR)
    overlay: bool = setting(False, "flag", "the schedule inside begins at t = 0, not after the warm-up")

    def _at(self, t: float) -> float:
        duration = known(self, self.duration)
        progress = min(t / duration, 1.0)
        ramp = self.start * (1 - progress) + progress
        return ramp * self.then(t if self.overlay else max(t - duration, 0.0))

    def over(self, total: float) -> WarmUp:
        """The warm-up takes its share; the schedule inside is bound to what is left, or to all with overlay."""
        own = super().over(total)
        return replace(own, then=own.then.over(total if own.overlay else total - known(own, own.duration)))


@final
@dataclass(frozen=True)
class Sequence(Schedule):
    """Schedules one after another, each beginning its own time at zero.

        f(t) = f_k(t - until_(k-1)) for until_(k-1) <= t < until_k,   until_0 = 0

    ``until`` has one time less than there are parts: the last part has no end. What torch calls SequentialLR.

    >>> Sequence((Constant(0.1), Constant(1.0)), until=(5,))(5)
    1.0
    """

    parts: tuple[Schedule, ...] = setting((Constant(),), "schedules", "what runs, in order")
    until: tuple[float, ...] = setting((), "numbers", "when each part but the last ends", FACTOR)

    def _at(self, t: float) -> float:
        index = bisect_right(self.until, t)
        return self.parts[index](t - (self.until[index - 1] if index else 0.0))

    def over(self, total: float) -> Sequence:
        """Each part is bound to its own length."""
        spans = (end - begin for begin, end in pairwise((0.0, *self.until, total)))
        return replace(self, parts=tuple(part.over(span) for part, span in zip(self.parts, spans, strict=True)))

    def flaw(self) -> str | None:
        """Times out of order, or not one fewer than the parts."""
        if len(self.until) != len(self.parts) - 1:
            return f"{len(self.parts)} parts need {max(len(self.parts) - 1, 0)} times in until, got {len(self.until)}"
        if list(self.until) != sorted(self.until):
            return f"until must be in order, got {list(self.until)}"
        return None


def between(low: float, high: float, base: float) -> tuple[float, float]:
    """Two absolute values of a hyperparameter as factors on its base value, ready for a cycle.

    >>> between(0.001, 0.004, base=0.002)
    (0.5, 2.0)
    """
    given: dict[str, Any] = {"low": low, "high": high, "base": base}
    for name, value in given.items():
        if not math.isfinite(value) or (name == "base" and value == 0):
            raise UserError(
                f"between({name}={value!r}): {name} must be a finite number{' other than 0' * (name == 'base')}"
            )
    return low / base, high / base
