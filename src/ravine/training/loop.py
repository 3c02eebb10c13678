"""The loop: lanes go through the minibatches of an epoch and are measured at fixed points. One run is one lane."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ravine.engines.classes import lane_losses
from ravine.losses import finish_metric, metric_of
from ravine.problems.problem import Part, Problem
from ravine.randomness import key
from ravine.training.clock import Clock
from ravine.training.feed import Feed
from ravine.training.layered import Runner
from ravine.training.samples import SampleLog
from ravine.types import Loss


@dataclass(frozen=True)
class Measured:
    """What every lane had at one tick; tensors of shape [K]."""

    tick: int
    train_loss: Tensor | None  # mean over the steps since the last tick; None before the first step
    valid_loss: Tensor
    metric: Tensor


def advance(
    lanes: Runner, problem: Problem, clock: Clock, to_tick: int, draws: bool = True, log: SampleLog | None = None
) -> Iterator[Measured]:
    """Train the lanes from where they are to that tick, measuring at every tick on the way.

    ``draws`` says that the model may draw random numbers from torch's generator, which is then set by (seed, step)
    and put back at each tick; lanes that advance in several threads must not. ``log`` keeps what each step saw.
    """
    tick = next(tick for tick in range(clock.ticks + 1) if clock.step_at(tick) >= lanes.step_count)
    if tick == 0:
        yield measure(lanes, problem, 0, None)
    with closing(Feed(problem, clock, log)) as feed:
        while tick < to_tick:
            tick += 1
            total = torch.zeros(len(lanes), dtype=torch.float64)
            begin, end = lanes.step_count, clock.step_at(tick)
            with _own_noise(key(lanes.seeds[0], "own noise", begin)) if draws else nullcontext():
                for step in range(begin, end):
                    part, index = feed.at(lanes.seeds, step)
                    total += lanes.step(part, index, clock.time(step), clock.pieces)
            yield measure(lanes, problem, tick, total / (end - begin))


@contextmanager
def _own_noise(seed: int) -> Generator[None]:
    """Within, torch's generator begins at that seed; afterwards it is where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


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
        mean += lane_losses(loss, out, y).double() * len(y)
        total += count(out, y)
    return mean / len(part), finish_metric(problem, total, part.y)


def evaluate_model(module: nn.Module, loss: Loss, problem: Problem, part: Part) -> tuple[float, float]:
    """Mean loss and metric of one model on a part."""
    module.eval()
    mean, metric = evaluate(lambda x: module(x).unsqueeze(0), 1, loss, problem, part)
    return mean.item(), metric.item()
