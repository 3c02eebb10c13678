"""Numbers that a hyperparameter may take, and the scale on which it is searched."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A set of allowed numbers, written as in mathematics: "[0, 1)", "(0, inf)"."""

    text: str

    def __contains__(self, number: float) -> bool:
        low, high = (float(end) for end in self.text[1:-1].split(","))
        above = number >= low if self.text[0] == "[" else number > low
        below = number <= high if self.text[-1] == "]" else number < high
        return above and below and not math.isinf(number)


@dataclass(frozen=True)
class Search:
    """Where a hyperparameter is searched: "log 1e-5 1e-1", "linear 0 1", "log1m 0.5 0.999" (even in log(1 - x))."""

    scale: str
    low: float
    high: float

    @classmethod
    def parse(cls, text: str) -> Search:
        """Read the three words of a declaration."""
        scale, low, high = text.split()
        return cls(scale, float(low), float(high))

    def at(self, u: float) -> float:
        """The value at position u of the scale; 0 is the low end, 1 the high end, and beyond both it goes on.

        >>> Search("log", 1e-4, 1e-2).at(0.5)
        0.001
        """
        return self._back(self._on(self.low) + u * (self._on(self.high) - self._on(self.low)))

    def position(self, value: float) -> float:
        """The inverse of `at`."""
        return (self._on(value) - self._on(self.low)) / (self._on(self.high) - self._on(self.low))

    def _on(self, x: float) -> float:
        return {"linear": lambda: x, "log": lambda: math.log10(x), "log1m": lambda: -math.log10(1 - x)}[self.scale]()

    def _back(self, s: float) -> float:
        x = {"linear": lambda: s, "log": lambda: 10.0**s, "log1m": lambda: 1 - 10.0**-s}[self.scale]()
        return float(f"{x:.12g}")
