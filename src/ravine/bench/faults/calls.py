"""F2: a save that ends at each of its calls of the file system, by strace where there is one and by Python's own hooks.

Python's hooks end the process before a call, after it, and in the middle of a write; they see every call, since a save
makes all of them through `os`. strace ends it as the call enters the kernel, and sees also what Python does by itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ravine.bench.faults.hooks import Call, hooked
from ravine.bench.faults.trial import Part, Trial
from ravine.checkpoints import Checkpoints, newest
from ravine.errors import UserError

CALLS = ("mkdir", "open", "write", "fsync", "close", "rename", "unlink", "rmdir", "ftruncate", "pwrite")
SYSTEM = (
    "mkdir",
    "mkdirat",
    "open",
    "openat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "close",
    "rename",
    "renameat",
    "renameat2",
    "unlinkat",
    "rmdir",
)
WAYS = ("before", "after", "half")  # of a call that Python makes
TENSORS = {"weights": torch.arange(3000.0), "slot": torch.ones(3000), "none": torch.zeros(0)}


def trials(indices: Sequence[int], place: Path) -> Iterator[Trial]:
    """Every call in every way; then every call again by strace. Their number is found on the way."""
    wanted, index = set(indices), 0
    ways: list[Callable[[Path, int], bool | None]] = [_hooked(way) for way in WAYS]
    if traced := _can_trace():
        ways += [partial(_traced, name) for name in SYSTEM]
    for way in ways:
        reached, count = True, 0
        while reached:
            count += 1
            trial = _tried(index, place / f"call-{index}", way, count)
            reached = trial.counts.pop("reached") > 0
            if index in wanted or not wanted:
                yield trial
            index += 1
    if not traced:
        yield Trial(index, "", {"without strace": 1})


def _tried(index: int, folder: Path, way: Callable[[Path, int], bool | None], count: int) -> Trial:
    """A save that ends at its ``count``-th call, where it has so many; then what can be read, and another save."""
    shutil.rmtree(folder, ignore_errors=True)
    kept = Checkpoints(folder, keep=1)
    kept.save({"number": 1}, TENSORS)
    reached = way(folder, count)
    wrong = ""
    try:
        found = newest(folder)
        sound = all(torch.equal(found.tensors[name], tensor) for name, tensor in TENSORS.items())
        if not sound or found.number != found.facts["number"] or found.problems or found.number not in (1, 2):
            wrong = f"call {count}: checkpoint {found.number} was read, {found.problems}"
        elif not reached and found.number != 2:
            wrong = f"call {count}: the save came to its end and is not there"
        again = Checkpoints(folder, keep=1).save({}, TENSORS)
        left = {path.name for path in (folder / "checkpoints").iterdir()} - {f"{again:06}"}
        wrong = wrong or (f"call {count}: {sorted(left)} left" if left else "")
    except UserError as error:
        wrong = f"call {count}: {error}"
    shutil.rmtree(folder)
    return Trial(index, wrong, {"reached": float(bool(reached)), "calls": float(bool(reached))})


def _saved(folder: Path) -> None:
    Checkpoints(folder, keep=1).save({"number": 2}, TENSORS)


def _hooked(way: str) -> Callable[[Path, int], bool]:
    def kill(folder: Path, count: int) -> bool:
        child = os.fork()
        if child == 0:
            try:
                with hooked(CALLS, _dying(count, way)):
                    _saved(folder)
                os._exit(0)
            finally:
                os._exit(3)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

    return kill


def _dying(count: int, way: str) -> Callable[[str, Call], Call]:
    """Let this process end at its ``count``-th call of the file system."""
    left = count

    def wrapped(name: str, call: Call) -> Call:
        def dying(*given: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0 and way == "half" and name == "write":
                call(given[0], memoryview(given[1])[: len(given[1]) // 2])
            try:
                return call(*given, **options) if left or way == "after" else None
            finally:  # a call that fails, as to make a folder that is there, is one too
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        return dying

    return wrapped


def _traced(name: str, folder: Path, count: int) -> bool | None:
    """The same from outside: strace attaches to a child that waits, and ends it at a call of that name."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(writer)
            os.read(reader, 1)
            _saved(folder)
            os._exit(0)
        finally:
            os._exit(3)
    os.close(reader)
    inject = f"inject={name}:signal=KILL:when={count}"
    command = ["strace", "-qqq", "-p", str(child), "-e", f"trace={name}", "-e", inject, "-o", os.devnull]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    while not _is_traced(child) and tracer.poll() is None:
        time.sleep(0.002)
    os.write(writer, b"x")
    os.close(writer)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    tracer.communicate()
    return code == -signal.SIGKILL


def _is_traced(process: int) -> bool:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return any(line.startswith("TracerPid:") and not line.endswith("\t0") for line in lines)


def _can_trace() -> bool:
    """Whether strace is there and may look at a child of ours."""
    if shutil.which("strace") is None:
        return False
    done = subprocess.run(["strace", "-qqq", "-o", os.devnull, "true"], capture_output=True)
    return done.returncode == 0


PART = Part(
    "calls",
    "F2",
    "a save killed before, in and after each of its calls of the file system",
    "the old or the new checkpoint is read, what was half made goes with the next save",
    0,
    trials,
)
