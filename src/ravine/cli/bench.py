"""`ravine bench`: what was promised of speed and memory, measured on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ravine.cli.app import app

if TYPE_CHECKING:
    from ravine.bench.figure import Figure

WIDTH = 120  # of the table in a file


@app.command()
def bench(
    cases: Annotated[list[str] | None, typer.Argument(help="C1 to C9, on a GPU G1 to G3; all if none is given")] = None,
    rounds: Annotated[int, typer.Option(min=3, help="rounds in which the ways take turns")] = 15,
    threads: Annotated[int, typer.Option(min=1, help="threads of every way")] = 2,
    json: Annotated[Path | None, typer.Option("--json", help="write the figures to this file")] = None,
) -> None:
    """Measure what is promised of speed and memory against torch, on this machine.

    Every way runs in the same process, in turns; a figure is the median ratio with its 95 % interval. A target holds
    when the bad end of the interval does. Leave the machine alone meanwhile.
    """
    from rich.console import Console

    from ravine.bench.suite import chosen, measure

    names = chosen(cases or [])
    import torch

    from ravine.bench.common import machine

    torch.set_num_threads(threads)
    progress, known = Console(stderr=True), machine()
    found: list[Figure] = []
    with progress.status("measuring") as status:
        for figure in measure(names, rounds, known):
            found.append(figure)
            status.update(f"{figure.case} {figure.what}: {_shown(figure)}")
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(_table(found))
    if known["load"] > known["cores"] / 2:
        progress.print(
            f"The machine was busy (load {known['load']}): ways with threads that wait for each other lose most.",
            soft_wrap=True,
        )
    print("  ".join(f"{name} {value}" for name, value in known.items()))
    if json is not None:
        from json import dumps

        from ravine.files import write_whole

        text = dumps({"machine": known, "rounds": rounds, "figures": [figure.row() for figure in found]}, indent=1)
        write_whole(json, f"{text}\n".encode())


def _table(figures: list[Figure]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("case", "what", "against", "found", "target", ""):
        table.add_column(name, overflow="fold")
    verdicts = {True: "[green]holds[/green]", False: "[red]missed[/red]", None: "[yellow]not run[/yellow]"}
    for figure in figures:
        wanted = "" if figure.target == float("inf") else f"{'>=' if figure.at_least else '<='} {figure.target:g}"
        verdict = verdicts[figure.holds] if wanted else ""
        table.add_row(figure.case, figure.what, figure.against, _shown(figure), wanted, f"{verdict} {figure.note}")
    return table


def _shown(figure: Figure) -> str:
    if figure.found is None:
        return "-"
    found = figure.found
    return f"{found.median:.2f} {figure.unit} \\[{found.low:.2f}, {found.high:.2f}]"
