"""How a run's steps are counted, and which samples each step sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ravine.randomness import order

FEWEST_TICKS = 18  # points of a learning curve at least, so that a race can stop losers within an epoch


@dataclass(frozen=True)
class Clock:
    """How a run's steps are counted: minibatches, epochs, and the ticks at which it is measured."""

    samples: int
    batch: int
    epochs: int

    @property
    def steps_per_epoch(self) -> int:
        """Whole minibatches only: what remains of an epoch's shuffle is left for the next."""
        return max(1, self.samples // self.batch)

    @property
    def steps(self) -> int:
        """Optimizer steps of a full run."""
        return self.steps_per_epoch * self.epochs

    @property
    def ticks(self) -> int:
        """Points of measurement: one an epoch, more where epochs are few and long."""
        per_epoch = min(-(-FEWEST_TICKS // self.epochs), self.steps_per_epoch)
        return self.epochs * per_epoch

    def step_at(self, tick: int) -> int:
        """Optimizer steps done by that tick."""
        return round(tick * self.steps / self.ticks)

    def epoch_at(self, tick: int) -> float:
        """Epochs done by that tick."""
        return self.step_at(tick) / self.steps_per_epoch

    def tick_near(self, share: float) -> int:
        """The tick nearest to a share of the run, the first at least."""
        return min(self.ticks, max(1, round(share * self.ticks)))


class Batches:
    """The minibatches of each seed, made from (seed, epoch) alone."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.orders: dict[tuple[int, int], Tensor] = {}

    def at(self, seeds: list[int], step: int) -> Tensor:
        """Which samples each seed sees at that step (0 is the first): int64 [seeds, batch]."""
        epoch, place = divmod(step, self.clock.steps_per_epoch)
        self.orders = {at: o for at, o in self.orders.items() if at[1] == epoch}
        rows: list[Tensor] = []
        for seed in seeds:
            if (seed, epoch) not in self.orders:
                self.orders[seed, epoch] = order(seed, epoch, self.clock.samples)
            rows.append(self.orders[seed, epoch][place * self.clock.batch : (place + 1) * self.clock.batch])
        return torch.stack(rows)
