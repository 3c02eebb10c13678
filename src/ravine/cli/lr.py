"""`ravine lr`: the learning-rate range test."""

from __future__ import annotations

from typing import Annotated

import typer

from ravine.cli import options
from ravine.cli.app import app
from ravine.cli.found import check_page, tell


@app.command()
def lr(
    source: options.Source,
    target: options.Target = None,
    rule: options.Rule = "adam",
    model: options.Model = "mlp:128,128",
    loss: options.Loss = "auto",
    batch: options.Batch = None,
    low: Annotated[float, typer.Option(help="first learning rate of the sweep")] = 1e-6,
    high: Annotated[float, typer.Option(help="last learning rate of the sweep")] = 100.0,
    steps: Annotated[int, typer.Option(help="optimizer steps of the sweep, 40 at least")] = 200,
    seeds: Annotated[int, typer.Option(help="sweeps, each with its own draw and order")] = 5,
    seed: options.Seed = 0,
    tried: Annotated[bool, typer.Option(help="test the suggestion by twelve constant rates")] = True,
    out: options.Page = None,
    json: options.Json = False,
) -> None:
    """Suggest an interval of learning rates: sweep the rate, read off where it trains, test that.

    All seeds sweep side by side in one program, in seconds on small data. Twelve constant rates in and around the
    suggestion are tried after it, and each is named by its loss curve: flat, too low, good, too high, diverges.

    [bold]Examples[/bold]

      ravine lr digits
      ravine lr my.csv --target price --rule adam
      ravine lr mnist --model cnn:16,32 --rule momentum --batch 128 --out lr.html
      ravine lr mycode.train:problem --rule nadam --json
    """
    from ravine.rates import lr_range_test

    check_page(out)
    found = lr_range_test(
        source, model=model, optimizer=rule, loss=loss, batch=batch, low=low, high=high, steps=steps, seeds=seeds,
        seed=seed, tried=tried, target=target,
    )  # fmt: skip
    tell(found, out, json)
    if found.low is None:
        raise typer.Exit(1)
