"""Reduction on a plateau: the learning rate falls when a measured loss has stopped falling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

from ravine.errors import unknown
from ravine.schedules.decay import FACTOR
from ravine.schedules.schedule import setting, settings
from ravine.schedules.spec import check


@final
@dataclass(frozen=True)
class Waiting:
    """What a plateau remembers from one measurement to the next: plain numbers, so that it resumes exactly."""

    best: float | None = None  # the best measurement so far
    bad: int = 0  # measurements since then that were no better
    cooling: int = 0  # measurements left in which nothing counts


@final
@dataclass(frozen=True)
class Plateau:
    """Multiply the learning rate by ``factor`` when a measurement has not improved for a while.

        torch: lr <- max(factor lr, min_lr) when more than ``patience`` measurements in a row were no better
        keras: the same at the ``patience``-th

    It is no schedule, for it depends on what was measured; all it remembers is a `Waiting`. The dialects differ in
    three places: torch waits one measurement longer; with the threshold at "auto" torch's is a share of the best value
    and Keras' an amount; and the measurement with which a cooldown ends counts in Keras, not in torch. A measurement
    that is NaN is no better. torch's ``eps``: a reduction smaller than this is left out.
    Reference: torch.optim.lr_scheduler.ReduceLROnPlateau; keras.callbacks.ReduceLROnPlateau.

    >>> plateau, waiting = Plateau(patience=1), Waiting()
    >>> for loss in (1.0, 0.9, 0.9, 0.9):
    ...     waiting, reduce = plateau.after(waiting, loss)
    >>> reduce
    True
    """

    name: ClassVar[str] = "plateau"

    factor: float = setting(0.1, "number", "what each reduction multiplies by", "(0, 1)")
    patience: float = setting(10, "number", "measurements without improvement that are borne", FACTOR)
    threshold: float = setting(1e-4, "number", "how much better counts as better", FACTOR)
    threshold_mode: Literal["auto", "rel", "abs"] = setting(
        "auto", "choice", "a share of the best, or an amount", options=("auto", "rel", "abs")
    )
    cooldown: float = setting(0, "number", "measurements after a reduction in which nothing counts", FACTOR)
    min_lr: float = setting(0.0, "number", "lowest learning rate", FACTOR)
    eps: float = setting(1e-8, "number", "smallest reduction (torch)", FACTOR)
    mode: Literal["min", "max"] = setting("min", "choice", "which way is better", options=("min", "max"))
    dialect: Literal["torch", "keras"] = setting("torch", "choice", "whose counting", options=("torch", "keras"))

    @property
    def waits(self) -> int:
        """The number of bad measurements in a row at which it acts."""
        return int(self.patience) + 1 if self.dialect == "torch" else max(1, int(self.patience))

    def after(self, waiting: Waiting, measured: float) -> tuple[Waiting, bool]:
        """The state after one more measurement, and whether to reduce now."""
        better = self._is_better(measured, waiting.best)
        best = measured if better else waiting.best
        bad = 0 if better else waiting.bad + 1
        cooling = max(waiting.cooling - 1, 0)
        if waiting.cooling and (self.dialect == "torch" or cooling):
            bad = 0
        elif waiting.cooling:
            bad = 0 if better else 1
        if bad >= self.waits:
            return Waiting(best, 0, int(self.cooldown)), True
        return Waiting(best, bad, cooling), False

    def reduced(self, lr: float) -> float:
        """The learning rate after a reduction."""
        lower = max(lr * self.factor, self.min_lr)
        if self.dialect == "torch":
            return lower if lr - lower > self.eps else lr
        return lower if lr > self.min_lr else lr

    def _is_better(self, measured: float, best: float | None) -> bool:
        if best is None:
            return measured < math.inf if self.mode == "min" else measured > -math.inf
        relative = self.threshold_mode == "rel" or (self.threshold_mode == "auto" and self.dialect == "torch")
        if self.mode == "max":
            return measured > (best * (1 + self.threshold) if relative else best + self.threshold)
        return measured < (best * (1 - self.threshold) if relative else best - self.threshold)

    def flaw(self) -> str | None:
        """Counts that are not whole."""
        for name in ("patience", "cooldown"):
            if getattr(self, name) != int(getattr(self, name)):
                return f"{name} counts measurements: give a whole number, got {getattr(self, name)!r}"
        return None


def plateau_from(given: Mapping[str, Any]) -> Plateau:
    """The checked plateau of plain values, such as {"factor": 0.2, "patience": 5}; one sentence on a mistake."""
    known = settings(Plateau)
    for name in given:
        if name not in known:
            raise unknown("setting of plateau", name, known)
    return check(Plateau(**given))
