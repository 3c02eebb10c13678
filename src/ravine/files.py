"""Files that are whole or not there: written aside, flushed to the disk, renamed; and their hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from ravine.errors import UserError

PART = ".part"  # how the name of a file ends, after a dot at its begin, that is being written
Content: TypeAlias = bytes | Iterable[bytes | memoryview]


def write_whole(path: Path, content: Content) -> str:
    """Write a file so that a reader, or a killed process, finds the old one or the new one; returns its SHA-256.

    ``content`` may come in parts, which need not be in memory at the same time.
    """
    name = ""
    try:
        make_folder(path.parent)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PART, dir=path.parent)
        sha = _pour(handle, content)
        os.chmod(name, 0o644)
        os.replace(name, path)
        name = ""
        flush_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {reason(error)}") from error
    finally:
        if name:
            Path(name).unlink(missing_ok=True)
    return sha


def sweep(folder: Path) -> None:
    """Remove what killed processes left half written in a folder that no other process writes now."""
    for path in folder.glob(f".*{PART}"):
        path.unlink(missing_ok=True)


def write_through(path: Path, content: Content) -> str:
    """Write a new file to the disk itself, not only to its cache, in a folder that nobody reads yet; its SHA-256."""
    return _pour(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), content)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where they are not there; a loss of power does not take them away again."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        flush_folder(each.parent)


def flush_folder(folder: Path) -> None:
    """Let the names in a folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _pour(handle: int, content: Content) -> str:
    """Write the parts one after another, flush them to the disk, and close; each call of the system is Python's own."""
    hashed = hashlib.sha256()
    try:
        for part in (content,) if isinstance(content, bytes) else content:
            hashed.update(part)
            rest = memoryview(part)
            while len(rest):
                rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    return hashed.hexdigest()


def check_folder(folder: Path) -> None:
    """Refuse a folder that is a file, or that could not be made or written, before anything is done for it."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        found = f"{folder}: {place}" if place != folder else str(folder)
        raise UserError(f"{found} is a file, not a folder; choose another folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: no right to write there; choose another folder")


def check_file(path: Path, *endings: str, in_folder: bool = False) -> None:
    """Refuse a file to write with another ending, or in a folder that cannot be; ``in_folder``: a folder will do too.

    >>> check_file(Path("report.pdf"), ".html")
    Traceback (most recent call last):
    ...
    ravine.errors.UserError: report.pdf: name a file that ends in .html
    """
    if in_folder and path.is_dir():
        return check_folder(path)
    if path.is_dir() or path.suffix.lower() not in endings:
        kind = "is a folder: name" if path.is_dir() else "name"
        joint = " " if path.is_dir() else ": "
        raise UserError(f"{path}{joint}{kind} a file that ends in {' or '.join(endings)}")
    check_folder(path.parent)


def slug(problem: str) -> str:
    """The part of a folder's name that tells the problem: "my data.csv" gives "my-data"."""
    return "".join(c if c.isalnum() or c == "-" else "-" for c in Path(problem).stem).strip("-") or "data"


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def digest_of(path: Path) -> str:
    """SHA-256 of a file's content, which need not fit into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reason(error: OSError) -> str:
    """What the system said, with the cure where there is one."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left on the disk; free some, or choose another folder"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "no right to write there; choose another folder"
    return (error.strerror or str(error)).lower()
