"""`ravine ensemble`: several models of one recipe, and what they are together."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ravine.cli import options
from ravine.cli.app import app

if TYPE_CHECKING:
    from ravine.ensembles import EnsembleResult, Members
    from ravine.store import Store


@app.command()
def ensemble(
    recipe: options.Recipe,
    members: Annotated[int, typer.Option(help="models, snapshots or draws; 2 at least")] = 8,
    kind: Annotated[str, typer.Option(help="seeds, bagging, snapshots, swa or dropout")] = "seeds",
    out: Annotated[
        Path | None,
        typer.Option(
            help="folder for checkpoints, members and report; default: ensemble-NAME-xxxx", show_default=False
        ),
    ] = None,
    resume: options.Resume = False,
    test: options.Test = False,
    store: options.StoreUrl = None,
    json: options.Json = False,
) -> None:
    """Train an ensemble and measure what it gains: error against members, beside 1/k + (k-1)/k rho.

    The members of seeds and bagging train as lanes of one program; snapshots, swa and dropout need one run only.
    They are kept in the folder, and `ravine.ensembles.load(folder)` makes one model of them.

    [bold]Examples[/bold]

      ravine ensemble race-digits-7f3a/winner.toml
      ravine ensemble recipe.toml --kind bagging --members 16 --test
      ravine ensemble recipe.toml --kind snapshots --members 5 --out mine
    """
    from json import dumps

    from ravine.api import problem_of
    from ravine.checkpoints import holds
    from ravine.cli.kept import each, fail
    from ravine.ensembles import Members, save, study
    from ravine.errors import UserError
    from ravine.files import check_folder, slug
    from ravine.recipe import load_recipe
    from ravine.store import Store

    read = load_recipe(recipe)
    problem = problem_of(read)
    if resume and out is None:
        raise UserError("--resume needs --out, the folder that holds the checkpoint")
    folder = out or Path(f"ensemble-{slug(problem.name)}-{secrets.token_hex(3)}")
    check_folder(folder)
    running = Members(read, problem, kind, members, folder)
    if holds(folder) and not resume:
        raise UserError(f"{folder} holds a run already: go on with --resume, or name another folder")
    if resume and not holds(folder):
        raise UserError(f"{folder}: no checkpoint is there to resume; start without --resume")
    begin = time.monotonic()
    with Store.open(store) as opened, running.saving.claimed():
        if resume:
            running.restore(folder)
        _watch(running, quiet=json)
        if running.interrupted:
            again = f"ravine ensemble {recipe} --kind {kind} --members {members} --out {folder} --resume"
            print(f"Interrupted. Go on with: {again}", file=sys.stderr)
            raise typer.Exit(130)
        save(running, folder)
        found = study(running, test, time.monotonic() - begin)
        failed = each(_keep(opened, running, found, folder, test))
    if json:
        print(dumps({"folder": str(folder), **found.facts()}))
    else:
        from rich.console import Console

        Console().print(found, highlight=False)
        print(f"Report: {folder / 'report.html'}   Members: {folder}")
    fail(failed)


def _keep(
    store: Store, running: Members, found: EnsembleResult, folder: Path, test: bool
) -> Iterator[Callable[[], object]]:
    """The result into the store and into the folder, one after another."""
    import shlex
    from datetime import UTC, datetime
    from json import dumps

    from ravine.files import write_whole
    from ravine.made_with import data_digest, versions
    from ravine.store import Ensemble

    kept = Ensemble(
        id=folder.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["ravine", *sys.argv[1:]]),
        problem=found.problem,
        model=found.model,
        metric_name=found.metric_name,
        members=len(found.members),
        loss=None if test else found.whole.loss,
        metric=None if test else found.whole.metric,
        seconds=found.seconds,
        verdict=found.verdict,
        recipe=running.recipe.model_dump(exclude_none=True),
        facts=found.facts(),
        made_with={**versions(), "data": data_digest(running.problem)},
    )
    yield lambda: store.save_ensemble(kept)
    yield lambda: write_whole(folder / "result.json", dumps(found.facts()).encode())
    yield lambda: found.report(folder / "report.html")


def _watch(running: Members, quiet: bool) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from ravine.cli.kept import told

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        for _ in told(running.run(), running.saving):
            pass
        return
    columns = (BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        for done in told(running.run(), running.saving):
            bar.update(task, completed=done)
