"""Reading ahead: parts that threads make ready before they are asked for, in the order in which they will be."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from ravine.problems.problem import Part

MOST_READERS = 4


def readers() -> int:
    """How many threads read ahead: the cores there are, four at most."""
    return min(MOST_READERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


class Ahead:
    """The parts at places 0 to ``last`` - 1, each made in a thread while those before it are worked on.

    ``plan`` is called in the caller's thread, in order, and gives the work; so what it needs may be kept without locks.
    An exception of the work is raised where its part is asked for, never earlier.
    """

    def __init__(self, plan: Callable[[int], Callable[[], Part]], last: int) -> None:
        self.plan, self.last = plan, last
        workers = readers()
        self.depth = workers + 1  # one being worked on, and one for each reader
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="ravine-reader")
        self._coming: dict[int, Future[Part]] = {}

    def at(self, place: int) -> Part:
        """The part at that place; the next ones are begun."""
        for later in range(place, min(self.last, place + self.depth + 1)):
            if later not in self._coming:
                self._coming[later] = self._pool.submit(self.plan(later))
        return self._coming.pop(place).result()

    def close(self) -> None:
        """Wait for what is being read, and forget it."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._coming.clear()
