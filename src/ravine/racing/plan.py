"""How runs share the machine: how many lanes in a program, how many programs at once; measured before the race."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from statistics import median

import torch

from ravine.engines.lane import Lane, Model
from ravine.engines.lanes import Lanes
from ravine.problems.problem import Problem
from ravine.rules.rule import Rule
from ravine.training.clock import Batches, Clock
from ravine.training.crew import crew
from ravine.training.feed import Feed
from ravine.training.layered import Layered, alone
from ravine.training.whole import Whole
from ravine.types import Loss

SIZES = (8, 32)  # between one and all
SETTLING = 8  # calls of one shape after which it runs as it will
CLOSE = 1.2  # times the fastest way, up to which another is timed once more


@dataclass(frozen=True)
class Plan:
    """Lanes that share a program, programs at once, what was measured, and why lanes were not possible (if so)."""

    size: int
    workers: int
    timings: dict[str, float]  # seconds a lane-step, by the name of the way
    refusal: str = ""

    @property
    def words(self) -> str:
        """The plan in words."""
        return way(self.size, self.workers)

    @property
    def lane_step(self) -> float:
        """Seconds that one step of one lane takes."""
        return self.timings[self.words]

    def models(self, model: Model) -> list[Model]:
        """A template for each worker."""
        return [model, *(Model(model.factory, model.bind, model.precision) for _ in range(self.workers - 1))]


def way(size: int, workers: int) -> str:
    """The name of a plan."""
    lanes = "one after another" if size == 1 else f"{size} lanes together"
    return lanes if workers == 1 else f"{workers} workers, each {lanes}"


def choose(
    model: Model,
    loss: Loss,
    lanes: Sequence[Lane],
    problem: Problem,
    clock: Clock,
    size: int | None,
    workers: int | None,
) -> Plan:
    """Time a few steps of several ways, and the quick ones once more; take the fastest a lane-step.

    The ways: one program with all of torch's threads, of more and more lanes while that helps; then, of the size that
    is best there, a program for each thread. A stall of the machine seldom meets the same way twice. A model that
    cannot be mapped over lanes says why, and runs one after another.
    """
    together = [lane for lane in lanes if isinstance(lane.rule, Rule)]
    if not together:
        return Plan(1, 1, {way(1, 1): _time_alone(alone(model, loss, lanes[0]), problem, clock)})
    if len(together) < len(lanes):
        lanes, workers = together, 1  # a method sets torch's generator, which there is one of
    refusal = refused(model, loss, lanes, problem, clock)
    if refusal:
        size = workers = 1
    elif size is not None:
        workers = workers or 1  # nothing is measured then, and the same lanes give the same bits anywhere
    many = min(workers or 1, len(lanes))
    most = -(-len(lanes) // many)
    timings: dict[tuple[int, int], float] = {}
    for some in _sizes(most) if size is None else [min(size, most)]:
        if size is None and _is_past(some, timings):
            continue
        timings[some, many] = _time(model, loss, lanes, some, many, problem, clock)
    again = [it for it in timings if timings[it] < CLOSE * min(timings.values())] if len(timings) > 1 else []
    if workers is None and 1 < (threads := torch.get_num_threads()) <= len(lanes):
        some, _ = min(timings, key=lambda it: timings[it])
        again.append((min(some, -(-len(lanes) // threads)), threads))
    for plan in again:
        now = _time(model, loss, lanes, *plan, problem, clock)
        timings[plan] = min(now, timings.get(plan, now))
    best = min(timings, key=lambda it: timings[it])
    return Plan(*best, {way(*it): seconds for it, seconds in timings.items()}, refusal)


def _sizes(most: int) -> list[int]:
    """The sizes to try, in order: from the middle up, then one after another."""
    return [*(s for s in SIZES if s < most), most, 1] if most > 1 else [1]


def _is_past(some: int, timings: dict[tuple[int, int], float]) -> bool:
    """Whether what was measured says that this size is no better: the last step towards it was a step back."""
    by_size = sorted((size, seconds) for (size, _), seconds in timings.items())
    if len(by_size) < 2:
        return some in (size for size, _ in by_size)
    (_, first), (_, second), (_, before), (_, last) = by_size[0], by_size[1], by_size[-2], by_size[-1]
    return second < first if some == 1 else last > CLOSE * before


def refused(model: Model, loss: Loss, lanes: Sequence[Lane], problem: Problem, clock: Clock) -> str:
    """Why this model cannot run as lanes, in a clause; empty if it can.

    Tried with two seeds, since lanes that see the same samples may pass where those of the finals would not.
    """
    try:
        trial = Lanes(model, loss, [lanes[0], replace(lanes[-1], seed=lanes[0].seed + 1)], together=True)
        with closing(Feed(problem, clock)) as feed:
            trial.step(*feed.at(trial.seeds, 0), 0.0)
        trial.predict(problem.valid.take(torch.arange(min(2, len(problem.valid)))).x)
    except (RuntimeError, ValueError, NotImplementedError, TypeError, IndexError) as error:
        text = " ".join(str(error).split())
        if "randomness" in text:
            return "it draws random numbers by itself (use torch.nn.Dropout, whose masks ravine can key)"
        if "data-dependent" in text or ".item()" in text:
            return "its path depends on the values of the data"
        return f"torch cannot map it over lanes: {text[:160]}"
    return ""


def _time(
    model: Model, loss: Loss, lanes: Sequence[Lane], size: int, workers: int, problem: Problem, clock: Clock
) -> float:
    """Seconds a lane-step when so many workers run so many lanes each at the same time."""
    models = Plan(size, workers, {}).models(model)
    made = [Lanes(own, loss, lanes[place::workers][:size]) for place, own in enumerate(models)]
    with crew(workers) as together:
        return max(together([partial(_time_one, one, problem, clock) for one in made])) / (workers * size)


def _time_one(lanes: Lanes, problem: Problem, clock: Clock, least: int = 3, enough: float = 0.02) -> float:
    """Seconds a step, as the middle one of a few takes, once they run as they will."""
    steps = cycle(range(clock.steps))
    with closing(Feed(problem, clock)) as feed:
        lanes.step(*feed.at(lanes.seeds, next(steps)), 0.0)
        for _ in range(SETTLING):  # the program may know another shape, of a trial, that is never met again
            if lanes.stepping.is_settled:
                break
            lanes.step(*feed.at(lanes.seeds, next(steps)), 0.0)
        seen: list[float] = []
        while len(seen) < least or (sum(seen) < enough and len(seen) < 20):
            begin = time.perf_counter()
            lanes.step(*feed.at(lanes.seeds, next(steps)), 0.0)
            seen.append(time.perf_counter() - begin)
    return median(seen)


def _time_alone(run: Whole | Layered, problem: Problem, clock: Clock) -> float:
    """Seconds that a method takes for what a step is worth: those of a gradient, times batch over samples."""
    index = Batches(clock).at(run.seeds, 0)
    begin = time.perf_counter()
    run.step(problem.train, index, 0.0)
    return (time.perf_counter() - begin) / run.asked * index.shape[-1] / len(problem.train)
