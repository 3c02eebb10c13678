"""`ravine profile`: where the time of a run goes."""

from __future__ import annotations

from typing import Annotated

import typer

from ravine.cli import options
from ravine.cli.app import app


@app.command()
def profile(
    recipe: options.Recipe,
    steps: Annotated[int, typer.Option(min=1, help="steps to measure")] = 20,
    out: options.Page = None,
    json: options.Json = False,
) -> None:
    """Measure where the time of a recipe's steps goes: phases, layers, shares of what the machine can do.

    The measurements are made on a run of their own, which is thrown away.

    [bold]Examples[/bold]

      ravine profile recipe.toml
      ravine profile recipe.toml --out profile.html
    """
    from ravine.api import problem_of
    from ravine.files import check_file
    from ravine.profiling import profile as measure
    from ravine.profiling.draw import table, write
    from ravine.recipe import load_recipe

    if out is not None:
        check_file(out, ".html", in_folder=True)
    read = load_recipe(recipe)
    problem = problem_of(read)
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
