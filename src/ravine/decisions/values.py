"""What a decision may be: a range of numbers on a scale, or one of several values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict

from ravine.errors import UserError
from ravine.rules.interval import Search


class Range(BaseModel):
    """From low to high."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float
    high: float


class Choices(BaseModel):
    """One of these, None among them where a recipe may leave the decision out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    choices: list[Any]


Values: TypeAlias = Range | Choices


@dataclass(frozen=True)
class Pick:
    """Choices as a place to search: position u of [0, 1) picks one."""

    choices: tuple[Any, ...]

    def at(self, u: float) -> Any:
        """The choice at that position."""
        return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]


def values_from(given: Any) -> Any:
    """The values that a pair of numbers, or a list of choices, stands for; anything else as it is.

    >>> values_from((1e-4, 1e-1)), values_from(["he", None])
    (Range(low=0.0001, high=0.1), Choices(choices=['he', None]))
    """
    if isinstance(given, tuple) and len(given) == 2 and all(isinstance(end, int | float) for end in given):
        return Range(low=given[0], high=given[1])
    if isinstance(given, list | tuple):
        return Choices(choices=list(given))
    if isinstance(given, Mapping) and "choices" in given:
        return Choices.model_validate(given)
    return Range.model_validate(given) if isinstance(given, Mapping) else given


def searched(name: str, values: Values, scale: str) -> Search | Pick:
    """Where a decision is searched; a `UserError` where the values leave nothing to search."""
    if isinstance(values, Choices):
        if not values.choices:
            raise UserError(f"--over {name}: give one value at least")
        return Pick(tuple(values.choices))
    search = Search(scale, values.low, values.high)
    if not search.low < search.high:
        raise UserError(f"--over {name}={search.low:g}..{search.high:g}: the low end must lie below the high end")
    if scale == "log" and search.low <= 0:
        raise UserError(f"--over {name}={search.low:g}..{search.high:g}: it is searched in decades, so from above 0")
    return search
