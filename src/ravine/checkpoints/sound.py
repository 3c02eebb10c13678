"""Reading: which checkpoint of a folder is the newest that is whole and unaltered, and what is wrong with the others.

    checkpoints/000012/manifest.json        {"sha256": of all that follows, "format": 2, "number": 12, "score": ...,
                                             "files": {name: {"bytes": ..., "sha256": ...}}, "facts": {...}}
    checkpoints/000012/state.safetensors

The manifest's hash is over its bytes, so that an altered space is found out as an altered digit is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ravine.checkpoints.tensors import read_tensors
from ravine.errors import UserError
from ravine.files import digest, digest_of

FORMAT = 2
PLACE, MANIFEST, BEFORE = "checkpoints", "manifest.json", "state.json"  # the last: where format 1 had its manifest
LONGEST = 1 << 29  # bytes of a manifest that are read at all
_HEAD = re.compile(rb'\{"sha256":"([0-9a-f]{64})",')
_NAME = re.compile(r"[A-Za-z0-9_-]+\.safetensors")


class Damaged(Exception):
    """What is wrong with a checkpoint, in a few words."""


@dataclass(frozen=True)
class Found:
    """A checkpoint that is whole: what was saved, its number and folder, and a sentence on each newer one."""

    facts: dict[str, Any]
    tensors: dict[str, Tensor]  # empty where only the facts were asked for
    number: int
    path: Path
    problems: tuple[str, ...] = ()
    unsound: frozenset[int] = frozenset()  # the numbers that the problems are about


def holds(folder: Path) -> bool:
    """Whether a run has left a checkpoint there, sound or not, of this version of ravine or another."""
    return bool(numbers(folder)) or (folder / BEFORE).exists()


def numbers(folder: Path) -> list[int]:
    """The numbers of the checkpoints in a run's folder, rising."""
    try:
        names = [path.name for path in (folder / PLACE).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(name) for name in names if re.fullmatch(r"[0-9]{6,}", name))


def path_of(folder: Path, number: int) -> Path:
    """The folder of the checkpoint of that number."""
    return folder / PLACE / f"{number:06}"


def newest(folder: Path, tensors: bool = True) -> Found:
    """The newest checkpoint of a run's folder that is whole and unaltered; without ``tensors``, its facts alone.

    Raises:
        UserError: where there is none, none is sound, or the newest was made by another version of ravine.
    """
    problems: list[str] = []
    unsound: set[int] = set()
    for number in reversed(numbers(folder)):
        try:
            facts, read = _read(folder, number, tensors)
        except Damaged as damage:
            problems.append(f"{path_of(folder, number)}: {damage}")
            unsound.add(number)
        else:
            told = tuple(f"{problem}; checkpoint {number:06} is used instead" for problem in problems)
            return Found(facts, read, number, path_of(folder, number), told, frozenset(unsound))
    if problems:
        none = "the only checkpoint" if len(problems) == 1 else f"none of the {len(problems)} checkpoints can be used"
        raise UserError(f"{problems[0]}; {'that was ' if len(problems) == 1 else ''}{none}: start again")
    if (folder / BEFORE).exists():
        raise UserError(
            f"{folder}: its checkpoint was made by an earlier ravine (format 1, this one reads {FORMAT}): "
            "go on with that version, or start again in another folder"
        )
    raise UserError(f"{folder}: no checkpoint is there to resume; start without --resume")


def manifest(folder: Path, number: int) -> dict[str, Any]:
    """A checkpoint's manifest, if it is the one that was written and its files have the lengths it tells.

    Raises:
        Damaged: otherwise.
        UserError: where another version of ravine wrote it.
    """
    path = path_of(folder, number) / MANIFEST
    read = _checked(path)
    if read.get("format") != FORMAT:
        age = "a newer" if isinstance(read.get("format"), int) and read["format"] > FORMAT else "another"
        raise UserError(
            f"{path}: made by {age} ravine (format {read.get('format')}, this one reads {FORMAT}): go on with that one"
        )
    if read.get("number") != number:
        raise Damaged(f"the checkpoint is damaged ({MANIFEST} is that of number {read.get('number')})")
    for name, entry in _files(read).items():
        try:
            size = (path.parent / name).stat().st_size
        except OSError as error:
            raise Damaged(f"{name} cannot be read: {_words(error)}") from error
        if size != entry["bytes"]:
            raise Damaged(f"the checkpoint is damaged ({name} has {size} bytes, not {entry['bytes']})")
    return read


def _read(folder: Path, number: int, tensors: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    read = manifest(folder, number)
    found: dict[str, Tensor] = {}
    for name, entry in _files(read).items():
        path, hashed = path_of(folder, number) / name, hashlib.sha256()
        try:
            part = read_tensors(path, hashed) if tensors else {}
            sha = hashed.hexdigest() if tensors else digest_of(path)
        except ValueError as error:
            raise Damaged(f"the checkpoint is damaged ({name}: {error})") from error
        except OSError as error:
            raise Damaged(f"{name} cannot be read: {_words(error)}") from error
        if sha != entry["sha256"]:
            raise Damaged(f"the checkpoint is damaged (the SHA-256 of {name} differs)")
        found.update(part)
    return read["facts"], found


def _checked(path: Path) -> dict[str, Any]:
    """What a manifest says, if its hash is that of its bytes."""
    try:
        if path.stat().st_size > LONGEST:
            raise Damaged(f"the checkpoint is damaged ({MANIFEST} is too long)")
        text = path.read_bytes()
    except OSError as error:
        raise Damaged(f"{MANIFEST} cannot be read: {_words(error)}") from error
    head = _HEAD.match(text)
    if head is None or digest(b"{" + text[head.end() :]) != head[1].decode():
        raise Damaged(f"the checkpoint is damaged (the SHA-256 of {MANIFEST} differs)")
    try:
        read: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{MANIFEST} is no JSON") from error
    return read


def _files(read: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The files that a manifest tells of, which lie beside it and nowhere else."""
    files: Any = read.get("files")
    try:
        sound = isinstance(read["facts"], dict) and all(_NAME.fullmatch(name) for name in files)
        sound = sound and all({"bytes", "sha256"} <= entry.keys() for entry in files.values())
    except (KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise Damaged(f"{MANIFEST} is not one of a checkpoint")
    return files


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
