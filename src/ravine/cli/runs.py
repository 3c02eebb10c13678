"""`ravine runs`, `show`, `report`, `export`: what the store keeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ravine.cli import options
from ravine.cli.app import app

if TYPE_CHECKING:
    from ravine.store import Store

Id = Annotated[
    str, typer.Argument(help="a race, run or ensemble, or the beginning of its name; ravine runs lists them")
]
Drawn = Annotated[str, typer.Argument(help="a race or ensemble, or the beginning of its name; ravine runs lists them")]

EMPTY = "Nothing is kept yet. Start with: ravine race digits"


def look_into(store: str | None) -> Store:
    """The store, to look into: one that is not there is not made."""
    from ravine.errors import UserError
    from ravine.store import Store
    from ravine.store.connect import parse

    url = parse(store)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise UserError(f"store {url.database}: {EMPTY[0].lower()}{EMPTY[1:]}")
    return Store.open(store)


@app.command()
def runs(
    limit: Annotated[int, typer.Option(min=1, help="how many, newest first")] = 20,
    store: options.StoreUrl = None,
    json: Annotated[bool, typer.Option("--json", help="print as JSON")] = False,
) -> None:
    """List the races, runs and ensembles that are kept."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    with look_into(store) as opened:
        kept = [*opened.races(limit), *opened.runs(limit), *opened.ensembles(limit)]
    found = sorted(kept, key=lambda row: row.created, reverse=True)[:limit]
    if json:
        from json import dumps

        print(dumps([row.model_dump() for row in found]))
        return
    if not found:
        print(EMPTY)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("id", "created", "status", "problem", "verdict"):
        table.add_column(column, style="bold" if column == "id" else "", no_wrap=column != "verdict")
    for row in found:
        verdict = Text(row.verdict, no_wrap=True, overflow="ellipsis")  # a line each; ravine show tells the rest
        table.add_row(row.id, row.created[:16].replace("T", " "), row.status, row.problem, verdict)
    Console().print(table, markup=False)


@app.command()
def show(name: Id, store: options.StoreUrl = None) -> None:
    """Show a kept race, run or ensemble in the terminal."""
    from rich.console import Console

    from ravine import report

    with look_into(store) as opened:
        found = opened.find(name)
        if found.kind == "race":
            Console().print(report.table(opened.race(found.id)))
            return
        if found.kind == "ensemble":
            from ravine.ensembles import EnsembleResult

            Console().print(EnsembleResult.of(opened.ensemble(found.id).facts), highlight=False)
            print(f"again: {found.command}")
            return
        kept = opened.run(name)
    best = kept.result
    print(f"{kept.id} · {kept.problem} · {kept.model} · {best.rule} · {best.status} · {kept.seconds:.1f} s")
    if best.valid_loss is not None and best.metric is not None:
        print(f"best at epoch {best.best_epoch:g}: loss {best.valid_loss:.4g}, {kept.metric_name} {best.metric:.4g}")
    print(f"again: {kept.command}")


@app.command()
def report(
    name: Drawn,
    out: Annotated[Path | None, typer.Option(help="file to write; default: NAME.html", show_default=False)] = None,
    store: options.StoreUrl = None,
) -> None:
    """Write the report of a kept race or ensemble as one HTML file."""
    from ravine import report as drawing
    from ravine.files import check_file

    if out is not None:
        check_file(out, ".html", in_folder=True)
    with look_into(store) as opened:
        found = opened.find(name)
        if found.kind == "ensemble":
            from ravine.ensembles import EnsembleResult

            print(EnsembleResult.of(opened.ensemble(found.id).facts).report(out or Path(f"{found.id}.html")))
            return
        result = opened.race(name)
    print(drawing.write(result, out or Path(f"{result.id}.html")))


@app.command()
def export(
    name: Id,
    path: Annotated[Path, typer.Argument(help="file to write: .csv or .parquet")],
    store: options.StoreUrl = None,
) -> None:
    """Write every point of every curve of a race or run: one row a point, hyperparameters as columns."""
    with look_into(store) as opened:
        print(opened.export(name, path))
