"""What a race or a run leaves as a fitted estimator, which predicts from raw rows as the problem was given."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from ravine.estimators.classifier import RavineClassifier
from ravine.estimators.data import Made
from ravine.estimators.fitting import network_of, winning_run
from ravine.estimators.network import label_array
from ravine.estimators.regressor import RavineRegressor
from ravine.problems.problem import Problem
from ravine.recipe import Recipe
from ravine.training.run import Run

if TYPE_CHECKING:
    from ravine.racing.race import Race
    from ravine.training.train import Training


def of_race(race: Race, recipe: Recipe) -> RavineClassifier | RavineRegressor | None:
    """The winner's network of its first fresh seed at its best epoch; None before the finals, or of several targets."""
    run = winning_run(race)
    if run is None or run.best is None or race.problem.heads:
        return None
    world = race.designs.of(run)
    return _estimator(world.models[0].load(run.best).eval(), recipe, world.problem, run)


def of_training(training: Training) -> RavineClassifier | RavineRegressor | None:
    """The network of a run at its best epoch; None where it has none yet, or of several targets."""
    if training.best is None or training.problem.heads:
        return None
    return _estimator(training.module, training.recipe, training.problem, training.state)


def _estimator(module: nn.Module, recipe: Recipe, problem: Problem, run: Run) -> RavineClassifier | RavineRegressor:
    is_class = problem.task == "classification"
    units = () if is_class else ((problem.target_mean,) * problem.outputs, (problem.target_scale,) * problem.outputs)
    made = Made(problem, problem.columns, problem.names, *(units or ((), ())))
    kind: Any = RavineClassifier if is_class else RavineRegressor
    estimator = kind(**_parameters(recipe, problem.classes))
    if is_class:
        estimator.classes_ = label_array(problem.classes)
    else:
        estimator._is_flat = problem.outputs == 1
    estimator._network, estimator.recipe_ = network_of(module, recipe, problem, made).exact(), recipe
    points = run.curve[1:]
    estimator.n_iter_ = max(1, math.ceil(points[-1].epoch)) if points else 1
    estimator.loss_curve_ = [float(point.train_loss or 0.0) for point in points]
    estimator.validation_curve_ = [point.valid_loss for point in points]
    if problem.names:
        estimator.feature_names_in_ = np.array(problem.names, dtype=object)
    estimator.n_features_in_ = len(problem.names) or _raw_features(problem)
    return estimator


def _raw_features(problem: Problem) -> int:
    if problem.inputs is not None and problem.inputs.shift.dim() == 2:
        return int(problem.inputs.shift.shape[1])
    return math.prod(problem.shape)


def _parameters(recipe: Recipe, classes: tuple[str, ...]) -> dict[str, Any]:
    """The parameters with which `fit` would train such a network again."""
    others = {name: value for name, value in recipe.rule.items() if name not in ("name", "lr")}
    weights, labels = recipe.class_weights, dict(zip(classes, label_array(classes).tolist(), strict=True))
    if isinstance(weights, dict):
        weights = {labels[name]: weight for name, weight in weights.items()}
    weighted = {"class_weight": weights} if classes else {}
    raw = "standardise" if recipe.preprocess is None else recipe.preprocess or "raw"
    return weighted | {
        "model": recipe.model,
        "activation": recipe.activation,
        "norm": recipe.norm,
        "noise": list(recipe.noise) or None,
        "init": recipe.init,
        "loss": recipe.loss,
        "optimizer": recipe.rule["name"],
        "learning_rate": recipe.rule.get("lr"),
        "optimizer_options": others or None,
        "schedule": recipe.schedule.get("lr"),
        "penalty": list(recipe.penalty) or None,
        "preprocess": raw,
        "batch_size": recipe.batch,
        "max_epochs": recipe.epochs,
        "early_stopping": True,
        "random_state": recipe.seed,
    }
