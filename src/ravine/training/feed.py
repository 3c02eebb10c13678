"""What each step of a run sees: the minibatch of every seed, read ahead and augmented where the problem says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ravine.problems.problem import Part, Problem
from ravine.problems.sampling import visits
from ravine.training.ahead import Ahead
from ravine.training.clock import Batches, Clock
from ravine.training.samples import SampleLog

FETCHED = 1 << 19  # bytes of inputs that are taken at once, for several steps: so much stays in a processor's cache


class Feed:
    """The minibatches of a problem's training part, as a function of (seed, step) alone.

    ``log`` keeps the ids that each step saw. `close` it when no step is to come.
    """

    def __init__(self, problem: Problem, clock: Clock, log: SampleLog | None = None) -> None:
        self.problem, self.clock, self.log = problem, clock, log
        self.batches = Batches(clock, self._visits)
        self._seeds: list[int] = []
        self._ahead: Ahead | None = None
        self._resident = not problem.train.streamed and problem.augment is None
        self._fetched: list[Part] = []  # the minibatches of the steps from that one on
        self._reach = range(0)

    def at(self, seeds: list[int], step: int) -> tuple[Part, Tensor]:
        """Samples, and which of them each seed sees at that step: int64 [seeds, batch].

        Where they are in memory and not augmented, they are the training part and places in it; else the minibatches
        alone.
        """
        index = self.batches.at(seeds, step)
        if not self._resident:
            return self.take(seeds, step), torch.arange(index.numel()).view(index.shape)
        self._note(seeds, step)
        return self.problem.train, index

    def take(self, seeds: list[int], step: int) -> Part:
        """The samples alone that the seeds see at that step, one seed's after another's.

        Those in memory are fetched for several steps at once.
        """
        self._note(seeds, step)
        if self._resident:
            return self._fetched_at(seeds, step)
        if self.problem.train.streamed:
            return self._reader(seeds).at(step)
        return self._made(seeds, step, self.batches.at(seeds, step))

    def _fetched_at(self, seeds: list[int], step: int) -> Part:
        if step not in self._reach or seeds != self._seeds:
            first, train = self.batches.at(seeds, step), self.problem.train
            wanted = max(1, FETCHED // max(1, first.numel() * train.x[0].nbytes))
            end = self.clock.starts[self.clock.place(step)[0] + 1]
            self._seeds, self._reach = list(seeds), range(step, min(step + wanted, end))
            rows = torch.cat([self.batches.at(seeds, later).flatten() for later in self._reach])
            parts = (values.index_select(0, rows).split(first.numel()) for values in (train.x, train.y))
            self._fetched = [Part(x, y) for x, y in zip(*parts, strict=True)]
        return self._fetched[step - self._reach.start]

    def _note(self, seeds: list[int], step: int) -> None:
        if self.log is not None:
            self.log.record(step, self.problem.train.named(self.batches.at(seeds, step).flatten()))

    def close(self) -> None:
        """End the threads that read ahead."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def _visits(self, seed: int, epoch: int) -> Tensor:
        return visits(self.problem.sampling, seed, epoch, self.clock.taken_before(epoch), self.problem.train.y)

    def _reader(self, seeds: list[int]) -> Ahead:
        """What reads the minibatches of these seeds; steps are asked for one after another."""
        if self._ahead is None or seeds != self._seeds:
            self.close()
            self._seeds = list(seeds)
            self._ahead = Ahead(self._plan, self.clock.steps)
        return self._ahead

    def _plan(self, step: int) -> Callable[[], Part]:
        return partial(self._made, self._seeds, step, self.batches.at(self._seeds, step))

    def _made(self, seeds: list[int], step: int, index: Tensor) -> Part:
        """The changed minibatches of the seeds, one after another."""
        epoch, _ = self.clock.place(step)
        made = [self.problem.augmented(ids, seed, epoch) for seed, ids in zip(seeds, index, strict=True)]
        return made[0] if len(made) == 1 else Part(torch.cat([p.x for p in made]), torch.cat([p.y for p in made]))
