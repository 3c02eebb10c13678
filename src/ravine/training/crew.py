"""Workers that each do one piece of work at a time, on one core: no step of theirs waits for another thread."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

import torch

T = TypeVar("T")
Together: TypeAlias = Callable[[Sequence[Callable[[], T]]], list[T]]  # calls all pieces at the same time


@contextmanager
def crew(workers: int) -> Generator[Together[T]]:
    """A function that calls so many pieces of work at the same time and returns when all are done.

    One worker is the caller's own thread with all of torch's threads. More have a thread and one core each: torch's
    threads meet at the end of every operation, which on a busy machine costs many times the operation itself.
    """
    if workers == 1:
        yield lambda pieces: [piece() for piece in pieces]
        return
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(workers, "ravine-worker", torch.set_num_threads, (1,)) as pool:

        def together(pieces: Sequence[Callable[[], T]]) -> list[T]:
            begun = [pool.submit(piece) for piece in pieces]
            wait(begun)  # all of them, so that an error finds no piece half done
            return [one.result() for one in begun]

        try:
            yield together
        finally:
            torch.set_num_threads(threads)  # torch gives new threads the number that was set last, wherever that was
