"""Rows of the comparison's tables: a rule's cell on a problem, its place among the others, its ties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from ravine.racing.statistics import interval, paired
from ravine.results import Interval

Side: TypeAlias = Literal["tuned", "default"]


@dataclass(frozen=True)
class Setting:
    """One setting of a rule over the fresh seeds; None for a seed where it diverged."""

    losses: list[float | None]
    measured: list[float | None]
    rate: float | None

    @property
    def lost(self) -> int:
        """Seeds that diverged."""
        return self.losses.count(None)

    @property
    def known(self) -> list[float]:
        """The losses of the seeds that did not diverge."""
        return [loss for loss in self.losses if loss is not None]

    @property
    def metrics(self) -> list[float]:
        """The metric of the same seeds."""
        return [metric for metric in self.measured if metric is not None]

    @cached_property
    def loss(self) -> Interval | None:
        """The mean with its interval; None where a seed diverged."""
        return None if self.lost else interval(self.known)

    @property
    def mean(self) -> float:
        """The mean loss; inf where a seed diverged."""
        return float("inf") if self.loss is None else self.loss.mean


@dataclass(frozen=True)
class Row:
    """A rule on a problem."""

    rule: str
    tuned: Setting
    default: Setting
    tried: list[tuple[float | None, float | None]]  # learning rate and validation loss of each tuning run
    step: float | None  # in units of SGD's
    refused: str = ""

    @property
    def same(self) -> bool:
        """Whether the defaults were the best of all that was tried."""
        return self.tuned == self.default

    @property
    def runs(self) -> int:
        """How many runs the cell holds."""
        return len(self.tried) + len(self.default.losses) + (0 if self.same else len(self.tuned.losses))

    @property
    def lost(self) -> int:
        """How many of them diverged."""
        final = self.default.lost + (0 if self.same else self.tuned.lost)
        return final + sum(loss is None for _, loss in self.tried)

    @property
    def gain(self) -> float | None:
        """The share of the defaults' loss that tuning saved; None where a seed diverged."""
        if self.tuned.loss is None or self.default.loss is None or self.default.mean <= 0:
            return None
        return 1 - self.tuned.mean / self.default.mean

    @property
    def rate(self) -> str:
        """The learning rate at the defaults and tuned; * at the edge of those tried."""
        rates = [rate for rate, _ in self.tried if rate is not None]
        own, best = self.default.rate, self.tuned.rate
        if own is None or best is None:
            return "-"
        edge = "\\*" if rates and best in (min(rates), max(rates)) and len(set(rates)) > 1 else ""
        return f"{own:.2g}{edge}" if own == best else f"{own:.2g} → {best:.2g}{edge}"

    def setting(self, side: Side) -> Setting:
        """One of the two."""
        return self.tuned if side == "tuned" else self.default

    def place(self, rows: Sequence[Row], side: Side) -> int | None:
        """1 for the lowest mean loss; None where a seed diverged."""
        own = self.setting(side)
        return None if own.loss is None else 1 + sum(row.setting(side).mean < own.mean for row in rows)

    def over_best(self, rows: Sequence[Row], side: Side) -> float | None:
        """The mean loss over the lowest one; None where a seed diverged."""
        best, own = min(row.setting(side).mean for row in rows), self.setting(side)
        return own.mean / best if own.loss is not None and best > 0 else None

    def is_tied(self, rows: Sequence[Row], comparisons: int = 1) -> bool:
        """Whether it, tuned, is the first or not told apart from it."""
        first = rows[0].tuned
        if self.tuned.loss is None:
            return False
        return self is rows[0] or paired(self.tuned.known, first.known, comparisons).low <= 0


def rows_of(cells: dict[str, dict[str, Any]]) -> list[Row]:
    """The rules of one problem by mean test loss, tuned; those where a seed diverged last."""
    rows = [_row(rule, cell) for rule, cell in cells.items()]
    return sorted(rows, key=lambda row: (row.tuned.mean, row.rule))


def together(rows: Sequence[Row], comparisons: int = 1) -> int:
    """How many rules are first or not told apart from the first."""
    return sum(row.is_tied(rows, comparisons) for row in rows)


def corrected(rows: Sequence[Row]) -> int:
    """The same with Bonferroni's correction for all the others."""
    return together(rows, max(1, len(rows) - 1))


def _row(rule: str, cell: dict[str, Any]) -> Row:
    if "refused" in cell:
        nothing = Setting([None], [None], None)
        return Row(rule, nothing, nothing, [], None, cell["refused"])
    sides = [Setting(cell[s]["losses"], cell[s]["metrics"], cell[s]["hypers"].get("lr")) for s in ("tuned", "default")]
    tried = [(trial.get("lr"), trial["valid"]) for trial in cell["trials"]]
    return Row(rule, sides[0], sides[1], tried, cell["step"]["median"] if cell["step"] else None)
