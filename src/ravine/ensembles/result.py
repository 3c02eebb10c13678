"""What an ensemble came to, as a value that shows itself in a terminal, as JSON and as a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Member:
    """One model: what it is called, its loss, its squared error and its metric."""

    name: str
    loss: float
    squared: float
    metric: float


@dataclass(frozen=True)
class Level:
    """An ensemble of ``size`` members: its squared error, averaged over all choices of them, and what was predicted."""

    size: int
    squared: float
    measured: float  # over the squared error of one member
    predicted: float  # 1/k + (k - 1)/k rho, with rho from other samples

    @property
    def off(self) -> float:
        """How far the measured factor lies from the predicted one, as a share of it."""
        return self.measured / self.predicted - 1


@dataclass(frozen=True)
class EnsembleResult:
    """Members of one recipe and what they are together, on one part of the data.

    The squared error is that of the standardised numbers, or Brier's score of the probabilities. ``rho`` was measured
    on ``rho_from``, everything else on ``part``. ``levels`` is empty for kinds that are one model in the end.
    """

    problem: str
    model: str
    kind: str
    part: str
    rho_from: str
    metric_name: str
    task: str
    members: tuple[Member, ...]
    whole: Member
    rho: float | None
    levels: tuple[Level, ...]
    gradients: float  # of single samples, in training
    alone: float  # the same of one run
    passes: int  # of a sample through a model, for one prediction
    seconds: float

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> EnsembleResult:
        """The value of which these are the facts, as the store and ``--json`` hold them."""
        known: dict[str, Any] = {field.name: facts[field.name] for field in fields(cls)}
        known["members"] = tuple(Member(**row) for row in facts["members"])
        known["whole"] = Member(**facts["whole"])
        known["levels"] = tuple(Level(**{f.name: row[f.name] for f in fields(Level)}) for row in facts["levels"])
        return cls(**known)

    def facts(self) -> dict[str, Any]:
        """What ``ravine ensemble --json`` prints."""
        made = asdict(self)
        for row, level in zip(made["levels"], self.levels, strict=True):
            row["off"] = level.off
        return {**made, "verdict": self.verdict}

    @property
    def verdict(self) -> str:
        """One sentence."""
        from ravine.ensembles.draw import verdict

        return verdict(self)

    def report(self, path: str | Path) -> Path:
        """Write the figure and the tables as one HTML file that needs no network."""
        from ravine.ensembles.draw import write

        return write(self, Path(path))

    def __rich__(self) -> RenderableType:
        from ravine.ensembles.draw import table

        return table(self)
