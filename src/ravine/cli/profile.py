"""`ravine profile`: where the time of a run goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ravine.cli.app import app


@app.command()
def profile(
    recipe: Annotated[Path, typer.Argument(help="a TOML file")],
    steps: Annotated[int, typer.Option(min=1, help="steps to measure")] = 20,
    out: Annotated[Path | None, typer.Option(help="HTML file to write, with figures", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="print every number as JSON")] = False,
) -> None:
    """Measure where the time of a recipe's steps goes: phases, layers, shares of what the machine can do.

    The measurements are made on a run of their own, which is thrown away.

    [bold]Examples[/bold]

      ravine profile recipe.toml
      ravine profile recipe.toml --out profile.html
    """
    from ravine.api import prepare
    from ravine.files import check_file
    from ravine.models import probe
    from ravine.profiling import profile as measure
    from ravine.profiling.draw import table, write
    from ravine.recipe import load_recipe
    from ravine.training.model import model_for

    if out is not None:
        check_file(out, ".html", in_folder=True)
    read = load_recipe(recipe)
    problem = prepare(read.problem, read.target, read.split_seed, read.loss, wanted=read)
    probe(model_for(read, problem), problem, read.model)
    found = measure(read, problem, steps)
    if json:
        from json import dumps

        print(dumps(found.facts()))
    else:
        from rich.console import Console

        Console().print(table(found), highlight=False)
    if out is not None:
        written = write(found, f"{problem.name} · {read.model} · batch {read.batch}", out)
        if not json:
            print(f"Page: {written}")
