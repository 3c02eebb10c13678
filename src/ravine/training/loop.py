"""The loop: lanes go through the minibatches of an epoch and are measured at fixed points. One run is one lane."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ravine.engines.classes import lane_losses, mass_of
from ravine.engines.lanes import Lanes
from ravine.engines.precision import in_type, type_of
from ravine.losses import finish_metric, metric_of
from ravine.metrics import confused, measured
from ravine.problems.problem import Part, Problem
from ravine.randomness import key, seed_torch
from ravine.training.ahead import pieces
from ravine.training.clock import Clock
from ravine.training.failing import failures
from ravine.training.feed import Feed
from ravine.training.joined import Joined, JoinedFeed, evaluate_each
from ravine.training.layered import Runner
from ravine.training.piece import rows_of, width_in_lanes, width_of
from ravine.training.samples import SampleLog
from ravine.types import Loss


@dataclass(frozen=True)
class Measured:
    """What every lane had at one tick; tensors of shape [K]."""

    tick: int
    train_loss: Tensor | None  # mean over the steps since the last tick; None before the first step
    valid_loss: Tensor
    metric: Tensor
    metrics: list[dict[str, float | None]] = field(default_factory=list[dict[str, float | None]])  # of each lane
    failed: dict[int, str] = field(default_factory=dict[int, str])  # row -> in which step its loss was first not finite


def advance(
    lanes: Runner,
    problem: Problem | Joined,
    clock: Clock,
    to_tick: int,
    draws: bool = True,
    log: SampleLog | None = None,
    criterion: Loss | None = None,
) -> Iterator[Measured]:
    """Train the lanes from where they are to that tick, measuring at every tick on the way.

    ``draws`` says that the model may draw random numbers from torch's generator, which is then set by (seed, step)
    and put back at each tick; lanes that advance in several threads must not. ``log`` keeps what each step saw;
    ``criterion`` is the loss that is measured, where it is not the one that they are trained by.
    """
    tick = next(tick for tick in range(clock.ticks + 1) if clock.step_at(tick) >= lanes.step_count)
    if tick == 0 and len(problem.valid):
        yield measure(lanes, problem, 0, None, criterion)
    with closing(_feed(lanes, problem, clock, log)) as feed:
        step_at = _stepping(lanes, feed, clock)
        while tick < to_tick:
            tick += 1
            begin, end = lanes.step_count, clock.step_at(tick)
            with _own_noise(key(lanes.seeds[0], "own noise", begin)) if draws else nullcontext():
                seen = [step_at(step) for step in range(begin, end)]
            total, taken = _added(seen, some_left_out=isinstance(lanes, Lanes) and lanes.scaled)
            measured = measure(lanes, problem, tick, total / taken, criterion)
            yield measured if bool(total.isfinite().all()) else replace(measured, failed=failures(seen, begin))


def _stepping(lanes: Runner, feed: Feed | JoinedFeed, clock: Clock) -> Callable[[int], Tensor]:
    """The losses [K] of a step that is taken: on samples alone where one seed sees them whole, else on their places."""
    if isinstance(lanes, Lanes) and isinstance(feed, Feed) and len(lanes.seeds) == clock.pieces == 1:
        return lambda step: lanes.step_on(feed.take(lanes.seeds, step), clock.time(step))
    return lambda step: lanes.step(*feed.at(lanes.seeds, step), clock.time(step), clock.pieces)


def _added(losses: list[Tensor], some_left_out: bool) -> tuple[Tensor, Tensor | int]:
    """The sum of each lane's losses [K], and of how many steps: of those taken, where some may be left out."""
    table = torch.stack(losses).double()
    if not some_left_out:
        return table.sum(0), len(table)
    return table.nan_to_num(0.0, 0.0, 0.0).sum(0), table.isfinite().sum(0)


def _feed(lanes: Runner, problem: Problem | Joined, clock: Clock, log: SampleLog | None) -> Feed | JoinedFeed:
    if isinstance(problem, Problem):
        return Feed(problem, clock, log)
    assert isinstance(lanes, Lanes) and log is None
    return JoinedFeed(problem, lanes.folds, clock)


@contextmanager
def _own_noise(seed: int) -> Generator[None]:
    """Within, torch's generator begins at that seed; afterwards it is where it was."""
    with torch.random.fork_rng(devices=[]):
        seed_torch(seed)
        yield


