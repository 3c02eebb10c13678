"""How well a recipe does on new samples: k-fold, and nested, where its settings are chosen anew in each fold."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from torch import nn

from ravine.api import prepare, start
from ravine.errors import UserError
from ravine.files import digest, write_whole
from ravine.losses import metric_name
from ravine.models import probe
from ravine.problems.problem import Problem
from ravine.problems.split import Fold
from ravine.racing.spec import RaceSpec
from ravine.recipe import Recipe
from ravine.results import Interval
from ravine.rules.rule import Rule, name_of
from ravine.training.model import model_for
from ravine.training.train import Training
from ravine.validation import validated

FILE = "evaluation.json"


@dataclass(frozen=True)
class Nested:
    """The race within each fold: what its settings are chosen from."""

    budget: int = 16
    rules: Sequence[str] = ()  # none: the recipe's own
    over: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Outside:
    """What came of one fold: on its samples, and where settings were chosen, by what and at which loss."""

    fold: int
    train: int
    test: int
    loss: float
    metric: float
    inner: float | None = None  # the lowest validation loss, by which the settings were chosen
    chosen: str = ""


@dataclass(frozen=True)
class Evaluation:
    """All folds."""

    problem: str
    metric_name: str
    folds: tuple[Outside, ...]

    @property
    def loss(self) -> Interval:
        """On the samples of each fold."""
        return self._over([fold.loss for fold in self.folds])

    @property
    def metric(self) -> Interval:
        """On the samples of each fold."""
        return self._over([fold.metric for fold in self.folds])

    @property
    def gap(self) -> Interval | None:
        """How much lower the loss was by which settings were chosen: what choosing makes of an estimate."""
        pairs = [(fold.loss, fold.inner) for fold in self.folds if fold.inner is not None]
        return self._over([outer - inner for outer, inner in pairs]) if pairs else None

    def _over(self, numbers: list[float]) -> Interval:
        share = sum(fold.test / fold.train for fold in self.folds) / len(self.folds)
        return over_folds(numbers, share)


def over_folds(numbers: Sequence[float], share: float) -> Interval:
    """The mean over folds with its interval, widened since the folds' training parts overlap.

    ``share`` is a fold's samples over those that trained. The variance of the mean is taken as (1 / k + share) s^2
    rather than s^2 / k.   Reference: Nadeau and Bengio 2003 (Machine Learning 52:239).

    >>> over_folds([1.0, 2.0, 3.0], 0.0).mean
    2.0
    """
    k, mean = len(numbers), float(np.mean(numbers))
    if k < 2:
        return Interval(mean=mean, low=mean, high=mean, values=list(numbers))
    half = float(stats.t.ppf(0.975, k - 1)) * float(np.std(numbers, ddof=1)) * math.sqrt(1 / k + share)
    return Interval(mean=mean, low=mean - half, high=mean + half, values=list(numbers))


class Evaluating:
    """An evaluation in progress: `run` yields each fold; what is done is kept in ``folder``, so it can go on."""

    def __init__(
        self,
        recipe: Recipe,
        folds: int,
        nested: Nested | None = None,
        data: Any = None,
        model: Callable[[], nn.Module] | None = None,
        folder: Path | None = None,
    ) -> None:
        if folds < 2:
            raise UserError(f"folds must be 2 or more, got {folds}: one part tests, the others train")
        self.recipe, self.count, self.nested, self.folder = recipe, folds, nested, folder
        self.source, self.model = recipe.problem if data is None else data, model
        self.spec = None if nested is None else _spec(recipe, nested)
        self.inner = nested is not None or recipe.patience > 0 or recipe.plateau is not None
        self.first = self._problem(0)
        if self.spec is None:
            probe(model_for(recipe, self.first), self.first, recipe.model)
            Training(recipe, self.first)  # what does not fit is said before anything starts
        else:
            start(self.spec, self.first)
        self.done: list[Outside] = []

    @property
    def result(self) -> Evaluation:
        """What is known."""
        return Evaluation(self.first.name, metric_name(self.first), tuple(self.done))

    def run(self) -> Iterator[Outside]:
        """Go on with the folds that are not done."""
        for place in range(len(self.done), self.count):
            problem = self._problem(place)
            self.done.append(self._trained(problem, place) if self.spec is None else self._raced(problem, place))
            if self.folder is not None:
                known = {"check": self._check(), "folds": [asdict(fold) for fold in self.done]}
                write_whole(self.folder / FILE, json.dumps(known, indent=1).encode())
            yield self.done[-1]

    def restore(self) -> None:
        """Take over the folds that were done before."""
        assert self.folder is not None
        path = self.folder / FILE
        try:
            known = json.loads(path.read_text())
            check, done = known["check"], [Outside(**fold) for fold in known["folds"]]
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; start without --resume") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: holds no evaluation ({error}); start without --resume") from error
        if check != self._check():
            raise UserError(f"{path}: is of another recipe or other folds; use another folder")
        self.done = done

    def _check(self) -> str:
        nested = None if self.nested is None else asdict(self.nested)
        return digest(json.dumps([self.recipe.model_dump(), self.count, nested], default=str).encode())

    def _problem(self, place: int) -> Problem:
        fold = Fold(self.recipe.split_seed, place, self.count, self.inner)
        return prepare(self.source, self.recipe.target, fold, self.recipe.loss, self.model, self.recipe)

    def _trained(self, problem: Problem, place: int) -> Outside:
        """The recipe on the other folds. Without an inner part its last weights count: nothing is chosen."""
        running = Training(self.recipe, problem)
        for _ in running.run():
            pass
        if running.interrupted:
            raise KeyboardInterrupt
        if running.state.diverged:
            raise UserError(f"fold {place + 1} of {self.count} diverged: {running.state.diverged}")
        last = running.state.curve[-1]
        loss, metric = running.test() if self.inner else (last.valid_loss, last.metric)
        return Outside(place, len(problem.train), len(problem.test), loss, metric)

    def _raced(self, problem: Problem, place: int) -> Outside:
        """The settings that a race on the other folds chooses, on this one."""
        assert self.spec is not None
        race = start(self.spec, problem)
        for _ in race.run():
            pass
        if race.interrupted or race.test is None:
            raise KeyboardInterrupt
        metric, loss = race.test
        best = race.standings[0]
        inner = min(run.score for run in race.runs if run.stage == "rung")
        searched = {"lr", *self.spec.over}
        settings = " ".join(f"{name}={value:.3g}" for name, value in best.hypers.items() if name in searched)
        chosen = f"{best.rule} {settings}".strip()
        return Outside(place, len(problem.train), len(problem.test), loss.mean, metric.mean, inner, chosen)


def _spec(recipe: Recipe, nested: Nested) -> RaceSpec:
    """The race that chooses among the rule's ranges, all else as the recipe has it."""
    rule = recipe.make_rule()
    if not isinstance(rule, Rule) and not nested.rules:
        raise UserError(f"{name_of(rule)} has nothing to choose: name rules to choose among, such as --rules sgd,adam")
    for option in ("patience", "plateau", "snapshots"):
        if getattr(recipe, option):
            raise UserError(f"{option} has no place in the races of --nested: leave it out of the recipe")
    shared = Recipe.model_fields.keys() & RaceSpec.model_fields.keys()
    own = {name: value for name, value in recipe.model_dump().items() if name in shared}
    schedule = recipe.schedule.get("lr", {"name": "constant"})
    own |= {"rules": list(nested.rules) or [recipe.rule["name"]], "combine": recipe.rule.get("with", [])}
    own |= {"budget": nested.budget, "over": dict(nested.over), "schedules": [schedule]}
    own |= {"seeds": 2, "finalists": 1, "defaults": False}
    return validated(RaceSpec, own, "setting of the race within a fold")


def evaluate(
    recipe: Recipe,
    folds: int = 5,
    *,
    nested: Nested | None = None,
    data: Any = None,
    model: Callable[[], nn.Module] | None = None,
) -> Evaluation:
    """A recipe over folds of its data; with ``nested`` its settings are chosen by a race within each."""
    evaluating = Evaluating(recipe, folds, nested, data, model)
    for _ in evaluating.run():
        pass
    return evaluating.result
