"""`ravine evaluate`: k-fold and nested evaluation of a recipe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ravine.cli import read
from ravine.cli.app import app
from ravine.errors import UserError

if TYPE_CHECKING:
    from ravine.evaluation import Evaluation, Outside
    from ravine.results import Interval


@app.command()
def evaluate(
    recipe: Annotated[Path, typer.Argument(help="a TOML file, such as a race's winner.toml")],
    folds: Annotated[int, typer.Option(help="parts of the samples, each held out once")] = 5,
    nested: Annotated[
        bool, typer.Option("--nested", help="choose the settings anew in each fold, by a race on the other folds")
    ] = False,
    budget: Annotated[int, typer.Option(min=2, help="configurations of each of these races")] = 16,
    rules: Annotated[
        str | None, typer.Option(help="what they choose among; default: the recipe's rule", show_default=False)
    ] = None,
    over: Annotated[
        list[str] | None, typer.Option(help="lr=1e-4..1e-1; default: the rule's own ranges", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder that keeps the folds that are done", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the folds in --out")] = False,
    json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Estimate how a recipe does on new samples: each sample is held out in exactly one of the folds.

    A recipe that was chosen on the same samples looks better than it is; --nested measures by how much.

    [bold]Examples[/bold]

      ravine evaluate race-wine-7f3a/winner.toml
      ravine evaluate recipe.toml --folds 10 --out folds
      ravine evaluate recipe.toml --nested --budget 32 --rules sgd,adam
    """
    from ravine.evaluation import FILE, Evaluating, Nested
    from ravine.files import check_folder
    from ravine.recipe import load_recipe

    if not nested and (rules is not None or over):
        raise UserError("--rules and --over are of the races that --nested runs: give --nested, or leave them out")
    names = tuple(read.names(rules, "--rules")) if rules is not None else ()
    inner = Nested(budget, names, read.ranges(over or [])[0]) if nested else None
    if resume and out is None:
        raise UserError("--resume needs --out, the folder that holds the folds that are done")
    if out is not None:
        check_folder(out)
        if (out / FILE).exists() and not resume:
            raise UserError(f"{out} holds an evaluation already: go on with --resume, or name another folder")
    running = Evaluating(load_recipe(recipe), folds, inner, folder=out)
    if resume:
        running.restore()
    try:
        for fold in running.run():
            if not json:
                print(_line(fold, folds), file=sys.stderr)
    except KeyboardInterrupt:
        kept = f"; go on with --resume --out {out}" if out is not None else ""
        print(f"Interrupted after {len(running.done)} of {folds} folds{kept}", file=sys.stderr)
        raise typer.Exit(130) from None
    _show(running.result, json)


def _line(fold: Outside, folds: int) -> str:
    chosen = f"  chosen by {fold.inner:.4g}: {fold.chosen}" if fold.inner is not None else ""
    return f"fold {fold.fold + 1} of {folds}: loss {fold.loss:.4g}, {fold.metric:.4g}{chosen}"


def _show(result: Evaluation, json: bool) -> None:
    from dataclasses import asdict
    from json import dumps

    gap = result.gap
    if json:
        means = {"loss": result.loss.model_dump(), result.metric_name: result.metric.model_dump()}
        print(dumps({**asdict(result), **means, "gap": None if gap is None else gap.model_dump()}))
        return
    count = len(result.folds)
    first = result.folds[0]
    print(f"{result.problem}, {count} folds: about {first.train:,} samples to train on and {first.test:,} held out")
    print(f"{result.metric_name:>10}  {_words(result.metric)}")
    print(f"{'loss':>10}  {_words(result.loss)}")
    if gap is not None:
        inner = sum(fold.inner or 0.0 for fold in result.folds) / count
        print(f"{'chosen by':>10}  {inner:.4g}, the mean of the lowest validation losses")
        told = "told from zero" if gap.low > 0 else "not told from zero"
        print(f"{'gap':>10}  {_words(gap)}: choosing made the loss look so much lower, {told}")


def _words(interval: Interval) -> str:
    return f"{interval.mean:.4g} ± {interval.high - interval.mean:.2g}"
