"""Finding what there is: the modules of a package, and the classes below one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from typing import TypeVar

T = TypeVar("T")


@cache
def import_all(package: str) -> None:
    """Import every module of a package, once in a process."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")


def subclasses(of: type[T]) -> Iterator[type[T]]:
    """Every class below one, its own before those below them.

    >>> [kind.__name__ for kind in subclasses(ArithmeticError)][:2]
    ['FloatingPointError', 'OverflowError']
    """
    for found in of.__subclasses__():
        yield found
        yield from subclasses(found)
