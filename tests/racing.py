"""Small races, and races made by hand: what the tests of the race share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ravine.engines.lane import Model
from ravine.models import model_factory
from ravine.problems import Problem, load
from ravine.racing.outcome import result_of
from ravine.racing.race import Race
from ravine.racing.ranking import ranking
from ravine.racing.spec import RaceSpec
from ravine.racing.verdict import verdict
from ravine.results import Cost, Point, RaceResult, Stage
from ravine.rules.rule import make
from ravine.training.run import Candidate, Origin, Run

SMALL: dict[str, Any] = {
    "problem": "wine", "model": "mlp:8", "rules": ["adam", "sgd", "momentum"], "budget": 12, "epochs": 4, "batch": 16,
    "seeds": 3, "finalists": 2, "lanes": 64,
}  # fmt: skip


def a_race(problem: Problem | None = None, folder: Path | None = None, **changes: Any) -> Race:
    spec = RaceSpec.model_validate({**SMALL, **changes})
    made = problem or load(spec.problem)
    return Race(spec, made, Model(model_factory(spec.model, made.shape, made.outputs)), folder)


def raced(problem: Problem | None = None, folder: Path | None = None, **changes: Any) -> Race:
    running = a_race(problem, folder, **changes)
    for _ in running.run():
        pass
    return running


def facts(running: Race) -> RaceResult:
    """The result without what differs from one time to the next: dates and durations."""
    found = result_of(running)
    cost = found.cost.model_copy(update={"seconds": 0.0, "plan_timings": {}})
    return found.model_copy(update={"created": "", "cost": cost})


def a_run(rule: str, config: int, stage: Stage, seed: int, loss: float, origin: Origin = "drawn", tick: int = 3) -> Run:
    """A run whose curve falls to that loss; infinite: it diverged."""
    made = make(rule, {}) if origin == "default" else make(rule, {"lr": 0.01 * (config + 1)})
    run = Run(f"c{config}-s{seed}-{stage}", Candidate(config, made, {}, origin), seed, stage, None, 0, tick)
    run.curve = [Point(epoch=0, train_loss=None, valid_loss=2.0, metric=0.1)]
    if math.isfinite(loss):
        run.curve.append(Point(epoch=1, train_loss=loss, valid_loss=loss, metric=1 - loss))
    else:
        run.diverged = "loss became NaN by epoch 1"
    return run


def finals(losses: dict[str, Sequence[float]], default: dict[str, Sequence[float]] | None = None) -> list[Run]:
    """The runs of a race: each rule by one run of the rungs, then over seeds, with its defaults beside it."""
    runs: list[Run] = []
    for place, (rule, own) in enumerate(losses.items()):
        runs.append(a_run(rule, place, "rung", 0, min(own)))
        runs += [a_run(rule, place, "final", 10 + seed, loss) for seed, loss in enumerate(own)]
        other = (default or {}).get(rule, [])
        runs += [a_run(rule, 90 + place, "default", 10 + seed, loss, "default") for seed, loss in enumerate(other)]
    return runs


def said(runs: Sequence[Run]) -> str:
    """The verdict on a race of these runs."""
    cost = Cost(seconds=1.0, lane_steps=1, full_runs=1.0, plan="one after another", plan_timings={})
    result = RaceResult(
        id="race-toy", created="", status="finished", command="", problem="toy", understood=[], task="classification",
        metric_name="accuracy", model="mlp", parameters=1, epochs=3, batch=1, seeds=[0], rungs=[], spaces={}, notes=[],
        runs=[run.result("finished") for run in runs], ranking=ranking(runs), verdict="", cost=cost,
    )  # fmt: skip
    return verdict(result)
