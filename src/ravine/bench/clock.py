"""Seconds that parts of a program take, of the wall and of its own."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager


class Clock:
    """Seconds, of the wall and of this process, spent within its blocks."""

    def __init__(self) -> None:
        self.wall = self.own = 0.0

    @contextmanager
    def counting(self) -> Generator[None]:
        """Count what is spent within."""
        wall, own = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall += time.perf_counter() - wall
            self.own += time.process_time() - own
