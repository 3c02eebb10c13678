"""What the command line takes, read from the signatures of its functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from typer import Typer
from typer.models import OptionInfo

from ravine.cli import app


def options() -> dict[str, list[str]]:
    """The options of each command, as they are typed; one of a group is named with it ("recipe explain")."""
    found: dict[str, list[str]] = {}
    for command, callback in _commands(app, ""):
        parameters = inspect.signature(callback, eval_str=True).parameters
        listed = [(name, info) for name, p in parameters.items() for info in p.annotation.__metadata__]
        found[command] = [word for name, info in listed if isinstance(info, OptionInfo) for word in _words(name, info)]
    return found


def _commands(place: Typer, before: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    for command in place.registered_commands:
        assert command.callback is not None
        yield before + (command.name or command.callback.__name__), command.callback
    for group in place.registered_groups:
        assert group.typer_instance is not None
        yield from _commands(group.typer_instance, f"{before}{group.name} ")


def _words(name: str, info: OptionInfo) -> list[str]:
    given = [word for word in (info.default, *(info.param_decls or ())) if isinstance(word, str)]
    return given or [f"--{name.replace('_', '-')}"]
