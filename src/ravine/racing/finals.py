"""The end of a race: who runs over fresh seeds, and the one look at the test part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ravine.baselines.compare import beside, predicted
from ravine.problems.problem import Problem
from ravine.racing.designs import Designs
from ravine.racing.ranking import best_by_rule, ranking
from ravine.racing.spec import RaceSpec
from ravine.racing.statistics import interval
from ravine.results import Baselines, Interval
from ravine.rules.rule import name_of
from ravine.training.run import Candidate, Run


def new_run(stage: Literal["rung", "final", "default"], candidate: Candidate, seed: int) -> Run:
    """A run that has not begun."""
    return Run(f"c{candidate.config:03d}-s{seed}-{stage}", candidate, seed, stage)


def called(runs: Sequence[Run], spec: RaceSpec, fresh: Sequence[int]) -> list[Run]:
    """The best configuration of the best rules, and each of these rules at its defaults, over fresh seeds."""
    found: list[Run] = []
    for best in best_by_rule(runs)[: spec.finalists]:
        default = _default(runs, name_of(best.candidate.rule)) if spec.defaults else None
        for seed in fresh:
            found.append(new_run("final", best.candidate, seed))
            if default is not None and default != best.candidate:
                found.append(new_run("default", default, seed))
    return found


def _default(runs: Sequence[Run], rule: str) -> Candidate | None:
    candidates = (run.candidate for run in runs if run.candidate.origin == "default")
    return next((candidate for candidate in candidates if name_of(candidate.rule) == rule), None)


def on_test(
    designs: Designs, runs: Sequence[Run], problem: Problem, baselines: bool
) -> tuple[tuple[Interval, Interval] | None, Baselines | None]:
    """The winner's runs, each at its best epoch, on the test part: the only time that part is used.

    Their metric and their loss over the seeds, and the classical models beside them where they are wanted.
    """
    rows = ranking(runs)
    if not (rows and rows[0].finalist and len(problem.test)):
        return None, None
    own = [run for run in runs if run.stage != "rung" and run.candidate.config == rows[0].config]
    own = [run for run in own if run.best is not None]
    measured = [designs.tested(run, run.best) for run in own if run.best is not None]
    if not measured:
        return None, None
    test = interval([metric for _, metric in measured]), interval([loss for loss, _ in measured])
    return test, beside(problem, (_answers(designs, run) for run in own)) if baselines else None


def _answers(designs: Designs, run: Run) -> Any:
    """What a run's best model predicts for the test part: labels, or numbers."""
    world = designs.of(run)
    assert run.best is not None
    return predicted(world.models[0].load(run.best), world.problem)
