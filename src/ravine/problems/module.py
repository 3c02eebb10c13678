"""Problems from the user's own code: ``package.module:function``."""

from __future__ import annotations

from typing import Any

from ravine.code import find
from ravine.problems.blame import blame


def call(source: str) -> Any:
    """What the function in the module returns; the module is looked for in the current folder first."""
    value = find(source)
    if not callable(value):
        return value
    try:
        return value()
    except (Exception, SystemExit) as error:
        raise blame(error, source) from error
