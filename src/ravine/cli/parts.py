"""`ravine parts`: what a model can be made of, and what its weights can be drawn from."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ravine.cli.app import app

if TYPE_CHECKING:
    from ravine.initial import Initial


@app.command()
def parts(
    name: Annotated[
        str | None, typer.Argument(help="an initialiser in full: he, xavier, lsuv", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print as JSON")] = False,
) -> None:
    """List models, activations, norms and initialisers by the words that recipes and options take.

    With a name, all of one initialiser: equation, settings, reference. See docs/parts.md.

    [bold]Examples[/bold]

      ravine parts
      ravine parts xavier
      ravine race digits --model resnet:16,32 --activation swish --norm group:8 --init he
    """
    from ravine import initial
    from ravine.errors import unknown

    kinds = initial.catalogue()
    if name is not None:
        names = {**kinds, **{other: kind for kind in kinds.values() for other in kind.also}}
        if name not in names:
            raise unknown("initialiser", name, names)
        found: dict[str, Any] = _facts(names[name])
    else:
        found = _words(kinds)
    if json:
        from json import dumps

        print(dumps(found))
    elif name is not None:
        _print_one(found)
    else:
        _print_all(found)


def _words(kinds: dict[str, type[Initial]]) -> dict[str, Any]:
    from ravine.blocks.activations import ACTIVATIONS, SETTINGS
    from ravine.blocks.norms import NORMS
    from ravine.models import WORDS

    acts = {word: f"{word}:NUMBER sets {SETTINGS[word][0]}" if word in SETTINGS else "" for word in ACTIVATIONS}
    inits = {word: inspect.cleandoc(kind.__doc__ or "").splitlines()[0] for word, kind in kinds.items()}
    return {"model": dict(WORDS), "activation": acts, "norm": dict(NORMS), "init": inits}


def _facts(kind: type[Initial]) -> dict[str, Any]:
    from ravine.schedules import settings

    made = kind()
    declared = {
        field: {"default": getattr(made, field), "meaning": s.meaning, "allowed": " or ".join(s.options) or s.bounds}
        if s.kind != "flag"
        else {"default": getattr(made, field), "meaning": s.meaning, "allowed": "true or false"}
        for field, s in settings(kind).items()
    }
    told = inspect.cleandoc(kind.__doc__ or "")
    return {"name": kind.name, "also": list(kind.also), "description": told, "settings": declared}


def _print_one(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    title = f"{found['name']}" + (f" (also {', '.join(found['also'])})" if found["also"] else "")
    console.print(title, style="bold", highlight=False)
    console.print(found["description"], highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    for column in ("setting", "default", "allowed", "meaning"):
        table.add_column(column, style="bold" if column == "setting" else "")
    for field, row in found["settings"].items():
        default = row["default"]
        shown = str(default).lower() if isinstance(default, bool | str) else f"{default:g}"
        table.add_row(field, shown, row["allowed"], row["meaning"])
    console.print()
    console.print(table, markup=False)


def _print_all(found: dict[str, dict[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for part, words in found.items():
        console.print(part, style="bold")
        table = Table(box=None, pad_edge=False, show_header=False)
        for word, meaning in words.items():
            table.add_row(f"  {word}", meaning)
        console.print(table, markup=False, highlight=False)
