"""What follows the losses of a run: the plateau that lowers its learning rate, and the patience that ends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ravine.metrics import Wait, monitor_of
from ravine.recipe import Recipe
from ravine.rules.rule import values
from ravine.schedules import Waiting
from ravine.training.run import Run
from ravine.training.track import Track


class Following:
    """A recipe's plateau and patience for one of its runs; what they know is no part of the run's state."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.plateau, self.waiting = recipe, recipe.make_plateau(), Waiting()
        self.reductions: list[tuple[float, float]] = []  # epoch and new learning rate, as the plateau had it
        self._wait = self._begun()

    def see(self, run: Run, track: Track) -> None:
        """Let the plateau see the point just measured; the one before the first step does not count."""
        if self.plateau is None or run.tick < 1:
            return
        point = run.curve[-1]
        self.waiting, reduce = self.plateau.after(self.waiting, run.monitor.value(point))
        before = self.reductions[-1][1] if self.reductions else values(run.candidate.rule)["lr"]
        if reduce and (lower := self.plateau.reduced(before)) < before:
            track.set_hyper(run, "lr", lower)
            self.reductions.append((point.epoch, lower))

    def is_out(self, run: Run) -> bool:
        """Whether the run's patience is out."""
        return 0 < self.recipe.patience <= self._wait.after(run.curve)

    def _begun(self) -> Wait:
        return Wait(monitor_of(self.recipe.monitor), self.recipe.min_delta, self.recipe.complete_from)

    def facts(self) -> dict[str, Any]:
        """What is known, as plain values."""
        return {"waiting": asdict(self.waiting), "reductions": self.reductions}

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Take over what `facts` gave."""
        self.waiting, self._wait = Waiting(**facts["waiting"]), self._begun()
        self.reductions = [(epoch, rate) for epoch, rate in facts["reductions"]]
