"""One cell of the comparison: one rule on one problem, at its defaults and tuned, over the same fresh seeds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from ravine.bench.common import interleaved, ratio
from ravine.bench.contest import Contest
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.losses import loss_of, metric_name
from ravine.models import count, probe
from ravine.racing.plan import refused
from ravine.racing.setup import Setup
from ravine.racing.space import draw
from ravine.racing.spec import RaceSpec
from ravine.results import Stage
from ravine.rules.rule import Rule, make, values
from ravine.training.clock import Batches
from ravine.training.interrupt import Request
from ravine.training.layered import check_contender
from ravine.training.loop import evaluate_model
from ravine.training.run import Candidate, Run
from ravine.training.track import Track

LANES = 8  # that share a program at most
STEPS, ROUNDS = 5, 9  # of the timing


class Protocol(BaseModel):
    """What is the same for every cell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(default=8, ge=1)  # configurations drawn for each rule, beside its defaults
    seeds: int = Field(default=3, ge=2)  # fresh ones of the finals
    seed: int = Field(default=0, ge=0)  # of the draw and of the tuning runs
    length: float = Field(default=1.0, gt=0)  # times the epochs of every problem
    schedule: str = "cosine"


class Arena:
    """A problem made ready: data, a model for each worker, and how long a run is."""

    def __init__(self, contest: Contest, protocol: Protocol) -> None:
        self.protocol, self.contest = protocol, contest.times(protocol.length)
        self.problem = self.contest.problem()
        self.loss = loss_of(self.problem)
        factory = self.contest.factory(self.problem)
        probe(factory, self.problem, self.contest.model)
        self.models = [Model(factory) for _ in range(torch.get_num_threads())]
        self.setup = self._setup("sgd")
        self.clock = self.setup.clock
        lanes = [self.models[0].lane(make("sgd", {}), {}, 0)] * 2
        self.refusal = refused(self.models[0], self.loss, lanes, self.problem, self.clock)

    def _setup(self, rule: str) -> Setup:
        own, protocol = self.contest, self.protocol
        spec = RaceSpec(
            problem=own.name,
            model=own.model,
            rules=[rule],
            schedules=[{"name": protocol.schedule}],
            budget=protocol.trials + 1,
            epochs=own.epochs,
            batch=own.batch,
            seed=protocol.seed,
            seeds=protocol.seeds,
        )
        return Setup.of(spec, self.problem)

    @property
    def facts(self) -> dict[str, Any]:
        """What the page says of the problem, as plain values."""
        problem, clock = self.problem, self.clock
        return {
            "what": self.contest.what,
            "understood": list(problem.understood),
            "model": self.contest.model,
            "parameters": count(self.models[0].module),
            "samples": [len(problem.train), len(problem.valid), len(problem.test)],
            "epochs": clock.epochs,
            "batch": clock.batch,
            "steps": clock.steps,
            "metric": metric_name(problem),
            "seeds": list(self.setup.fresh),
        }

    def cell(self, rule: str, request: Request) -> dict[str, Any]:
        """Tune the rule, run its defaults and its best setting over the fresh seeds, and time its step.

        Raises:
            KeyboardInterrupt: where ``request`` asks to stop.
            UserError: where the rule cannot train this model.
        """
        begin = time.monotonic()
        setup = self._setup(rule)
        candidates = _different(draw(setup.space, setup.budget))
        check_contender(candidates[0].rule, self.models[0], self.problem)
        tries = self._go([Run(f"c{c.config}", c, self.protocol.seed, "rung") for c in candidates], request)
        best = min(tries, key=lambda run: run.score)
        chosen: dict[Stage, Candidate] = {"default": candidates[0], "final": best.candidate}
        runs = [
            Run(f"c{c.config}-s{seed}", c, seed, stage)
            for stage, c in chosen.items()
            for seed in setup.fresh
            if stage == "default" or c is not candidates[0]
        ]
        self._go(runs, request, keep_best=True)
        default = self._side([run for run in runs if run.stage == "default"])
        drawn = [run for run in runs if run.stage == "final"]
        return {
            "trials": [_trial(run) for run in tries],
            "default": default,
            "tuned": self._side(drawn) if drawn else default,
            "step": self._step(candidates[0], setup.clock.epochs),
            "seconds": round(time.monotonic() - begin, 1),
        }

    def _go(self, runs: list[Run], request: Request, keep_best: bool = False) -> list[Run]:
        """Train the runs to their ends, a program of lanes for each worker; methods one after another."""
        alone = bool(self.refusal) or not isinstance(runs[0].candidate.rule, Rule)
        models, size = (self.models[:1], 1) if alone else (self.models, LANES)
        track = Track(models, self.loss, self.problem, self.clock, size, draws=alone)
        for _ in track.go(runs, self.clock.ticks, keep_best):
            if request.made:
                track.stop()
                raise KeyboardInterrupt
        return runs

    def _side(self, runs: Sequence[Run]) -> dict[str, Any]:
        """What one setting had on the test part at the best validation loss of each seed; None where it diverged."""
        rule = runs[0].candidate.rule
        found = [None if run.diverged or run.best is None else self._test(run) for run in runs]
        return {
            "hypers": {name: float(value) for name, value in values(rule).items()},
            "losses": [_digits(one[0]) if one else None for one in found],
            "metrics": [_digits(one[1]) if one else None for one in found],
            "train": [_digits(run.curve[-1].train_loss) if one else None for run, one in zip(runs, found, strict=True)],
        }

    def _test(self, run: Run) -> tuple[float, float]:
        assert run.best is not None
        return evaluate_model(self.models[0].load(run.best), self.loss, self.problem, self.problem.test)

    def _step(self, candidate: Candidate, epochs: int) -> dict[str, float] | None:
        """A training step of one run in units of SGD's: CPU time on one thread, in turns; None for a method."""
        if not isinstance(candidate.rule, Rule):
            return None
        model, index = self.models[0], Batches(self.clock).at([0], 0)
        pair = {"own": candidate.rule, "sgd": make("sgd", {})}
        made = {n: Lanes(model, self.loss, [model.lane(r, candidate.bound(epochs), 0)]) for n, r in pair.items()}

        def timed(lanes: Lanes) -> float:
            begin = time.process_time()  # which what else runs on the machine changes least
            for _ in range(STEPS):
                lanes.step(self.problem.train, index, 0.0)
            return time.process_time() - begin

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            ways = {name: lambda lanes=lanes: timed(lanes) for name, lanes in made.items()}
            seen = interleaved(ways, ROUNDS)
        finally:
            torch.set_num_threads(threads)
        return {name: _digits(value) or 0.0 for name, value in asdict(ratio(seen["own"], seen["sgd"])).items()}


def _different(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Each configuration once: a rule without a range has its defaults alone."""
    rules = [candidate.rule for candidate in candidates]
    return [candidate for place, candidate in enumerate(candidates) if candidate.rule not in rules[:place]]


def _trial(run: Run) -> dict[str, Any]:
    """One tuning run: what was searched, and its lowest validation loss (None where it diverged)."""
    given = values(run.candidate.rule)
    searched = {name: float(given[name]) for name in run.candidate.searched}
    return {**searched, "valid": None if run.score == float("inf") else _digits(run.score)}


def _digits(number: float | None) -> float | None:
    """Seven digits, which is what float32 has."""
    return None if number is None else float(f"{number:.7g}")
