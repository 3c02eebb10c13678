"""What a command has to keep when the disk or the database refuses: all that can be kept is, the rest is told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import typer

from ravine.errors import UserError

if TYPE_CHECKING:
    from ravine.training.saving import Saving

T = TypeVar("T")


def told(steps: Iterable[T], saving: Saving) -> Iterator[T]:
    """The steps of a run; what went wrong with its checkpoints is printed as it happens."""
    count = 0
    for step in steps:
        count = _print(saving, count)
        yield step
    _print(saving, count)


def each(works: Iterable[Callable[[], object]]) -> list[str]:
    """Do every work, whichever of them fail; returns a sentence on each that did."""
    failed: list[str] = []
    for work in works:
        try:
            work()
        except UserError as error:
            failed.append(str(error))
    return failed


def fail(sentences: Iterable[str]) -> None:
    """End the command as a failed one where there is anything to tell."""
    told = list(dict.fromkeys(sentences))
    for sentence in told:
        print(f"ravine: {sentence}", file=sys.stderr)
    if told:
        raise typer.Exit(1)


def _print(saving: Saving, count: int) -> int:
    for trouble in saving.troubles[count:]:
        print(f"Note: {trouble}", file=sys.stderr)
    return len(saving.troubles)
