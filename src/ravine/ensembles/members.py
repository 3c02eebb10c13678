"""Training the members: lanes of one program, or one run that leaves several models; resumable to the same bits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ravine.engines.precision import Precision
from ravine.errors import UserError, unknown
from ravine.losses import loss_of
from ravine.metrics import monitor_of
from ravine.noise.uncertainty import noisy
from ravine.problems.decide import decided
from ravine.problems.problem import Problem
from ravine.racing.plan import refused
from ravine.recipe import Recipe
from ravine.training.clock import Clock
from ravine.training.interrupt import stop_on_request
from ravine.training.layered import check_contender
from ravine.training.model import model_for, penalised
from ravine.training.run import Candidate, Run
from ravine.training.saving import Saving
from ravine.training.track import Track
from ravine.training.train import Training

KINDS = {
    "seeds": "a run a member, each with its own draw and order",
    "bagging": "a run a member, each on its own bootstrap sample of the training part as well",
    "snapshots": "one run in cosine cycles; the weights at the end of each",
    "swa": "one run; the mean of its weights over the last quarter, which is one model",
    "dropout": "one run; its noise drawn anew for each prediction",
}
TOGETHER = ("seeds", "bagging")
AVERAGED = 0.75  # of the steps: where the mean of the weights begins


class Members:
    """The members of an ensemble in training: ``run`` yields the share done; ``modules`` are what came of it."""

    def __init__(
        self, recipe: Recipe, problem: Problem, kind: str = "seeds", members: int = 8, folder: Path | None = None
    ) -> None:
        if kind not in KINDS:
            raise unknown("kind of ensemble", kind, KINDS)
        if not 2 <= members <= 1000:
            raise UserError(f"an ensemble of {members}: give 2 to 1,000 members")
        self.kind, self.count, self.folder = kind, members, folder
        self.recipe = adapted(recipe, kind, members, len(problem.train))
        self.alone: Training | None = None
        if kind in TOGETHER:
            self._together(problem)
        else:
            self.alone = Training(self.recipe, problem, folder)
            self.problem, self.loss, self.clock = self.alone.problem, self.alone.loss, self.alone.clock
            self.saving = self.alone.saving
            if kind == "dropout":
                noisy(
                    self.alone.model.module, self.problem.valid.take(torch.arange(2)).x, 1
                )  # refuses a model without noise
        self.interrupted = False

    def _together(self, problem: Problem) -> None:
        recipe = self.recipe
        self.problem = decided(problem, recipe)
        self.loss = loss_of(self.problem)
        self.model = penalised(
            model_for(recipe, self.problem), recipe.penalty, self.problem, Precision(recipe.precision)
        )
        if recipe.batch > len(problem.train):
            raise UserError(f"batch {recipe.batch} is more than the {len(problem.train)} samples of {problem.name}")
        self.clock = Clock(len(problem.train), recipe.batch, recipe.epochs, recipe.make_growth(), recipe.accumulate)
        self.clock.check()
        rule = recipe.make_rule()
        check_contender(rule, self.model, self.problem)
        candidate = Candidate(0, rule, recipe.rule_schedules())
        self.runs = [Run(f"m{i}", candidate, recipe.seed + i, "train") for i in range(self.count)]
        self.saving = Saving(self.folder, self.model)
        self._monitor()

    def _monitor(self) -> None:
        """What of a run its checkpoint does not hold."""
        for run in self.runs:
            run.since, run.monitor = self.recipe.complete_from, monitor_of(self.recipe.monitor)

    def run(self) -> Iterator[float]:
        """Train from wherever the members are; the share done. Ctrl-C ends it, to be gone on with."""
        if self.alone is not None:
            for _ in self.alone.run():
                yield self.alone.state.tick / self.clock.ticks
            self.interrupted = self.alone.interrupted
            return
        with self.saving.claimed():
            yield from self._run()

    def _run(self) -> Iterator[float]:
        track = Track([self.model], self.loss, self.problem, self.clock, size=self._size())
        try:
            with stop_on_request() as request:
                for _ in track.go(self.runs, self.clock.ticks, keep_best=True):
                    yield sum(max(run.tick, 0) for run in self.runs) / (self.count * self.clock.ticks)
                    if request.made:
                        break
                    self._save(track)
                track.stop()
                self._save(track, at_once=True)
                self.interrupted = not self.finished
        except KeyboardInterrupt:
            self.interrupted = True

    def _size(self) -> int:
        """How many share a program: all, or one where the model cannot be mapped."""
        candidate = self.runs[0].candidate
        lanes = [self.model.lane(candidate.rule, candidate.bound(self.clock.epochs), run.seed) for run in self.runs[:2]]
        return 1 if refused(self.model, self.loss, lanes, self.problem, self.clock) else self.count

    @property
    def finished(self) -> bool:
        """Nothing is left to train."""
        if self.alone is not None:
            return self.alone.finished
        return all(run.diverged or run.tick >= self.clock.ticks for run in self.runs)

    def _save(self, track: Track, at_once: bool = False) -> None:
        if self.saving.due(at_once):
            with track.lent():
                self.saving.save({"ensemble": self._facts()}, self.runs)

    def _facts(self) -> dict[str, Any]:
        return {"kind": self.kind, "members": self.count, "recipe": self.recipe.model_dump()}

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint of the same ensemble."""
        if self.alone is not None:
            self.alone.restore(folder)
            return
        _, self.runs = self.saving.load("ensemble", folder, self._is_same)
        self._monitor()

    def _is_same(self, kept: Any) -> bool:
        return {**kept, "recipe": Recipe.model_validate(kept["recipe"]).model_dump()} == self._facts()

    @property
    def gradients(self) -> float:
        """Gradients of one sample that training took, over all members."""
        steps = sum(self.clock.sizes[self.clock.place(step)[0]] for step in range(self.clock.steps))
        return float(steps * (self.count if self.kind in TOGETHER else 1))

    @property
    def seeds(self) -> list[int]:
        """The seed of each module."""
        return [run.seed for run in self.runs if run.best] if self.alone is None else [self.recipe.seed]

    @property
    def modules(self) -> list[nn.Module]:
        """The models, in evaluation mode: of each run at its best point; for swa the last weights and their mean."""
        if self.alone is None:
            lost = next((run for run in self.runs if run.diverged), None)
            if lost is not None:
                raise UserError(f"the member of seed {lost.seed} was lost: {lost.diverged}; lower the rate")
            return [self.model.load(run.best).eval() for run in self.runs if run.best is not None]
        if self.kind == "snapshots":
            return list(self.alone.ensemble.members)
        if self.kind == "dropout":
            return [self.alone.module]
        mean = self.alone.averaged
        if mean is None or self.alone.state.lane is None:
            raise UserError(f"the run was lost: {self.alone.state.diverged}; lower the rate")
        return [self.alone.model.load(self.alone.state.lane).eval(), mean]

    @torch.no_grad()
    def outputs(self, x: Tensor) -> Tensor:
        """What each member says of x: [members, n, ...]."""
        if self.kind == "dropout":
            return noisy(self.modules[0], x, self.count, self.recipe.seed)
        return torch.stack([module(x) for module in self.modules])


