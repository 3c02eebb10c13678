"""One process a folder: a lock that the system lets go of when its process ends, however it ends."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from ravine.errors import UserError
from ravine.files import make_folder, reason, sweep

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None

LOCK = ".lock"
_held: set[int] = set()


def _let_go() -> None:
    """In a child after a fork: the lock is the parent's alone, and must not outlive it in a child."""
    for handle in _held:
        with suppress(OSError):
            os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def claimed(folder: Path) -> Generator[None]:
    """Within, no other process can claim the folder, which is made where it is not there.

    The file ``.lock`` in it tells who has it; it stays, since a file that is removed could be locked twice. Where a
    file system has no locks (some network ones), nothing is locked.

    Raises:
        UserError: where a living process has it, or the folder cannot be written.
    """
    try:
        make_folder(folder)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {reason(error)}") from error
    _held.add(handle)
    try:
        _lock(handle, folder)
        with suppress(OSError):
            sweep(folder)
        yield
    finally:
        if handle in _held:  # not so in a child
            _held.discard(handle)
            os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{folder}: {_owner(handle)}; wait until it ends, stop it, or name another folder") from None
    except OSError:  # this file system has no locks
        return
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now}).encode()
    with suppress(OSError):  # on a full disk the lock itself still holds
        os.ftruncate(handle, 0)
        os.pwrite(handle, text, 0)


def _owner(handle: int) -> str:
    """Who has the lock, as far as the file tells."""
    try:
        facts: Any = json.loads(os.pread(handle, 4096, 0))
        pid, host, since = facts["pid"], facts["host"], datetime.fromisoformat(facts["since"])
    except (ValueError, KeyError, TypeError, OSError):
        return "another process works there"
    return f"process {pid} on {host} has worked there since {since:%d %B, %H:%M:%S}"