def measure(
    lanes: Runner, problem: Problem | Joined, tick: int, train_loss: Tensor | None, criterion: Loss | None = None
) -> Measured:
    """The lanes' loss, or the criterion in its place, and metrics on the validation part.

    Without one, the loss of the steps stands in for it.
    """
    if isinstance(problem, Joined):
        return _measure_each(lanes, problem, tick, train_loss, criterion)
    if not len(problem.valid):
        assert train_loss is not None
        nothing = metrics_of(problem, problem.valid, [], len(lanes))
        return Measured(tick, train_loss, train_loss, torch.full_like(train_loss, torch.nan), nothing)
    kept: list[Tensor] | None = [] if problem.metrics else None
    width = width_in_lanes(lanes.model, problem.valid)
    loss, metric = evaluate(lanes.predict, len(lanes), criterion or lanes.loss, problem, problem.valid, kept, width)
    return Measured(tick, train_loss, loss, metric, metrics_of(problem, problem.valid, kept or [], len(lanes)))


def _measure_each(
    lanes: Runner, folds: Joined, tick: int, train_loss: Tensor | None, criterion: Loss | None
) -> Measured:
    """The same where each lane has a validation part of its own."""
    assert isinstance(lanes, Lanes)
    own = [folds.problems[fold] for fold in lanes.each_fold]
    rows = rows_of(len(own), own[0].outputs, width_in_lanes(lanes.model, own[0].valid))
    loss, metric, outs = evaluate_each(lanes.predict_each, criterion or lanes.loss, own, rows)
    further = [metrics_of(p, p.valid, [out.unsqueeze(0)], 1)[0] for p, out in zip(own, outs, strict=True)]
    return Measured(tick, train_loss, loss, metric, further)


@torch.no_grad()
def evaluate(
    predict: Callable[[Tensor], Tensor],
    lanes: int,
    loss: Loss,
    problem: Problem,
    part: Part,
    kept: list[Tensor] | None = None,
    width: int = 0,
) -> tuple[Tensor, Tensor]:
    """Mean loss and metric on a part, each [K], of the lanes behind ``predict`` [n, ...] -> [K, n, outputs].

    The outputs are put into ``kept``, where it is given; ``width`` is that of the widest activation, where it is known.
    """
    count = metric_of(problem)
    rows = rows_of(lanes, problem.outputs, width)
    mean = torch.zeros(lanes, dtype=torch.float64)
    total = torch.zeros(lanes, dtype=torch.float64)
    mass = 0.0
    for piece in pieces(part, rows):
        out = predict(piece.x)
        y = in_type(piece.y, out.dtype)
        own = mass_of(loss, y)
        if own > 0:  # a part may hold only classes that do not count
            mean += lane_losses(loss, out, y).double() * own
        mass += own
        total += count(out, y)
        if kept is not None:
            kept.append(out)
    return mean / mass, finish_metric(problem, total, part.y)


def metrics_of(problem: Problem, part: Part, kept: list[Tensor], lanes: int) -> list[dict[str, float | None]]:
    """The further metrics of each lane, of outputs [K, n, ...] that lie in pieces."""
    if not kept:
        return [{} for _ in range(lanes)]
    out = torch.cat(kept, dim=1)
    scale = (problem.target_mean, problem.target_scale)
    return [measured(problem.metrics, own, part.y, problem.task, scale) for own in out]


@torch.no_grad()
def confusion_of(module: nn.Module, problem: Problem, part: Part) -> list[list[int]]:
    """How many samples of each class (row) the model takes for each class (column); empty for numbers."""
    if problem.task != "classification":
        return []
    kept: list[Tensor] = []
    width, dtype = width_of(module, part), type_of(module)
    nothing: Loss = lambda out, y: out.sum() * 0  # noqa: E731
    evaluate(lambda x: module(in_type(x, dtype)).unsqueeze(0), 1, nothing, problem, part, kept, width)
    return confused(torch.cat(kept, dim=1)[0], part.y).tolist()


def evaluate_model(module: nn.Module, loss: Loss, problem: Problem, part: Part) -> tuple[float, float]:
    """Mean loss and metric of one model on a part."""
    width, dtype = width_of(module, part), type_of(module)
    mean, metric = evaluate(lambda x: module(in_type(x, dtype)).unsqueeze(0), 1, loss, problem, part, width=width)
    return mean.item(), metric.item()
