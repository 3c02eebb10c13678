"""`ravine lint`: what in a recipe is allowed and hardly meant."""

from __future__ import annotations

import typer

from ravine.cli import options
from ravine.cli.app import app


@app.command()
def lint(
    recipe: options.Recipe,
    json: options.Json = False,
) -> None:
    """Look for mistakes before training: settings, data, model, a few gradients. Nothing is trained.

    Mistakes end with exit code 1; warnings and notes with 0. `ravine train` says mistakes and warnings too.
    `ravine.lint(model, optimizer, loss, batch)` does the same for your own code.

    [bold]Examples[/bold]

      ravine lint recipe.toml
      ravine lint recipe.toml --json
    """
    from dataclasses import asdict

    from ravine.api import problem_of
    from ravine.linting import lint_recipe
    from ravine.recipe import load_recipe

    read = load_recipe(recipe)
    problem = problem_of(read)
    found = lint_recipe(read, problem)
    if json:
        from json import dumps

        print(dumps([asdict(finding) for finding in found]))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, show_header=False)
        for finding in found:
            colour = {"mistake": "bold red", "warning": "yellow", "note": "dim"}[finding.severity]
            table.add_row(Text(finding.severity, style=colour), Text(f"{finding}. [{finding.kind}]"))
        Console().print(table if found else "Nothing found.")
    if any(finding.severity == "mistake" for finding in found):
        raise typer.Exit(1)
