"""`ravine data`: look at a problem's samples as training will see them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ravine.cli.app import app

if TYPE_CHECKING:
    from rich.table import Table

data = typer.Typer(help="Look at data: draw what augmentation does, list its steps.", no_args_is_help=True)
app.add_typer(data, name="data")


@data.command()
def show(
    source: Annotated[str, typer.Argument(help="images: a name (mnist, cifar10 ...), a path, or module:function")],
    augment: Annotated[
        str, typer.Option(help="steps in order, as flip,crop:4,rotate:20; see ravine data steps")
    ] = "flip,crop:4",
    out: Annotated[
        Path | None, typer.Option(help="PNG file to write; default: preview-NAME.png", show_default=False)
    ] = None,
    rows: Annotated[int, typer.Option(min=1, max=40, help="images")] = 6,
    columns: Annotated[int, typer.Option(min=1, max=24, help="epochs of each")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="of the run whose draws are shown")] = 0,
) -> None:
    """Draw training images beside what augmentation makes of them, exactly as a run of that seed would.

    [bold]Examples[/bold]

      ravine data show cifar10 --augment flip,crop:4,jitter
      ravine data show mnist --augment rotate:20,lens --out digits.png
      ravine data show cifar10 --augment flip,cut-mix --rows 4
    """
    from ravine.augment import words
    from ravine.files import check_folder, slug, write_whole
    from ravine.problems import load
    from ravine.problems.prepare import prepared
    from ravine.report.preview import preview

    steps = words(augment)
    problem = prepared(load(source), None, steps)
    path = out or Path(f"preview-{slug(problem.name)}.png")
    check_folder(path.parent)
    write_whole(path, preview(problem, rows, columns, seed))
    print(f"Preview: {path}")


@data.command()
def steps() -> None:
    """List the steps of augmentation and of preprocessing, with their settings and defaults."""
    from rich.console import Console

    from ravine.problems.preprocess import STEPS

    console = Console()
    console.print(_augmentation())
    console.print(
        "\nOn the command line settings follow in this order after colons: erase:0.1:0.2, or erase:high=0.2:p=1"
    )
    console.print("\n[bold]preprocess[/bold] (fitted on the training part)")
    for name, meaning in STEPS.items():
        console.print(f"[bold]{name:13}[/bold] {meaning}", highlight=False)


def _augmentation() -> Table:
    from rich.markup import escape
    from rich.table import Table

    from ravine.augment import catalogue
    from ravine.schedules.schedule import settings

    table = Table("augment", "settings", "meaning", box=None, pad_edge=False)
    for name, kind in catalogue().items():
        plain = kind()
        own = [
            f"{field}={'auto' if getattr(plain, field) is None else format(getattr(plain, field), 'g')}"
            for field in sorted(settings(kind), key=lambda field: field == "p")
        ]
        summary = (kind.__doc__ or "").split("\n\n")[0].split("   Reference:")[0]
        table.add_row(f"[bold]{name}[/bold]", " ".join(own), escape(" ".join(summary.split())))
    return table
