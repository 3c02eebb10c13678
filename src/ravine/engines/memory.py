"""Freed memory that goes back to the system."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

MUCH = 2**24  # bytes from which asking is worth the milliseconds it takes


def give_back(about: int) -> None:
    """Hand what was freed back to the system, if ``about`` so many bytes are worth it.

    GNU's allocator keeps freed blocks of the sizes that lanes have, between others that live, for as long as a
    process lasts. Does nothing with another allocator.
    """
    trim = _trim()
    if about >= MUCH and trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
