"""Schedules in phases over one run: the one-cycle policy and warm-up, plateau, decay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias, final

from ravine.schedules.decay import FACTOR, LENGTH
from ravine.schedules.schedule import Schedule, known, setting

Anneal: TypeAlias = Literal["cos", "linear"]
Knot: TypeAlias = tuple[float, float]  # time, factor


@final
@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to the base value and far down: one cycle over the whole run. The base value is the highest (torch's max_lr).

        f: 1/div -> 1 at pct_start duration -> 1/(div final_div) at duration
        three phases: 1/div -> 1 at pct_start duration -> 1/div at 2 pct_start duration -> 1/(div final_div) at duration

    ``tick`` is how much earlier each phase ends, in units of t. torch counts steps and ends a phase on its last step,
    so ``tick=1`` with t in steps is torch's OneCycleLR. `OneCycleMomentum` is the counterpart for momentum or beta1.
    Reference: Smith & Topin 2018, arXiv:1708.07120.
    """

    duration: float | None = setting(None, "number", "length of the cycle", LENGTH, share=1.0)
    pct_start: float = setting(0.3, "number", "part of the cycle that rises", "[0, 1]")
    div: float = setting(25.0, "number", "base value over the first value", LENGTH)
    final_div: float = setting(1e4, "number", "first value over the last value", LENGTH)
    three_phase: bool = setting(False, "flag", "come back to the first value before the last descent")
    anneal: Literal["cos", "linear"] = setting("cos", "choice", "shape of each phase", options=("cos", "linear"))
    tick: float = setting(0.0, "number", "how much earlier each phase ends", FACTOR)

    def _at(self, t: float) -> float:
        start = 1 / self.div
        times = _one_cycle_times(known(self, self.duration), self.pct_start, self.three_phase, self.tick)
        values = (
            (start, 1.0, start, start / self.final_div) if self.three_phase else (start, 1.0, start / self.final_div)
        )
        return _along(tuple(zip(times, values, strict=True)), t, self.anneal)

    def flaw(self) -> str | None:
        """Phases that do not fit into the cycle."""
        return _one_cycle_flaw(self.duration, self.pct_start, self.three_phase, self.tick)


@final
@dataclass(frozen=True)
class OneCycleMomentum(Schedule):
    """The counterpart of `OneCycle` for momentum or beta1: low while the learning rate is high.

        f: 1 -> low at pct_start duration -> 1 at the end of the fall (three phases: 1 from 2 pct_start duration on)

    The base value is the highest (torch's max_momentum); ``low`` is base_momentum / max_momentum, 0.85 / 0.95 unless
    given. Use the same duration, pct_start, three_phase, anneal and tick as for the learning rate.
    Reference: Smith & Topin 2018, arXiv:1708.07120.
    """

    duration: float | None = setting(None, "number", "length of the cycle", LENGTH, share=1.0)
    low: float = setting(0.85 / 0.95, "number", "lowest factor, at the peak of the learning rate", FACTOR)
    pct_start: float = setting(0.3, "number", "part of the cycle that falls", "[0, 1]")
    three_phase: bool = setting(False, "flag", "as for the learning rate")
    anneal: Literal["cos", "linear"] = setting("cos", "choice", "shape of each phase", options=("cos", "linear"))
    tick: float = setting(0.0, "number", "how much earlier each phase ends", FACTOR)

    def _at(self, t: float) -> float:
        times = _one_cycle_times(known(self, self.duration), self.pct_start, self.three_phase, self.tick)
        values = (1.0, self.low, 1.0, 1.0) if self.three_phase else (1.0, self.low, 1.0)
        return _along(tuple(zip(times, values, strict=True)), t, self.anneal)

    def flaw(self) -> str | None:
        """Phases that do not fit into the cycle."""
        return _one_cycle_flaw(self.duration, self.pct_start, self.three_phase, self.tick)


@final
@dataclass(frozen=True)
class WarmupStableDecay(Schedule):
    """A short rise, a long plateau at the base value, a short fall; the plateau can be prolonged at will.

        f: start -> 1 (linear) until warmup duration; 1 until (1 - decay) duration; then with p from 0 to 1
        linear: 1 - (1 - end) p     cos: end + (1 - end) (1 + cos(pi p)) / 2     sqrt: 1 - (1 - end) sqrt(p)

    Reference: Hu et al. 2024, arXiv:2404.06395; the "sqrt" fall from Hägele et al. 2024, arXiv:2405.18392.
    """

    duration: float | None = setting(None, "number", "length of the whole", LENGTH, share=1.0)
    warmup: float = setting(0.05, "number", "part of the duration that rises", "[0, 1]")
    decay: float = setting(0.2, "number", "part of the duration that falls", "[0, 1]")
    start: float = setting(0.01, "number", "factor at t = 0", FACTOR)
    end: float = setting(0.0, "number", "factor at the end", FACTOR)
    shape: Literal["linear", "cos", "sqrt"] = setting(
        "sqrt", "choice", "shape of the fall", options=("linear", "cos", "sqrt")
    )

    def _at(self, t: float) -> float:
        progress = min(t / known(self, self.duration), 1.0)
        if progress < self.warmup:
            return _between(self.start, 1.0, progress / self.warmup, "linear")
        if progress <= 1 - self.decay:
            return 1.0
        fall = 1 - (1 - progress) / self.decay
        if self.shape == "sqrt":
            return _between(1.0, self.end, math.sqrt(max(fall, 0.0)), "linear")
        return _between(1.0, self.end, fall, self.shape)

    def flaw(self) -> str | None:
        """A rise and a fall that overlap."""
        both = self.warmup + self.decay
        return None if both <= 1 else f"warmup and decay must not exceed 1 together, got {both:g}"


def _one_cycle_times(duration: float, rise: float, three_phase: bool, tick: float) -> tuple[float, ...]:
    peak, end = rise * duration - tick, duration - tick
    return (0.0, peak, 2 * rise * duration - 2 * tick, end) if three_phase else (0.0, peak, end)


def _one_cycle_flaw(duration: float | None, rise: float, three_phase: bool, tick: float) -> str | None:
    if three_phase and rise > 0.5:
        return f"pct_start must not exceed 0.5 with three phases, got {rise!r}"
    if duration is not None and tick >= duration:
        return f"tick must be shorter than the duration of {duration:g}, got {tick!r}"
    return None


def _along(knots: tuple[Knot, ...], t: float, anneal: Anneal) -> float:
    for (begin, start), (finish, end) in pairwise(knots):
        if t <= finish:
            return _between(start, end, (t - begin) / (finish - begin) if finish > begin else 1.0, anneal)
    return knots[-1][1]


def _between(start: float, end: float, progress: float, anneal: Anneal) -> float:
    if anneal == "cos":
        return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
    return start * (1 - progress) + end * progress
