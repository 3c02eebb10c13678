"""The worlds of a race: one for each program that its decisions make, and where each configuration runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Any

import torch

from ravine.decisions import Decision, Field, Pick, Smoothing
from ravine.engines.lane import Lane, Model
from ravine.errors import UserError
from ravine.losses import form_of, loss_name, loss_of
from ravine.models import probe
from ravine.problems.decide import decided
from ravine.problems.problem import Problem
from ravine.racing.programs import numbers_of, program_of
from ravine.racing.space import Space
from ravine.recipe import BATCH, Recipe, checked_penalties
from ravine.rules.interval import Search
from ravine.solvers.spec import contender_to_spec
from ravine.training.clock import Clock
from ravine.training.layered import check_contender
from ravine.training.loop import evaluate_model
from ravine.training.model import model_for, penalised
from ravine.training.run import Candidate, Run
from ravine.training.world import World
from ravine.types import Loss

EACH = 64  # programs that are all tried before a race starts; of more, each value alone


@dataclass
class Designs:
    """Recipes of configurations, and their worlds, each made when it is first asked for.

    Lanes of one program differ in the rule and its hyperparameters, the initial draw, and the numbers of penalties,
    noises and label smoothing; any other decision makes another program.
    """

    base: Recipe
    space: Space
    own: World  # of the race's own decisions
    workers: int = 1
    _worlds: dict[str, World] = field(default_factory=dict[str, World])
    _drawers: dict[tuple[str, str], Model] = field(default_factory=dict[tuple[str, str], Model])
    _recipes: dict[str, Recipe] = field(default_factory=dict[str, Recipe])

    def __post_init__(self) -> None:
        if self.decisions:
            self.own = replace(self.own, begin=self.lane)

    @property
    def decisions(self) -> Mapping[str, tuple[Decision, Search | Pick]]:
        """What is searched besides rules and hyperparameters."""
        return self.space.decisions

    @property
    def criterion_text(self) -> str | None:
        """The loss that all are measured by, where contenders are trained by different ones."""
        losses = [decision for decision, _ in self.decisions.values() if _changes_loss(decision)]
        if not losses:
            return None
        name = loss_name(self.own.problem)
        return name.partition(":")[0] if name.startswith("cross_entropy") else name

    def recipe(self, candidate: Candidate, seed: int | None = None) -> Recipe:
        """The whole recipe of a configuration."""
        edited = self._edited(candidate.choices)
        schedule = {name: dict(spec) for name, spec in candidate.schedules.items()}
        schedule |= {BATCH: edited.schedule[BATCH]} if BATCH in edited.schedule else {}
        update: dict[str, Any] = {"rule": contender_to_spec(candidate.rule), "schedule": schedule}
        return edited.model_copy(update={**update, **({} if seed is None else {"seed": seed})})

    def of(self, run: Run) -> World:
        """The world of a run."""
        return self.world(self._edited(run.candidate.choices)) if run.candidate.choices else self.own

    def lane(self, candidate: Candidate, seed: int) -> Lane:
        """A run before its first step."""
        recipe = self._edited(candidate.choices)
        world = self.world(recipe)
        bound = candidate.bound(world.clock.epochs)
        if not candidate.choices:
            return world.models[0].lane(candidate.rule, bound, seed)
        lane = self._drawer(recipe, world).lane(candidate.rule, bound, seed)
        numbers = numbers_of(recipe, world.models[0].module)
        held = {n: torch.full_like(lane.buffers[n], v) for n, v in numbers.items() if n in lane.buffers}
        return replace(lane, buffers={**lane.buffers, **held})

    def world(self, recipe: Recipe) -> World:
        """The world of a recipe."""
        key = program_of(recipe)
        if key == program_of(self.base):
            return self.own
        if key not in self._worlds:
            self._worlds[key] = self._made(recipe)
        return self._worlds[key]

    def tested(self, run: Run, lane: Lane) -> tuple[float, float]:
        """Loss and metric on the test part, of a run's weights."""
        world = self.of(run)
        loss = world.criterion or world.loss
        return evaluate_model(world.models[0].load(lane), loss, world.problem, world.problem.test)

    def staff(self, workers: int) -> None:
        """Give every world a model for each of so many workers."""
        self.workers = workers
        for world in (self.own, *self._worlds.values()):
            _staffed(world, workers)

    def check(self) -> None:
        """Raise one sentence on the first value that does not fit the recipe, the model or the data."""
        self._check_loss()
        for name, (decision, search) in self.decisions.items():
            self._check_part(name, decision)
            for value in search.choices if isinstance(search, Pick) else (search.low, search.high):
                self._check_value(name, decision, value)
        numbers = {n: search.at(0.5) for n, (decision, search) in self.decisions.items() if decision.is_number}
        for choices in self._programs():
            recipe = self._edited(numbers | choices)
            world = self.world(recipe)
            for rule in self.space.rules.values():
                check_contender(rule, world.models[0], world.problem)
            if world is not self.own:
                probe(world.models[0].factory, world.problem, recipe.model)

    def _check_value(self, name: str, decision: Decision, value: Any) -> None:
        recipe = decision.apply(self.base, value)
        said = "none" if value is None else value
        try:
            Recipe.model_validate(dict(recipe))
            recipe.check()
            checked_penalties(recipe.penalty, self.space.rules.values(), recipe.epochs)
            self._drawer(recipe, self.world(recipe))
        except ValueError as error:
            raise UserError(f"--over {name}={said}: {_first(error)}") from error

    def _check_part(self, name: str, decision: Decision) -> None:
        """A further setting needs its part."""
        word, dot, _ = name.partition("@")[0].partition(".")
        parts = {spec.get("name") for spec in (*self.base.penalty, *self.base.noise)}
        raced = {other.partition("@")[0] for other in self.decisions}
        if dot and not getattr(decision, "leads", True) and word not in parts | raced:
            raise UserError(f"--over {name}: no {word} is there to set it of; add --over {word}=low..high")

    def _check_loss(self) -> None:
        found = [name for name, (decision, _) in self.decisions.items() if _changes_loss(decision)]
        problem = self.own.problem
        if found and not isinstance(problem.loss, str):
            raise UserError(f"--over {found[0]}: the loss is a function of your own; name one of ravine's, or race it")
        if any(isinstance(self.decisions[name][0], Smoothing) for name in found) and problem.task != "classification":
            raise UserError(f"--over {found[0]}: labels of classes are smoothed, and {problem.name} has numbers")

    def _programs(self) -> Iterator[dict[str, Any]]:
        """Choices of every program, or, where there are many, of each value alone."""
        found = ((name, search) for name, (made, search) in self.decisions.items() if isinstance(made, Field))
        picks = {name: search.choices for name, search in found if isinstance(search, Pick)}
        if prod(len(choices) for choices in picks.values()) <= EACH:
            yield from (dict(zip(picks, values, strict=True)) for values in product(*picks.values()))
        else:
            yield {}
            yield from ({name: value} for name, choices in picks.items() for value in choices)

    def _place(self, name: str) -> int:
        """When an edit is made: the loss before its smoothing, a part before its further settings."""
        return 0 if isinstance(self.decisions[name][0], Field) else 2 if "." in name else 1

    def _edited(self, choices: Mapping[str, Any]) -> Recipe:
        key = json.dumps(choices, sort_keys=True)
        if key not in self._recipes:
            recipe = self.base
            for name in sorted(choices, key=self._place):
                recipe = self.decisions[name][0].apply(recipe, choices[name])
            criterion = self.criterion_text
            if criterion is not None and recipe.loss not in ("auto", criterion):
                recipe = recipe.model_copy(update={"criterion": criterion})
            self._recipes[key] = recipe
        return self._recipes[key]

    def _made(self, recipe: Recipe) -> World:
        """A new world, checked."""
        own = self.own.problem
        plain = {"augment": None} if "augment" in self.decisions else {}
        plain |= {"sampling": Problem.sampling} if "sampling" in self.decisions else {}
        problem = decided(replace(own, **plain), recipe)
        if recipe.loss != self.base.loss:
            problem = replace(problem, loss=recipe.loss)
        if recipe.batch > len(problem.train):
            raise UserError(f"batch {recipe.batch} is more than the {len(problem.train)} samples of {problem.name}")
        clock = Clock(len(problem.train), recipe.batch, recipe.epochs, recipe.make_growth())
        if clock.ticks != self.own.clock.ticks:
            raise UserError(
                f"batch {recipe.batch} leaves too few steps in an epoch to measure it as often as the others: "
                f"give at least 18 epochs, or smaller batches"
            )
        form, number, loss = self._loss(recipe, problem)
        model = penalised(
            model_for(recipe, problem), recipe.penalty, problem, self.own.models[0].precision, form, number
        )
        criterion = self.own.criterion or (None if self.criterion_text is None else _loss(own, self.criterion_text))
        return _staffed(World([model], loss, problem, clock, criterion, self.lane), self.workers)

    def _loss(self, recipe: Recipe, problem: Problem) -> tuple[Any, str, Loss]:
        """The loss with a number that lanes may differ in, that number, and the loss that is called."""
        loss = loss_of(problem)
        if recipe.class_weights is not None:
            return None, "", loss
        for name, (decision, _) in self.decisions.items():
            if isinstance(decision, Smoothing) and isinstance(problem.loss, str) and f"{name}=" in problem.loss:
                return form_of(problem.loss), name, _loss(problem, problem.loss.partition(":")[0])
        return None, "", loss

    def _drawer(self, recipe: Recipe, world: World) -> Model:
        """The model whose factory draws the recipe's initial weights."""
        key = (program_of(recipe), json.dumps(recipe.init, sort_keys=True))
        if world is self.own and recipe.init == self.base.init:
            return world.models[0]
        if key not in self._drawers:
            first = world.models[0]
            self._drawers[key] = Model(model_for(recipe, world.problem), first.bind, first.precision)
        return self._drawers[key]


def _staffed(world: World, workers: int) -> World:
    first = world.models[0]
    world.models.extend(Model(first.factory, first.bind, first.precision) for _ in range(workers - len(world.models)))
    return world


def _changes_loss(decision: Decision) -> bool:
    return isinstance(decision, Smoothing) or decision.name == "loss"


def _loss(problem: Problem, text: str) -> Loss:
    return loss_of(replace(problem, loss=text))


def _first(error: ValueError) -> str:
    """The sentence of a mistake; of pydantic's, the first."""
    found = getattr(error, "errors", None)
    return str(found()[0]["msg"]) if found is not None else str(error)
