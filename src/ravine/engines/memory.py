"""Memory that goes back to the system when it is freed."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

MUCH = 2**26  # bytes of lanes' weights from which their memory matters more than milliseconds
LARGE = 2**22  # bytes of a block that is then handed back as soon as it is freed
M_MMAP_THRESHOLD = -3  # of GNU's malloc.h


def give_back(about: int) -> None:
    """Hand freed memory back to the system, now and later, if lanes with so many bytes of weights are at work.

    GNU's allocator keeps freed blocks of the sizes that activations and lanes have for as long as a process lasts;
    64 lanes of 670,000 parameters took 1.4 times what they need, and take 1.03 times with this, in steps that are 2 to
    20 % slower. Does nothing with another allocator.
    """
    libc = _glibc()
    if about >= MUCH and libc is not None:
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)
        libc.malloc_trim(0)


@cache
def _glibc() -> Any:
    try:
        library = ctypes.CDLL(None)
        return library if library.malloc_trim and library.mallopt else None
    except (OSError, AttributeError, TypeError):
        return None
