"""The arms of an experiment: one recipe each, trained over all seeds, measured on any part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from ravine.engines.lane import Model
from ravine.engines.terms import HELD
from ravine.errors import UserError
from ravine.losses import loss_of
from ravine.penalties import part_from_spec
from ravine.problems.prepare import prepared
from ravine.problems.problem import Part, Problem
from ravine.racing.statistics import interval
from ravine.recipe import Recipe
from ravine.results import Interval
from ravine.training.clock import Clock
from ravine.training.loop import evaluate_model
from ravine.training.model import model_for, penalised
from ravine.training.run import Candidate, Run
from ravine.training.track import Track

Told = Callable[[float], None]


@dataclass(frozen=True)
class Arm:
    """A recipe under a name. ``late`` is the share of the run from which its last penalty acts.

    ``together`` trains all seeds in one program, which is quicker for small fully connected nets and slower for others.
    """

    name: str
    recipe: Recipe
    model: Callable[[], nn.Module] | None = None  # for a recipe whose model is "own"
    late: float = 0.0
    together: bool = True


@dataclass(frozen=True)
class Trained:
    """An arm after its last step: the weights there of each seed, and the curves."""

    name: str
    problem: Problem
    modules: tuple[nn.Module, ...]  # in evaluation mode, in the order of the seeds
    runs: tuple[Run, ...]

    def accuracy(self, part: Part) -> list[float]:
        """Accuracy in per cent of each seed."""
        return [100 * self._measured(module, part)[1] for module in self.modules]

    def loss(self, part: Part) -> list[float]:
        """Mean loss of each seed."""
        return [self._measured(module, part)[0] for module in self.modules]

    def curve(self, of: Callable[[Run], Sequence[float]]) -> list[Interval]:
        """A number at each measured point, over seeds."""
        return [interval(values) for values in zip(*(of(run) for run in self.runs), strict=True)]

    def _measured(self, module: nn.Module, part: Part) -> tuple[float, float]:
        return evaluate_model(module, loss_of(self.problem), self.problem, part)


def train(arm: Arm, problem: Problem, seeds: Sequence[int], told: Told = lambda share: None) -> Trained:
    """Train an arm's recipe with every seed to its last step; ``told`` hears the share that is done.

    Raises a `UserError` where a run diverges: the experiment then measures nothing.
    """
    recipe = arm.recipe
    recipe.check()
    ready = prepared(replace(problem, model=arm.model or problem.model), recipe.preprocess, recipe.augment)
    model = penalised(model_for(recipe, ready), recipe.penalty, ready)
    clock = Clock(len(ready.train), recipe.batch, recipe.epochs, recipe.make_growth(), recipe.accumulate)
    candidate = Candidate(0, recipe.make_rule(), recipe.rule_schedules())
    runs = [
        Run(f"s{seed}", candidate, seed, "train", model.lane(candidate.rule, candidate.bound(recipe.epochs), seed))
        for seed in seeds
    ]
    size = len(runs) if arm.together else 1
    whole, done = clock.ticks * (1 if arm.together else len(runs)), 0
    for end in _ends(arm, clock, runs):
        track = Track([model], loss_of(ready), ready, clock, size, draws=False)
        for _ in track.go(runs, end):
            done += 1
            told(min(1.0, done / whole))
    for run in runs:
        if run.diverged:
            raise UserError(f"{arm.name}: the run of seed {run.seed} did not learn: {run.diverged}")
    return Trained(arm.name, ready, tuple(_module(model, run) for run in runs), tuple(runs))


def _ends(arm: Arm, clock: Clock, runs: Sequence[Run]) -> Iterator[int]:
    """The ticks to go to, one after another; between two of them the last penalty begins to act."""
    if arm.late:
        part = part_from_spec(arm.recipe.penalty[-1])
        held = f"{HELD}{len(arm.recipe.penalty) - 1}|{part.amount}"
        _hold(runs, held, 0.0)
        yield clock.tick_near(arm.late)
        _hold(runs, held, getattr(part, part.amount))
    yield clock.ticks


def _hold(runs: Sequence[Run], name: str, value: float) -> None:
    for run in runs:
        assert run.lane is not None
        number = torch.full_like(run.lane.buffers[name], value)
        run.lane = replace(run.lane, buffers={**run.lane.buffers, name: number})


def _module(model: Model, run: Run) -> nn.Module:
    assert run.lane is not None
    return model.load(run.lane).eval()


def best_of(arms: Sequence[Arm], problem: Problem, seed: int, told: Told = lambda share: None) -> Arm:
    """The arm with the highest validation accuracy after one run each, all of one seed; the first among equals.

    How a method's own number is chosen: nothing of the test part is seen, and the seed is none of those compared.
    """
    found: list[float] = []
    for place, arm in enumerate(arms):
        done = train(arm, problem, [seed], lambda share, place=place: told((place + share) / len(arms)))
        found.append(done.accuracy(done.problem.valid)[0])
    return arms[found.index(max(found))]
