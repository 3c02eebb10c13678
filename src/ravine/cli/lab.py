"""`ravine lab`: claims of the lectures as small experiments with a measured verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ravine.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ravine.lab import Experiment, Verdict
    from ravine.lab.experiment import Scale


@app.command()
def lab(
    name: Annotated[
        str | None, typer.Argument(help="an experiment, such as practical-2; all are listed if none is given")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="a small version, to see it run; it seldom decides anything")
    ] = False,
    seeds: Annotated[
        int | None, typer.Option(min=3, max=1000, help="runs of each arm; default: the experiment's own")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="HTML file to write; default: lab-NAME.html", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print the verdict as JSON")] = False,
) -> None:
    """Put a claim of the lectures to the test: train, measure over seeds, and say whether it holds.

    The verdict follows by rule from intervals over seeds: "holds", "holds with limits", "does not hold", or "not
    decided" where the spread hides it. See docs/lab.md.

    [bold]Examples[/bold]

      ravine lab
      ravine lab practical-2                  dropout on Fashion-MNIST
      ravine lab practical-1 --seeds 10       cyclical learning rates, more runs
      ravine lab mnist-dropout --quick        see it run
    """
    from ravine.errors import UserError
    from ravine.files import check_file
    from ravine.lab import catalogue, experiment
    from ravine.lab.page import table, write

    if name is None:
        if quick or seeds is not None or out is not None:
            raise UserError("lab: name an experiment for --quick, --seeds and --out; without options all are listed")
        _list(catalogue(), json)
        return
    chosen = experiment(name)
    path = out or Path(f"lab-{name}.html")
    check_file(path, ".html", in_folder=True)
    verdict = _watched(chosen, "quick" if quick else "full", 3 if quick and seeds is None else seeds, json)
    written = write(verdict, path)
    if json:
        print(verdict.model_dump_json())
        return
    from rich.console import Console

    Console().print(table(verdict), highlight=False)
    print(f"Page: {written}   ({verdict.seconds:.0f} s)")


def _watched(chosen: Experiment, scale: Scale, seeds: int | None, quiet: bool) -> Verdict:
    """Run it beside a line of progress."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(f"{chosen.name}: data", total=1.0)
        return chosen.run(scale, seeds, lambda what, share: bar.update(task, completed=share, description=what))


def _list(known: Mapping[str, Experiment], json: bool) -> None:
    if json:
        from json import dumps

        facts = ("title", "rows", "lecture", "claim", "how", "data", "seeds")
        print(dumps({name: {fact: getattr(one, fact) for fact in facts} for name, one in known.items()}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("experiment", "claim", "data", box=None, pad_edge=False)
    for name, one in known.items():
        table.add_row(f"[bold]{name}[/bold]", one.claim, one.data)
    Console().print(table, highlight=False)
