"""What an experiment leaves behind: checks with intervals, a table, charts, and the verdict that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ravine.report.numbers import plain, spread
from ravine.results import Interval

Word = Literal["holds", "holds with limits", "does not hold", "not decided"]
Answer = Literal["yes", "no", "open"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Check(_Value):
    """One number that the claim says something of: it must lie above ``least``.

    ``found`` is over seeds, already widened for all checks of the experiment. It decides only as a whole: an interval
    on both sides of ``least``, or fewer than three seeds, leave the check open.
    """

    says: str  # what was measured, as "accuracy with dropout less that without"
    unit: str = "points"
    least: float = 0.0
    found: Interval

    @property
    def answer(self) -> Answer:
        """Whether the number lies above ``least``, below it, or cannot be told."""
        if len(self.found.values) < 3:
            return "open"
        return "yes" if self.found.low > self.least else "no" if self.found.high < self.least else "open"

    @property
    def shown(self) -> str:
        """The number with its half width and unit."""
        return f"{shown(self.found)} {self.unit}".strip()


class Row(_Value):
    """One line of an experiment's table: what was trained, and its numbers by column."""

    name: str
    cells: dict[str, Interval]


class Series(_Value):
    """Points of one name; ``low`` and ``high`` are the ends of their bars or band."""

    name: str
    x: list[float | str]
    y: list[float]
    low: list[float] = Field(default_factory=list[float])
    high: list[float] = Field(default_factory=list[float])


class Chart(_Value):
    """A picture as data: lines over a number, or dots with bars beside words."""

    finding: str  # its title: what it shows
    kind: Literal["lines", "dots"]
    x: str  # titles of the axes, with units; for dots, x is the axis of numbers
    y: str = ""
    series: list[Series]


class Verdict(_Value):
    """What an experiment found."""

    name: str
    title: str
    claim: str
    measured: str  # what was trained on what, with all sizes
    seeds: int
    checks: list[Check]
    rows: list[Row]
    charts: list[Chart]
    notes: list[str] = Field(default_factory=list[str])
    seconds: float = 0.0

    @property
    def word(self) -> Word:
        """By rule: all checks yes, some, none; "not decided" where not one could be told."""
        return decided([check.answer for check in self.checks])

    @property
    def sentence(self) -> str:
        """The verdict in a line."""
        told = [check for check in self.checks if check.answer == "yes"]
        return f"{self.word}: {len(told)} of {len(self.checks)} checks hold over {self.seeds} seeds"


def decided(answers: Sequence[Answer]) -> Word:
    """The verdict of a claim from the answers to its checks.

    >>> decided(["yes", "yes"]), decided(["yes", "open"]), decided(["no", "open"]), decided(["open"])
    ('holds', 'holds with limits', 'does not hold', 'not decided')
    """
    if all(answer == "yes" for answer in answers):
        return "holds"
    if "yes" in answers:
        return "holds with limits"
    return "does not hold" if "no" in answers else "not decided"


def shown(found: Interval) -> str:
    """A mean over seeds with its half width; a single number as it is."""
    return spread(found.mean, found.low, found.high) if len(found.values) > 1 else plain(found.mean)
