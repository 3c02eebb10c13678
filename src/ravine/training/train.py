"""One run of a recipe: measured at every tick, stopped early if asked, its best state kept; resumable to the bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ravine.engines.lane import Lane
from ravine.engines.precision import Precision, in_type
from ravine.engines.tiers import check_tiers
from ravine.errors import UserError
from ravine.losses import loss_of
from ravine.metrics import monitor_of
from ravine.optim.average import SLOT
from ravine.optim.batchnorm import renew_batchnorm
from ravine.optim.snapshots import Ensemble
from ravine.problems.decide import decided
from ravine.problems.problem import Part, Problem
from ravine.recipe import Recipe
from ravine.results import Point, RunResult
from ravine.rules.rule import name_of
from ravine.solvers.method import Method
from ravine.training import samples
from ravine.training.clock import Clock
from ravine.training.following import Following
from ravine.training.interrupt import stop_on_request
from ravine.training.layered import check_streamable
from ravine.training.loop import evaluate_model
from ravine.training.model import model_for, penalised, weights_of
from ravine.training.run import Candidate, Run
from ravine.training.saving import Saving
from ravine.training.team import Alone, Team
from ravine.training.track import Track


class Training:
    """A recipe in progress: ``run`` yields each measured point; ``result`` and ``module`` tell what came of it."""

    def __init__(
        self,
        recipe: Recipe,
        problem: Problem,
        folder: Path | None = None,
        log_samples: bool = False,
        team: Team | None = None,
    ) -> None:
        problem = decided(problem, recipe)
        self.log_samples = log_samples  # what each step sees, into the folder
        self.recipe, self.problem, self.folder = recipe, problem, folder
        self.team = team or Alone()
        recipe.check()
        check_streamable(recipe.make_rule(), problem)
        self.trained = loss_of(problem)
        self.loss = loss_of(replace(problem, loss=recipe.criterion)) if recipe.criterion else self.trained
        self.model = penalised(model_for(recipe, problem), recipe.penalty, problem, Precision(recipe.precision))
        check_tiers(recipe.make_rule(), self.model)
        self.clock = Clock(len(problem.train), recipe.batch, recipe.epochs, recipe.make_growth(), recipe.accumulate)
        self.clock.check()
        if recipe.batch > len(problem.train):
            raise UserError(f"batch {recipe.batch} is more than the {len(problem.train)} samples of {problem.name}")
        self.team.check(recipe, self.clock, self.model)
        if log_samples and isinstance(recipe.make_rule(), Method):
            raise UserError(
                f"--log-samples: {name_of(recipe.make_rule())} sees all training samples at every step: leave it out"
            )
        self.following = Following(recipe)
        candidate = Candidate(0, recipe.make_rule(), recipe.rule_schedules())
        lane = self.model.lane(candidate.rule, candidate.bound(recipe.epochs), recipe.seed)
        self.state = Run(f"s{recipe.seed}", candidate, recipe.seed, "train", lane)
        self.state.since, self.state.monitor = recipe.complete_from, monitor_of(recipe.monitor)
        self.stopped_early = False
        self.interrupted = False
        self.saving = Saving(folder if self.team.rank == 0 else None, self.model)

    def run(self) -> Iterator[Point]:
        """Train from wherever the run is; a point a tick. Ctrl-C ends it with what is known."""
        with self.saving.claimed():
            yield from self._run()

    def _run(self) -> Iterator[Point]:
        cycles = self.recipe.snapshots
        ends = frozenset(self.clock.ticks * (cycle + 1) // cycles for cycle in range(cycles))
        log = self._log() if self.team.rank == 0 else None
        how: dict[str, Any] = {"keep": ends, "log": log, "criterion": self.loss, "team": self.team}
        track = Track([self.model], self.trained, self.problem, self.clock, **how)
        try:
            with stop_on_request() as request:
                for _ in track.go([self.state], self.clock.ticks, keep_best=True):
                    if self.state.diverged:
                        break
                    self.following.see(self.state, track)
                    yield self.state.curve[-1]
                    self.stopped_early = self.following.is_out(self.state)
                    if self.team.any(self.stopped_early or request.made):
                        break
                    self._save(track)
                track.stop()
                self._save(track, at_once=True)
                self.interrupted = not self.finished
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            if log is not None:
                log.close()

    def _log(self) -> samples.SampleLog | None:
        """The log of samples where one is wanted: begun, or cut to where the run stands."""
        if not self.log_samples or self.folder is None:
            return None
        path = self.folder / samples.FILE
        if self.state.lane is not None and self.state.lane.step:
            return samples.SampleLog.go_on(path, self.state.lane.step)
        facts = {"problem": self.problem.name, "samples": len(self.problem.train), "seed": self.recipe.seed}
        return samples.SampleLog.begin(path, facts)

    @property
    def reductions(self) -> list[tuple[float, float]]:
        """Epoch and new learning rate, as the plateau had it."""
        return self.following.reductions

    def _save(self, track: Track, at_once: bool = False) -> None:
        if self.team.any(self.saving.due(at_once)):
            last = self.state.monitor.cost(self.state.curve[-1]) if self.state.tick > 0 else None
            with track.lent():  # which all processes take part in
                if track.log is not None:
                    track.log.flush()
                if self.team.rank == 0:
                    self.saving.save(self.facts(), [self.state], last)

    def facts(self) -> dict[str, Any]:
        """Everything but the run, as plain values."""
        facts: dict[str, Any] = {"recipe": self.recipe.model_dump(), "stopped_early": self.stopped_early}
        return facts | self.following.facts()

    def restore(self, folder: Path) -> None:
        """Go on from the newest sound checkpoint of the same recipe."""
        facts, runs = self.saving.load("recipe", folder, lambda kept: Recipe.model_validate(kept) == self.recipe)
        self.log_samples |= (folder / samples.FILE).exists()  # a log goes on, or it would end with a hole
        self.state = runs[0]
        self.state.since, self.state.monitor = self.recipe.complete_from, monitor_of(self.recipe.monitor)
        self.stopped_early = bool(facts["stopped_early"])
        self.following.restore(facts)

    @property
    def finished(self) -> bool:
        """Nothing is left to train."""
        return self.stopped_early or bool(self.state.diverged) or self.state.tick >= self.clock.ticks

    @property
    def result(self) -> RunResult:
        """The run as a value to keep."""
        if not self.finished:
            return self.state.result("interrupted")
        return self.state.result("stopped" if self.stopped_early else "finished")

    @property
    def best(self) -> Lane | None:
        """The weights at the best point."""
        return self.state.best

    @property
    def module(self) -> nn.Module:
        """The model at its best point, in evaluation mode."""
        if self.state.best is None:
            raise UserError(f"the run has no best point: {self.state.diverged or 'nothing was measured yet'}")
        return self.model.load(self.state.best).eval()

    @property
    def averaged(self) -> nn.Module | None:
        """The model at the average that a combinator kept, batch normalisation renewed; None where none was kept."""
        lane = self.state.lane
        if lane is None or SLOT not in lane.slots or self.state.diverged:
            return None
        module = self.model.load(replace(lane, weights=lane.slots[SLOT]))
        train, batch, dtype = self.problem.train, self.recipe.batch, self.model.dtype
        whole = range(0, len(train) // batch * batch, batch)
        renew_batchnorm(module, (in_type(train.take(torch.arange(begin, begin + batch)).x, dtype) for begin in whole))
        return module.eval()

    @property
    def ensemble(self) -> Ensemble:
        """The snapshots so far as one model, which averages their probabilities (their outputs, for numbers)."""
        if not self.state.snapshots:
            raise UserError("the run has no snapshots: ask for them with snapshots = 5, and train one cycle at least")
        members = [self.model.load(lane) for lane in self.state.snapshots]
        return Ensemble(members, self.problem.task, self.problem.heads)

    def compare_snapshots(self, part: Part) -> list[tuple[float, float]]:
        """Mean loss and metric on a part: of each snapshot in order, then of their ensemble."""
        ensemble = self.ensemble
        return [evaluate_model(m, self.loss, self.problem, part) for m in (*ensemble.members, ensemble)]

    def test(self) -> tuple[float, float]:
        """Mean loss and metric of the best model on the test part."""
        return evaluate_model(self.module, self.loss, self.problem, self.problem.test)

    def weights(self) -> dict[str, Tensor]:
        """The best model's parameters and buffers by name, contiguous, sharing no memory."""
        return weights_of(self.module)

    def fingerprint(self) -> str:
        """A hash of the best model's weights: two runs with the same one are the same to the bit."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights().items()):
            digest.update(name.encode())
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()[:16]
