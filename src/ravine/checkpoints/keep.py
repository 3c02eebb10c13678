"""Writing: a checkpoint is made aside, flushed to the disk, renamed; then older ones go, but the last n and the best.

A process that is killed at any moment leaves the checkpoints as they were, or with the new one. What it had half made
or half removed has a name that no reader looks at, and goes with the next save.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from ravine.checkpoints import sound
from ravine.checkpoints.sound import FORMAT, MANIFEST, PLACE, Damaged, Found, path_of
from ravine.checkpoints.tensors import in_parts
from ravine.errors import UserError
from ravine.files import digest, flush_folder, make_folder, reason, write_through

KEEP = 2  # the last ones; the best stays beside them
STATE = "state.safetensors"
DRAFT, GONE = ".draft-", ".gone-"

Entry = dict[str, Any]  # bytes and sha256 of a file, as the manifest tells them


class Draft:
    """A checkpoint that is being made; several processes may write files into it before one commits it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, tensors: Mapping[str, Tensor]) -> Entry:
        """Write one file of tensors, such as "state.safetensors", and return what the manifest must tell of it."""
        path = self.path / name
        try:
            sha = write_through(path, in_parts(tensors))
            return {"bytes": path.stat().st_size, "sha256": sha}
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {reason(error)}") from error


class Checkpoints:
    """The checkpoints of one run, below its folder; one process at a time may write them (see `claimed`)."""

    def __init__(self, folder: Path, keep: int = KEEP) -> None:
        self.folder, self.keep = folder, keep
        self._unsound: set[int] = set()
        self._scores: dict[int, float | None] = {}

    def newest(self, tensors: bool = True) -> Found:
        """The newest that is sound; those that are not are no longer counted by the policy, and go."""
        found = sound.newest(self.folder, tensors)
        self._unsound |= found.unsound
        return found

    def save(self, facts: Mapping[str, Any], tensors: Mapping[str, Tensor], score: float | None = None) -> int:
        """Write a checkpoint and return its number; the one with the lowest ``score`` is kept however old it is.

        Raises:
            UserError: where it cannot be written; the older ones are then as they were.
        """
        draft = self.begin()
        try:
            return self.commit(draft, facts, {STATE: draft.write(STATE, tensors)}, score)
        finally:
            shutil.rmtree(draft.path, ignore_errors=True)  # not there any more unless something went wrong

    def begin(self) -> Draft:
        """A place for a new checkpoint; what earlier processes left half made is removed."""
        place = self.folder / PLACE
        draft = Draft(place / f"{DRAFT}{self._next():06}")
        try:
            make_folder(place)
            for path in place.iterdir():
                if path.name.startswith((DRAFT, GONE)):
                    shutil.rmtree(path)
            draft.path.mkdir()
        except OSError as error:
            raise UserError(f"{place}: cannot be written: {reason(error)}") from error
        return draft

    def commit(
        self, draft: Draft, facts: Mapping[str, Any], files: Mapping[str, Entry], score: float | None = None
    ) -> int:
        """Let a draft become the newest checkpoint, with these facts and all its files; then the policy is applied."""
        score = score if score is not None and math.isfinite(score) else None
        number = self._next()
        told = {"format": FORMAT, "number": number, "score": score, "files": files, "facts": facts}
        body = json.dumps(told).encode()
        try:
            write_through(draft.path / MANIFEST, b'{"sha256":"' + digest(body).encode() + b'",' + body[1:])
            flush_folder(draft.path)
            os.rename(draft.path, path_of(self.folder, number))
            flush_folder(self.folder / PLACE)
        except OSError as error:
            raise UserError(f"{path_of(self.folder, number)}: cannot be written: {reason(error)}") from error
        self._scores[number] = score
        with suppress(OSError):  # the new one is whole: what could not be removed now is removed later
            self._remove_others()
        return number

    def _next(self) -> int:
        return max(sound.numbers(self.folder), default=0) + 1

    def _remove_others(self) -> None:
        """Remove all but the last n and the best of those that are sound."""
        there = sound.numbers(self.folder)
        scores = {number: self._score(number) for number in there}
        kept = [number for number in there if number not in self._unsound][-self.keep :]
        scored = {number: score for number, score in scores.items() if score is not None}
        if scored:
            kept.append(min(scored, key=lambda number: (scored[number], -number)))
        for number in there:
            if number not in kept:
                aside = self.folder / PLACE / f"{GONE}{number:06}"
                os.rename(path_of(self.folder, number), aside)  # at once no checkpoint any more, not a part of one
                shutil.rmtree(aside)

    def _score(self, number: int) -> float | None:
        """What the checkpoint was given to be compared by; one that is torn has nothing and is marked."""
        if number in self._unsound:
            return None
        if number not in self._scores:
            self._scores[number] = None
            try:
                self._scores[number] = sound.manifest(self.folder, number)["score"]
            except Damaged:
                self._unsound.add(number)
            except UserError:  # of another version of ravine
                pass
        return self._scores[number]
