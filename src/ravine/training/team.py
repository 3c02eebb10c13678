"""Whom a run shares its work with: nobody, or the other processes of a distributed run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from ravine.engines.lane import Lane, Model
from ravine.engines.lanes import Lanes
from ravine.recipe import Recipe
from ravine.rules.rule import Rule
from ravine.training.clock import Clock
from ravine.training.layered import Runner, alone
from ravine.types import Loss

T = TypeVar("T")


class Team(Protocol):
    """The processes that train one run together; each walks through the same program."""

    @property
    def rank(self) -> int:
        """The place of this process, 0 for the one that writes and prints."""
        ...

    def any(self, flag: bool) -> bool:
        """Whether one of the team says so; every process must ask, and all get the same answer."""
        ...

    def texts(self, text: str) -> list[str]:
        """What each process has to say, in the order of their ranks."""
        ...

    def together(self, work: Callable[[], T]) -> T:
        """What ``work`` gives here, if it raises a `UserError` in no process; else one of them raises it."""
        ...

    def runner(self, model: Model, loss: Loss, lanes: Sequence[Lane]) -> Runner:
        """What drives these lanes; lanes of methods come one at a time."""
        ...

    def check(self, recipe: Recipe, clock: Clock, model: Model) -> None:
        """Raise one sentence where a recipe cannot be shared."""
        ...


class Alone:
    """The team of one process."""

    rank = 0

    def any(self, flag: bool) -> bool:
        """What this process says."""
        return flag

    def texts(self, text: str) -> list[str]:
        """What this process has to say."""
        return [text]

    def together(self, work: Callable[[], T]) -> T:
        """What ``work`` gives."""
        return work()

    def check(self, recipe: Recipe, clock: Clock, model: Model) -> None:
        """Nothing is shared."""

    def runner(self, model: Model, loss: Loss, lanes: Sequence[Lane]) -> Runner:
        """Lanes together, or the one run of a method."""
        return Lanes(model, loss, lanes) if isinstance(lanes[0].rule, Rule) else alone(model, loss, lanes[0])
