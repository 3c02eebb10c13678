"""Short runs of one rule on one problem as lanes: a sweep of the learning rate, or a constant rate a lane."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.losses import loss_of
from ravine.problems.problem import Problem
from ravine.rules.rule import Rule, with_values
from ravine.schedules import Exponential, Schedule
from ravine.training.clock import Clock
from ravine.training.feed import Feed
from ravine.training.loop import evaluate


@dataclass(frozen=True)
class Setting:
    """What every short run shares."""

    problem: Problem
    model: Callable[[], nn.Module]
    rule: Rule
    batch: int
    seeds: tuple[int, ...]
    steps: int


def sweep(setting: Setting, low: float, high: float) -> Tensor:
    """The loss before each step while the rate grows from low to high, one lane a seed: float64 [steps, seeds].

    What comes after every lane has lost itself is NaN.
    """
    ratio = (high / low) ** (1 / (setting.steps - 1))
    model = Model(setting.model)
    rule = with_values(setting.rule, {"lr": low})
    growing: dict[str, Schedule] = {"lr": Exponential(ratio)}
    return _run(setting, Lanes(model, loss_of(setting.problem), [model.lane(rule, growing, s) for s in setting.seeds]))


def constant(setting: Setting, rates: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The loss before each step at each rate, float64 [steps, rates, seeds], and the validation loss after the last."""
    model = Model(setting.model)
    made = [(with_values(setting.rule, {"lr": rate}), seed) for rate in rates for seed in setting.seeds]
    loss = loss_of(setting.problem)
    lanes = Lanes(model, loss, [model.lane(rule, {}, seed) for rule, seed in made])
    losses = _run(setting, lanes)
    valid, _ = evaluate(lanes.predict, len(lanes), loss, setting.problem, setting.problem.valid)
    shape = (len(rates), len(setting.seeds))
    return losses.view(setting.steps, *shape), valid.view(shape)


def _run(setting: Setting, lanes: Lanes) -> Tensor:
    samples = len(setting.problem.train)
    epochs = math.ceil(setting.steps / max(1, samples // setting.batch))
    losses = torch.full((setting.steps, len(lanes)), math.nan, dtype=torch.float64)
    fed = closing(Feed(setting.problem, Clock(samples, setting.batch, epochs)))
    with fed as feed, torch.random.fork_rng(devices=[]):  # for a model that draws by itself
        torch.manual_seed(setting.seeds[0])
        for step in range(setting.steps):
            losses[step] = lanes.step(*feed.at(lanes.seeds, step), float(step))
            if not bool(losses[step].isfinite().any()):
                break
    return losses
