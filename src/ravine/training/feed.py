"""What each step of a run sees: the minibatch of every seed, augmented where the problem says so."""

from __future__ import annotations

import torch
from torch import Tensor

from ravine.problems.problem import Part, Problem
from ravine.training.clock import Batches, Clock


class Feed:
    """The minibatches of a problem's training part, as a function of (seed, step) alone."""

    def __init__(self, problem: Problem, clock: Clock) -> None:
        self.problem, self.clock = problem, clock
        self.batches = Batches(clock)

    def at(self, seeds: list[int], step: int) -> tuple[Part, Tensor]:
        """Samples, and which of them each seed sees at that step: int64 [seeds, batch].

        Without augmentation they are the training part and places in it; with it, the changed minibatches alone.
        """
        index = self.batches.at(seeds, step)
        if self.problem.augment is None:
            return self.problem.train, index
        epoch, _ = self.clock.place(step)
        made = [self.problem.augmented(ids, seed, epoch) for seed, ids in zip(seeds, index, strict=True)]
        part = made[0] if len(made) == 1 else Part(torch.cat([p.x for p in made]), torch.cat([p.y for p in made]))
        return part, torch.arange(index.numel()).view(index.shape)
