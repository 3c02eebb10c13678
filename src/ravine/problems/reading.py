"""How data on disk become a problem: held in memory or streamed, and what becomes of damaged images."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from ravine.errors import UserError, unknown

BadImages: TypeAlias = Literal["stop", "skip"]
MOST_READERS = 4
SHARE = 0.5  # of the memory that is free, which data may take


@dataclass(frozen=True)
class Reading:
    """What a user asks for. ``stream`` None: where the data take more than half of the memory that is free."""

    stream: bool | None = None
    bad_images: str = "stop"

    def check(self) -> None:
        """Raise one sentence on what is not allowed."""
        if self.bad_images not in get_args(BadImages):
            raise unknown("choice of bad_images", self.bad_images, get_args(BadImages))

    @property
    def skips(self) -> bool:
        """Whether damaged images are left out."""
        return self.bad_images == "skip"

    def streams(self, size: int) -> tuple[bool, tuple[str, ...]]:
        """Whether data of so many bytes are streamed, and the clause that says so."""
        if self.stream is not None:
            return self.stream, (f"streamed: {gigabytes(size)}, as asked for",) if self.stream else ()
        free = available()
        if size <= SHARE * free:
            return False, ()
        return True, (f"streamed: {gigabytes(size)}, more than half of the {gigabytes(free)} of memory that are free",)

    def refuse_stream(self, name: str) -> None:
        """Raise one sentence where streaming was asked for and there is nothing to stream from."""
        if self.stream:
            raise UserError(
                f"stream is for folders of images, Parquet files and NumPy arrays on disk, and {name} is none of them: "
                "leave it out"
            )

    def refuse_skip(self, name: str) -> None:
        """Raise one sentence where damaged images are to be left out and there are no images."""
        if self.skips:
            raise UserError(f"bad_images skip is for folders of images, and {name} is none: leave it out")


RESIDENT = Reading()


def readers() -> int:
    """How many minibatches are read at the same time: as many as there are cores, four at most."""
    return min(MOST_READERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def available() -> int:
    """The bytes of memory that this process may still take: of the machine, its control group and its own limit."""
    found = [_free()]
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        most, now = _number(Path("/sys/fs/cgroup") / limit), _number(Path("/sys/fs/cgroup") / used)
        if most is not None and now is not None:
            found.append(most - now)
    own = resource.getrlimit(resource.RLIMIT_AS)[0]
    if own != resource.RLIM_INFINITY:
        found.append(own - _mapped())
    return max(0, min(found))


def gigabytes(size: float) -> str:
    """Bytes for people.

    >>> gigabytes(12.3e9), gigabytes(4.2e6)
    ('12.3 GB', '4.2 MB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _free() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _mapped() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such file, or the word "max"
        return None
