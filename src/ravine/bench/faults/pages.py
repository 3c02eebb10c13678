"""Which pages of a file are not on the disk yet, as the kernel knows it (Linux from 6.5 on, files on a disk)."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

PAGE = os.sysconf("SC_PAGESIZE") if hasattr(os, "sysconf") else 4096
CACHESTAT = 451  # the number of the call, on every processor


class _Range(ctypes.Structure):
    _fields_ = (("begin", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Found(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recent"))


def unflushed(path: Path) -> set[int]:
    """The numbers of a file's pages that were written and are not on the disk; none where there is no file.

    Raises `OSError` where the kernel does not tell.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return set()
    try:
        if not _count(handle, 0, 0):
            return set()
        pages = -(-os.fstat(handle).st_size // PAGE)
        return {page for page in range(pages) if _count(handle, page * PAGE, PAGE)}
    finally:
        os.close(handle)


def _count(handle: int, begin: int, length: int) -> int:
    call, found = _library().syscall, _Found()
    if call(CACHESTAT, handle, ctypes.byref(_Range(begin, length)), ctypes.byref(found), 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(found.dirty) + int(found.writeback)


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def can_see(folder: Path) -> bool:
    """Whether flushes are seen there: a page that is written is not on the disk, one that is flushed is."""
    path = folder / "seen"
    try:
        with path.open("wb") as file:
            file.write(b"x")
            file.flush()
            before = unflushed(path)
            os.fsync(file.fileno())
            return before == {0} and unflushed(path) == set()
    except (OSError, AttributeError):  # another system, or a kernel that is too old
        return False
    finally:
        path.unlink(missing_ok=True)
