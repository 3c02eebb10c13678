"""Folds that train side by side: lanes of one program where they can share one, resumable to the same bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ravine.engines.lane import Model
from ravine.engines.precision import Precision, in_type
from ravine.errors import UserError
from ravine.losses import loss_of
from ravine.metrics import monitor_of
from ravine.problems.problem import Part, Problem
from ravine.problems.reading import SHARE, available
from ravine.racing.plan import Plan, choose
from ravine.recipe import Recipe
from ravine.training.clock import Clock
from ravine.training.following import Following
from ravine.training.interrupt import Request
from ravine.training.joined import joined
from ravine.training.loop import evaluate, metrics_of
from ravine.training.model import model_for, penalised
from ravine.training.piece import width_of
from ravine.training.run import Candidate, Run
from ravine.training.saving import Saving
from ravine.training.track import Track
from ravine.training.world import World
from ravine.types import Loss


@dataclass(frozen=True)
class Way:
    """How folds share the machine: the plan of their lanes, and how many are held in memory at the same time."""

    plan: Plan
    held: int
    note: str = ""


def way_of(recipe: Recipe, problem: Problem, folds: int, lanes: int | None, workers: int | None) -> Way:
    """The quickest way for so many folds, of which ``problem`` is one; a note where it is one after another."""
    if problem.train.streamed:
        return Way(Plan(1, 1, {}), 1, "the samples are streamed, so the folds train one after another")
    fits = max(1, int(SHARE * available() / (2 * sum(map(_bytes, (problem.train, problem.valid, problem.test))))))
    if fits == 1:
        return Way(Plan(1, 1, {}), 1, "memory holds the samples of one fold, so the folds train one after another")
    model, clock, candidate = _model(recipe, problem), _clock(recipe, problem), _candidate(recipe)
    schedules = candidate.bound(recipe.epochs)
    # Of different seeds, since lanes that see the same samples are quicker than folds are.
    drawn = [replace(model.lane(candidate.rule, schedules, recipe.seed), seed=recipe.seed + i) for i in range(folds)]
    plan = choose(model, loss_of(problem), drawn, problem, clock, lanes, workers)
    note = f"lanes are not possible, so the folds train one after another: {plan.refusal}" if plan.refusal else ""
    return Way(plan, min(fits, plan.size * plan.workers), note)


class Side:
    """Some folds in training: ``run`` yields the share done; ``measured`` tells what came of each."""

    def __init__(
        self, recipe: Recipe, problems: Sequence[Problem], seeds: Sequence[int], way: Way, keep_best: bool
    ) -> None:
        self.recipe, self.problems, self.way, self.keep_best = recipe, list(problems), way, keep_best
        self.worlds: dict[str, World] = {}  # by a run's id
        self.runs: list[Run] = []
        self.following = {f"f{place}": Following(recipe) for place in range(len(problems))}
        alike: dict[Any, list[int]] = {}
        for place, problem in enumerate(problems):
            alike.setdefault(_kind(recipe, problem), []).append(place)
        for places in alike.values():
            self._share(places, seeds)
        self.runs.sort(key=lambda run: int(run.id[1:]))
        self._follow()

    def _share(self, places: Sequence[int], seeds: Sequence[int]) -> None:
        """A world for the folds at these places, and their runs."""
        recipe, first = self.recipe, self.problems[places[0]]
        model, clock = _model(recipe, first), _clock(recipe, first)
        whole = joined([self.problems[place] for place in places]) if len(places) > 1 else None
        criterion = loss_of(replace(first, loss=recipe.criterion)) if recipe.criterion else None
        models = self.way.plan.models(model)
        world = World(models, loss_of(first), first, clock, criterion, folds=whole)
        for fold, place in enumerate(places):
            if whole is not None:
                self.problems[place] = whole.problems[fold]
            # An initialiser may look at the samples, which are the fold's own.
            own = model if recipe.init is None or fold == 0 else _model(recipe, self.problems[place])
            candidate = _candidate(recipe)
            lane = own.lane(candidate.rule, candidate.bound(recipe.epochs), seeds[place])
            self.runs.append(Run(f"f{place}", candidate, seeds[place], "train", replace(lane, fold=fold)))
            self.worlds[f"f{place}"] = world

    def _follow(self) -> None:
        """What of a run its checkpoint does not hold."""
        for run in self.runs:
            run.since, run.monitor = self.recipe.complete_from, monitor_of(self.recipe.monitor)

    def run(self, saving: Saving, facts: Mapping[str, Any], request: Request) -> Iterator[float]:
        """Train from wherever the runs are; the share done. It ends early where that is requested."""
        world, plan = self.worlds[self.runs[0].id], self.way.plan
        draws = plan.size * plan.workers == 1  # lanes do not, or the plan refused them
        track = Track(
            world.models, world.loss, world.problem, world.clock, plan.size, draws, of=lambda run: self.worlds[run.id]
        )
        seen = {run.id: run.tick for run in self.runs}
        for _ in self._go(track):
            for run in self.runs:
                if run.tick > seen[run.id] and not run.closed:
                    self.following[run.id].see(run, track)
                    run.stopped = self.following[run.id].is_out(run)
                seen[run.id] = run.tick
            yield sum(map(self._share_done, self.runs)) / len(self.runs)
            if request.made:
                break
            self._save(saving, facts, track)
        track.stop()
        self._save(saving, facts, track, at_once=not self.finished)

    def _go(self, track: Track) -> Iterator[int]:
        """Every run to its end; epochs of more steps may have more points of measurement."""
        ends = {run.id: self.worlds[run.id].clock.ticks for run in self.runs}
        for end in sorted(set(ends.values())):
            yield from track.go([run for run in self.runs if ends[run.id] == end], end, self.keep_best)

    def _share_done(self, run: Run) -> float:
        return 1.0 if run.closed else max(run.tick, 0) / self.worlds[run.id].clock.ticks

    @property
    def finished(self) -> bool:
        """Nothing is left to train."""
        return all(self._share_done(run) >= 1 for run in self.runs)

    def _save(self, saving: Saving, facts: Mapping[str, Any], track: Track, at_once: bool = False) -> None:
        if saving.due(at_once):
            followed = {name: follow.facts() for name, follow in self.following.items()}
            with track.lent():
                saving.save({**facts, "followed": followed}, self.runs)

    def restore(self, facts: Mapping[str, Any], runs: list[Run]) -> None:
        """Go on from what a checkpoint holds."""
        self.runs = runs
        for name, known in facts["followed"].items():
            self.following[name].restore(known)
        self._follow()

    def measured(self, place: int) -> tuple[float, float, dict[str, float | None]]:
        """Loss, metric and further metrics of a fold: at its best point on the test part, or at the end."""
        run, problem = self.runs[place], self.problems[place]
        if run.diverged:
            raise UserError(f"diverged: {run.diverged}")
        if not self.keep_best:
            last = run.curve[-1]
            return last.valid_loss, last.metric, dict(last.metrics)
        if run.best is None:
            raise UserError("has no best point: nothing was measured that counts")
        world = self.worlds[run.id]
        return tested(world.models[0], run, world.criterion or world.loss, problem)


@torch.no_grad()
def tested(model: Model, run: Run, loss: Loss, problem: Problem) -> tuple[float, float, dict[str, float | None]]:
    """Loss, metric and further metrics of a run's best point on the test part."""
    assert run.best is not None
    module = model.load(run.best).eval()
    kept: list[Tensor] = []
    width = width_of(module, problem.test)
    one, metric = evaluate(
        lambda x: module(in_type(x, model.dtype)).unsqueeze(0), 1, loss, problem, problem.test, kept, width
    )
    return one.item(), metric.item(), metrics_of(problem, problem.test, kept, 1)[0]


def _candidate(recipe: Recipe) -> Candidate:
    return Candidate(0, recipe.make_rule(), recipe.rule_schedules())


def _model(recipe: Recipe, problem: Problem) -> Model:
    return penalised(model_for(recipe, problem), recipe.penalty, problem, Precision(recipe.precision))


def _clock(recipe: Recipe, problem: Problem) -> Clock:
    if recipe.batch > len(problem.train):
        raise UserError(f"batch {recipe.batch} is more than the {len(problem.train)} samples of {problem.name}")
    return Clock(len(problem.train), recipe.batch, recipe.epochs, recipe.make_growth(), recipe.accumulate)


def _kind(recipe: Recipe, problem: Problem) -> Any:
    """What folds share a program by: the shape of their samples, their loss, and the number of steps an epoch."""
    clock = _clock(recipe, problem)
    heads = tuple((head.name, head.weight, head.classes) for head in problem.heads)
    loss = heads or (problem.loss if isinstance(problem.loss, str) else id(problem.loss))
    return problem.shape, problem.outputs, loss, problem.class_weights, clock.sizes, clock.starts


def _bytes(part: Part) -> int:
    return part.x.nbytes + part.y.nbytes
