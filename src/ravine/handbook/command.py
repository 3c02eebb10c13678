"""The page of commands, from the signatures that make them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from typer import Typer
from typer.models import ArgumentInfo

from ravine.cli import app
from ravine.handbook.markdown import code, plain, table

NOTE = re.compile(r"^(\S.*?) {2,}(\S.*)$")  # what an example is for, some spaces after it
WORDS = {str: "text", int: "whole number", float: "number", Path: "path", bool: "switch"}


def page() -> str:
    """Every command with its arguments, options and examples."""
    parts = [
        "# Command line",
        "Bad input gets one sentence and exit code 2, and nothing is written. Results go to standard output, progress "
        "to standard error, so everything can be piped; `--json` gives machines what people see. "
        "`ravine --install-completion` completes names in your shell.",
    ]
    for name, function in _commands(app):
        parts += _command(name, function)
    return "\n\n".join(parts)


def _commands(place: Typer, before: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    """The commands and, after them, those of groups: "recipe explain"."""
    for command in place.registered_commands:
        if command.callback is not None:
            yield before + (command.name or command.callback.__name__), command.callback
    for group in place.registered_groups:
        if group.typer_instance is not None:
            yield from _commands(group.typer_instance, f"{before}{group.name} ")


def _command(name: str, function: Callable[..., Any]) -> Iterator[str]:
    about, _, examples = inspect.cleandoc(function.__doc__ or "").partition("[bold]Examples[/bold]")
    yield f"## ravine {name}"
    yield re.sub(r"\[/?bold\]", "**", about.strip())
    if examples.strip():
        yield code("\n".join(NOTE.sub(r"\1  # \2", line.strip()) for line in examples.strip().splitlines()), "sh")
    hints = get_type_hints(function, include_extras=True)
    rows: dict[str, list[tuple[str, str, str, str]]] = {}
    for parameter in inspect.signature(function).parameters.values():
        kind, info = get_args(hints[parameter.name])[:2]
        panel = "Argument" if isinstance(info, ArgumentInfo) else info.rich_help_panel or "Options"
        rows.setdefault(str(panel), []).append(_row(parameter, kind, info))
    for panel, listed in rows.items():
        yield table((panel, "takes", "default", ""), listed)


def _row(parameter: inspect.Parameter, kind: Any, info: Any) -> tuple[str, str, str, str]:
    bare = [one for one in get_args(kind) or (kind,) if one is not NoneType]
    many = any(getattr(one, "__origin__", None) is list for one in (kind, *bare))
    inner = next((one for one in (*bare, *(x for one in bare for x in get_args(one))) if one in WORDS), str)
    dashed = parameter.name.replace("_", "-")
    if isinstance(info, ArgumentInfo):
        written = f"`{dashed.upper()}`"
    else:
        given = [one for one in (info.default, *(info.param_decls or ())) if isinstance(one, str)]
        declared = given or ([f"--{dashed}", f"--no-{dashed}"] if inner is bool else [f"--{dashed}"])
        written = " ".join(f"`{one}`" for one in declared)
    default = parameter.default
    empty = default is None or default is inspect.Parameter.empty or default is False
    shown = "" if empty else f"`{'yes' if default is True else default}`"
    least = "" if getattr(info, "min", None) is None else f" ≥ {info.min}"
    takes = f"{WORDS[inner]}{least}{', many times' if many and not isinstance(info, ArgumentInfo) else ''}"
    return written, takes, shown, plain(info.help or "")
