"""What the machine can do, measured in a moment: a matrix product's and a copy's best time."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

SIDE = 768  # of the square matrices
FLOATS = 2**23  # of the copy: more than caches hold
TRIES = 5


def best(work: Callable[[], object], tries: int = TRIES) -> float:
    """The shortest time of a few, in seconds."""
    taken: list[float] = []
    for _ in range(tries):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return min(taken)


def peaks() -> tuple[float, float]:
    """Floating-point operations a second of a float32 product, and bytes a second of a copy."""
    a, b = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    x = torch.rand(FLOATS)
    y = torch.empty_like(x)
    return 2 * SIDE**3 / best(lambda: a @ b), 2 * x.nbytes / best(lambda: y.copy_(x))
