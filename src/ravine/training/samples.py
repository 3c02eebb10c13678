"""The log of samples: which ids each step saw, each record bound to all before it by a hash.

A file is one line of JSON and then a record a step: the step (uint64, little-endian), how many ids (uint32), the ids
(uint32 each), and SHA-256 of the hash before and this record. Where a run is killed between two checkpoints, the steps
after the last one are done again, so their records are cut off and written again: the file ends up as if nothing had
happened, or it is not the same order.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ravine.errors import UserError
from ravine.files import reason

FILE = "samples.log"
FORMAT = 1
HEAD = struct.Struct("<QI")  # step, how many ids


@dataclass(frozen=True)
class Seen:
    """What one step saw."""

    step: int
    ids: NDArray[np.uint32]
    end: int  # where the record ends in the file
    chain: bytes  # the hash of this record and all before it


class SampleLog:
    """A log that is written: `begin` a new one, or `go_on` with one behind a checkpoint."""

    def __init__(self, path: Path, file: BinaryIO, chain: bytes, step: int) -> None:
        self.path, self.file, self.chain, self.step = path, file, chain, step

    @classmethod
    def begin(cls, path: Path, facts: dict[str, Any]) -> SampleLog:
        """A new log with these facts in its first line."""
        line = json.dumps({"format": FORMAT, **facts}).encode() + b"\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("wb")
            file.write(line)
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {reason(error)}") from error
        return cls(path, file, hashlib.sha256(line).digest(), 0)

    @classmethod
    def go_on(cls, path: Path, steps: int) -> SampleLog:
        """The log up to ``steps`` steps, which are checked; what a killed run wrote after them is cut off."""
        _, end, chain = _first_line(path)
        step = 0
        for seen in _records(path, steps):
            step, end, chain = seen.step + 1, seen.end, seen.chain
        if step != steps:
            raise UserError(f"{path}: holds {step:,} steps, and the checkpoint stands at {steps:,}: start again")
        try:
            os.truncate(path, end)
            return cls(path, path.open("ab"), chain, steps)
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {reason(error)}") from error

    def record(self, step: int, ids: Tensor) -> None:
        """Write what the next step sees; a step out of turn is a mistake of the caller's."""
        assert step == self.step, f"step {step} is logged after {self.step} steps"
        body = HEAD.pack(step, len(ids)) + ids.numpy().astype("<u4").tobytes()
        self.chain = hashlib.sha256(self.chain + body).digest()
        self._write(body + self.chain)
        self.step += 1

    def flush(self) -> None:
        """All records onto the disk: before a checkpoint that counts on them."""
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {reason(error)}") from error

    def close(self) -> None:
        """Flush, and let go of the file."""
        self.flush()
        self.file.close()

    def _write(self, record: bytes) -> None:
        try:
            self.file.write(record)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {reason(error)}") from error


def facts_of(path: Path) -> dict[str, Any]:
    """The first line of a log."""
    return _first_line(path)[0]


def read(path: Path) -> Iterator[Seen]:
    """Every record, checked one after another; a `UserError` names the first that is torn or altered."""
    yield from _records(path, None)


def first_difference(one: Path, other: Path) -> tuple[int, int | None]:
    """How many steps both logs hold, and the first of them at which the ids differ; None where none does."""
    common = 0
    for a, b in zip(read(one), read(other), strict=False):
        if not np.array_equal(a.ids, b.ids):
            return common, a.step
        common += 1
    return common, None


def _first_line(path: Path) -> tuple[dict[str, Any], int, bytes]:
    """The facts, where the records begin, and the hash of the line."""
    try:
        with path.open("rb") as file:
            line = file.readline(1 << 16)
        facts = json.loads(line)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; ravine train --log-samples writes one") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {reason(error)}") from error
    except ValueError:
        raise UserError(f"{path}: is no log of samples") from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise UserError(f"{path}: is no log of samples of format {FORMAT}")
    return facts, len(line), hashlib.sha256(line).digest()


def _records(path: Path, steps: int | None) -> Iterator[Seen]:
    """The first ``steps`` records, or all; of those beyond, nothing is read."""
    _, end, chain = _first_line(path)
    with path.open("rb") as file:
        file.seek(end)
        step = 0
        while steps is None or step < steps:
            head = file.read(HEAD.size)
            if not head and steps is None:
                return
            number, count = HEAD.unpack(head) if len(head) == HEAD.size else (step, 0)
            body = file.read(4 * count)
            found = file.read(hashlib.sha256().digest_size)
            chain = hashlib.sha256(chain + head + body).digest()
            if chain != found or number != step:
                if steps is not None and not found:
                    return  # the end: the caller says what is missing
                raise UserError(f"{path}: the record of step {step:,} is torn or altered")
            end += len(head) + len(body) + len(found)
            yield Seen(step, np.frombuffer(body, dtype="<u4"), end, chain)
            step += 1
