"""A few threads that share a loop of calls into machine code; safe after fork and for callers in several threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from itertools import pairwise
from queue import SimpleQueue

import numpy as np
import torch
from numpy.typing import NDArray

_PIECES = 4  # a thread: enough that one which is held up does not hold up the rest


class _Job:
    """A loop in pieces; whoever is free takes the next."""

    def __init__(self, work: Callable[[int, int], None], bounds: list[tuple[int, int]]) -> None:
        self.work = work
        self.open = bounds
        self.left = len(bounds)
        self.lock = threading.Lock()
        self.done = threading.Lock()
        self.done.acquire()

    def help(self) -> None:
        """Work until no piece is open."""
        while True:
            try:
                first, last = self.open.pop()
            except IndexError:
                return
            try:
                self.work(first, last)
            finally:
                with self.lock:
                    self.left -= 1
                    if self.left == 0:
                        self.done.release()


class _Pool:
    def __init__(self) -> None:
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.threads = 0
        self.lock = threading.Lock()

    def call(self, job: _Job, helpers: int) -> None:
        """Work on the job with so many helpers beside this thread, until it is done."""
        with self.lock:
            while self.threads < helpers:
                threading.Thread(target=self._serve, daemon=True, name=f"ravine-{self.threads}").start()
                self.threads += 1
        for _ in range(helpers):
            self.jobs.put(job)
        job.help()
        job.done.acquire()

    def _serve(self) -> None:
        jobs = self.jobs
        while True:
            jobs.get().help()


_pool = _Pool()


def _renew() -> None:
    global _pool
    _pool = _Pool()  # after a fork the threads of the old one are gone


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def share(
    work: Callable[[int, int], None], count: int, threads: int | None = None, upto: NDArray[np.int64] | None = None
) -> None:
    """Call work(first, last) on parts of range(count) in ``threads`` threads, torch's number if not given.

    ``upto`` is the work up to the end of each number, so that parts are of equal work.

    >>> seen = []
    >>> share(lambda first, last: seen.extend(range(first, last)), 5, threads=1)
    >>> seen
    [0, 1, 2, 3, 4]
    """
    threads = min(threads or torch.get_num_threads(), count)
    if threads <= 1:
        if count:
            work(0, count)
        return
    pieces = min(threads * _PIECES, count)
    if upto is None:
        edges = [count * i // pieces for i in range(pieces + 1)]
    else:
        inner = np.searchsorted(upto, upto[-1] * np.arange(1, pieces) / pieces)
        edges = [0, *inner.tolist(), count]
    _pool.call(_Job(work, [(a, b) for a, b in pairwise(edges) if a < b][::-1]), threads - 1)
