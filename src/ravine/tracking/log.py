"""What a log is told, and several of them as one that never fails."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ravine.results import Point


@dataclass(frozen=True)
class About:
    """What is known of a run before its first step."""

    run: str  # unique in the log: "run-digits-7f3a", or in a race "c003-s0-final"
    group: str  # the run itself, or the race that it belongs to
    hypers: Mapping[str, float]
    tags: Mapping[str, str]  # problem, model, rule, seed, config, stage ...
    recipe: str  # in TOML; empty for a run of a race, whose winner has one


class Logger(Protocol):
    """One log. Every call may raise; `Log` catches it."""

    name: str

    def begin(self, about: About) -> None:
        """A run begins, or goes on."""
        ...

    def points(self, run: str, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """New points of its curve: the optimizer steps done, and every number by name."""
        ...

    def end(self, run: str, status: str) -> None:
        """It ended as finished, stopped, diverged or interrupted."""
        ...

    def close(self) -> None:
        """Nothing is to come."""
        ...


def numbers(point: Point, rate: float | None = None) -> dict[str, float]:
    """All that a point holds, by name; what is not defined is left out."""
    found: dict[str, float | None] = {
        "epoch": point.epoch,
        "train_loss": point.train_loss,
        "valid_loss": point.valid_loss,
        "metric": point.metric,
        "lr": rate,
    }
    return {name: float(value) for name, value in {**found, **point.metrics}.items() if value is not None}


class Log:
    """Several logs as one. One that raises is closed with a warning, and the run goes on; ``seconds`` counts its cost.

    Points wait until ``every`` seconds have passed, and a hundred times what handing the last ones over took, so that
    a log costs little beside many short epochs.
    """

    def __init__(self, loggers: Sequence[Logger], every: float = 1.0) -> None:
        self._loggers, self._every = list(loggers), every
        self._waiting: dict[str, list[tuple[int, Mapping[str, float]]]] = {}
        self._flushed, self._taken = time.monotonic(), 0.0
        self.seconds = 0.0

    def begin(self, about: About) -> None:
        """A run begins, or goes on."""
        self._all(lambda logger: logger.begin(about))

    def point(self, run: str, step: int, given: Mapping[str, float]) -> None:
        """One new point of a run's curve."""
        self._waiting.setdefault(run, []).append((step, given))
        if time.monotonic() - self._flushed >= max(self._every, 100 * self._taken):
            self.flush()

    def flush(self) -> None:
        """Hand over what waits."""
        waiting, self._waiting = self._waiting, {}
        begin = time.monotonic()
        for run, points in waiting.items():
            self._all(lambda logger, run=run, points=points: logger.points(run, points))
        self._flushed = time.monotonic()
        self._taken = self._flushed - begin

    def end(self, run: str, status: str) -> None:
        """A run ended."""
        if run in self._waiting:
            self.flush()
        self._all(lambda logger: logger.end(run, status))

    def close(self) -> None:
        """Nothing is to come."""
        self.flush()
        self._all(lambda logger: logger.close())

    def _all(self, call: Callable[[Logger], Any]) -> None:
        begin = time.perf_counter()
        for logger in list(self._loggers):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of other people's libraries
                    call(logger)
            except Exception as error:
                self._loggers.remove(logger)
                said = " ".join(str(error).split())[:160]
                print(
                    f"Warning: the {logger.name} log failed and is closed, the run goes on: "
                    f"{type(error).__name__}: {said}",
                    file=sys.stderr,
                )
        self.seconds += time.perf_counter() - begin
