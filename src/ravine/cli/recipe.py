"""`ravine recipe`: what a recipe says, and in what two differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ravine.cli.app import app

recipe = typer.Typer(help="Recipes in words: explain one, compare two.", no_args_is_help=True)
app.add_typer(recipe, name="recipe")
File = Annotated[Path, typer.Argument(help="a TOML file, such as a race's winner.toml", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="print as JSON")]


@recipe.command()
def explain(file: File, json: Json = False) -> None:
    """Say a recipe in words: data, model, initialisation, loss, what regularises, rule, length.

    What is default is dim, what is unusual is marked, and what can have no effect is said at the end. No data are read.

    [bold]Examples[/bold]

      ravine recipe explain race-digits-7f3a/winner.toml
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from ravine.explain import explain as explained
    from ravine.recipe import load_recipe

    made = explained(load_recipe(file))
    if json:
        from json import dumps

        print(dumps(asdict(made)))
        return
    console = Console(highlight=False)
    for group, lines in made.groups.items():
        console.print(group, style="bold", markup=False)
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for line in lines:
            table.add_row(f"  {line.what}", line.text, style="dim" if line.default else "")
            for text in line.unusual:
                table.add_row("", f"unusual: {text}", style="yellow")
        console.print(table, markup=False)
    for note in made.notes:
        console.print(f"Note: {note}", style="yellow", markup=False)
    console.print(f"ravine lint {file} looks at data, model and a few gradients too.", style="dim", markup=False)


@recipe.command()
def diff(old: File, new: File, json: Json = False) -> None:
    """Show in which decisions two recipes differ, and what that means where it is known.

    [bold]Examples[/bold]

      ravine recipe diff mine.toml race-digits-7f3a/winner.toml
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ravine.explain import differences
    from ravine.recipe import load_recipe

    found = differences(load_recipe(old), load_recipe(new))
    if json:
        from json import dumps

        print(dumps([asdict(change) for change in found]))
        return
    if not found:
        print("The two recipes decide the same.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("decision", old.name, f"→ {new.name}", "which means"):
        table.add_column(column, overflow="fold")
    for change in found:
        table.add_row(*map(Text, (change.name, change.old, change.new, change.meaning)))
    Console().print(table)
