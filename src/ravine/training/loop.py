"""The loop: lanes go through the minibatches of an epoch and are measured at fixed points. One run is one lane."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ravine.losses import finish_metric, metric_of
from ravine.problems.problem import Part, Problem
from ravine.randomness import key
from ravine.training.clock import Batches, Clock
from ravine.training.layered import Runner
from ravine.types import Loss


@dataclass(frozen=True)
class Measured:
    """What every lane had at one tick; tensors of shape [K]."""

    tick: int
    train_loss: Tensor | None  # mean over the steps since the last tick; None before the first step
    valid_loss: Tensor
    metric: Tensor


def advance(lanes: Runner, problem: Problem, clock: Clock, to_tick: int) -> Iterator[Measured]:
    """Train the lanes from where they are to that tick, measuring at every tick on the way."""
    batches = Batches(clock)
    tick = next(tick for tick in range(clock.ticks + 1) if clock.step_at(tick) >= lanes.step_count)
    if tick == 0:
        yield measure(lanes, problem, 0, None)
    while tick < to_tick:
        tick += 1
        total = torch.zeros(len(lanes), dtype=torch.float64)
        begin, end = lanes.step_count, clock.step_at(tick)
        with torch.random.fork_rng(devices=[]):
            # For a model that draws by itself, which runs alone: its numbers too belong to (seed, step).
            torch.manual_seed(key(lanes.seeds[0], "own noise", begin))
            for step in range(begin, end):
                time = step / clock.steps_per_epoch
                total += lanes.step(problem.train, batches.at(lanes.seeds, step), time)
        yield measure(lanes, problem, tick, total / (end - begin))


def measure(lanes: Runner, problem: Problem, tick: int, train_loss: Tensor | None) -> Measured:
    """The lanes' loss and metric on the validation part."""
    loss, metric = evaluate(lanes.predict, len(lanes), lanes.loss, problem, problem.valid)
    return Measured(tick, train_loss, loss, metric)


@torch.no_grad()
def evaluate(
    predict: Callable[[Tensor], Tensor], lanes: int, loss: Loss, problem: Problem, part: Part
) -> tuple[Tensor, Tensor]:
    """Mean loss and metric on a part, each [K], of the lanes behind ``predict`` [n, ...] -> [K, n, outputs]."""
    count = metric_of(problem)
    rows = max(64, 2**17 // (lanes * max(1, problem.outputs)))
    mean = torch.zeros(lanes, dtype=torch.float64)
    total = torch.zeros(lanes, dtype=torch.float64)
    for begin in range(0, len(part), rows):
        x, y = part.x[begin : begin + rows], part.y[begin : begin + rows]
        out = predict(x)
        mean += torch.stack([loss(one, y) for one in out]).double() * len(y)
        total += count(out, y)
    return mean / len(part), finish_metric(problem, total, part.y)


def evaluate_model(module: nn.Module, loss: Loss, problem: Problem, part: Part) -> tuple[float, float]:
    """Mean loss and metric of one model on a part."""
    module.eval()
    mean, metric = evaluate(lambda x: module(x).unsqueeze(0), 1, loss, problem, part)
    return mean.item(), metric.item()
