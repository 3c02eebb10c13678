"""How many lanes run together: measured on the user's own model before the race."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ravine.engines.lane import Lane, Model
from ravine.engines.lanes import Lanes
from ravine.problems.problem import Problem
from ravine.rules.rule import Rule
from ravine.training.clock import Batches, Clock
from ravine.training.layered import Layered, alone
from ravine.training.whole import Whole
from ravine.types import Loss

SIZES = (1, 8, 32)
SLOW = 0.5  # seconds a step, from which a way that loses ends the search


@dataclass(frozen=True)
class Plan:
    """The number of lanes that share a program, what was measured, and why lanes were not possible (if so)."""

    size: int
    timings: dict[str, float]  # seconds a lane-step, by the name of the way
    refusal: str = ""

    @property
    def words(self) -> str:
        """The plan in words."""
        return way(self.size)

    @property
    def lane_step(self) -> float:
        """Seconds that one step of one lane takes."""
        return self.timings[way(self.size)]


def way(size: int) -> str:
    """The name of running that many lanes together."""
    return "one after another" if size == 1 else f"{size} lanes together"


def choose(model: Model, loss: Loss, lanes: Sequence[Lane], problem: Problem, clock: Clock, fixed: int | None) -> Plan:
    """Time a few steps of each way, twice over, and take the fastest a lane-step.

    Each way counts by its fastest step, and a stall of the machine seldom meets the same way in both rounds. Where
    steps are slow, more lanes are not tried once they cost a third more than the best so far. A model that cannot be
    mapped over lanes says why and runs one after another.
    """
    together = [lane for lane in lanes if isinstance(lane.rule, Rule)]
    if not together:
        return Plan(1, {way(1): _time_alone(alone(model, loss, lanes[0]), problem, clock)})
    lanes = together
    refusal = refused(model, loss, lanes, problem, clock)
    sizes = [s for s in SIZES if s < len(lanes)] + [len(lanes)] if fixed is None else [min(fixed, len(lanes))]
    if refusal:
        sizes = [1]
    timings: dict[int, float] = {}
    for _ in range(2 if len(sizes) > 1 else 1):
        for size in sizes:
            some = lanes[:: max(1, len(lanes) // size)][:size]
            now = _time(Lanes(model, loss, some), problem, clock)
            timings[size] = min(now, timings.get(size, now))
            if size * now > SLOW and timings[size] > 1.33 * min(timings.values()):
                break
    best = min(timings, key=lambda size: timings[size])
    return Plan(best, {way(size): seconds for size, seconds in timings.items()}, refusal)


def refused(model: Model, loss: Loss, lanes: Sequence[Lane], problem: Problem, clock: Clock) -> str:
    """Why this model cannot run as lanes, in a clause; empty if it can.

    Tried with two seeds, since lanes that see the same samples may pass where those of the finals would not.
    """
    try:
        trial = Lanes(model, loss, [lanes[0], replace(lanes[-1], seed=lanes[0].seed + 1)], together=True)
        trial.step(problem.train, Batches(clock).at(trial.seeds, 0), 0.0)
        trial.predict(problem.valid.x[:2])
    except (RuntimeError, ValueError, NotImplementedError, TypeError, IndexError) as error:
        text = " ".join(str(error).split())
        if "randomness" in text:
            return "it draws random numbers by itself (use torch.nn.Dropout, whose masks ravine can key)"
        if "data-dependent" in text or ".item()" in text:
            return "its path depends on the values of the data"
        return f"torch cannot map it over lanes: {text[:160]}"
    return ""


def _time(lanes: Lanes, problem: Problem, clock: Clock, least: int = 3, enough: float = 0.05) -> float:
    """Seconds a lane-step, the fastest of a few steps after one to warm up."""
    batches = Batches(clock)
    index = batches.at(lanes.seeds, 0)
    lanes.step(problem.train, index, 0.0)
    seen: list[float] = []
    while len(seen) < least or (sum(seen) < enough and len(seen) < 20):
        begin = time.perf_counter()
        lanes.step(problem.train, index, 0.0)
        seen.append(time.perf_counter() - begin)
    return min(seen) / len(lanes)


def _time_alone(run: Whole | Layered, problem: Problem, clock: Clock) -> float:
    """Seconds that a method takes for what a step is worth: those of a gradient, times batch over samples."""
    index = Batches(clock).at(run.seeds, 0)
    begin = time.perf_counter()
    run.step(problem.train, index, 0.0)
    return (time.perf_counter() - begin) / run.asked * index.shape[-1] / len(problem.train)
