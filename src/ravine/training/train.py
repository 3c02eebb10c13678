"""One run of a recipe: measured at every tick, stopped early if asked, its best state kept; resumable to the bit."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor, nn

from ravine.engines.lane import Lane, Model
from ravine.errors import UserError
from ravine.losses import loss_of
from ravine.models import model_factory
from ravine.problems.problem import Problem
from ravine.recipe import Recipe
from ravine.results import Point, RunResult
from ravine.training import checkpoint
from ravine.training.clock import Clock
from ravine.training.interrupt import stop_on_request
from ravine.training.loop import evaluate_model
from ravine.training.run import Candidate, Run
from ravine.training.track import Track


def model_of(word: str, activation: str, problem: Problem) -> Callable[[], nn.Module]:
    """The factory that a recipe's word names: "own" is the one that came with the problem."""
    if word != "own":
        return model_factory(word, problem.shape, problem.outputs, activation)
    if problem.model is None:
        raise UserError(f'model "own": {problem.name} brings no model; give a word such as mlp:128,128')
    return problem.model


class Training:
    """A recipe in progress: ``run`` yields each measured point; ``result`` and ``module`` tell what came of it."""

    def __init__(self, recipe: Recipe, problem: Problem, folder: Path | None = None) -> None:
        self.recipe, self.problem, self.folder = recipe, problem, folder
        self.loss = loss_of(problem)
        self.model = Model(model_of(recipe.model, recipe.activation, problem))
        self.clock = Clock(len(problem.train), recipe.batch, recipe.epochs)
        if recipe.batch > len(problem.train):
            raise UserError(f"batch {recipe.batch} is more than the {len(problem.train)} samples of {problem.name}")
        candidate = Candidate(0, recipe.make_rule(), recipe.schedule)
        lane = self.model.lane(candidate.rule, candidate.bound(recipe.epochs), recipe.seed)
        self.state = Run(f"s{recipe.seed}", candidate, recipe.seed, "train", lane)
        self.stopped_early = False
        self.interrupted = False
        self._saved, self._saving = -math.inf, 0.0

    def run(self) -> Iterator[Point]:
        """Train from wherever the run is; a point a tick. Ctrl-C ends it with what is known."""
        track = Track([self.model], self.loss, self.problem, self.clock)
        try:
            with stop_on_request() as request:
                for _ in track.go([self.state], self.clock.ticks, keep_best=True):
                    if self.state.diverged:
                        break
                    yield self.state.curve[-1]
                    self.stopped_early = self._patience_is_out()
                    if self.stopped_early or request.made:
                        break
                    self._save(track)
                self._save(track, at_once=True)
                self.interrupted = not self.finished
        except KeyboardInterrupt:
            self.interrupted = True

    def _patience_is_out(self) -> bool:
        best = self.state.best_point
        since = len(self.state.curve) - 1 - (self.state.curve.index(best) if best else 0)
        return 0 < self.recipe.patience <= since

    def _save(self, track: Track, at_once: bool = False) -> None:
        if self.folder is None or not (at_once or checkpoint.due(self._saved, self._saving)):
            return
        begin = time.monotonic()
        facts = {"recipe": self.recipe.model_dump(), "stopped_early": self.stopped_early}
        with track.lent():
            checkpoint.save(self.folder, facts, [self.state])
        self._saved = time.monotonic()
        self._saving = self._saved - begin

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint of the same recipe."""
        facts, runs = checkpoint.load(folder)
        if facts.get("recipe") != self.recipe.model_dump():
            raise UserError(f"{folder}: the checkpoint there is of another recipe; use another folder")
        self.state = runs[0]
        self.stopped_early = bool(facts["stopped_early"])

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
        """The weights at the lowest validation loss."""
        return self.state.best

    @property
    def module(self) -> nn.Module:
        """The model at its best point, in evaluation mode."""
        if self.state.best is None:
            raise UserError(f"the run has no best point: {self.state.diverged or 'nothing was measured yet'}")
        return self.model.load(self.state.best).eval()

    def test(self) -> tuple[float, float]:
        """Mean loss and metric of the best model on the test part."""
        return evaluate_model(self.module, self.loss, self.problem, self.problem.test)

    def weights(self) -> dict[str, Tensor]:
        """The best model's parameters and buffers by name, contiguous, sharing no memory."""
        return {name: tensor.detach().clone().contiguous() for name, tensor in self.module.state_dict().items()}

    def fingerprint(self) -> str:
        """A hash of the best model's weights: two runs with the same one are the same to the bit."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights().items()):
            digest.update(name.encode())
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()[:16]
