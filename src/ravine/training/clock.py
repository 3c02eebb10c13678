"""How a run's steps are counted, and which samples each step sees."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from ravine.errors import UserError
from ravine.randomness import order
from ravine.schedules import Schedule

MOST_STEPS = 100_000_000  # of one run: weeks of training, and what its curve and its order of epochs may hold
MOST_EPOCHS = 10_000_000
FEWEST_TICKS = 18  # points of a learning curve at least, so that a race can stop losers within an epoch


@dataclass(frozen=True)
class Clock:
    """How a run's steps are counted: minibatches, epochs, and the ticks at which it is measured.

    ``growth`` multiplies the batch size; it is read at the beginning of each epoch, so that an epoch has minibatches
    of one size, and never gives more than all samples. ``pieces`` is into how many parts a minibatch is taken.
    """

    samples: int
    batch: int
    epochs: int
    growth: Schedule | None = None
    pieces: int = 1

    def check(self) -> None:
        """Raise one sentence where the run has no end that anyone would see."""
        least = self.epochs * max(1, self.samples // self._largest)
        if self.epochs > MOST_EPOCHS or least > MOST_STEPS:
            raise UserError(
                f"{self.epochs:,} epochs are {least:,} steps or more, and a run has at most {MOST_STEPS:,} steps "
                f"in {MOST_EPOCHS:,} epochs: give fewer epochs"
            )

    @property
    def _largest(self) -> int:
        return self.batch if self.growth is None else self.samples

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The batch size of each epoch."""
        return tuple(self._size(epoch) for epoch in range(self.epochs))

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The steps done before each epoch, and at the end: one number more than there are epochs."""
        return tuple(accumulate((max(1, self.samples // size) for size in self.sizes), initial=0))

    def taken_before(self, epoch: int) -> int:
        """The samples that the steps of all epochs before it took."""
        return sum(
            size * (end - begin) for size, (begin, end) in zip(self.sizes[:epoch], pairwise(self.starts), strict=False)
        )

    def _size(self, epoch: int) -> int:
        if self.growth is None:
            return self.batch
        wanted = min(float(self.samples), self.batch * self.growth(epoch))  # a growing factor may be infinite
        return max(1, round(wanted))

    @property
    def steps_per_epoch(self) -> int:
        """Whole minibatches only, in the first epoch: what remains of a shuffle is left for the next epoch."""
        return self.starts[1]

    @property
    def steps(self) -> int:
        """Optimizer steps of a full run."""
        return self.starts[-1]

    @cached_property
    def ticks_per_epoch(self) -> int:
        """One, or more where epochs are few and long."""
        shortest = min(end - begin for begin, end in pairwise(self.starts))
        return min(-(-FEWEST_TICKS // self.epochs), shortest)

    @property
    def ticks(self) -> int:
        """Points of measurement of a full run."""
        return self.epochs * self.ticks_per_epoch

    def step_at(self, tick: int) -> int:
        """Optimizer steps done by that tick."""
        epoch, part = divmod(tick, self.ticks_per_epoch)
        if epoch >= self.epochs:
            return self.steps
        begin, end = self.starts[epoch : epoch + 2]
        return round((begin * self.ticks_per_epoch + part * (end - begin)) / self.ticks_per_epoch)

    def epoch_at(self, tick: int) -> float:
        """Epochs done by that tick."""
        return self.time(self.step_at(tick))

    def place(self, step: int) -> tuple[int, int]:
        """The epoch of that step (0 is the first) and its place there."""
        epoch = min(bisect_right(self.starts, step) - 1, self.epochs - 1)
        return epoch, step - self.starts[epoch]

    def time(self, step: int) -> float:
        """The epochs done before that step: the time of every schedule."""
        epoch, place = self.place(step)
        length = self.starts[epoch + 1] - self.starts[epoch]
        return (epoch * length + place) / length

    def tick_near(self, share: float) -> int:
        """The tick nearest to a share of the run, the first at least."""
        return min(self.ticks, max(1, round(share * self.ticks)))


def batch_for(samples: int) -> int:
    """64, or for small data the power of two that gives about sixteen steps an epoch, 8 at least."""
    return 64 if samples >= 1000 else min(samples, max(8, 2 ** ((samples // 16).bit_length() - 1)))


class Batches:
    """The minibatches of each seed, made from (seed, epoch) alone.

    ``visit`` gives the places that an epoch of a seed visits, [samples]; a shuffle of all where it is left out.
    """

    def __init__(self, clock: Clock, visit: Callable[[int, int], Tensor] | None = None) -> None:
        self.clock = clock
        self.visit = visit or (lambda seed, epoch: order(seed, epoch, clock.samples))
        self._of: tuple[list[int], int] | None = None  # the seeds and the epoch that were asked for last
        self._now: Sequence[Tensor] = ()  # their minibatches
        self._orders: dict[tuple[int, int], Tensor] = {}

    def at(self, seeds: list[int], step: int) -> Tensor:
        """Which samples each seed sees at that step (0 is the first): int64 [seeds, batch]."""
        epoch, place = self.clock.place(step)
        if self._of != (seeds, epoch):
            self._of, self._now = (list(seeds), epoch), self._minibatches(seeds, epoch)
        return self._now[place]

    def _minibatches(self, seeds: list[int], epoch: int) -> Sequence[Tensor]:
        self._orders = {at: o for at, o in self._orders.items() if at[1] >= epoch - 1}  # a step may be read ahead
        for seed in seeds:
            if (seed, epoch) not in self._orders:
                self._orders[seed, epoch] = self.visit(seed, epoch)
        orders = torch.stack([self._orders[seed, epoch] for seed in seeds])
        return orders.split(self.clock.sizes[epoch], dim=1)
