"""Options that several commands share, and commands whose options come in groups."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_args, get_type_hints

import typer

from ravine.types import SEED_MOST

# What is studied
Source: TypeAlias = Annotated[
    str, typer.Argument(help="a name (digits, mnist ...), a path (CSV, Parquet, NPZ, ...), or module:function")
]
Recipe: TypeAlias = Annotated[Path, typer.Argument(help="a TOML file, such as a race's winner.toml")]
Target: TypeAlias = Annotated[str | None, typer.Option(help="column to predict, for a table")]
Model: TypeAlias = Annotated[str, typer.Option(help="mlp:128,128, cnn:16,32, resnet:16,32, lstm:64 ... or own")]
Loss: TypeAlias = Annotated[str, typer.Option(help="cross_entropy, hinge, mse, huber:delta=0.5 ...")]
Rule: TypeAlias = Annotated[str, typer.Option(help="the optimizer; see ravine rules")]
Seed: TypeAlias = Annotated[int, typer.Option(min=0, max=SEED_MOST, help="of everything drawn")]

# How it runs
Batch: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="samples a step; default: by the size of the data", show_default=False)
]
Lanes: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="runs in one program; default: measured", show_default=False)
]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="programs at once, a thread each; default: measured", show_default=False),
]
Resume: TypeAlias = Annotated[
    bool, typer.Option("--resume", help="go on from the checkpoint in --out, to the same bits")
]
Test: TypeAlias = Annotated[bool, typer.Option("--test", help="look at the test part, once, at the end")]

# Where results go
Page: TypeAlias = Annotated[Path | None, typer.Option(help="HTML file to write, with figures", show_default=False)]
StoreUrl: TypeAlias = Annotated[str | None, typer.Option(help="database URL; default: yours", show_default=False)]
Logs: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="tensorboard[:DIR], mlflow[:URI], csv:FILE or jsonl:FILE; repeatable", show_default=False),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="print every number as JSON")]


def flat(command: Callable[..., None]) -> Callable[..., None]:
    """The command with each field of a dataclass that it takes as an option of its own.

    Such a dataclass is a group of options: its ``PANEL`` is the heading over them in the help.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    taken: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        taken += _options(groups[name]) if name in groups else [parameter.replace(annotation=hints[name])]

    def called(**given: Any) -> None:
        made = {name: kind(**{one.name: given.pop(one.name) for one in fields(kind)}) for name, kind in groups.items()}
        command(**made, **given)

    called.__name__, called.__doc__, called.__module__ = command.__name__, command.__doc__, command.__module__
    called.__signature__ = inspect.Signature(taken)  # pyright: ignore[reportFunctionMemberAccess]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in taken}
    return called


def _options(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            one.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=_default(one),
            annotation=_in_panel(hints[one.name], group.PANEL),
        )
        for one in fields(group)
    ]


def _default(one: Field[Any]) -> Any:
    return inspect.Parameter.empty if one.default is MISSING else one.default


def _in_panel(hint: Any, panel: str) -> Any:
    kind, info = get_args(hint)
    placed = copy(info)
    placed.rich_help_panel = panel
    return Annotated[kind, placed]
