"""The linter for a recipe with its problem: settings, data, model, and a few gradients."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from statistics import median

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.dropout import _DropoutNd  # pyright: ignore[reportPrivateUsage]

from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.engines.precision import Precision
from ravine.linting.data import of_data
from ravine.linting.look import look
from ravine.linting.model import of_model
from ravine.linting.optimizer import decay_on_vectors, rate_in_range
from ravine.linting.settings import of_settings
from ravine.losses import loss_of
from ravine.models import count
from ravine.problems.decide import decided
from ravine.problems.problem import Problem
from ravine.randomness import build
from ravine.recipe import Recipe
from ravine.rules.clip import ClipGlobalNorm
from ravine.rules.rule import Rule, chain, hypers, name_of, values
from ravine.training.lint import Finding, lint
from ravine.training.model import model_for

ORDER = ("mistake", "warning", "note")
BATCHES = 8  # minibatches whose gradients a clip is compared with
LARGE = 100  # parameters a sample
SLOWER = 1.05  # times the time of float32
DECAYS = ("weight_decay", "decay")


def lint_recipe(recipe: Recipe, problem: Problem) -> list[Finding]:
    """Findings on a recipe and its problem, worst first; nothing is trained, and nothing changes.

    Raises a `UserError` where the recipe is not allowed at all.
    """
    ready = decided(problem, recipe)
    module = build(model_for(recipe, ready), recipe.seed)
    found = [*lint(recipe, len(ready.train)), *of_settings(recipe)]
    found += of_data(ready, recipe.class_weights is not None, recipe.sampling == "balanced")
    found += _model(recipe, ready, module)
    found += _rule(recipe, module)
    if not ready.train.streamed:
        found += _precision(recipe, ready)
    return sorted(found, key=lambda one: ORDER.index(one.severity))


def _model(recipe: Recipe, problem: Problem, module: nn.Module) -> Iterator[Finding]:
    loss, size = loss_of(problem), -(-recipe.batch // recipe.accumulate)
    many = min(size, len(problem.train))
    first = problem.augmented(torch.arange(max(2, many) if many < len(problem.train) else many), recipe.seed, 0)
    yield from of_model(look(module, loss, first.x, first.y), loss, size)
    norms = any(isinstance(m, _BatchNorm) for m in module.modules())
    if norms and recipe.accumulate > 1 and size > 1:
        yield Finding(
            "batch-norm-in-parts",
            f"batch normalisation sees parts of {size} samples, not the minibatch of {recipe.batch}",
            "note",
            "group or layer normalisation, or no accumulate",
        )
    thought_of = recipe.penalty or recipe.noise or recipe.patience or recipe.augment
    thought_of = thought_of or any(isinstance(m, _DropoutNd) and m.p > 0 for m in module.modules())
    share = count(module) / len(problem.train)
    if share > LARGE and not thought_of:
        yield Finding(
            "model-larger-than-data",
            f"the model has {count(module):,} parameters for {len(problem.train):,} training samples, and nothing "
            "restrains it",
            "note",
            "patience = 5, a penalty, dropout, or a smaller model",
        )
    rule = recipe.make_rule()
    clips = [part for part in chain(rule) if isinstance(part, ClipGlobalNorm)] if isinstance(rule, Rule) else []
    if clips and not problem.train.streamed:
        yield from _clip(recipe, problem, module, float(values(clips[0])["clip"]))


def _clip(recipe: Recipe, problem: Problem, module: nn.Module, limit: float) -> Iterator[Finding]:
    """Whether a clip acts on every one of the first gradients."""
    loss, many = loss_of(problem), min(recipe.batch, len(problem.train))
    order = torch.randperm(len(problem.train), generator=torch.Generator().manual_seed(0))
    norms: list[float] = []
    for ids in order.split(many)[:BATCHES]:
        part = problem.augmented(ids, recipe.seed, 0)
        norms.append(look(copy.deepcopy(module), loss, part.x, part.y).norm or 0.0)
    if norms and min(norms) > limit:
        yield Finding(
            "clip-always-acts",
            f"clip-global-norm {limit:g} acts on all of the first {len(norms)} gradients, whose norms are "
            f"{min(norms):.2g} to {max(norms):.2g}: it sets the length of every step, as a learning rate does",
            "warning",
            f"clip = {sorted(norms)[-1 - len(norms) // 10]:.2g}, their ninth tenth",
        )


def _rule(recipe: Recipe, module: nn.Module) -> Iterator[Finding]:
    rule = recipe.make_rule()
    given = {name: float(value) for name, value in values(rule).items()}
    yield from rate_in_range(name_of(rule), given.get("lr"))
    decays = any(given.get(name, 0.0) > 0 for name in DECAYS if name in hypers(rule))
    flat = [name for name, p in module.named_parameters() if p.dim() <= 1]
    if isinstance(rule, Rule) and decays and flat:
        yield decay_on_vectors(flat)


def _precision(recipe: Recipe, problem: Problem) -> Iterator[Finding]:
    """Whether a short type is worth it on this machine: a few steps of both, in turns."""
    precision = Precision(recipe.precision)
    rule = recipe.make_rule()
    if precision.short is None or not isinstance(rule, Rule):
        return
    loss, factory = loss_of(problem), model_for(recipe, problem)
    index = torch.arange(min(recipe.batch, len(problem.train)))[None]
    models = [Model(factory), Model(factory, precision=precision)]
    lanes = [Lanes(model, loss, [model.lane(rule, {}, recipe.seed)]) for model in models]
    taken: list[list[float]] = [[], []]
    for turn in range(12):
        for place, one in enumerate(lanes):
            begin = time.perf_counter()
            one.step(problem.train, index, 0.0)
            if turn >= 5:  # recorded by now
                taken[place].append(time.perf_counter() - begin)
    ratio = median(taken[1]) / median(taken[0])
    if ratio > SLOWER:
        yield Finding(
            "precision-slower",
            f"a step in {recipe.precision} takes {ratio:.2g} times as long as in float32 on this machine",
            "warning",
            'precision = "float32", unless its arithmetic is what you want to see',
        )
