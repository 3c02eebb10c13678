"""What a study of batch sizes found, as a value that shows itself in a terminal, as JSON and as a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ravine.batches.noise import GradientNoise
from ravine.batches.scaling import Scaled
from ravine.batches.speed import Speed
from ravine.results import Interval

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Moment:
    """The gradient's noise at one moment of training, one measurement a seed."""

    epoch: float
    noises: tuple[GradientNoise, ...]
    scale: Interval | None  # of the noise scale, by the mean of its logarithm; None where a gradient was zero
    slope: Interval


@dataclass(frozen=True)
class Size:
    """What became of one batch size."""

    batch: int
    scaled: Scaled  # at the rate that goes with it
    plain: Scaled  # at the rate of the first size
    behind: Interval | None  # the last loss at the scaled rate less the first size's, paired by seed; None: lost
    holds: bool  # not told to be worse
    speed: Speed | None  # None where it was not timed


@dataclass(frozen=True)
class BatchStudy:
    """How batch sizes do on one problem, model and rule."""

    problem: str
    model: str
    rule: str
    law: str
    samples: int
    base: int  # the batch size that the others are compared with
    rate: float  # its learning rate
    epochs: int
    seeds: tuple[int, ...]
    moments: tuple[Moment, ...]
    sizes: tuple[Size, ...]
    speeds: tuple[Speed, ...]
    ended: str  # why timing ended early, if it did
    batch: int  # suggested
    batch_rate: float  # with it

    @property
    def largest(self) -> int:
        """The largest size up to which every one holds."""
        held = self.base
        for size in self.sizes:
            if not size.holds:
                break
            held = max(held, size.batch)
        return held

    @property
    def verdict(self) -> str:
        """One sentence."""
        from ravine.batches.draw import verdict

        return verdict(self)

    def facts(self) -> dict[str, Any]:
        """What ``ravine batch --json`` prints."""
        from ravine.batches.draw import facts

        return facts(self)

    def report(self, path: str | Path) -> Path:
        """Write figures and tables as one HTML file that needs no network."""
        from ravine.batches.draw import write

        return write(self, Path(path))

    def __rich__(self) -> RenderableType:
        from ravine.batches.draw import table

        return table(self)
