"""Downloads that resume, show progress, and are believed only when their SHA-256 is right."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import shutil
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from ravine._version import version
from ravine.errors import UserError

if sys.platform != "win32":
    import fcntl

CHUNK = 1 << 18
TRIES = 4  # at one address, each going on where the last one stopped
TIMEOUT = 30.0  # seconds without a byte
BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


def fetch(urls: Sequence[str], destination: Path, *, sha256: str, size: int) -> Path:
    """The file with that SHA-256 and size, from the first address that gives it.

    The bytes gather in a .part file beside the destination; an interrupted download goes on from there, and only a
    whole and right file gets its name.
    """
    part = destination.with_name(destination.name + ".part")
    reasons: list[str] = []
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _alone(destination):
            if destination.exists():
                return destination
            for url in urls:
                reason = _from(url, part, sha256, size)
                if reason is None:
                    os.replace(part, destination)
                    return destination
                reasons.append(f"{url} {reason}")
    except OSError as error:
        raise _disk(error, destination) from error
    raise UserError(f"cannot download {destination.name}: {'; '.join(reasons)}")


def _from(url: str, part: Path, sha256: str, size: int) -> str | None:
    """Fill the .part file from one address: None when it is right, else what went wrong, in words."""
    reason = "gave nothing"
    with _progress(part.stem, size) as show:
        for _ in range(TRIES):
            start = part.stat().st_size if part.exists() else 0
            try:
                if start < size:
                    _transfer(url, part, size, show)
            except urllib.error.HTTPError as error:
                return f"answered {error.code} {error.reason}"
            except BROKEN as error:
                reason = f"cannot be reached ({getattr(error, 'reason', error)})"
                if not part.exists() or part.stat().st_size == start:
                    return reason
                continue
            if part.stat().st_size < size:
                reason = f"ended after {part.stat().st_size:,} of {size:,} bytes"
                continue
            if part.stat().st_size == size and _digest(part) == sha256:
                return None
            reason = "gave a file of another SHA-256 than the published one"
            part.unlink()
            if start == 0:
                return reason  # else the bytes of an earlier download may be to blame: once more from the beginning
    return reason


def _transfer(url: str, part: Path, size: int, show: Any) -> None:
    """Append what is missing; an address that cannot resume starts again."""
    start = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(part.parent).free
    if free < size - start:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    headers = {"User-Agent": f"ravine/{version}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        resumed = answer.status == 206 and str(answer.headers.get("Content-Range")).startswith(f"bytes {start}-")
        with part.open("ab" if resumed else "wb") as file:
            _copy(answer, file, start if resumed else 0, size, show)


def _copy(answer: IO[bytes], file: IO[bytes], done: int, size: int, show: Any) -> None:
    """Copy until the end, or until one byte more than the file may have."""
    try:
        while done <= size and (chunk := answer.read(min(CHUNK, size + 1 - done))):
            file.write(chunk)
            done += len(chunk)
            show(done)
    finally:
        file.flush()
        os.fsync(file.fileno())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _disk(error: OSError, destination: Path) -> UserError:
    if error.errno == errno.ENOSPC:
        return UserError(f"no disk space for {destination.name} in {destination.parent}: make room, then try again")
    return UserError(f"cannot write {destination}: {error.strerror or error}; set RAVINE_DATA or make it writable")


@contextlib.contextmanager
def _alone(destination: Path) -> Generator[None, None, None]:
    """One process at a time downloads a file; the next one finds it there."""
    if sys.platform == "win32":
        yield
        return
    with destination.with_name(destination.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _progress(name: str, size: int) -> Generator[Any, None, None]:
    """A function that shows how many bytes are done: a bar in a terminal, one plain line elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"downloading {name} ({size / 1e6:.1f} MB)", highlight=False)
        yield lambda done: None
        return
    columns = (TextColumn("downloading {task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(name, total=size)
        yield lambda done: progress.update(task, completed=done)
