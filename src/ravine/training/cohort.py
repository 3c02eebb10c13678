"""A cohort: runs at the same tick whose lanes advance in one program."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ravine.engines.lanes import Lanes
from ravine.results import Point
from ravine.rules.rule import Rule
from ravine.training.failing import late_failure
from ravine.training.layered import Runner
from ravine.training.loop import Measured, advance
from ravine.training.run import Run
from ravine.training.samples import SampleLog
from ravine.training.team import Team
from ravine.training.world import World

CROWDED = 0.75  # share of open lanes from which the rest had better go on in a cohort of their own


def runs_together(run: Run) -> bool:
    """Whether it can share a program: runs of rules can, methods run alone."""
    return isinstance(run.candidate.rule, Rule)


class Cohort:
    """Takes the states of its runs, and gives them back when it is done or asked."""

    def __init__(self, world: World, worker: int, runs: Sequence[Run], team: Team) -> None:
        self.clock, self.criterion, self.runs = world.clock, world.criterion, list(runs)
        self.lane_steps = 0
        model, loss = world.models[worker], world.loss
        lanes = [run.lane or world.lane(run.candidate, run.seed) for run in runs]
        self.problem = world.samples(lanes)
        self.lanes: Runner = team.runner(model, loss, lanes)
        for run in runs:
            run.lane = None

    @property
    def open(self) -> int:
        """Runs that go on."""
        return sum(not run.closed for run in self.runs)

    def lend(self) -> None:
        """Show each run its state as it is now; the memory stays the cohort's, which changes it in its next step."""
        for run, lane in zip(self.runs, self.lanes.lend(), strict=True):
            run.lane = lane

    def take_back(self) -> None:
        """End what `lend` began."""
        for run in self.runs:
            run.lane = None

    def advance(
        self, to_tick: int, keep_best: bool, draws: bool, keep: frozenset[int], log: SampleLog | None = None
    ) -> Iterator[int]:
        """Go on tick by tick, yielding the open runs, until it is there or too few are left.

        ``draws`` says that the model may draw random numbers by itself, from torch's own generator; ``keep`` are the
        ticks at which every run keeps its weights; ``log`` keeps what each step saw.
        """
        begin = self.runs[0].tick
        for measured in advance(self.lanes, self.problem, self.clock, to_tick, draws, log, self.criterion):
            if measured.tick <= begin:
                continue  # it was measured before the cohort was made anew
            steps = self.clock.step_at(measured.tick) - self.clock.step_at(max(0, measured.tick - 1))
            self.lane_steps += steps * len(self.runs)
            for row, better in enumerate(self._record(measured)):
                if keep_best and better:
                    self.runs[row].best = self.lanes.snapshot(row)
                if measured.tick in keep and not self.runs[row].closed:
                    self.runs[row].snapshots.append(self.lanes.snapshot(row))
            yield self.open
            if self.open <= CROWDED * len(self.runs):
                return

    def _record(self, measured: Measured) -> list[bool]:
        epoch = self.clock.epoch_at(measured.tick)
        losses: list[float | None] = [None] * len(self.runs)
        if measured.train_loss is not None:
            scaled = isinstance(self.lanes, Lanes) and self.lanes.scaled  # NaN: every step of the tick was left out
            losses = [None if scaled and math.isnan(one) else one for one in measured.train_loss.tolist()]
        rows = zip(losses, measured.valid_loss.tolist(), measured.metric.tolist(), measured.metrics, strict=True)
        points = [Point(epoch=epoch, train_loss=t, valid_loss=v, metric=m, metrics=more) for t, v, m, more in rows]
        for run in self.runs:
            run.tick = measured.tick
        return [
            not run.closed and run.record(point, self._failed(row, point, measured))
            for row, (run, point) in enumerate(zip(self.runs, points, strict=True))
        ]

    def _failed(self, row: int, point: Point, measured: Measured) -> str:
        """How a run came to a loss that is not finite; empty where it did not."""
        if row in measured.failed or math.isfinite(point.valid_loss) or not measured.tick:
            return measured.failed.get(row, "")
        return late_failure(self.lanes.snapshot(row), point.valid_loss, self.clock.step_at(measured.tick))
