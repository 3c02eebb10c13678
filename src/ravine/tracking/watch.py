"""Runs and races that tell a log what they measure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from ravine.racing.moment import Moment
from ravine.racing.race import Race
from ravine.results import Point
from ravine.rules.rule import name_of, values
from ravine.tracking.log import About, Log, numbers
from ravine.training.run import Run
from ravine.training.train import Training

T = TypeVar("T", Point, Moment)


def about_run(run: Run, name: str, group: str, problem: str, model: str, recipe: str = "") -> About:
    """What is known of a run."""
    hypers = {key: float(value) for key, value in values(run.candidate.rule).items()}
    tags = {
        "problem": problem, "model": model, "rule": name_of(run.candidate.rule), "seed": str(run.seed),
        "config": str(run.candidate.config), "stage": run.stage, "schedule": run.candidate.schedule, "group": group,
    }  # fmt: skip
    return About(name, group, hypers, tags, recipe)


def rate_at(run: Run, epochs: int, point: Point, base: float | None = None) -> float | None:
    """The learning rate after a point; None where the rule has none."""
    rate = values(run.candidate.rule).get("lr") if base is None else base
    if rate is None:
        return None
    schedule = run.candidate.bound(epochs).get("lr")
    return float(rate) * (1.0 if schedule is None else schedule(point.epoch))


def logged_training(running: Training, log: Log, name: str) -> Iterator[Point]:
    """The points of a run, each told to the log; those of before a resumption were told then."""
    recipe = running.recipe
    log.begin(about_run(running.state, name, name, running.problem.name, recipe.model, recipe.toml()))
    for point in running.run():
        base = running.reductions[-1][1] if running.reductions else None
        rate = rate_at(running.state, recipe.epochs, point, base)
        log.point(name, running.clock.step_at(running.state.tick), numbers(point, rate))
        yield point
    log.end(name, running.result.status)
    log.close()


def logged_race(race: Race, moments: Iterable[Moment], log: Log) -> Iterator[Moment]:
    """The moments of a race; every run of it, of rungs and finals, is told to the log as it goes."""
    told = {run.id: len(run.curve) for run in race.runs}
    begun: set[str] = set()
    for moment in moments:
        _tell(race, log, told, begun)
        yield moment
    _tell(race, log, told, begun)
    for run in race.runs:
        if run.id in begun:
            ended = "diverged" if run.diverged else "finished" if run.tick >= race.clock.ticks else "stopped"
            log.end(run.id, ended)
    log.close()


def _tell(race: Race, log: Log, told: dict[str, int], begun: set[str]) -> None:
    for run in race.runs:
        before = told.get(run.id, 0)
        if len(run.curve) == before:
            continue
        if run.id not in begun:
            begun.add(run.id)
            log.begin(about_run(run, run.id, race.about["id"], race.problem.name, race.spec.model))
        for point in run.curve[before:]:
            step = round(point.epoch * race.clock.steps_per_epoch)
            log.point(run.id, step, numbers(point, rate_at(run, race.clock.epochs, point)))
        told[run.id] = len(run.curve)
