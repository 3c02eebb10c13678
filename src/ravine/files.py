"""Files that are whole or not there: written aside, flushed to the disk, renamed; and their hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ravine.errors import UserError


def write_whole(path: Path, content: bytes | Iterable[bytes | memoryview]) -> str:
    """Write a file so that a reader, or a killed process, finds the old one or the new one; returns its SHA-256.

    ``content`` may come in parts, which need not be in memory at the same time.
    """
    handle, name, hashed = -1, "", hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            for part in (content,) if isinstance(content, bytes) else content:
                file.write(part)
                hashed.update(part)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
        name = ""
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {reason(error)}") from error
    finally:
        if name:
            Path(name).unlink(missing_ok=True)
    return hashed.hexdigest()


def check_folder(folder: Path) -> None:
    """Refuse a folder that is a file, or that could not be made or written, before anything is done for it."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise UserError(f"{folder}: {place} is a file, not a folder; choose another folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: no right to write there; choose another folder")


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
