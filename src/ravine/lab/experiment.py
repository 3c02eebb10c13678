"""What an experiment of the lab is, and the catalogue of all of them."""

from __future__ import annotations

import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, Literal, TypeAlias

from ravine.discovery import import_all, subclasses
from ravine.errors import UserError, unknown
from ravine.lab.outcome import Verdict

Scale: TypeAlias = Literal["full", "quick"]
LEAST = 3  # seeds
Tell: TypeAlias = Callable[[str, float], None]  # what is going on, and the share that is done


class Experiment(ABC):
    """One claim of the lectures, and how it is put to the test.

    Final subclasses in `ravine.lab.experiments` are found by themselves, and so is one of your own that is defined
    before `catalogue` is asked.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str]
    rows: ClassVar[tuple[str, ...]]  # of the project's list of claims
    lecture: ClassVar[str]  # who says it
    claim: ClassVar[str]
    how: ClassVar[str]
    data: ClassVar[str]
    seeds: ClassVar[int] = 5

    @abstractmethod
    def measure(self, scale: Scale, seeds: int, tell: Tell) -> Verdict:
        """Train and measure; the same scale and seeds give the same numbers."""

    def run(self, scale: Scale = "full", seeds: int | None = None, tell: Tell | None = None) -> Verdict:
        """The verdict, with the time that it took.

        Raises a `UserError` where fewer than three seeds are asked for, whose spread says too little.
        """
        many = self.seeds if seeds is None else seeds
        if many < LEAST:
            raise UserError(
                f"lab {self.name}: a verdict goes by the spread over seeds, so it needs {LEAST} or more, got {many}"
            )
        begin = time.monotonic()
        found = self.measure(scale, many, tell or (lambda words, share: None))
        return found.model_copy(update={"seconds": time.monotonic() - begin})


def catalogue() -> dict[str, Experiment]:
    """Every experiment by name."""
    import_all("ravine.lab.experiments")
    every: Iterator[type[Experiment]] = subclasses(Experiment)
    final = [kind for kind in every if kind.name and not inspect.isabstract(kind)]
    return {kind.name: kind() for kind in sorted(final, key=lambda kind: kind.name)}


def experiment(name: str) -> Experiment:
    """The experiment of that name."""
    known = catalogue()
    if name not in known:
        raise unknown("experiment", name, known)
    return known[name]
