"""What a range test found: losses, interval, reasons; a value that shows itself in a terminal, a notebook, a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ravine.rates.advice import Advice, Reading
from ravine.rates.symptoms import Symptom

if TYPE_CHECKING:
    from rich.console import RenderableType


Word: TypeAlias = Symptom | Literal["no better than chance"]


@dataclass(frozen=True)
class Checked:
    """A constant rate that was tried: a run a seed from the start, as long as the sweep."""

    rate: float
    loss: float  # validation loss after the last step, mean over seeds; inf where a run was lost
    symptom: Word  # of the training loss, mean over seeds; or that a good curve led to no gain in validation
    suggested: bool  # lies in the interval
    at_chance: int = 0  # seeds whose validation loss is no better than that of the best constant answer


@dataclass(frozen=True)
class RangeTest:
    """The learning-rate range test of one model, optimizer and batch size.

    ``low`` to ``high`` is the suggested interval: a constant rate lies in it, a cycle or a one-cycle policy has its
    foot at ``low`` and its peak at ``high``. Both are None where nothing trained.
    """

    problem: str
    model: str
    optimizer: str
    batch: int | None  # None: as the user's batches have it
    rates: tuple[float, ...]  # of each step
    losses: tuple[tuple[float, ...], ...]  # before each step, one row a seed; NaN after a run was lost
    readings: tuple[Reading, ...]  # one a seed
    advice: Advice
    checked: tuple[Checked, ...] = ()
    chance: float | None = None  # validation loss of the best constant answer, where rates were tried

    @property
    def low(self) -> float | None:
        """The lower end of the suggested interval."""
        return self.advice.low

    @property
    def high(self) -> float | None:
        """The upper end of the suggested interval."""
        return self.advice.high

    @property
    def verdict(self) -> str:
        """One sentence."""
        from ravine.rates.draw import verdict

        return verdict(self)

    def facts(self) -> dict[str, Any]:
        """What `ravine lr --json` prints."""
        from ravine.rates.draw import facts

        return facts(self)

    def report(self, path: str | Path) -> Path:
        """Write the plot and the table as one HTML file that needs no network."""
        from ravine.rates.draw import write

        return write(self, Path(path))

    def __rich__(self) -> RenderableType:
        from ravine.rates.draw import table

        return table(self)

    def _repr_html_(self) -> str:
        from ravine.rates.draw import fragment

        return fragment(self)
