"""The track: runs that advance in cohorts, as many at a time as there are workers, and are taken on when they lag."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager

from ravine.engines.lane import Model
from ravine.problems.problem import Problem
from ravine.rules.rule import name_of
from ravine.training.clock import Clock
from ravine.training.cohort import Cohort, runs_together
from ravine.training.crew import crew
from ravine.training.run import Run
from ravine.training.samples import SampleLog
from ravine.training.team import Alone, Team
from ravine.training.world import World
from ravine.types import Loss


class Track:
    """Runs that advance to the same tick: ``workers`` cohorts at the same time, of at most ``size`` lanes each.

    What a cohort holds and how far it goes depends on the runs alone, never on which worker was quicker. ``draws``
    says that the model may draw random numbers by itself: such runs go one after another. Runs whose decisions make
    another program are in another `World`, which ``of`` tells; cohorts are of one.
    """

    def __init__(
        self,
        models: Sequence[Model],
        loss: Loss,
        problem: Problem,
        clock: Clock,
        size: int = 1,
        draws: bool = True,
        keep: frozenset[int] = frozenset(),
        log: SampleLog | None = None,
        criterion: Loss | None = None,
        of: Callable[[Run], World] | None = None,
        team: Team | None = None,
    ) -> None:
        own = World(list(models), loss, problem, clock, criterion)
        self.of = of or (lambda run: own)
        self.workers, self.size = len(models), size
        self.draws = draws
        self.keep = keep  # ticks at which every run keeps its weights
        self.team = team or Alone()
        self.log = log  # of what each step of the one run sees
        self._ended = 0  # lane-steps of cohorts that are done
        self._cohorts: list[Cohort | None] = [None] * self.workers

    @property
    def lane_steps(self) -> int:
        """Optimizer steps done, summed over lanes."""
        return self._ended + sum(cohort.lane_steps for cohort in self._cohorts if cohort is not None)

    def go(self, runs: Sequence[Run], to_tick: int, keep_best: bool = False) -> Iterator[int]:
        """Train every open run to that tick; yields the number of open lanes after each tick of the cohorts.

        Between two yields, within `lent`, each run has the state that belongs to the end of its curve.
        """
        runs = sorted(runs, key=lambda run: name_of(run.candidate.rule))  # lanes of one rule step in one launch
        going: list[Iterator[int]] = [iter(())] * self.workers
        with crew(self.workers) as together:
            while True:
                for place in (place for place in range(self.workers) if self._cohorts[place] is None):
                    cohort = self._next(runs, to_tick, place)
                    if cohort is not None:
                        going[place] = cohort.advance(to_tick, keep_best, self.draws, self.keep, self.log)
                        self._cohorts[place] = cohort
                busy = [place for place, cohort in enumerate(self._cohorts) if cohort is not None]
                if not busy:
                    return
                still = together([lambda place=place: next(going[place], None) for place in busy])
                for place, open_runs in zip(busy, still, strict=True):
                    if open_runs is None:
                        self._end(place)
                if any(still):
                    yield sum(filter(None, still))

    def set_hyper(self, run: Run, name: str, value: float) -> None:
        """Give a run that is in a cohort another value of a hyperparameter."""
        for cohort in self._cohorts:
            if cohort is not None and run in cohort.runs:
                cohort.lanes.set_hyper(cohort.runs.index(run), name, value)

    @contextmanager
    def lent(self) -> Generator[None]:
        """Within, every run that is in a cohort shows its state as it is now."""
        running = [cohort for cohort in self._cohorts if cohort is not None]
        for cohort in running:
            cohort.lend()
        try:
            yield
        finally:
            for cohort in running:
                cohort.take_back()

    def stop(self) -> None:
        """Give every run that is in a cohort its state back; `go` must be called anew to go on."""
        for place, cohort in enumerate(self._cohorts):
            if cohort is not None:
                self._end(place)

    def _next(self, runs: Sequence[Run], to_tick: int, place: int) -> Cohort | None:
        """The next cohort for a worker: of the runs that wait furthest behind, its even share."""
        taken = {id(run) for cohort in self._cohorts if cohort is not None for run in cohort.runs}
        waiting = [run for run in runs if run.tick < to_tick and not run.closed and id(run) not in taken]
        if not waiting:
            return None
        tick = min(run.tick for run in waiting)
        alike = [run for run in waiting if run.tick == tick]
        world = self.of(alike[0])
        alike = [run for run in alike if self.of(run) is world]
        company = [run for run in alike if runs_together(run)]
        free = sum(cohort is None for cohort in self._cohorts)
        chosen = company[: min(self.size, -(-len(company) // free))] or alike[:1]
        return Cohort(world, place, chosen, self.team)

    def _end(self, place: int) -> None:
        cohort = self._cohorts[place]
        assert cohort is not None
        cohort.lend()
        self._ended += cohort.lane_steps
        self._cohorts[place] = None
