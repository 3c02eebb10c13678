"""What every part of the campaign yields: one fault, whether it came out right, and what was counted meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

Told: TypeAlias = tuple[str, dict[str, float]]  # what went wrong, and what was counted


@dataclass(frozen=True)
class Trial:
    """One fault: its place in its part, what went wrong with it ("" where nothing did), and what was counted."""

    index: int
    wrong: str = ""
    counts: dict[str, float] = field(default_factory=dict[str, float])  # summed over a part's trials in the table


def each(indices: Sequence[int], place: Path, tried: Callable[[int, Path], Told]) -> Iterator[Trial]:
    """A trial an index, with a folder that is not there before it and goes after it."""
    for index in indices:
        folder = place / f"trial-{index}"
        shutil.rmtree(folder, ignore_errors=True)
        yield Trial(index, *tried(index, folder))
        shutil.rmtree(folder, ignore_errors=True)


Trials: TypeAlias = Callable[[Sequence[int], Path], Iterator[Trial]]  # which ones, and a folder to work in


@dataclass(frozen=True)
class Part:
    """Faults of one kind: its number in the list of faults, what is done and promised, and how often by default.

    A count of 0 means that the part itself knows how many there are.
    """

    name: str
    fault: str
    about: str
    promise: str
    count: int
    trials: Trials
    most: frozenset[str] = frozenset()  # counts of which the table shows the largest
