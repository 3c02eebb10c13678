"""From the losses of a sweep to an interval of learning rates, with the reasons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

WINDOW = 1 / 16  # of the sweep: the losses of one mean, so that the noise of single minibatches does not count
LOST = 4.0  # times the lowest loss so far, and above the first: the sweep is lost there
NEAR = 0.02  # of the whole fall: the first loss so close to the lowest counts as the lowest
FALLEN = 0.05  # of the first loss: a sweep that falls less has found no rate that trains
NOISE = 5.0  # standard errors of a mean: a fall below could be the luck of the minibatches
APART = 10.0  # times: seeds whose intervals lie further apart do not agree


@dataclass(frozen=True)
class Reading:
    """What one sweep shows; a rate is None where the sweep does not show it."""

    rates: tuple[float, ...]  # of the means, up to where the sweep was lost
    means: tuple[float, ...]  # of neighbouring losses
    steepest: float | None  # where the loss falls most over an equal ratio of rates
    lowest: float | None  # where it is lowest
    diverges: float | None  # where it is lost


@dataclass(frozen=True)
class Advice:
    """An interval of learning rates, why, and what speaks against trusting it; no interval where nothing trained."""

    low: float | None
    high: float | None
    reasons: tuple[str, ...]
    doubts: tuple[str, ...]


def read(rates: Sequence[float], losses: Sequence[float]) -> Reading:
    """Read one sweep: rates that grow by an equal ratio, and the loss before each step.

    A loss is set beside the rate of the step before it, which made it.
    """
    width = max(3, round(WINDOW * len(losses)))
    finite = next((step for step, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    starts = range(0, finite - width + 1)
    means = [math.fsum(losses[begin : begin + width]) / width for begin in starts]
    at = [rates[max(0, begin + width // 2 - 1)] for begin in starts]
    last = _lost(means)
    diverges = at[last] if last < len(at) else rates[finite - 1] if finite < len(losses) else None
    at, means = at[:last], means[:last]
    if not means or means[0] - min(means) < max(FALLEN * abs(means[0]), NOISE * _noise(losses[:finite], width)):
        return Reading(tuple(at), tuple(means), None, None, diverges)
    near = min(means) + NEAR * (means[0] - min(means))
    bottom = next(place for place, mean in enumerate(means) if mean <= near)
    slopes = [means[place + width] - means[place] for place in range(max(0, bottom - width + 1))]
    steepest = at[slopes.index(min(slopes)) + width // 2] if slopes else at[bottom]
    return Reading(tuple(at), tuple(means), steepest, at[bottom], diverges)


def _noise(losses: Sequence[float], width: int) -> float:
    """The standard error of a mean, from the differences of neighbouring losses, which hardly see the fall."""
    steps = sorted(abs(after - before) for before, after in pairwise(losses))
    return steps[len(steps) // 2] / 0.954 / math.sqrt(width)  # the median of |difference| of normal noise is 0.954 sd


def _lost(means: Sequence[float]) -> int:
    """The number of means before the sweep is lost."""
    lowest = math.inf
    for place, mean in enumerate(means):
        lowest = min(lowest, mean)
        if mean > means[0] and mean > lowest + (LOST - 1) * abs(lowest):
            return place
    return len(means)


def advise(readings: Sequence[Reading], low: float, high: float) -> Advice:
    """The interval of the readings of all seeds, of a sweep from low to high.

    From below: the steepest descent, or a tenth of the rate of the lowest loss if that is smaller. From above: half of
    the rate of the lowest loss, and a quarter of the rate at which the sweep was lost at most. Each is the geometric
    mean over seeds. Reference: Smith 2017, arXiv:1506.01186, section 3.3; Smith 2018, arXiv:1803.09820, section 4.
    """
    steep, bottom = _mean(r.steepest for r in readings), _mean(r.lowest for r in readings)
    lost = _mean(r.diverges for r in readings)
    if steep is None or bottom is None:
        worst = f" before it was lost at {lost:.2g}" if lost else ""
        cure = "give more steps or seeds, or look for what is wrong with ravine lint"
        return Advice(None, None, (), (f"in no run did the loss fall by {100 * FALLEN:g} %{worst}; {cure}",))
    from_below, from_above = min(steep, bottom / 10), min(bottom / 2, lost / 4 if lost else math.inf)
    from_above = max(from_above, from_below)
    reasons = [
        f"the loss falls most steeply at {steep:.2g}",
        f"it is lowest at {bottom:.2g}, a tenth of which is {bottom / 10:.2g}",
        f"it is lost at {lost:.2g}" if lost else f"it is not lost up to {high:.2g}",
    ]
    return Advice(from_below, from_above, tuple(reasons), tuple(_doubts(readings, low, high)))


def _doubts(readings: Sequence[Reading], low: float, high: float) -> list[str]:
    found: list[str] = []
    silent = sum(r.lowest is None for r in readings)
    if silent:
        found.append(f"{silent} of {len(readings)} runs never fell")
    if len(readings) == 1:
        found.append("one run shows no spread: give more seeds")
    for name, marks in (
        ("steepest", [r.steepest for r in readings if r.steepest]),
        ("lowest", [r.lowest for r in readings if r.lowest]),
    ):
        if marks and max(marks) > APART * min(marks):
            found.append(f"the runs put the {name} between {min(marks):.2g} and {max(marks):.2g}")
    if any(
        r.lowest is not None and r.diverges is None and r.lowest > r.rates[-1 - len(r.rates) // 10] for r in readings
    ):
        found.append(f"the loss still falls at {high:.2g}: sweep to a higher rate")
    if any(r.steepest is not None and r.steepest <= 2 * r.rates[0] for r in readings):
        found.append(f"the loss falls from the start: sweep from below {low:.2g}")
    return found


def _mean(marks: Iterable[float | None]) -> float | None:
    """The geometric mean of those that there are."""
    known = [math.log(mark) for mark in marks if mark]
    return math.exp(math.fsum(known) / len(known)) if known else None
