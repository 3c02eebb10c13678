"""`ravine evaluate`: k-fold and nested evaluation of a recipe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ravine.cli import options, read
from ravine.cli.app import app
from ravine.errors import UserError

if TYPE_CHECKING:
    from ravine.evaluation import Evaluating, Evaluation, Nested, Outside
    from ravine.results import Interval

CONFIGURATIONS = 16  # of each race of --nested


@app.command()
def evaluate(
    recipe: options.Recipe,
    folds: Annotated[int, typer.Option(help="parts of the samples, each held out once")] = 5,
    repeats: Annotated[int, typer.Option(help="times over, each with folds and a seed of its own")] = 1,
    nested: Annotated[
        bool, typer.Option("--nested", help="choose the settings anew in each fold, by a race on the other folds")
    ] = False,
    budget: Annotated[
        int | None, typer.Option(min=2, help="configurations of each of these races; default: 16", show_default=False)
    ] = None,
    rules: Annotated[
        str | None, typer.Option(help="what they choose among; default: the recipe's rule", show_default=False)
    ] = None,
    over: Annotated[
        list[str] | None, typer.Option(help="lr=1e-4..1e-1; default: the rule's own ranges", show_default=False)
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(help="column whose groups lie in one fold each; overrides the recipe", show_default=False),
    ] = None,
    lanes: Annotated[
        int | None, typer.Option(min=1, help="folds, or runs, in one program; default: measured", show_default=False)
    ] = None,
    workers: options.Workers = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for checkpoints and the folds that are done", show_default=False)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on from what is kept in --out, to the same bits")
    ] = False,
    json: options.Json = False,
) -> None:
    """Estimate how a recipe does on new samples: each sample is held out in exactly one of the folds.

    The folds train as lanes of one program where that is quicker. A recipe that was chosen on the same samples looks
    better than it is; --nested measures by how much.

    [bold]Examples[/bold]

      ravine evaluate race-wine-7f3a/winner.toml
      ravine evaluate recipe.toml --folds 10 --repeats 3 --out folds
      ravine evaluate recipe.toml --nested --budget 32 --rules sgd,adam
    """
    from ravine.evaluation import FILE, Evaluating
    from ravine.files import check_folder
    from ravine.recipe import load_recipe

    inner = _nested(nested, budget, rules, over)
    if resume and out is None:
        raise UserError("--resume needs --out, the folder that holds the folds that are done")
    if resume and not nested and (lanes or workers):
        raise UserError("--resume goes on as the evaluation was begun: leave out --lanes and --workers")
    if out is not None:
        check_folder(out)
        if (out / FILE).exists() and not resume:
            raise UserError(f"{out} holds an evaluation already: go on with --resume, or name another folder")
    read_recipe = load_recipe(recipe)
    if groups is not None:
        read_recipe = read_recipe.model_copy(update={"groups": groups})
    running = Evaluating(read_recipe, folds, inner, None, None, out, repeats, lanes, workers)
    with running.saving.claimed():
        if resume:
            running.restore()
        _watch(running, quiet=json)
    if running.interrupted:
        kept = f"; go on with --resume --out {out}" if out is not None else ""
        print(f"Interrupted after {len(running.done)} of {len(running.places)} folds{kept}", file=sys.stderr)
        raise typer.Exit(130)
    _show(running.result, json)


def _nested(nested: bool, budget: int | None, rules: str | None, over: list[str] | None) -> Nested | None:
    """The race within each fold, or None; options that belong to it are refused without it."""
    from ravine.evaluation import Nested

    given = {"--budget": budget is not None, "--rules": rules is not None, "--over": bool(over)}
    if not nested:
        wrong = next((name for name, is_given in given.items() if is_given), None)
        if wrong:
            raise UserError(f"{wrong} is of the races that --nested runs: give --nested, or leave it out")
        return None
    names = tuple(read.names(rules, "--rules")) if rules is not None else ()
    return Nested(CONFIGURATIONS if budget is None else budget, names, *read.ranges(over or []))


def _watch(running: Evaluating, quiet: bool) -> None:
    """Run it with a bar in a terminal, and a line for every fold that is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from ravine.cli.kept import told
    from ravine.losses import metric_name

    console, said, shown_metric = Console(stderr=True), 0, metric_name(running.first)
    columns = (BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeRemainingColumn())
    shown = not quiet and console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("", total=1.0)
        told_why = False
        for share in told(running.run(), running.saving):
            if running.note and not told_why:
                print(f"Note: {running.note}", file=sys.stderr)
                told_why = True
            bar.update(task, completed=share)
            for fold in running.done[said:] if not quiet else ():
                console.print(_line(fold, running.many, shown_metric), highlight=False, soft_wrap=True)
            said = len(running.done)


def _line(fold: Outside, folds: int, metric: str) -> str:
    again = f"repeat {fold.repeat + 1}, " if fold.repeat else ""
    chosen = f"  chosen by {fold.inner:.4g}: {fold.chosen}" if fold.inner is not None else ""
    return f"{again}fold {fold.fold + 1} of {folds}: loss {fold.loss:.4g}, {metric} {fold.metric:.4g}{chosen}"


def _show(result: Evaluation, json: bool) -> None:
    from dataclasses import asdict
    from json import dumps

    gap = result.gap
    if json:
        means = {"loss": result.loss, result.metric_name: result.metric, **result.metrics}
        shown = {name: one.model_dump() for name, one in means.items()}
        print(dumps({**asdict(result), **shown, "gap": None if gap is None else gap.model_dump()}))
        return
    count, first = len(result.folds), result.folds[0]
    repeats = 1 + max(fold.repeat for fold in result.folds)
    many = f"{count} folds" if repeats == 1 else f"{count // repeats} folds, {repeats} times over"
    print(f"{result.problem}, {many}: about {first.train:,} samples to train on and {first.test:,} held out")
    rows = {result.metric_name: result.metric, "loss": result.loss, **result.metrics}
    wide = max(10, *map(len, rows))
    for name, one in rows.items():
        print(f"{name:>{wide}}  {_words(one)}")
    if gap is not None:
        inner = sum(fold.inner or 0.0 for fold in result.folds) / count
        print(f"{'chosen by':>{wide}}  {inner:.4g}, the mean of the lowest validation losses")
        told = "told from zero" if gap.low > 0 else "not told from zero"
        print(f"{'gap':>{wide}}  {_words(gap)}: choosing made the loss look so much lower, {told}")


def _words(interval: Interval) -> str:
    return f"{interval.mean:.4g} ± {interval.high - interval.mean:.2g}"
