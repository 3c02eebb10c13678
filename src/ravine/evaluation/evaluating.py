"""An evaluation in progress: rounds of folds side by side, each kept when it is done."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ravine.api import prepare, start
from ravine.checkpoints import holds
from ravine.errors import UserError
from ravine.evaluation.nested import Nested, begun, chosen_by, ended, spec_of
from ravine.evaluation.result import Evaluation, Outside
from ravine.evaluation.side import Side, Way, way_of
from ravine.files import digest, write_whole
from ravine.losses import metric_name
from ravine.models import probe
from ravine.problems.problem import Problem
from ravine.problems.split import Fold
from ravine.racing.plan import Plan
from ravine.randomness import key
from ravine.recipe import Recipe
from ravine.training.interrupt import Request, stop_on_request
from ravine.training.model import model_for
from ravine.training.saving import Saving
from ravine.training.train import Training

FILE = "evaluation.json"


@dataclass(frozen=True)
class Place:
    """A fold of a repeat."""

    repeat: int
    fold: int


class Evaluating:
    """An evaluation in progress: `run` yields the share done; what is done is kept in ``folder``, so it can go on.

    Each of ``repeats`` draws its own folds and has its own seed. ``lanes`` share a program and ``workers`` programs run
    at once; None for what is measured to be quickest.
    """

    def __init__(
        self,
        recipe: Recipe,
        folds: int,
        nested: Nested | None = None,
        data: Any = None,
        model: Callable[[], nn.Module] | None = None,
        folder: Path | None = None,
        repeats: int = 1,
        lanes: int | None = None,
        workers: int | None = None,
    ) -> None:
        if folds < 2:
            raise UserError(f"folds must be 2 or more, got {folds}: one part tests, the others train")
        if repeats < 1:
            raise UserError(f"repeats must be 1 or more, got {repeats}")
        self.recipe, self.nested, self.folder, self.many = recipe, nested, folder, folds
        self.source, self.model = recipe.problem if data is None else data, model
        self.places = [Place(repeat, fold) for repeat in range(repeats) for fold in range(folds)]
        self.lanes, self.workers = lanes, workers
        self.spec = None if nested is None else spec_of(recipe, nested, lanes, workers)
        self.inner = nested is not None or recipe.patience > 0 or recipe.plateau is not None
        self.first = self._problem(self.places[0])
        if self.spec is None:
            probe(model_for(recipe, self.first), self.first, recipe.model)
            template = Training(recipe, self.first).model  # what does not fit is said before anything starts
        else:
            template = start(self.spec, self.first).designs.own.models[0]
        self.saving = Saving(folder, template)
        self.way: Way | None = None
        self.done: list[Outside] = []
        self.interrupted = False

    @property
    def result(self) -> Evaluation:
        """What is known."""
        return Evaluation(self.first.name, metric_name(self.first), tuple(self.done))

    @property
    def note(self) -> str:
        """Why the folds train one after another, where something stands in the way of lanes."""
        return self.way.note if self.way is not None else ""

    def run(self) -> Generator[float]:
        """Go on with the folds that are not done; the share that is. Ctrl-C ends it, to be gone on with."""
        try:
            with self.saving.claimed(), ExitStack() as stack:
                if self.spec is not None:
                    yield from self._races()
                else:
                    yield from self._rounds(stack.enter_context(stop_on_request()))
        except KeyboardInterrupt:
            self.interrupted = True

    def _rounds(self, request: Request) -> Iterator[float]:
        if self.way is None:
            self.way = way_of(self.recipe, self.first, len(self.places), self.lanes, self.workers)
            self._keep()
        while len(self.done) < len(self.places):
            begin, total = len(self.done), len(self.places)
            places = self.places[begin : begin + self.way.held]
            side = self._side(places)
            for share in side.run(self.saving, {"evaluation": self._check(), "begin": begin}, request):
                yield (begin + share * len(places)) / total
            if not side.finished:
                raise KeyboardInterrupt
            for number, place in enumerate(places):
                try:
                    loss, metric, more = side.measured(number)
                except UserError as error:
                    raise UserError(f"fold {place.fold + 1} of {self.many} {error}") from error
                problem = side.problems[number]
                sizes = len(problem.train), len(problem.test)
                self.done.append(Outside(place.fold, *sizes, loss, metric, repeat=place.repeat, metrics=more))
            self._keep()
            yield len(self.done) / total

    def _side(self, places: list[Place]) -> Side:
        """The folds of a round, at their newest checkpoint where there is one of them."""
        assert self.way is not None
        problems = [self._problem(place) for place in places]
        seeds = [self.recipe.seed + place.repeat for place in places]
        side = Side(self.recipe, problems, seeds, self.way, self.inner)
        if self.folder is not None and holds(self.folder):
            facts, runs = self.saving.load("evaluation", self.folder, lambda kept: kept == self._check())
            if facts["begin"] == len(self.done):
                side.restore(facts, runs)
        return side

    def _races(self) -> Iterator[float]:
        """The settings that a race on the other folds chooses, on this one."""
        assert self.spec is not None
        total = len(self.places)
        for number, place in list(enumerate(self.places))[len(self.done) :]:
            problem = self._problem(place)
            folder = None if self.folder is None else self.folder / f"race-{place.repeat + 1}-{place.fold + 1}"
            spec = self.spec.model_copy(update={"seed": self.spec.seed + place.repeat})
            race = begun(spec, problem, folder)
            for moment in race.run():
                yield (number + min(1.0, moment.done)) / total
            if race.interrupted or race.test is None:
                raise KeyboardInterrupt
            schedule = ["schedule"] if len(self.spec.schedules) > 1 else []
            inner, chosen = chosen_by(race, ["lr", *self.spec.over, *schedule])
            metric, loss = race.test
            sizes = len(problem.train), len(problem.test)
            one = Outside(place.fold, *sizes, loss.mean, metric.mean, inner, chosen, place.repeat)
            self.done.append(one)
            self._keep()
            if folder is not None:
                ended(folder)
            yield len(self.done) / total

    def _keep(self) -> None:
        if self.folder is not None:
            way = None if self.way is None else asdict(self.way)
            known = {"check": self._check(), "way": way, "folds": [asdict(fold) for fold in self.done]}
            write_whole(self.folder / FILE, json.dumps(known, indent=1).encode())

    def restore(self) -> None:
        """Take over the folds that were done before."""
        assert self.folder is not None
        path = self.folder / FILE
        try:
            known = json.loads(path.read_text())
            check, done, way = known["check"], [Outside(**fold) for fold in known["folds"]], known.get("way")
            self.way = None if way is None else Way(Plan(**way["plan"]), way["held"], way["note"])
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; start without --resume") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: holds no evaluation ({error}); start without --resume") from error
        if check != self._check():
            raise UserError(f"{path}: is of another recipe or other folds; use another folder")
        self.done = done

    def _check(self) -> str:
        nested = None if self.nested is None else asdict(self.nested)
        return digest(json.dumps([self.recipe.model_dump(), len(self.places), self.many, nested], default=str).encode())

    def _problem(self, place: Place) -> Problem:
        seed = self.recipe.split_seed if place.repeat == 0 else key(self.recipe.split_seed, "repeat", place.repeat)
        fold = Fold(seed, place.fold, self.many, self.inner)
        return prepare(self.source, self.recipe.target, fold, self.recipe.loss, self.model, self.recipe)


def evaluate(
    recipe: Recipe,
    folds: int = 5,
    *,
    nested: Nested | None = None,
    data: Any = None,
    model: Callable[[], nn.Module] | None = None,
    repeats: int = 1,
    lanes: int | None = None,
    workers: int | None = None,
) -> Evaluation:
    """A recipe over folds of its data; with ``nested`` its settings are chosen by a race within each."""
    evaluating = Evaluating(recipe, folds, nested, data, model, None, repeats, lanes, workers)
    for _ in evaluating.run():
        pass
    if evaluating.interrupted:
        raise KeyboardInterrupt
    return evaluating.result
