"""The same epochs at several batch sizes, the learning rate scaled with them: how far that gives the same curve."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ravine.engines.lane import Model
from ravine.losses import loss_of
from ravine.problems.problem import Problem
from ravine.racing.statistics import paired
from ravine.rates.scaling import Law, scaled_rate
from ravine.results import Interval
from ravine.rules.rule import Rule, values, with_values
from ravine.training.clock import Clock
from ravine.training.run import Candidate, Run
from ravine.training.track import Track


@dataclass(frozen=True)
class Scaled:
    """Runs of one batch size over the seeds, at one learning rate."""

    batch: int
    rate: float
    epochs: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]  # validation loss at each epoch, one row a seed; inf after one was lost
    metric: float  # at the end, mean over seeds; NaN where a run was lost
    lost: str = ""  # why, if a run was

    @property
    def last(self) -> list[float]:
        """The validation loss at the end, one a seed."""
        return [row[-1] for row in self.losses]

    def behind(self, base: Scaled, comparisons: int = 1) -> Interval | None:
        """Its last loss less that of another, paired by seed, with the interval of 95 %; None where a run was lost."""
        return None if self.lost or base.lost else paired(self.last, base.last, comparisons)


def scaled_runs(
    problem: Problem,
    model: Model,
    rule: Rule,
    batch: int,
    sizes: Sequence[int],
    epochs: int,
    seeds: Sequence[int],
    law: Law | None,
    tell: Callable[[int], None] | None = None,
) -> Iterator[Scaled]:
    """Train each size for so many epochs, all seeds side by side; the rate of ``rule`` is that of ``batch``.

    Without a law every size trains at the rate as it is.
    """
    for size in sizes:
        first = float(values(rule)["lr"])
        rate = first if law is None else scaled_rate(first, batch, size, law)
        candidate = Candidate(0, with_values(rule, {"lr": rate}), {})
        runs = [Run(f"s{seed}", candidate, seed, "train") for seed in seeds]
        clock = Clock(len(problem.train), size, epochs)
        for _ in Track([model], loss_of(problem), problem, clock, size=len(runs)).go(runs, clock.ticks):
            pass
        if tell is not None:
            tell(size)
        yield _scaled(size, rate, runs, clock)


def _scaled(size: int, rate: float, runs: Sequence[Run], clock: Clock) -> Scaled:
    ticks = [epoch * clock.ticks_per_epoch for epoch in range(clock.epochs + 1)]
    rows = [tuple(_loss(run, tick) for tick in ticks) for run in runs]
    lost = next((f"seed {run.seed}: {run.diverged}" for run in runs if run.diverged), "")
    metric = float("nan") if lost else sum(run.curve[-1].metric for run in runs) / len(runs)
    return Scaled(size, rate, tuple(map(float, range(clock.epochs + 1))), tuple(rows), metric, lost)


def _loss(run: Run, tick: int) -> float:
    """The loss at a tick; infinite from where the run was lost."""
    return run.curve[tick].valid_loss if tick < len(run.curve) and not (run.diverged and tick) else float("inf")
