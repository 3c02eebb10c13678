"""A world: the model, loss, data and clock that runs share, so that they may share a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ravine.engines.lane import Lane, Model
from ravine.problems.problem import Problem
from ravine.training.clock import Clock
from ravine.training.joined import Joined
from ravine.training.run import Candidate
from ravine.types import Loss


@dataclass(frozen=True, eq=False)
class World:
    """Where runs happen: a template of the model for each worker, and what runs are trained by and measured by.

    ``folds`` are there where lanes may see different samples; ``problem`` is then the first of them. ``criterion`` is
    the loss that is measured, None where it is the loss itself; ``begin`` makes a run's first lane,
    where that is more than the model's own draw.
    """

    models: list[Model]
    loss: Loss
    problem: Problem
    clock: Clock
    criterion: Loss | None = None
    begin: Callable[[Candidate, int], Lane] | None = None
    folds: Joined | None = None

    def samples(self, lanes: Sequence[Lane]) -> Problem | Joined:
        """What these lanes see: of one fold as if there were no other."""
        if self.folds is None:
            return self.problem
        own = {lane.fold for lane in lanes}
        return self.folds if len(own) > 1 else self.folds.problems[own.pop()]

    def lane(self, candidate: Candidate, seed: int) -> Lane:
        """A run before its first step."""
        if self.begin is not None:
            return self.begin(candidate, seed)
        return self.models[0].lane(candidate.rule, candidate.bound(self.clock.epochs), seed)
