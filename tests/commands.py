"""What the command line takes, read from the signatures of its functions."""

from __future__ import annotations

import inspect

from typer.models import OptionInfo

from ravine.cli import app


def options() -> dict[str, list[str]]:
    """The options of each command, as they are typed."""
    found: dict[str, list[str]] = {}
    for command in app.registered_commands:
        assert command.callback is not None
        parameters = inspect.signature(command.callback, eval_str=True).parameters
        listed = [(name, info) for name, p in parameters.items() for info in p.annotation.__metadata__]
        found[command.name or command.callback.__name__] = [
            word for name, info in listed if isinstance(info, OptionInfo) for word in _words(name, info)
        ]
    return found


def _words(name: str, info: OptionInfo) -> list[str]:
    given = [word for word in (info.default, *(info.param_decls or ())) if isinstance(word, str)]
    return given or [f"--{name.replace('_', '-')}"]
