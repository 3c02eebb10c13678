"""A step taken apart: data, forward, penalties, backward, optimizer; and what comes between steps."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from ravine.checkpoints.tensors import in_parts
from ravine.engines.lane import Lane, Model
from ravine.engines.lanes import Lanes
from ravine.engines.precision import Precision, in_type
from ravine.engines.terms import held_of, watching, without_held
from ravine.errors import UserError
from ravine.files import write_whole
from ravine.losses import loss_of
from ravine.problems.decide import decided
from ravine.problems.problem import Problem
from ravine.profiling.layers import Layer, layers_of
from ravine.profiling.machine import peaks
from ravine.recipe import Recipe
from ravine.results import Point
from ravine.rules.rule import Rule, name_of
from ravine.tracking.log import numbers
from ravine.training.checkpoint import SELDOM
from ravine.training.clock import Clock
from ravine.training.feed import Feed
from ravine.training.loop import measure
from ravine.training.model import model_for, penalised

PHASES = ("data", "forward", "penalties", "backward", "optimizer", "validation", "checkpoint", "logging")
WARM = 3


@dataclass(frozen=True)
class Profile:
    """Seconds a step by phase, medians; what comes once a tick or seldom is spread over its steps."""

    phases: dict[str, float]
    as_run: float  # seconds of a step as the run takes it, recorded where it can be
    doubled: float | None  # the same with twice the batch
    layers: tuple[Layer, ...]
    rest: float  # seconds of forward and backward outside of the layers; negative where layers overlap in caches
    peak: float  # floating-point operations a second of a product
    bandwidth: float  # bytes a second of a copy
    batch: int
    steps_a_tick: float

    @property
    def total(self) -> float:
        """Seconds a step, all phases."""
        return sum(self.phases.values())

    def share(self, layer: Layer) -> tuple[float, float]:
        """Of the peak, and of the bandwidth, that a layer reached; backward moves about twice what forward does."""
        seconds = max(layer.seconds, 1e-9)
        return layer.operations / seconds / self.peak, 3 * layer.moved / seconds / self.bandwidth

    @property
    def verdict(self) -> str:
        """The bottleneck in one sentence, with what was measured about it."""
        name = max(self.phases, key=lambda phase: self.phases[phase])
        share = self.phases[name] / self.total
        if name in ("forward", "backward"):
            return self._of_the_passes()
        cures = {
            "data": "fewer or cheaper steps of augmentation, or data in memory",
            "penalties": "fewer of them, or on fewer layers",
            "optimizer": "the model is small beside its update: a race of many lanes shares it",
            "validation": "a smaller validation part, or fewer metrics",
            "checkpoint": "nothing to do: they are written as seldom as they are dear",
            "logging": "a file in place of a service",
        }
        return f"{name.capitalize()} takes {share:.0%} of the time: {cures[name]}."

    def _of_the_passes(self) -> str:
        passes = (self.phases["forward"] + self.phases["backward"]) / self.total
        dear = max(self.layers, key=lambda layer: layer.seconds, default=None)
        said = f"Forward and backward take {passes:.0%} of the time"
        if dear is not None:
            whole = sum(layer.seconds for layer in self.layers)
            said += f", {dear.seconds / whole:.0%} of it in {dear.name} ({dear.kind})"
        if self.doubled is None:
            return f"{said}."
        gain = 2 * self.as_run / self.doubled
        if gain > 1.25:
            return f"{said}; a batch of {2 * self.batch} brings {gain:.2g} times as many samples a second."
        return f"{said}; a larger batch brings little ({gain:.2g} times as many samples a second at {2 * self.batch})."

    def facts(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = [
            {**asdict(layer), "peak": self.share(layer)[0], "bandwidth": self.share(layer)[1]} for layer in self.layers
        ]
        return {**asdict(self), "layers": rows, "total": self.total, "verdict": self.verdict}


def profile(recipe: Recipe, problem: Problem, steps: int = 20) -> Profile:
    """Measure a recipe's first steps on a run of its own; a `UserError` where it is no rule on minibatches."""
    recipe.check()
    if not isinstance(rule := recipe.make_rule(), Rule):
        raise UserError(f"profile takes a step on a minibatch apart, and {name_of(rule)} has none: name a rule")
    ready = decided(problem, recipe)
    if recipe.batch > len(ready.train):
        raise UserError(f"batch {recipe.batch} is more than the {len(ready.train)} samples of {ready.name}")
    precision = Precision(recipe.precision)
    model = penalised(model_for(recipe, ready), recipe.penalty, ready, precision)
    clock = Clock(len(ready.train), recipe.batch, recipe.epochs, recipe.make_growth(), recipe.accumulate)
    lane = model.lane(rule, {}, recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        apart = _apart(model, ready, clock, lane, steps)
        ticks = max(1.0, clock.steps / clock.ticks)
        apart |= _between(model, ready, lane, ticks, sum(apart.values()))
        x = ready.augmented(torch.arange(recipe.batch), recipe.seed, 0).x
        layers = layers_of(model.load(lane), x, lambda: precision.pass_through(x.device.type), steps)
        as_run = _as_run(model, ready, clock, lane, steps)
        wide = 2 * recipe.batch <= len(ready.train)
        double = Clock(len(ready.train), 2 * recipe.batch, recipe.epochs, None, recipe.accumulate)
        doubled = _as_run(model, ready, double, lane, steps) if wide else None
        peak, bandwidth = peaks()
    rest = apart["forward"] + apart["backward"] - sum(layer.seconds for layer in layers)
    phases = {name: apart.get(name, 0.0) for name in PHASES}
    return Profile(phases, as_run, doubled, tuple(layers), rest, peak, bandwidth, recipe.batch, ticks)


class _Stopwatch:
    def __init__(self) -> None:
        self.seen: dict[str, list[float]] = {}

    @contextmanager
    def __call__(self, name: str) -> Generator[None]:
        begin = time.perf_counter()
        yield
        self.seen.setdefault(name, []).append(time.perf_counter() - begin)

    def medians(self) -> dict[str, float]:
        return {name: median(taken[WARM:] or taken) for name, taken in self.seen.items()}


def _apart(model: Model, problem: Problem, clock: Clock, lane: Lane, steps: int) -> dict[str, float]:
    """Seconds of each phase of a step, done by plain torch one after another."""
    loss, watch = loss_of(problem), _Stopwatch()
    lanes, feed = Lanes(model, loss, [lane]), Feed(problem, clock)
    names, cast = [*model.shapes], model.precision
    for step in range(min(steps + WARM, clock.steps)):
        with watch("data"):
            part, index = feed.at(lanes.seeds, step)
            x, y = (in_type(own[index[0]], model.dtype) for own in (part.x, part.y))
        lanes.step_count += 1
        leaves = [w.detach().requires_grad_() for w in model.views(lanes.weights[0]).values()]
        named = {**dict(zip(names, leaves, strict=True)), **{n: lanes.buffers[n][0] for n in model.fixed}}
        model.module.train()
        watched = model.terms.watched if model.terms is not None else ()
        with watch("forward"), watching(model.module, watched) as seen:
            with cast.pass_through(x.device.type):
                out = functional_call(model.module, without_held(named), (x,))
            value: Tensor = loss(out.to(cast.master) if cast.short is not None else out, y)
        with watch("penalties"):
            if model.terms is not None:
                value = value + model.terms.value(without_held(named), seen, held_of(named))
        with watch("backward"):
            found = torch.autograd.grad(value, leaves, materialize_grads=True)
        with watch("optimizer"):
            for group in lanes.groups:
                group.update(lanes.weights, [g.unsqueeze(0) for g in found], lanes.step_count, clock.time(step))
    feed.close()
    return watch.medians()


def _between(model: Model, problem: Problem, lane: Lane, ticks: float, step: float) -> dict[str, float]:
    """Seconds a step of what is done once a tick, or seldom."""
    lanes, watch = Lanes(model, loss_of(problem), [lane]), _Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(WARM + 3):
            with watch("validation"):
                found = measure(lanes, problem, 0, None)
            with watch("checkpoint"):
                state = lanes.lend()[0]
                tensors = {"weights": state.weights, **state.slots}
                write_whole(Path(folder) / "state.safetensors", in_parts(tensors))
            point = Point(epoch=0, train_loss=None, valid_loss=float(found.valid_loss), metric=float(found.metric))
            with watch("logging"), (Path(folder) / "log.jsonl").open("a") as file:
                file.write(f"{numbers(point)}\n")
    seconds = watch.medians()
    seldom = max(SELDOM, 20 * seconds["checkpoint"])  # seconds of training between two checkpoints
    return {
        "validation": seconds["validation"] / ticks,
        "checkpoint": seconds["checkpoint"] * min(1.0, (step + seconds["validation"] / ticks) / seldom),
        "logging": seconds["logging"] / ticks,
    }


def _as_run(model: Model, problem: Problem, clock: Clock, lane: Lane, steps: int) -> float:
    """Seconds of a step as a run takes it, once its program is recorded."""
    lanes, feed, taken = Lanes(model, loss_of(problem), [lane]), Feed(problem, clock), list[float]()
    for step in range(min(steps + 8, clock.steps)):
        begin = time.perf_counter()
        part, index = feed.at(lanes.seeds, step)
        lanes.step(part, index, clock.time(step), clock.pieces)
        taken.append(time.perf_counter() - begin)
    feed.close()
    return median(taken[8:] or taken[-1:])
