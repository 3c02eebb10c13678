"""The race within a fold: its settings chosen on the other folds, as they would be without this one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ravine.api import start
from ravine.checkpoints import holds
from ravine.errors import UserError
from ravine.problems.problem import Problem
from ravine.racing.race import Race
from ravine.racing.spec import RaceSpec
from ravine.recipe import Recipe
from ravine.rules.rule import Rule, name_of
from ravine.validation import validated


@dataclass(frozen=True)
class Nested:
    """The race within each fold: what its settings are chosen from."""

    budget: int = 16
    rules: Sequence[str] = ()  # none: the recipe's own
    over: Mapping[str, Any] = field(default_factory=dict[str, Any])
    schedules: Sequence[str] = ()  # none: the recipe's own


def spec_of(recipe: Recipe, nested: Nested, lanes: int | None = None, workers: int | None = None) -> RaceSpec:
    """The race that chooses among the rule's ranges, all else as the recipe has it."""
    rule = recipe.make_rule()
    if not isinstance(rule, Rule) and not nested.rules:
        raise UserError(f"{name_of(rule)} has nothing to choose: name rules to choose among, such as --rules sgd,adam")
    for option in ("patience", "plateau", "snapshots"):
        if getattr(recipe, option):
            raise UserError(f"{option} has no place in the races of --nested: leave it out of the recipe")
    shared = Recipe.model_fields.keys() & RaceSpec.model_fields.keys()
    own = {name: value for name, value in recipe.model_dump().items() if name in shared}
    own_schedule = recipe.schedule.get("lr", {"name": "constant"})
    schedules = [{"name": name} for name in nested.schedules] or [own_schedule]
    own |= {"rules": list(nested.rules) or [recipe.rule["name"]], "combine": recipe.rule.get("with", [])}
    own |= {"budget": nested.budget, "over": dict(nested.over), "schedules": schedules}
    own |= {"seeds": 2, "finalists": 1, "defaults": False, "baselines": False, "lanes": lanes, "workers": workers}
    return validated(RaceSpec, own, "setting of the race within a fold")


def begun(spec: RaceSpec, problem: Problem, folder: Path | None) -> Race:
    """The race of a fold, at its newest checkpoint where its folder holds one."""
    race = start(spec, problem, folder)
    if folder is not None and holds(folder):
        race.restore(folder)
    return race


def ended(folder: Path) -> None:
    """Remove what a race needed to go on, once its result is kept."""
    shutil.rmtree(folder, ignore_errors=True)


def chosen_by(race: Race, searched: Sequence[str]) -> tuple[float, str]:
    """The lowest validation loss of its rungs, and what it chose in words."""
    best = race.standings[0]
    inner = min(run.score for run in race.runs if run.stage == "rung")
    settings = [f"{name}={value:.3g}" for name, value in best.hypers.items() if name in searched]
    settings += [f"{name}={value}" for name, value in best.choices.items()]
    settings += [f"schedule={best.schedule}"] * ("schedule" in searched)
    return inner, " ".join([best.rule, *settings])
