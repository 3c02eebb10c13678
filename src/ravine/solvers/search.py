"""Line searches: how far to go along a direction."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ravine.solvers.method import Stalled
from ravine.solvers.objective import Objective, Point

MOST = 30  # trials of one search
SMALLEST = 1e-12  # of the first step: where a backtracking search ends
NARROW = 0.1  # share of an interval that a trial keeps from its ends


@dataclass(frozen=True)
class Trial:
    """One step length, the value and the slope there."""

    step: float
    value: float
    slope: float
    point: Point | None = None


def dot(a: Tensor, b: Tensor) -> float:
    """The scalar product as a number."""
    return float(torch.dot(a, b))


def descent_slope(at: Point, direction: Tensor) -> float:
    """The slope along a direction; `Stalled` where it does not lead down."""
    slope = dot(at.gradient, direction)
    if not slope < 0:
        raise Stalled("the direction does not lead down" if at.norm else "the gradient is zero")
    return slope


class Line:
    """The objective along a line: step length -> trial; it remembers what it saw, to say why a search failed."""

    def __init__(self, objective: Objective, at: Point, direction: Tensor) -> None:
        self.objective, self.at, self.direction = objective, at, direction
        self.slope = descent_slope(at, direction)
        self.seen: list[tuple[float, float]] = []  # step length, value

    def __call__(self, step: float) -> Trial:
        """The value and the slope at a step length."""
        point = self.objective.point(self.at.x + step * self.direction)
        self.seen.append((step, point.value))
        return Trial(step, point.value, dot(point.gradient, self.direction), point)

    def value(self, step: float) -> tuple[Tensor, float]:
        """The place and the value alone."""
        x = self.at.x + step * self.direction
        value = self.objective.value(x)
        self.seen.append((step, value))
        return x, value

    def failure(self) -> Stalled:
        """Rounding, where the value rises only as a curve does; otherwise it does not belong to the gradient.

        Take the smallest step with a clear rise: of a line that turns up within rounding, the linear part is small
        there, and so is the rise itself.
        """
        noise = 10 * torch.finfo(self.at.x.dtype).eps * max(abs(self.at.value), 1e-300)
        clear = [(step, value - self.at.value) for step, value in self.seen if not value <= self.at.value + 100 * noise]
        step, rise = min(clear, default=(0.0, 0.0))
        if -self.slope * step <= 50 * noise and rise <= 1e6 * noise:
            return Stalled("no lower value can be told apart at this precision")
        return Stalled("no step along the direction lowers the value", self.slope)


def backtracking(
    objective: Objective, at: Point, direction: Tensor, first: float, c1: float, shrink: float
) -> tuple[float, Point]:
    """Armijo: the first of ``first``, ``shrink`` first ... whose value lies below the line f + c1 step slope.

    Reference: Armijo 1966, doi:10.2140/pjm.1966.16.1; Nocedal & Wright 2006, algorithm 3.1.
    """
    line, step = Line(objective, at, direction), first
    for _ in range(max(MOST, math.ceil(math.log(SMALLEST) / math.log(shrink)))):
        x, value = line.value(step)
        if value <= at.value + c1 * step * line.slope and value < at.value:
            return step, objective.point(x)
        step *= shrink
    raise line.failure()


def strong_wolfe(
    objective: Objective, at: Point, direction: Tensor, first: float, c1: float, c2: float
) -> tuple[float, Point]:
    """A step with f <= f0 + c1 step slope0 and |slope| <= c2 |slope0|; the best decrease found if rounding is in reach.

    Reference: Nocedal & Wright 2006, algorithms 3.5 and 3.6 with cubic interpolation (3.59).
    """
    phi = Line(objective, at, direction)
    slope0 = phi.slope
    start = before = Trial(0.0, at.value, slope0, at)
    step, best = first, start
    for count in range(MOST):
        now = phi(step)
        if not (math.isfinite(now.value) and math.isfinite(now.slope)):
            step = before.step + NARROW * (step - before.step)
            continue
        best = now if now.value < best.value else best
        if now.value > at.value + c1 * step * slope0 or (now.value >= before.value and before is not start):
            return _zoom(phi, start, before, now, c1, c2, MOST - count)
        if abs(now.slope) <= -c2 * slope0:
            return now.step, _point(now)
        if now.slope >= 0:
            return _zoom(phi, start, now, before, c1, c2, MOST - count)
        width = now.step - before.step
        step = min(max(_cubic(before, now), now.step + 1.1 * width), now.step + 4 * width)
        before = now
    if best is start:
        raise phi.failure()
    return best.step, _point(best)


def _zoom(phi: Line, start: Trial, low: Trial, high: Trial, c1: float, c2: float, most: int) -> tuple[float, Point]:
    """Algorithm 3.6: ``low`` satisfies Armijo's condition and has the lowest value seen."""
    width = before = abs(high.step - low.step)
    for _ in range(most):
        left, right = sorted((low.step, high.step))
        edge = NARROW * (right - left)
        step = min(max(_cubic(low, high), left + edge), right - edge)
        if width > 0.66 * before:  # the interval hardly shrinks: halve it
            step = (left + right) / 2
        now = phi(step)
        if not math.isfinite(now.value) or now.value > start.value + c1 * step * start.slope or now.value >= low.value:
            high = now
        else:
            if abs(now.slope) <= -c2 * start.slope:
                return now.step, _point(now)
            if now.slope * (high.step - low.step) >= 0:
                high = low
            low = now
        before, width = width, abs(high.step - low.step)
        if width * abs(low.slope) <= 1e-16 * abs(start.value) and low is not start:
            break
    if low.value < start.value:
        return low.step, _point(low)
    raise phi.failure()


def _point(trial: Trial) -> Point:
    assert trial.point is not None
    return trial.point


def _cubic(a: Trial, b: Trial) -> float:
    """The minimiser of the cubic with the values and slopes of two trials; the middle where it has none."""
    middle = (a.step + b.step) / 2
    if not (math.isfinite(b.value) and math.isfinite(b.slope)) or a.step == b.step:
        return middle
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.step - b.step)
    inside = d1 * d1 - a.slope * b.slope
    if inside < 0:
        return middle if a.slope * b.slope < 0 else b.step + 4 * (b.step - a.step)
    d2 = math.copysign(math.sqrt(inside), b.step - a.step)
    below = b.slope - a.slope + 2 * d2
    if below == 0:
        return middle
    return b.step - (b.step - a.step) * (b.slope + d2 - d1) / below
