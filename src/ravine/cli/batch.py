"""`ravine batch`: which batch size, and the learning rate that goes with it."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from ravine.cli import options
from ravine.cli.app import app
from ravine.cli.found import check_page, tell


@app.command()
def batch(
    source: options.Source,
    target: options.Target = None,
    rule: options.Rule = "momentum",
    model: options.Model = "mlp:128,128",
    loss: options.Loss = "auto",
    size: Annotated[
        int | None, typer.Option("--batch", min=1, help="the size to compare with; default: by the size of the data")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="its learning rate; default: by a range test")] = None,
    law: Annotated[
        Literal["auto", "linear", "sqrt"], typer.Option(help="how the rate goes with the size; auto: by the rule")
    ] = "auto",
    epochs: Annotated[int, typer.Option(help="of every run")] = 10,
    seeds: Annotated[int, typer.Option(help="runs of each size")] = 5,
    seed: options.Seed = 0,
    out: options.Page = None,
    json: options.Json = False,
) -> None:
    """Suggest a batch size: gradient noise, samples a second, and how far the rate scales with the size.

    Every size trains for the same epochs from the same draws, seeds side by side, at the scaled rate and at the first
    one. What is suggested has been trained at just that rate; nothing else is changed.

    [bold]Examples[/bold]

      ravine batch digits
      ravine batch my.csv --target price --rule adam --lr 1e-3
      ravine batch mnist --model cnn:8,16 --batch 64 --epochs 3 --out batch.html
    """
    from rich.console import Console

    from ravine.batches import batch_study

    check_page(out)
    shown = Console(stderr=True)
    status = shown.status("") if shown.is_terminal and not json else None
    if status is not None:
        status.start()
    try:
        found = batch_study(
            source, model=model, rule=rule, loss=loss, batch=size, lr=lr, law=None if law == "auto" else law,
            epochs=epochs, seeds=seeds, seed=seed, target=target, tell=status.update if status is not None else None,
        )  # fmt: skip
    finally:
        if status is not None:
            status.stop()
    tell(found, out, json)
