"""What there is to see of a race at one time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ravine.training.run import Run

Phase: TypeAlias = Literal["pilot", "rungs", "finals", "test", "done"]


@dataclass(frozen=True)
class Moment:
    """A race at one time: how far it is, how many lanes are open, and which run is ahead."""

    phase: Phase
    rung: int
    lanes: int  # still open
    diverged: int
    done: float  # share of the work, 0 to 1
    seconds: float
    best: Run | None


def moment_of(phase: Phase, rung: int, runs: Sequence[Run], done: float, seconds: float) -> Moment:
    """The moment of these runs; the best is that of the present rung, or of the finals."""
    stage = [run for run in runs if run.stage != "rung" or phase == "rungs"]
    now = [run for run in stage if phase != "rungs" or run.rung == rung]
    scored = [run for run in now if run.score < float("inf")]
    best = min(scored, key=lambda run: run.score, default=None)
    lost = sum(bool(run.diverged) for run in runs)
    return Moment(phase, rung, sum(not run.diverged for run in now), lost, min(done, 1.0), seconds, best)
