"""The training behind `fit`: one recipe, or a race for the optimizer and its settings; no loop of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from ravine.engines.lanes import Lanes
from ravine.errors import UserError
from ravine.estimators.data import Made
from ravine.estimators.network import Design, Network
from ravine.losses import loss_text
from ravine.models import probe
from ravine.problems.decide import decided
from ravine.problems.problem import Problem
from ravine.recipe import Recipe
from ravine.results import RaceResult
from ravine.rules.rule import Rule, reads_elsewhere
from ravine.training.clock import Clock, batch_for
from ravine.training.model import model_for, penalised
from ravine.training.train import Training
from ravine.validation import validated

if TYPE_CHECKING:
    from ravine.racing.race import Race
    from ravine.training.run import Run

AUTO = "auto"


class Settings(Protocol):
    """The parameters of an estimator that say how to train."""

    hidden_layer_sizes: Any
    model: str | Callable[[], nn.Module] | None
    activation: str
    norm: str
    noise: Any
    init: Any
    loss: Any
    optimizer: str
    learning_rate: float | None
    optimizer_options: Mapping[str, Any] | None
    schedule: Any
    penalty: Any
    preprocess: Any
    batch_size: Any
    max_epochs: int
    tol: float
    n_iter_no_change: int
    early_stopping: bool
    race_budget: int


@dataclass(frozen=True)
class Fit:
    """What came of it: the network, and what is known of its training."""

    network: Network
    recipe: Recipe
    epochs: int
    curve: tuple[float, ...]  # mean loss of the steps of each epoch
    validation: tuple[float, ...]  # loss on the part held out, after each epoch; empty without one
    race: RaceResult | None = None


def train(settings: Settings, made: Made, seed: int) -> Fit:
    """The network of these settings; a `UserError` on anything that does not fit the data."""
    problem = replace(made.problem, loss=loss_text(settings.loss))
    problem = replace(problem, model=settings.model) if callable(settings.model) else problem
    if settings.optimizer == AUTO:
        return _raced(settings, problem, made, seed)
    return _trained(recipe_of(settings, problem, seed), problem, made, settings.early_stopping)


def recipe_of(settings: Settings, problem: Problem, seed: int) -> Recipe:
    """The settings as a recipe, checked whole."""
    rate = {} if settings.learning_rate is None else {"lr": settings.learning_rate}
    shape = {"name": settings.schedule} if isinstance(settings.schedule, str) else settings.schedule
    fields = _common(settings, problem, seed) | {
        "rule": {"name": settings.optimizer, **rate, **(settings.optimizer_options or {})},
        "schedule": {} if shape is None else {"lr": dict(shape)},
        "patience": settings.n_iter_no_change,
        "min_delta": settings.tol,
    }
    recipe = validated(Recipe, fields, "parameter")
    every = Clock(len(problem.train), recipe.batch, recipe.epochs).ticks_per_epoch
    recipe = recipe.model_copy(update={"patience": recipe.patience * every})
    recipe.check()
    return recipe


def _common(settings: Settings, problem: Problem, seed: int) -> dict[str, Any]:
    """What a recipe and a race decide alike."""
    samples = len(problem.train)
    if settings.batch_size != "auto" and (not isinstance(settings.batch_size, int) or settings.batch_size < 1):
        raise UserError(f'batch_size must be "auto" or a whole number of 1 or more, got {settings.batch_size!r}')
    batch = batch_for(samples) if settings.batch_size == "auto" else settings.batch_size
    return {
        "problem": "data",
        "model": model_word(settings),
        "activation": settings.activation,
        "norm": settings.norm,
        "init": settings.init,
        "noise": listed(settings.noise),
        "loss": settings.loss,
        "penalty": listed(settings.penalty),
        "preprocess": steps_of(settings.preprocess),
        "epochs": settings.max_epochs,
        "batch": min(batch, samples),
        "seed": seed,
    }


def model_word(settings: Settings) -> str:
    """The word of the network: the model's, or that of the hidden layers."""
    if isinstance(settings.model, str):
        return settings.model
    if settings.model is not None:
        return "own"
    sizes = settings.hidden_layer_sizes
    sizes = [sizes] if isinstance(sizes, int) else list(sizes)
    return f"mlp:{','.join(str(int(size)) for size in sizes)}" if sizes else "linear"


def listed(spec: Any) -> list[dict[str, Any]]:
    """One table, or several, or none, as a list."""
    if spec is None:
        return []
    return [dict(spec)] if isinstance(spec, Mapping) else [dict(one) for one in spec]


