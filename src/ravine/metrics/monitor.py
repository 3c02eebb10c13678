"""What a run looks at to know its best point, and for how long it has waited for a better one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ravine.metrics.catalogue import metric_of
from ravine.results import Point

LOSS = "valid_loss"
SHOWN = {"accuracy", "r2"}  # what every run measures beside the loss


@dataclass(frozen=True)
class Monitor:
    """A number of each measured point, and the way in which it is better.

    >>> curve = [Point(epoch=e, train_loss=None, valid_loss=1, metric=m) for e, m in enumerate((0.1, 0.5, 0.51, 0.5))]
    >>> Monitor("accuracy", larger=True).waited(curve, min_delta=0.1)
    2
    """

    name: str = LOSS
    larger: bool = False

    def value(self, point: Point) -> float:
        """The number; NaN where it is not defined."""
        if self.name == LOSS:
            return point.valid_loss
        found = point.metrics.get(self.name, point.metric if self.name in SHOWN else None)
        return math.nan if found is None else found

    def cost(self, point: Point) -> float:
        """The number as one that is better when smaller; inf where it is not finite."""
        value = self.value(point)
        return (-value if self.larger else value) if math.isfinite(value) else math.inf

    def best(self, curve: Sequence[Point], since: float = 0.0) -> Point | None:
        """The best measured point, the first of equal ones, not counting those up to ``since`` and before a step."""
        fitting = [point for point in curve[1:] if math.isfinite(self.cost(point)) and point.epoch > since]
        return min(fitting, key=self.cost, default=None)

    def waited(self, curve: Sequence[Point], min_delta: float = 0.0, since: float = 0.0) -> int:
        """Measurements since the last that was better than all before it by more than ``min_delta``.

        A function of the curve alone: a resumed run has waited as long as one that was never stopped.
        """
        return Wait(self, min_delta, since).after(curve)


@dataclass
class Wait:
    """`Monitor.waited` of a curve that grows, each point of which is looked at once."""

    monitor: Monitor
    min_delta: float = 0.0
    since: float = 0.0
    seen: int = 1  # points; the one before the first step does not count
    last: int = 0  # the place of the last one that was better
    mark: float = math.inf

    def after(self, curve: Sequence[Point]) -> int:
        """How long the curve has waited, which begins with the points that were seen before."""
        for place in range(self.seen, len(curve)):
            point = curve[place]
            if point.epoch > self.since and self.monitor.cost(point) < self.mark - self.min_delta:
                self.last, self.mark = place, self.monitor.cost(point)
        self.seen = max(self.seen, len(curve))
        return len(curve) - 1 - self.last


def monitor_of(name: str) -> Monitor:
    """The monitor of the validation loss, or of a metric in its direction."""
    return Monitor() if name == LOSS else Monitor(name, metric_of(name).larger)
