"""What a command keeps: in a folder that is its own; where a disk refuses, all that can be kept, and the rest told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from ravine.errors import UserError

if TYPE_CHECKING:
    from ravine.store import Store
    from ravine.training.saving import Saving
    from ravine.training.train import Training

T = TypeVar("T")


@contextmanager
def begun(running: Training, folder: Path, resume: bool, store: str | None) -> Generator[Store]:
    """The store, while the folder is this process's alone; the run stands at its checkpoint where it is resumed.

    A folder that holds a run is claimed before it is read, another one after all that may refuse to begin.
    """
    from ravine.checkpoints import holds
    from ravine.store import Store

    with ExitStack() as during:
        if holds(folder):
            during.enter_context(running.saving.claimed())
        if resume:
            running.restore(folder)
        elif holds(folder):
            raise UserError(f"{folder} holds a run already: go on with --resume, or name another folder")
        opened = during.enter_context(Store.open(store))
        during.enter_context(running.saving.claimed())
        if not resume and holds(folder):
            raise UserError(f"{folder}: another process has left a run there just now; go on with --resume")
        yield opened


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
