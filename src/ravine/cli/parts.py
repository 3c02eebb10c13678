"""`ravine parts`: what a model can be made of, and what its weights can be drawn from."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ravine.cli.app import app

if TYPE_CHECKING:
    from ravine.initial import Initial


@app.command()
def parts(
    name: Annotated[
        str | None, typer.Argument(help="an initialiser in full: he, xavier, lsuv", show_default=False)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="HTML file to write, with pictures of initialisers and activations")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print as JSON")] = False,
) -> None:
    """List models, activations, norms and initialisers by the words that recipes and options take.

    With a name, all of one initialiser: equation, settings, reference. See docs/parts.md.

    [bold]Examples[/bold]

      ravine parts
      ravine parts xavier
      ravine parts --plot parts.html
      ravine race digits --model resnet:16,32 --norm group:8 --init he
    """
    from ravine import initial

    kinds = initial.catalogue()
    if name is not None:
        names = {**kinds, **{other: kind for kind in kinds.values() for other in kind.also}}
        if name not in names:
            _refuse(name, names)
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
    if plot is not None:
        written = _plot(plot)
        if not json:
            print(f"Pictures: {written}")


def _refuse(name: str, initialisers: Iterable[str]) -> NoReturn:
    """Say that a word is known, but nothing more is to be said of it, or which initialiser was meant."""
    from ravine.errors import UserError, unknown

    words = _words({})
    for kind, known in words.items():
        if name in (kind, f"{kind}s"):
            raise UserError(f"{name}: ravine parts without a name lists all of them; name an initialiser, such as he")
        if name in known:
            raise UserError(f"{name} is a word for {kind}, as ravine parts lists it; in full are only initialisers")
    raise unknown("initialiser", name, initialisers)


def _plot(path: Path) -> Path:
    """Measure every initialiser in a tower of tanh and of ReLU, and every activation on a line; draw both."""
    import torch

    from ravine.blocks.activations import ACTIVATIONS, Maxout, activation_of
    from ravine.files import check_file
    from ravine.initial import catalogue, through
    from ravine.report.parts import write

    check_file(path, ".html", in_folder=True)
    names = [name for name in catalogue() if name not in ("zeros", "constant")]  # whose outputs have no deviation
    names.insert(names.index("normal") + 1, "normal:std=1")
    stds = {act: {n: [each.std for each in through(n, act)] for n in names} for act in ("tanh", "relu")}
    z = torch.linspace(-4, 4, 321)
    curves: dict[str, Any] = {}
    for word in (word for word, kind in ACTIVATIONS.items() if kind is not Maxout):  # which sees several numbers
        at = z.clone().requires_grad_()
        f = activation_of(word)()(at)
        (slope,) = torch.autograd.grad(f.sum(), at)
        curves[word] = (z.tolist(), f.tolist(), slope.tolist())
    return write(stds, curves, path)


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
