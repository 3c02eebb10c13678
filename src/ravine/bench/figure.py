"""A measured figure beside its target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ravine.bench.common import Ratio


@dataclass(frozen=True)
class Figure:
    """What was measured, against what, and the limit that it must keep.

    A target holds when the bad end of the interval does: the low end of what must be large, the high end of what must
    be small.
    """

    case: str  # "C1"
    what: str
    against: str
    found: Ratio | None  # None: it could not be measured, and the note says why
    target: float
    at_least: bool = True
    unit: str = "x"
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the target holds; None where nothing was measured."""
        if self.found is None:
            return None
        return self.found.low >= self.target if self.at_least else self.found.high <= self.target

    def row(self) -> dict[str, Any]:
        """As JSON keeps it."""
        found = vars(self.found) if self.found else None
        return {**vars(self), "found": found, "holds": self.holds}


def absent(case: str, what: str, against: str, target: float, why: str, at_least: bool = True) -> Figure:
    """A figure that could not be measured here."""
    return Figure(case, what, against, None, target, at_least, note=why)
