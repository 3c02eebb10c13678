"""A run: one configuration with one seed, its curve, and its state when it is not in a cohort."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ravine.engines.lane import Lane
from ravine.metrics import Monitor
from ravine.results import Point, RunResult, Stage, Status
from ravine.rules.rule import Declared, name_of, values
from ravine.schedules import Schedule, check, from_spec
from ravine.training.failing import word

Origin: TypeAlias = Literal["default", "drawn", "widened", "given"]
EXPLODED = 1e4  # times the loss before training: a run beyond that is closed


@dataclass(frozen=True)
class Candidate:
    """One configuration: a rule with its hyperparameters, the schedules that multiply them, and other decisions."""

    config: int
    rule: Declared
    schedules: Mapping[str, Mapping[str, Any]]  # hyperparameter -> the schedule's plain values, lengths in epochs
    origin: Origin = "given"
    searched: tuple[str, ...] = ()  # the hyperparameters that were drawn rather than left at their defaults
    choices: Mapping[str, Any] = field(default_factory=dict[str, Any])  # decision -> value, where it is not the race's

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
    lane: Lane | None = None  # None before the first step, while it runs in a cohort, and when it is not needed again
    rung: int = 0
    tick: int = -1  # the last tick it was measured at
    curve: list[Point] = field(default_factory=list[Point])
    diverged: str = ""
    stopped: bool = False  # before the end, since it is not to go on
    best: Lane | None = None  # the state at the best point, for runs that keep it
    snapshots: list[Lane] = field(default_factory=list[Lane])  # the weights at the ticks at which they were to be kept
    since: float = 0.0  # the epoch after which a point can be the best: before it the weights were not yet pruned
    monitor: Monitor = field(default_factory=Monitor)  # what says which point is the best
    _best_point: tuple[tuple[int, float, Monitor], Point | None] | None = field(default=None, repr=False, compare=False)

    @property
    def closed(self) -> bool:
        """Whether it goes no further in any company."""
        return self.stopped or bool(self.diverged)

    @property
    def best_point(self) -> Point | None:
        """The best measured point, not counting those up to ``since`` and before a step."""
        known = len(self.curve), self.since, self.monitor
        if self._best_point is None or self._best_point[0] != known:  # a ranking asks thousands of times
            self._best_point = known, self.monitor.best(self.curve, self.since)
        return self._best_point[1]

    @property
    def score(self) -> float:
        """What is monitored at the best point, smaller being better; inf where it diverged or was not measured."""
        return self.monitor.cost(self.best_point) if self.best_point and not self.diverged else math.inf

    @property
    def has_learned(self) -> bool:
        """Whether it was ever better than before the first step."""
        return bool(self.curve) and self.score < self.monitor.cost(self.curve[0])

    def record(self, point: Point, failed: str = "") -> bool:
        """Keep one point; True if it is the best so far. A loss that is not finite, or exploded, closes the run.

        ``failed`` says how it came about, where that is known.
        """
        epoch, train_loss, valid_loss = point.epoch, point.train_loss, point.valid_loss
        start = self.curve[0].valid_loss if self.curve else valid_loss
        wrong = valid_loss if train_loss is None or math.isfinite(train_loss) else train_loss
        if not math.isfinite(wrong):
            self.diverged = f"{failed or f'loss became {word(wrong)}'}, by epoch {epoch:.3g}"
            return False
        best, before = self.best_point, self.score
        self.curve.append(point)
        is_better = len(self.curve) > 1 and self.monitor.cost(point) < before and epoch > self.since
        self._best_point = (len(self.curve), self.since, self.monitor), point if is_better else best
        if valid_loss > EXPLODED * max(start, 1e-3):
            self.diverged = f"loss rose to {valid_loss:.1e} by epoch {epoch:.3g}"
        return is_better

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
            choices=dict(self.candidate.choices),
            metrics=best.metrics if best else {},
        )
