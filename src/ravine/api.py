"""The main jobs from Python: race many configurations, train one recipe."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from ravine import report
from ravine.checkpoints import claimed, holds, newest
from ravine.engines.precision import Precision
from ravine.errors import UserError
from ravine.files import slug
from ravine.losses import loss_text
from ravine.models import probe
from ravine.problems import from_anything
from ravine.problems.decide import decided
from ravine.problems.problem import Problem
from ravine.problems.reading import RESIDENT
from ravine.problems.split import Draw, Grouped, plain_of
from ravine.racing.outcome import result_of, winner_recipe
from ravine.racing.race import Race
from ravine.racing.spec import RaceSpec
from ravine.recipe import Recipe
from ravine.results import RaceResult
from ravine.training.model import model_for, penalised
from ravine.training.train import Training
from ravine.types import Loss
from ravine.validation import validated


@dataclass(frozen=True)
class Winner:
    """The best configuration of a race: its recipe, and its trained model of each fresh seed."""

    recipe: Recipe
    models: tuple[nn.Module, ...]  # at their best points, in evaluation mode, in the order of the seeds
    _made: Callable[[], Any] = field(repr=False, default=lambda: None)

    @property
    def estimator(self) -> Any:
        """The model of the first seed with scikit-learn's interface, which predicts from raw samples.

        None where the race ended before its finals.
        """
        return self._made()


@dataclass(frozen=True)
class Outcome:
    """A race that ended: a table in a terminal, a table and a figure in a notebook."""

    result: RaceResult
    winner: Winner | None

    def report(self, path: str | Path) -> Path:
        """Write the report as one HTML file that needs no network."""
        return report.write(self.result, Path(path))

    def __rich__(self) -> Any:
        return report.table(self.result)

    def _repr_html_(self) -> str:
        return report.notebook(self.result)


def race(
    data: Any,
    *,
    model: str | Callable[[], nn.Module] = "mlp:128,128",
    loss: str | Mapping[str, Any] | Loss = "auto",
    rules: Sequence[str] | None = None,
    over: Mapping[str, tuple[float, float] | Sequence[Any]] | None = None,
    schedules: Sequence[str | Mapping[str, Any]] = ("cosine",),
    budget: int = 64,
    seconds: float | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    seed: int = 0,
    seeds: int = 5,
    finalists: int = 3,
    folder: str | Path | None = None,
    progress: bool = True,
    **others: Any,
) -> Outcome:
    """Race optimizers and their settings on a problem, and rank them with intervals over seeds.

    Args:
        data: a name ("digits"), a path, (x, y), a torch Dataset, or a `Problem`.
        model: a word such as "mlp:128,128", or a function that makes a new module.
        loss: "auto", a name, a name with settings ("huber:delta=0.5" or {"name": "huber", "delta": 0.5}), or a function
            of (prediction, target) that gives the mean loss.
        rules: names of the catalogue; None for every contender.
        over: what to search: ranges of hyperparameters, {"lr": (1e-4, 1e-1)}, and any decision of a recipe,
            {"dropout": (0.0, 0.6), "init": ["he", "xavier"]}; None for each rule's own ranges. See docs/race.md.
        schedules: of the learning rate, by name or as {"name": ..., settings}.
        budget: configurations to try.
        seconds: a time to keep to, in place of the budget.
        epochs: length of a full run; None for a length that suits the size of the data.
        batch: samples a step; None for one that suits the size of the data.
        seed: of the draw of configurations, the first runs and all that follows from them.
        seeds: fresh seeds of the finals.
        finalists: rules whose best configuration is repeated over the fresh seeds.
        folder: where checkpoints go, so that a killed race can be resumed; None for none.
        progress: show a line of progress.
        others: further fields of `RaceSpec`, such as target, split_seed, penalty, preprocess, augment, lanes, workers,
            or defaults=False to leave the finalists' rules at their defaults out of the finals.

    Raises:
        UserError: one sentence on anything that does not fit.
    """
    word = model if isinstance(model, str) else "own"
    source = data if isinstance(data, str) else getattr(data, "name", "data")
    fields: dict[str, Any] = dict(
        problem=source,
        model=word,
        loss=loss if isinstance(loss, str | Mapping) else "auto",
        rules=list(rules) if rules is not None else None,
        over=dict(over or {}),
        schedules=[{"name": s} if isinstance(s, str) else dict(s) for s in schedules],
        budget=budget,
        seconds=seconds,
        epochs=epochs,
        batch=batch,
        seed=seed,
        seeds=seeds,
        finalists=finalists,
        **others,
    )
    spec = validated(RaceSpec, fields, "argument of race")
    spec.check_asked()
    own = None if isinstance(model, str) else model
    problem = prepare(data, spec.target, spec.split_seed, loss, own, spec)
    running = start(spec, problem, Path(folder) if folder is not None else None)
    for moment in running.run():
        if progress and sys.stderr.isatty():
            print(f"\r{moment.phase} {moment.done:4.0%}  {moment.seconds:.0f} s ", end="", file=sys.stderr)
    if progress and sys.stderr.isatty():
        print(file=sys.stderr)
    return outcome(running)


def prepare(
    data: Any,
    target: str | None = None,
    split_seed: Draw = 0,
    loss: str | Mapping[str, Any] | Loss = "auto",
    model: Callable[[], nn.Module] | None = None,
    wanted: Recipe | RaceSpec | None = None,
) -> Problem:
    """The problem of some data, with the user's own loss and model where given.

    It is read, preprocessed, augmented, weighed and measured as ``wanted`` says.
    """
    reading = RESIDENT if wanted is None else wanted.reading
    if wanted is not None and wanted.groups is not None:
        split_seed = Grouped(plain_of(split_seed), wanted.groups)
    problem = from_anything(
        data, target=target, split_seed=split_seed, loss=loss_text(loss), model=model, reading=reading
    )
    return problem if wanted is None else decided(problem, wanted)


def problem_of(recipe: Recipe, data: Any = None, model: Callable[[], nn.Module] | None = None) -> Problem:
    """The problem of a recipe, on which its model has been tried; ``data`` and ``model`` where they came from Python.

    Raises:
        UserError: one sentence on what cannot be read, or on a model that does not fit what was.
    """
    source = recipe.problem if data is None else data
    problem = prepare(source, recipe.target, recipe.split_seed, recipe.loss, model, recipe)
    probe(model_for(recipe, problem), problem, recipe.model)
    return problem


def start(spec: RaceSpec, problem: Problem, folder: Path | None = None) -> Race:
    """A checked race, ready to run: everything a user can get wrong is found here, before anything is written."""
    if spec.model == "mlp:128,128" and problem.model is not None:
        spec = spec.model_copy(update={"model": "own"})
    problem = decided(problem, spec)
    factory = model_for(spec, problem)
    probe(factory, problem, spec.model)
    running = Race(spec, problem, penalised(factory, spec.penalty, problem, Precision(spec.precision)), folder)
    running.about["id"] = folder.name if folder is not None else f"race-{slug(problem.name)}-{secrets.token_hex(3)}"
    return running


def resume(folder: Path, data: Any = None, model: Callable[[], nn.Module] | None = None) -> Race:
    """The race that a folder holds, ready to go on; data and model given in Python must be given again."""
    with claimed(folder) if holds(folder) else nullcontext():  # whoever works there would remove what is read here
        facts = newest(folder, tensors=False).facts
        if "spec" not in facts:
            raise UserError(f"{folder}: its checkpoint is of a training run, not of a race")
        spec = RaceSpec.model_validate(facts["spec"])
        problem = prepare(spec.problem if data is None else data, spec.target, spec.split_seed, spec.loss, model, spec)
        running = start(spec, problem, folder)
        running.restore(folder)
    return running


def outcome(running: Race) -> Outcome:
    """What a race that ended has to show."""
    result, recipe = result_of(running), winner_recipe(running)
    if recipe is None:
        return Outcome(result, None)
    row = result.ranking[0]
    own = [run for run in running.runs if run.stage != "rung" and run.candidate.config == row.config]
    world = running.designs.of(own[0]) if own else running.designs.own
    models = tuple(world.models[0].load(run.best).eval() for run in own if run.best is not None)
    return Outcome(result, Winner(recipe, models, partial(_estimator, running, recipe)))


def _estimator(running: Race, recipe: Recipe) -> Any:
    from ravine.estimators.trained import of_race  # brings scikit-learn

    return of_race(running, recipe)


def train(recipe: Recipe, data: Any = None, *, model: Callable[[], nn.Module] | None = None) -> Training:
    """Train a recipe to its end. ``data`` and ``model`` stand in where the recipe's were given in Python.

    The returned `Training` holds the curve (``result``), the best model (``module``) and a look at the test part
    (``test()``).
    """
    running = Training(recipe, problem_of(recipe, data, model))
    for _ in running.run():
        pass
    return running
