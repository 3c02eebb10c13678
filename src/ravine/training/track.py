"""The track: runs in cohorts of lanes that advance, are recorded, closed when they diverge, and taken on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch

from ravine.engines.lane import Lane, Model
from ravine.engines.lanes import Lanes
from ravine.problems.problem import Problem
from ravine.results import Point, RunResult, Stage, Status
from ravine.rules.rule import Declared, Rule, name_of, values
from ravine.schedules import Schedule, check, from_spec
from ravine.training.clock import Clock
from ravine.training.layered import Runner, alone
from ravine.training.loop import Measured, advance
from ravine.types import Loss

Origin: TypeAlias = Literal["default", "drawn", "widened", "given"]
EXPLODED = 1e4  # times the loss before training: a run beyond that is closed


@dataclass(frozen=True)
class Candidate:
    """One configuration: a rule with its hyperparameters, and the schedules that multiply them."""

    config: int
    rule: Declared
    schedules: Mapping[str, Mapping[str, Any]]  # hyperparameter -> the schedule's plain values, lengths in epochs
    origin: Origin = "given"
    searched: tuple[str, ...] = ()  # the hyperparameters that were drawn rather than left at their defaults

    def bound(self, epochs: int) -> dict[str, Schedule]:
        """The checked schedules over a run of that length."""
        return {name: check(from_spec(spec)).over(epochs) for name, spec in self.schedules.items()}

    @property
    def schedule(self) -> str:
        """The name of the learning rate's schedule."""
        return str(self.schedules.get("lr", {"name": "constant"})["name"])


@dataclass
class Run:
    """One configuration with one seed, and what is known of it."""

    id: str
    candidate: Candidate
    seed: int
    stage: Stage
    lane: Lane | None  # None while it runs in a cohort
    rung: int = 0
    tick: int = -1  # the last tick it was measured at
    curve: list[Point] = field(default_factory=list[Point])
    diverged: str = ""
    best: Lane | None = None  # the state at the lowest validation loss, for runs that keep it

    @property
    def best_point(self) -> Point | None:
        """The measured point with the lowest validation loss, not counting the one before the first step."""
        finite = [point for point in self.curve[1:] if math.isfinite(point.valid_loss)]
        return min(finite, key=lambda point: point.valid_loss, default=None)

    @property
    def score(self) -> float:
        """Lowest validation loss; inf for a run that diverged or was not measured."""
        return self.best_point.valid_loss if self.best_point and not self.diverged else math.inf

    def record(self, epoch: float, train_loss: float | None, valid_loss: float, metric: float) -> bool:
        """Keep one point; True if it is the best so far. A loss that is not finite, or exploded, closes the run."""
        start = self.curve[0].valid_loss if self.curve else valid_loss
        wrong = valid_loss if train_loss is None or math.isfinite(train_loss) else train_loss
        if not math.isfinite(wrong):
            self.diverged = f"loss became {'NaN' if math.isnan(wrong) else 'infinite'} by epoch {epoch:.3g}"
            return False
        before = self.score
        self.curve.append(Point(epoch=epoch, train_loss=train_loss, valid_loss=valid_loss, metric=metric))
        if valid_loss > EXPLODED * max(start, 1e-3):
            self.diverged = f"loss rose to {valid_loss:.1e} by epoch {epoch:.3g}"
        return len(self.curve) > 1 and valid_loss < before

    def result(self, status: Status) -> RunResult:
        """The run as a value to keep."""
        rule, best = self.candidate.rule, self.best_point
        return RunResult(
            id=self.id,
            config=self.candidate.config,
            rule=name_of(rule),
            hypers={name: float(value) for name, value in values(rule).items()},
            schedule=self.candidate.schedule,
            seed=self.seed,
            stage=self.stage,
            rung=self.rung,
            status="diverged" if self.diverged else status,
            reason=self.diverged,
            curve=self.curve,
            best_epoch=best.epoch if best else 0.0,
            valid_loss=best.valid_loss if best else None,
            metric=best.metric if best else None,
        )


class Track:
    """Runs that advance to the same tick, so many lanes at a time as the plan says."""

    def __init__(self, model: Model, loss: Loss, problem: Problem, clock: Clock, size: int) -> None:
        self.model, self.loss, self.problem, self.clock, self.size = model, loss, problem, clock, size
        self.lane_steps = 0
        self._cohort: list[Run] = []
        self._lanes: Runner | None = None

    def go(self, runs: Sequence[Run], to_tick: int, keep_best: bool = False) -> Iterator[int]:
        """Train every open run to that tick; yields the number of open lanes after each tick of a cohort.

        Between two yields `sync` gives each run the state that belongs to the end of its curve.
        """
        while waiting := [run for run in runs if run.tick < to_tick and not run.diverged]:
            tick = min(run.tick for run in waiting)
            self._cohort = _company([run for run in waiting if run.tick == tick])[: self.size]
            self._lanes = self._started([run.lane for run in self._cohort if run.lane is not None])
            for run in self._cohort:
                run.lane = None
            yield from self._advance(self._lanes, self._cohort, to_tick, keep_best)
            self.sync()
            self._lanes = None

    def _started(self, lanes: list[Lane]) -> Runner:
        if isinstance(lanes[0].rule, Rule):
            return Lanes(self.model, self.loss, lanes)
        return alone(self.model, self.loss, lanes[0])

    def sync(self) -> None:
        """Copy the states of the lanes that run now into their runs."""
        if self._lanes is not None:
            for run, lane in zip(self._cohort, self._lanes.export(), strict=True):
                run.lane = lane

    def _advance(self, lanes: Runner, cohort: list[Run], to_tick: int, keep_best: bool) -> Iterator[int]:
        """Advance one cohort until it is there, or until so many diverged that the rest had better go on alone."""
        begin = cohort[0].tick
        for measured in advance(lanes, self.problem, self.clock, to_tick):
            if measured.tick <= begin:
                continue  # it was measured before the cohort was made anew
            steps = self.clock.step_at(measured.tick) - self.clock.step_at(max(0, measured.tick - 1))
            self.lane_steps += steps * len(cohort)
            for row, better in enumerate(self._record(cohort, measured)):
                if keep_best and better:
                    cohort[row].best = lanes.snapshot(row)
            still_open = sum(not run.diverged for run in cohort)
            yield still_open
            if still_open <= 0.75 * len(cohort):
                return

    def _record(self, cohort: Sequence[Run], measured: Measured) -> list[bool]:
        epoch = self.clock.epoch_at(measured.tick)
        before = measured.train_loss is None
        train = torch.zeros(len(cohort)) if measured.train_loss is None else measured.train_loss
        rows = zip(cohort, train.tolist(), measured.valid_loss.tolist(), measured.metric.tolist(), strict=True)
        for run in cohort:
            run.tick = measured.tick
        return [not run.diverged and run.record(epoch, None if before else t, v, m) for run, t, v, m in rows]


def _company(ready: Sequence[Run]) -> list[Run]:
    """Those that can run together with the first: all that follow rules; a method runs alone."""
    if not isinstance(ready[0].candidate.rule, Rule):
        return [ready[0]]
    return [run for run in ready if isinstance(run.candidate.rule, Rule)]
