"""Reading ahead: parts that threads make ready before they are asked for, in the order in which they will be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial

import torch

from ravine.problems.problem import Part
from ravine.problems.reading import readers

PIECE = 16 * 2**20  # bytes of inputs that are read at a time


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


def pieces(part: Part, rows: int) -> Iterator[Part]:
    """A part in order, at most ``rows`` samples at a time; a streamed one in smaller pieces, read ahead."""
    if not part.streamed:
        for begin in range(0, len(part), rows):
            yield Part(part.x[begin : begin + rows], part.y[begin : begin + rows])
        return
    sample = 4 * max(1, part.x[:1].numel())
    rows = min(rows, max(1, PIECE // sample))
    ends = range(0, len(part), rows)

    def plan(place: int) -> Callable[[], Part]:
        return partial(part.take, torch.arange(ends[place], min(ends[place] + rows, len(part))))

    with closing(Ahead(plan, len(ends))) as ahead:
        for place in range(len(ends)):
            yield ahead.at(place)
