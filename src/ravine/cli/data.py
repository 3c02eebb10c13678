"""`ravine data`: look at a problem's samples as training will see them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ravine.cli.app import app
from ravine.errors import UserError
from ravine.types import SEED_MOST

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
    seed: Annotated[int, typer.Option(min=0, max=SEED_MOST, help="of the run whose draws are shown")] = 0,
) -> None:
    """Draw training images beside what augmentation makes of them, exactly as a run of that seed would.

    [bold]Examples[/bold]

      ravine data show cifar10 --augment flip,crop:4,jitter
      ravine data show mnist --augment rotate:20,lens --out digits.png
      ravine data show cifar10 --augment flip,cut-mix --rows 4
    """
    from ravine.augment import words
    from ravine.files import check_file, slug, write_whole
    from ravine.problems import load
    from ravine.problems.prepare import prepared
    from ravine.report.preview import preview

    steps = words(augment)
    problem = prepared(load(source), None, steps)
    path = out or Path(f"preview-{slug(problem.name)}.png")
    check_file(path, ".png")
    write_whole(path, preview(problem, rows, columns, seed))
    print(f"Preview: {path}")


@data.command()
def samples(
    run: Annotated[Path, typer.Argument(help="a run's folder, or its samples.log")],
    other: Annotated[Path | None, typer.Argument(help="another one, to compare with", show_default=False)] = None,
    step: Annotated[int | None, typer.Option(min=0, help="print the ids of one step", show_default=False)] = None,
) -> None:
    """Check the log of which samples each step saw, or compare two.

    A log holds a chain of hashes: the last one stands for every id of every step. Ids are places in the data: rows of
    a table without its header, files in the order of their names.

    [bold]Examples[/bold]

      ravine data samples run-wine-3f2a
      ravine data samples run-wine-3f2a --step 100
      ravine data samples run-wine-3f2a resumed
    """
    from ravine.training.samples import FILE, facts_of, first_difference, read

    paths = [path / FILE if path.is_dir() else path for path in (run, other) if path is not None]
    facts, *_ = [facts_of(path) for path in paths]  # all are logs, before a word is said
    count, last, shown = 0, b"", None
    for seen in read(paths[0]):
        count, last = count + 1, seen.chain
        shown = seen if seen.step == step else shown
    if step is not None:
        if shown is None:
            raise UserError(f"{paths[0]}: has {count:,} steps, and step {step:,} is none of them: the first is 0")
        print(" ".join(map(str, shown.ids)))
        return
    print(f"{paths[0]}: {count:,} steps of {facts['problem']}, whole; chain {last.hex()[:16]}")
    if len(paths) == 1:
        return
    common, differs = first_difference(paths[0], paths[1])
    if differs is not None:
        print(f"{paths[1]}: step {differs:,} saw other samples; {common:,} steps before it saw the same")
        raise typer.Exit(1)
    print(f"{paths[1]}: the same samples in the same order in all {common:,} steps that both hold")


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
