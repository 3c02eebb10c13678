"""Python's own calls of the file system, each in a wrapper of one's own for a while."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, TypeAlias

Call: TypeAlias = Callable[..., Any]


@contextmanager
def hooked(names: Iterable[str], wrapped: Callable[[str, Call], Call]) -> Generator[None]:
    """Within, each of these functions of `os` is what ``wrapped`` makes of it."""
    before: dict[str, Call] = {name: getattr(os, name) for name in names}
    for name, call in before.items():
        setattr(os, name, wrapped(name, call))
    try:
        yield
    finally:
        for name, call in before.items():
            setattr(os, name, call)
