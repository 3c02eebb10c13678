"""Samples a second against the batch size, measured; and the knee, from which more gains little."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.losses import loss_of
from ravine.problems.problem import Problem
from ravine.rules.rule import Rule
from ravine.training.clock import Clock
from ravine.training.feed import Feed

ENOUGH = 0.2  # seconds of steps that a size is timed over, after its first ones
WARM = 14  # steps before the clock runs: a step is recorded within them
NEAR = 0.9  # share of the best throughput from which a size is at the knee


@dataclass(frozen=True)
class Speed:
    """How fast one batch size trains: the median over steps, and the middle half of them."""

    batch: int
    samples: float  # a second
    low: float
    high: float


def throughput(
    problem: Problem, model: Model, rule: Rule, sizes: Sequence[int], seconds: float = ENOUGH
) -> tuple[list[Speed], str]:
    """Time real optimizer steps of one run at each size; and why it ended early, where a size had no room.

    Only what ran is in the list: a size whose memory cannot be had ends it.
    """
    found: list[Speed] = []
    for size in sizes:
        try:
            found.append(_time(problem, model, rule, size, seconds))
        except (MemoryError, RuntimeError) as error:
            if found and _is_memory(error):
                return found, f"batch {size} had no room in memory"
            raise
    return found, ""


def knee(speeds: Sequence[Speed]) -> int:
    """The smallest batch size with at least nine tenths of the best throughput.

    >>> knee([Speed(8, 100, 90, 110), Speed(16, 185, 180, 190), Speed(32, 200, 190, 210)])
    16
    """
    best = max(speed.samples for speed in speeds)
    return min(speed.batch for speed in speeds if speed.samples >= NEAR * best)


def _time(problem: Problem, model: Model, rule: Rule, size: int, seconds: float) -> Speed:
    lanes = Lanes(model, loss_of(problem), [model.lane(rule, {}, 0)])
    feed = Feed(problem, Clock(len(problem.train), size, 10**6))
    steps = iter(range(10**9))
    with torch.random.fork_rng(devices=[]):
        for _ in range(WARM):
            lanes.step(*feed.at(lanes.seeds, next(steps)), 0.0)
        times = list(_times(lanes, feed, steps, seconds))
    times.sort()
    quarter = len(times) // 4
    return Speed(size, size / median(times), size / times[-1 - quarter], size / times[quarter])


def _times(lanes: Lanes, feed: Feed, steps: Iterator[int], seconds: float) -> Iterator[float]:
    spent, count = 0.0, 0
    while spent < seconds or count < 5:
        begin = time.perf_counter()
        lanes.step(*feed.at(lanes.seeds, next(steps)), 0.0)
        taken = time.perf_counter() - begin
        spent, count = spent + taken, count + 1
        yield taken


def _is_memory(error: Exception) -> bool:
    words = str(error).lower()
    return isinstance(error, MemoryError) or "memory" in words or "alloc" in words
