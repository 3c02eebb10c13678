"""The race: pilot, rungs of halving, finals over fresh seeds, one look at the test part; stoppable and resumable."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ravine.engines.lane import Model
from ravine.losses import loss_of
from ravine.problems.decide import decided
from ravine.problems.problem import Problem
from ravine.racing.designs import Designs
from ravine.racing.finals import called, new_run, on_test
from ravine.racing.moment import Moment, Phase, moment_of
from ravine.racing.pilot import planned
from ravine.racing.plan import Plan
from ravine.racing.programs import base_recipe
from ravine.racing.ranking import failures, ranking
from ravine.racing.setup import Setup
from ravine.racing.space import draw, widen
from ravine.racing.spec import RaceSpec
from ravine.results import Baselines, Interval, Standing
from ravine.rules.interval import Search
from ravine.rules.rule import name_of
from ravine.training.interrupt import Request, stop_on_request
from ravine.training.run import Run
from ravine.training.saving import Saving
from ravine.training.track import Track
from ravine.training.world import World


class Race:
    """A race in progress. ``run`` advances it and yields moments; at any of them its fields tell what is known."""

    def __init__(self, spec: RaceSpec, problem: Problem, model: Model, folder: Path | None = None) -> None:
        problem = decided(problem, spec)
        self.spec, self.problem, self.model = spec, problem, model
        self.saving = Saving(folder, model)
        self.about = {"id": "race", "created": datetime.now(UTC).isoformat(timespec="seconds"), "command": ""}
        self.loss = loss_of(problem)
        self.setup = Setup.of(spec, problem)
        self.clock = self.setup.clock
        self.space = self.setup.space
        own = World([model], self.loss, problem, self.clock)
        self.designs = Designs(base_recipe(spec, self.clock), self.space, own)
        self.designs.check()
        self.plan: Plan | None = None
        self.phase: Phase = "pilot"
        self.rung = 0
        self.runs: list[Run] = []
        self.notes: list[str] = list(self.setup.notes)
        self.rungs_run: list[tuple[int, float]] = []
        self.before = 0.0  # seconds of earlier sessions
        self.lane_steps_before = 0
        self.test: tuple[Interval, Interval] | None = None
        self.baselines: Baselines | None = None
        self.interrupted = self.out_of_time = False
        self._request = Request()
        self._begin = time.monotonic()
        self._track: Track | None = None

    @property
    def folder(self) -> Path | None:
        """Where checkpoints, the report and the recipe go."""
        return self.saving.folder

    @property
    def seconds(self) -> float:
        """Time spent, earlier sessions included."""
        return self.before + time.monotonic() - self._begin

    @property
    def lane_steps(self) -> int:
        """Optimizer steps done, summed over lanes."""
        return self.lane_steps_before + (self._track.lane_steps if self._track else 0)

    @property
    def standings(self) -> list[Standing]:
        """The ranking as far as it is known."""
        return ranking(self.runs)

    def run(self) -> Iterator[Moment]:
        """Go on from wherever the race is, to its end; Ctrl-C ends it early with what is known."""
        self._begin = time.monotonic()
        try:
            with self.saving.claimed(), stop_on_request() as self._request:
                yield from self._phases()
        except KeyboardInterrupt:
            self.interrupted = True

    def stop(self) -> None:
        """Ask a race that runs to stop at the next point of measurement, as Ctrl-C does."""
        self._request.made = True

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._request.made

    def by(self, track: Track) -> None:
        """Let runs advance by another track than one of this process's own."""
        self._track = track

    def _phases(self) -> Iterator[Moment]:
        if self.phase == "pilot":
            yield from self._pilot()
        if self.phase == "rungs":
            yield from self._rungs()
        if self.phase == "finals":
            yield from self._finals()
        if self.phase == "test":
            self.test, self.baselines = on_test(self.designs, self.runs, self.problem, self.spec.baselines)
            self.phase = "done"
            self._save(at_once=True)
        yield self._moment(1.0)

    def _pilot(self) -> Iterator[Moment]:
        yield self._moment(0.0)
        self.plan = planned(self.designs, draw(self.space, self.setup.budget), self.spec)
        if self.plan.refusal:
            why = self.plan.refusal
            self.notes.append(f"Lanes are not possible for this model, so runs go one after another: {why}.")
        self.setup = self.setup.within(self.spec.seconds, self.plan.lane_step)
        self.notes += [note for note in self.setup.notes if note not in self.notes]
        self.space = self.setup.space
        for candidate in draw(self.space, self.setup.budget):
            self.runs.append(new_run("rung", candidate, self.spec.seed))
        self.phase = "rungs"

    def _rungs(self) -> Iterator[Moment]:
        while self.rung < len(self.setup.rungs):
            to_tick = self.setup.rungs[self.rung]
            field = [run for run in self.runs if run.stage == "rung" and run.rung == self.rung]
            yield from self._go(field, to_tick)
            if self.rung == 0 and self.spec.widen and self._widen():
                continue
            ready = sorted((run for run in field if not run.diverged), key=lambda run: run.score)
            self.rungs_run.append((len(field), self.clock.epoch_at(to_tick)))
            self.rung += 1
            keep = max(1, -(-len(field) // self.spec.eta)) if self.rung < len(self.setup.rungs) else 0
            for run in ready[:keep]:
                run.rung = self.rung
            for run in self.runs:
                if run.rung < self.rung or self.rung == len(self.setup.rungs):
                    run.lane = None  # a loser's state is not needed again
            self._save(at_once=True)
        self.runs += called(self.runs, self.spec, self.setup.fresh)
        self.phase = "finals"
        self._save(at_once=True)

    def _widen(self) -> bool:
        tried = [(run.candidate, run.score) for run in self.runs]
        new = widen(self.space, tried, len(self.runs))
        self.runs += [new_run("rung", candidate, self.spec.seed) for candidate in new]
        for name in dict.fromkeys(name_of(candidate.rule) for candidate in new):
            search = self.space.ranges[name]["lr"]
            assert isinstance(search, Search)
            self.notes.append(
                f"The best learning rate of {name} lay at the edge: its range was widened to "
                f"{search.low:.2g} to {search.high:.2g}."
            )
        return bool(new)

    def _finals(self) -> Iterator[Moment]:
        field = [run for run in self.runs if run.stage != "rung"]
        yield from self._go(field, self.clock.ticks, keep_best=True)
        self.notes += failures(field)
        self.phase = "test"
        self._save(at_once=True)

    def _go(self, field: Sequence[Run], to_tick: int, keep_best: bool = False) -> Iterator[Moment]:
        if self._track is None:
            assert self.plan is not None
            self.designs.staff(self.plan.workers)
            own, draws = self.designs.own, bool(self.plan.refusal)
            size, of = self.plan.size, self.designs.of
            self._track = Track(own.models, own.loss, own.problem, own.clock, size, draws, of=of)
        for _ in self._track.go(field, to_tick, keep_best):
            if self.spec.seconds is not None and not self.before and self.seconds > 1.5 * self.spec.seconds:
                self.out_of_time = True
                self.notes.append("The time budget was used up before the end: the ranking is what was known then.")
            self._save()
            yield self._moment(self.lane_steps / max(1, self.setup.lane_steps))
            if self.out_of_time or self._request.made:
                self._save(at_once=True)
                raise KeyboardInterrupt

    def _moment(self, done: float) -> Moment:
        return moment_of(self.phase, self.rung, self.runs, done, self.seconds)

    def _save(self, at_once: bool = False) -> None:
        if self.saving.due(at_once):
            with self._track.lent() if self._track else nullcontext():
                self.saving.save(self.facts(), self.runs)

    def facts(self) -> dict[str, Any]:
        """Everything but the runs, as plain values."""
        return {
            "spec": self.spec.model_dump(),
            "about": self.about,
            "phase": self.phase,
            "rung": self.rung,
            "notes": self.notes,
            "rungs_run": self.rungs_run,
            "seconds": self.seconds,
            "lane_steps": self.lane_steps,
            "budget": self.setup.budget,
            "plan": None if self.plan is None else vars(self.plan),
            "ranges": {rule: {h: vars(s) for h, s in own.items()} for rule, own in self.space.ranges.items()},
            "widened": self.space.widened,
            "baselines": None if self.baselines is None else self.baselines.model_dump(),
            "test": None if self.test is None else [part.model_dump() for part in self.test],
        }

    def restore(self, folder: Path) -> None:
        """Take over the state that the newest sound checkpoint holds."""
        facts, self.runs = self.saving.load("spec", folder)
        self.about = facts["about"]
        self.phase, self.rung, self.notes = facts["phase"], facts["rung"], facts["notes"]
        self.rungs_run = [(count, epoch) for count, epoch in facts["rungs_run"]]
        self.before, self.lane_steps_before = facts["seconds"], facts["lane_steps"]
        self.plan = None if facts["plan"] is None else Plan(**facts["plan"])
        self.setup = self.setup.with_budget(facts["budget"])
        self.space = self.setup.restored(facts["ranges"], facts["widened"])
        if facts.get("baselines") is not None:
            self.baselines = Baselines.model_validate(facts["baselines"])
        if facts["test"] is not None:
            self.test = Interval.model_validate(facts["test"][0]), Interval.model_validate(facts["test"][1])