def adapted(recipe: Recipe, kind: str, members: int, samples: int) -> Recipe:
    """The recipe of that kind of ensemble; a `UserError` where something of it would have no effect."""
    for name in ("patience", "plateau") if kind in TOGETHER else ():
        if getattr(recipe, name):
            raise UserError(f"{name} follows the losses of one run, and members run side by side: leave it out")
    if kind != "snapshots" and recipe.snapshots:
        raise UserError("snapshots makes an ensemble by itself: leave it out, or give --kind snapshots")
    if kind == "bagging":
        if recipe.sampling not in ("shuffled", "bootstrap"):
            raise UserError(f"bagging draws its own samples: leave out sampling {recipe.sampling}")
        made = recipe.model_copy(update={"sampling": "bootstrap"})
    elif kind == "snapshots":
        made = recipe.model_copy(update={"snapshots": members})
    elif kind == "swa":
        made = _averaging(recipe, samples)
    else:
        made = recipe
    made.check()
    return made


def _averaging(recipe: Recipe, samples: int) -> Recipe:
    """The recipe with a mean of the weights over its last quarter, unless it keeps an average already."""
    around = list(recipe.rule.get("with", []))
    if any(each.get("name") in ("swa", "averaged") for each in around):
        return recipe
    steps = Clock(samples, recipe.batch, recipe.epochs, recipe.make_growth()).steps
    around.append({"name": "swa", "swa_start": float(math.floor(AVERAGED * steps))})
    return recipe.model_copy(update={"rule": {**recipe.rule, "with": around}})