def steps_of(preprocess: Any) -> list[str] | None:
    """The steps of a recipe: None is its standardisation, none of them is raw."""
    if preprocess == "standardise":
        return None
    if preprocess is None or preprocess == "raw":
        return []
    return [preprocess] if isinstance(preprocess, str) else list(preprocess)


def _trained(recipe: Recipe, problem: Problem, made: Made, held: bool) -> Fit:
    if problem.model is not None:
        probe(model_for(recipe, problem), problem, recipe.model)
    training = Training(recipe, problem)
    for _ in training.run():
        pass
    if training.interrupted:
        raise KeyboardInterrupt
    state = training.state
    if state.diverged:
        raise UserError(f"training diverged: {state.diverged}; give a lower learning_rate")
    module = training.module if held else last(training)
    every = training.clock.ticks_per_epoch
    points = state.curve[1:] if len(training.problem.valid) else state.curve
    curve = _by_epoch([float(point.train_loss or 0.0) for point in points], every)
    valid = _by_epoch([point.valid_loss for point in points], every, last=True) if held else ()
    return Fit(network_of(module, recipe, training.problem, made), recipe, len(curve), curve, valid)


def last(training: Training) -> nn.Module:
    """The model where its rule would evaluate it after the last step."""
    lane = training.state.lane
    assert lane is not None
    if isinstance(lane.rule, Rule) and reads_elsewhere(lane.rule):
        lanes = Lanes(training.model, training.loss, [lane])
        lanes.time = training.clock.time(max(0, lane.step - 1))
        lane = lanes.snapshot(0)
    return training.model.load(lane).eval()


def _by_epoch(values: list[float], every: int, last: bool = False) -> tuple[float, ...]:
    groups = [values[begin : begin + every] for begin in range(0, len(values), every)]
    return tuple(group[-1] if last else math.fsum(group) / len(group) for group in groups)


def _raced(settings: Settings, problem: Problem, made: Made, seed: int) -> Fit:
    """The winner of a race on the part held out, as it was at its best epoch there."""
    from ravine.racing.outcome import result_of, winner_recipe
    from ravine.racing.race import Race
    from ravine.racing.spec import RaceSpec

    for name in ("learning_rate", "optimizer_options"):
        if getattr(settings, name) is not None:
            raise UserError(f'optimizer="auto" finds {name} by a race: leave it out, or name an optimizer')
    fields = _common(settings, problem, seed) | {"budget": settings.race_budget, "baselines": False}
    if settings.schedule is not None:
        shape = {"name": settings.schedule} if isinstance(settings.schedule, str) else dict(settings.schedule)
        fields["schedules"] = [shape]
    spec = validated(RaceSpec, fields, "parameter")
    problem = decided(problem, spec)
    factory = model_for(spec, problem)
    probe(factory, problem, spec.model)
    running = Race(spec, problem, penalised(factory, spec.penalty, problem))
    for _ in running.run():
        pass
    if running.interrupted:
        raise KeyboardInterrupt
    recipe, run, result = winner_recipe(running), winning_run(running), result_of(running)
    if recipe is None or run is None or run.best is None:
        raise UserError("no configuration of the race could be trained: look at the data, or give more race_budget")
    module = running.model.load(run.best).eval()
    points = run.curve[1:]
    every = running.clock.ticks_per_epoch
    curve = _by_epoch([float(point.train_loss or 0.0) for point in points], every)
    valid = _by_epoch([point.valid_loss for point in points], every, last=True)
    return Fit(network_of(module, recipe, running.problem, made), recipe, len(curve), curve, valid, result)


def winning_run(race: Race) -> Run | None:
    """The winner's run over the first fresh seed, which is the one that its recipe repeats; None before the finals."""
    rows = race.standings
    own = [run for run in race.runs if run.stage != "rung" and rows and run.candidate.config == rows[0].config]
    return next((run for run in own if run.seed == race.setup.fresh[0] and run.best is not None), None)


def network_of(module: nn.Module, recipe: Recipe, problem: Problem, made: Made) -> Network:
    """The trained module with what stands around it."""
    design = Design(recipe.model, recipe.activation, recipe.norm, recipe.norm_place, tuple(recipe.noise))
    inputs, shape = problem.inputs, problem.shape
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.requires_grad_(False)
    return Network(
        design, problem.task, shape, problem.outputs, module, inputs, made.columns, made.names, made.centre, made.scale
    )
