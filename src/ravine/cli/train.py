"""`ravine train`: one run of a recipe."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ravine.cli import options
from ravine.cli.app import app

if TYPE_CHECKING:
    from ravine.problems.problem import Problem
    from ravine.recipe import Recipe
    from ravine.results import Point
    from ravine.training.team import Team
    from ravine.training.train import Training


@app.command()
def train(
    recipe: options.Recipe,
    out: Annotated[
        Path | None,
        typer.Option(help="folder for checkpoints, curve and weights; default: run-NAME-xxxx", show_default=False),
    ] = None,
    resume: options.Resume = False,
    keep: Annotated[int, typer.Option(min=1, help="checkpoints to keep: the last so many, and the best")] = 2,
    log_samples: Annotated[
        bool, typer.Option("--log-samples", help="write the ids that each step saw to samples.log in the folder")
    ] = False,
    stream: Annotated[
        bool | None, typer.Option(help="read inputs as they are needed; overrides the recipe", show_default=False)
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(help="column whose groups lie in one part each; overrides the recipe", show_default=False),
    ] = None,
    bad_images: Annotated[
        str | None, typer.Option(help="stop at a damaged image or skip it; overrides the recipe", show_default=False)
    ] = None,
    log: options.Logs = None,
    test: options.Test = False,
    parallel: Annotated[
        str | None, typer.Option(help="under torchrun: ddp, or fsdp to shard weights and state; default there: ddp")
    ] = None,
    store: options.StoreUrl = None,
    json: options.Json = False,
) -> None:
    """Train a recipe: progress, validation curve, early stopping, the best weights.

    A recipe may also reduce the learning rate on a plateau, grow the batch size, take a minibatch in parts, and keep
    snapshots (docs/learning-rate.md), preprocess the inputs and augment the samples (docs/data-augmentation.md); what
    in it can have no effect is said before the first step.

    [bold]Examples[/bold]

      ravine train race-digits-7f3a/winner.toml
      ravine train recipe.toml --out mine           then, if it was killed:
      ravine train recipe.toml --out mine --resume
      ravine train recipe.toml --log-samples        then: ravine data samples
    """
    from ravine.checkpoints import holds
    from ravine.cli.kept import begun, each, fail
    from ravine.cli.left import kept_of, show
    from ravine.tracking import logged_training, open_log
    from ravine.training.meeting import is_shared, restarts, team_of

    with team_of(parallel) as team, ExitStack() as stack:
        reading = {"stream": stream, "bad_images": bad_images, "groups": groups}
        running, folder, notes = team.together(lambda: _prepared(recipe, reading, out, resume, log_samples, team))
        resume = resume or (restarts()[0] > 0 and holds(folder))
        if team.rank:
            team.together(lambda: running.restore(folder) if resume else None)
            for _ in running.run():
                pass
            raise typer.Exit(130 if running.interrupted else int(running.result.status == "diverged"))
        running.saving.keep = keep
        names = [metric.name for metric in running.problem.metrics]
        logs, opened = team.together(
            lambda: (open_log(log or [], folder, names), stack.enter_context(begun(running, folder, resume, store)))
        )
        for note in notes:
            print(f"Note: {note}", file=sys.stderr)
        begin = time.monotonic()
        _watch(running, logged_training(running, logs, folder.name) if log else running.run(), quiet=json)
        failed = each(kept_of(opened, running, running.recipe, folder, time.monotonic() - begin))
    show(running, folder, test, json)
    if running.interrupted:
        again = "repeat the torchrun command with" if is_shared() else f"ravine train {recipe}"
        print(f"Interrupted. Go on with: {again} --out {folder} --resume", file=sys.stderr)
    fail([*failed, *running.saving.last_failure])
    if running.interrupted:
        raise typer.Exit(130)
    if running.result.status == "diverged":
        raise typer.Exit(1)


def _prepared(
    recipe: Path, reading: Mapping[str, Any], out: Path | None, resume: bool, log_samples: bool, team: Team
) -> tuple[Training, Path, list[str]]:
    """The run, its folder and what is to be said before the first step; everything a user can get wrong is found."""
    from ravine.api import problem_of
    from ravine.errors import UserError
    from ravine.files import check_folder, slug
    from ravine.recipe import load_recipe
    from ravine.training.meeting import restarts
    from ravine.training.train import Training

    read = load_recipe(recipe).model_copy(update={key: value for key, value in reading.items() if value is not None})
    read.reading.check()
    problem = problem_of(read)
    if resume and out is None:
        raise UserError("--resume needs --out, the folder that holds the checkpoint")
    if restarts()[1] and out is None:
        raise UserError("torchrun --max-restarts needs --out, the folder from which a restarted run goes on")
    folder = out or Path(f"run-{slug(problem.name)}-{secrets.token_hex(3)}")
    check_folder(folder)
    return Training(read, problem, folder, log_samples, team), folder, _notes(read, problem)


def _notes(recipe: Recipe, problem: Problem) -> list[str]:
    """What is hardly meant, how the weights are drawn, and which of them come from a file."""
    from ravine.initial import Initialised
    from ravine.linting import lint_recipe
    from ravine.losses.learned import Weighing
    from ravine.noise import Noised
    from ravine.training.model import model_for
    from ravine.transfer.spec import Transferred, loaded_by

    notes = [str(finding) for finding in lint_recipe(recipe, problem) if finding.severity != "note"]
    factory = drawn = model_for(recipe, problem)
    while isinstance(drawn, Noised | Transferred | Weighing):
        drawn = drawn.factory
    if isinstance(drawn, Initialised):
        notes.append(f"init {drawn.initial.name}: {drawn.drawing(recipe.seed)}")
    if (loaded := loaded_by(factory)) is not None:
        notes.append(f"transfer: {loaded}")
    return notes


def _watch(running: Training, points: Iterator[Point], quiet: bool) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from ravine.cli.kept import told
    from ravine.losses import metric_name

    console, shown = Console(stderr=True), metric_name(running.problem)
    if quiet or not console.is_terminal:
        for point in told(points, running.saving):
            if not quiet and point.epoch == int(point.epoch):
                further = "".join(f", {words}" for words in _metrics(point.metrics))
                text = f"validation loss {point.valid_loss:.4g}, {shown} {point.metric:.4g}{further}"
                console.print(f"epoch {point.epoch:.0f}: {text}", highlight=False, soft_wrap=True)
        return
    words = TextColumn("{task.description}")
    with Progress(BarColumn(), words, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=running.clock.ticks, completed=max(0, running.state.tick))
        for point in told(points, running.saving):
            further = "".join(f"  {words}" for words in _metrics(point.metrics)[:2])  # a line has room for two
            text = f"validation loss {point.valid_loss:.4g}  {shown} {point.metric:.4g}{further}"
            bar.update(task, completed=running.state.tick, description=f"epoch {point.epoch:.3g}  {text}")


def _metrics(measured: Mapping[str, float | None]) -> list[str]:
    """Further metrics in words."""
    return [f"{name} {'undefined' if value is None else format(value, '.4g')}" for name, value in measured.items()]
