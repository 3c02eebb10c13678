"""What the user's own code holds under ``package.module:name``."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from ravine.errors import UserError, unknown
from ravine.problems.blame import blame


def find(source: str, kind: str = "") -> Any:
    """What the name stands for; the module is looked for in the current folder first."""
    module_name, _, function_name = source.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *function_name.split("."))):
        word = f"{kind} " if kind else ""
        raise UserError(
            f"{word}{source} is no package.module:function: write names joined by dots, a colon, a function"
        )
    _search_here()
    value = _import(module_name)
    for part in function_name.split("."):
        if not hasattr(value, part):
            public = [name for name in vars(value) if not name.startswith("_")]
            raise unknown(f"function of {module_name}", function_name, public or ["none: it defines nothing"])
        value = getattr(value, part)
    return value


def _import(name: str) -> Any:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise UserError(
                f"no module {error.name} in {os.getcwd()} nor installed: check the name before the colon"
            ) from error
        raise blame(error, f"importing {name}") from error
    except (Exception, SystemExit) as error:
        raise blame(error, f"importing {name}") from error


def _search_here() -> None:
    """The current folder is searched first, as by ``python -m``; it stays, for imports inside functions."""
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
