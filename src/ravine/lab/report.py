"""Small helpers of every experiment: shares of progress, titles that say what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ravine.lab.experiment import Tell
from ravine.lab.outcome import Check, decided


def parts_of(tell: Tell, names: Sequence[str]) -> Callable[[str], Callable[[float], None]]:
    """Progress of several parts of equal length, as one."""

    def part(name: str) -> Callable[[float], None]:
        place = list(names).index(name)
        return lambda share: tell(name, (place + share) / len(names))

    return part


def finding(what: str, checks: Sequence[Check]) -> str:
    """A chart's title: what is drawn, and what the checks say of it."""
    word = decided([check.answer for check in checks])
    return f"{what}: the claim {word}" if word != "not decided" else f"{what}: not decided at this scale"
