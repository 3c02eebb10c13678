"""F5: a loss of power at any call of a save, simulated: what was not flushed may be there, in part, or not at all.

A save's calls are watched and played into a model of a disk that knows what was flushed: the contents of a file by
`fsync` of it, the names in a folder by `fsync` of the folder. After a loss of power every change of a name that was not
flushed is there or not, independent of the others, which is more than any file system allows itself; contents that
were not flushed are the old, the new, half of the new, or zeros.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

from ravine.bench.faults.calls import TENSORS
from ravine.bench.faults.hooks import hooked
from ravine.bench.faults.trial import Part, Told, Trial, each
from ravine.checkpoints import Checkpoints, newest
from ravine.errors import UserError

Call: TypeAlias = tuple[Any, ...]
CALLS = ("open", "write", "fsync", "close", "mkdir", "rename", "unlink", "rmdir")


class Disk:
    """What a disk would hold: folders and files by number, as they are now and as they were flushed."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.names: dict[int, dict[str, int]] = {0: {}}  # of each folder, as it is now
        self.flushed: dict[int, dict[str, int]] = {0: {}}
        self.pending: list[list[tuple[int, str, int | None]]] = []  # changes of names that belong together
        self.now: dict[int, bytes] = {}  # contents of files
        self.safe: dict[int, bytes] = {}
        self.open: dict[int, int] = {}
        self._next = 1

    def play(self, call: Call) -> None:
        """One call of the system, as it was watched."""
        name, *given = call
        getattr(self, f"_{name}")(*given)

    def after_loss(self, draw: random.Random, into: Path) -> None:
        """Make real what a machine might find when the power is back."""
        names = {folder: dict(own) for folder, own in self.flushed.items()}
        for change in self.pending:
            if draw.random() < 0.5:
                self._change(names, change)
        self._make(names, 0, into, draw)

    def _make(self, names: dict[int, dict[str, int]], folder: int, into: Path, draw: random.Random) -> None:
        into.mkdir(parents=True)
        for name, number in names[folder].items():
            if number in names:
                self._make(names, number, into / name, draw)
                continue
            old, new = self.safe[number], self.now[number]
            choices = (old, new, new[: len(new) // 2], bytes(len(new)))
            (into / name).write_bytes(new if old == new else draw.choice(choices))

    def _change(self, names: dict[int, dict[str, int]], change: Sequence[tuple[int, str, int | None]]) -> None:
        for folder, name, number in change:
            if number is None:
                names[folder].pop(name, None)
            else:
                names[folder][name] = number

    def _alter(self, *change: tuple[int, str, int | None]) -> None:
        self.pending.append(list(change))
        self._change(self.names, change)

    def _find(self, path: Path) -> tuple[int, str]:
        folder = 0
        *parts, name = path.relative_to(self.top).parts or ("",)
        for part in parts:
            folder = self.names[folder][part]
        return folder, name

    def _mkdir(self, path: Path) -> None:
        number, self._next = self._next, self._next + 1
        self.names[number], self.flushed[number] = {}, {}
        self._alter((*self._find(path), number))

    def _open(self, path: Path, handle: int) -> None:
        folder, name = self._find(path)
        number = self.names[folder].get(name, 0 if not name else None)
        if number is None:
            number, self._next = self._next, self._next + 1
            self.now[number] = self.safe[number] = b""
            self._alter((folder, name, number))
        self.open[handle] = number

    def _write(self, handle: int, content: bytes) -> None:
        self.now[self.open[handle]] += content

    def _fsync(self, handle: int) -> None:
        number = self.open[handle]
        if number in self.now:
            self.safe[number] = self.now[number]
            return
        self.flushed[number] = dict(self.names[number])
        rest = [[entry for entry in change if entry[0] != number] for change in self.pending]
        self.pending = [change for change in rest if change]

    def _close(self, handle: int) -> None:
        self.open.pop(handle, None)

    def _rename(self, one: Path, other: Path) -> None:
        folder, name = self._find(one)
        self._alter((folder, name, None), (*self._find(other), self.names[folder][name]))

    def _unlink(self, path: Path) -> None:
        self._alter((*self._find(path), None))

    _rmdir = _unlink


def watched(top: Path, calls: list[Call]) -> AbstractContextManager[None]:
    """Within, every call of the file system below a folder is noted once it succeeded."""
    places: dict[int, Path] = {}

    def path_of(given: Any, options: dict[str, Any]) -> Path:
        inside = options.get("dir_fd")
        return (places[inside] if inside in places else Path()) / os.fsdecode(given)

    def wrapped(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*given: Any, **options: Any) -> Any:
            made = call(*given, **options)
            if isinstance(given[0], int):
                if given[0] in places:
                    calls.append((name, given[0], *([bytes(given[1])] if name == "write" else [])))
                if name == "close":
                    places.pop(given[0], None)
                return made
            path = path_of(given[0], options)
            if path.is_relative_to(top):
                if name == "open":
                    places[made] = path
                further = {"open": [made], "rename": [Path(given[1])] if name == "rename" else []}
                calls.append((name, path, *further.get(name, [])))
            return made

        return noting

    return hooked(CALLS, wrapped)


def trials(indices: Sequence[int], place: Path) -> Iterator[Trial]:
    """The power is lost at one call of three saves, each time with another outcome of what was not flushed."""
    shutil.rmtree(place, ignore_errors=True)
    (place / "top").mkdir(parents=True)
    calls: list[Call] = []
    ends: list[int] = []  # how many calls had been made when a save was acknowledged
    kept = Checkpoints(place / "top" / "run", keep=1)
    with watched(place / "top", calls):
        for number in (1, 2, 3):
            kept.save({"number": number}, TENSORS)
            ends.append(len(calls))

    def tried(index: int, found: Path) -> Told:
        at = index % (len(calls) + 1)
        disk = Disk(place / "top")
        for call in calls[:at]:
            disk.play(call)
        disk.after_loss(random.Random(f"power {index}"), found)
        return _judged(found / "run", sum(end <= at for end in ends), at), {}

    return each(indices, place, tried)


def _judged(folder: Path, acknowledged: int, at: int) -> str:
    try:
        found = newest(folder)
    except UserError as error:
        return "" if acknowledged == 0 else f"call {at}: {error}"
    whole = all(found.tensors[name].equal(tensor) for name, tensor in TENSORS.items())
    if found.number not in (acknowledged, acknowledged + 1) or not whole:
        return f"call {at}: checkpoint {found.number} was read, {acknowledged} had been acknowledged"
    return ""


PART = Part(
    "power",
    "F5",
    "loss of power at any call of a save (simulated: what was not flushed is there, in part, or not)",
    "every checkpoint that was acknowledged, or a newer one, is read",
    1000,
    trials,
)
