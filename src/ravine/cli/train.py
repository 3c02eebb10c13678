"""`ravine train`: one run of a recipe."""

from __future__ import annotations

import secrets
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ravine.cli.app import app

if TYPE_CHECKING:
    from ravine.recipe import Recipe
    from ravine.results import Point
    from ravine.store import Store
    from ravine.training.team import Team
    from ravine.training.train import Training


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="a TOML file, such as a race's winner.toml")],
    out: Annotated[
        Path | None,
        typer.Option(help="folder for checkpoints, curve and weights; default: run-NAME-xxxx", show_default=False),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on from the checkpoint in --out, to the same bits")
    ] = False,
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
    log: Annotated[
        list[str] | None,
        typer.Option(help="tensorboard[:DIR], mlflow[:URI], csv:FILE or jsonl:FILE; repeatable", show_default=False),
    ] = None,
    test: Annotated[
        bool, typer.Option("--test", help="look at the test part, with the best weights, at the end")
    ] = False,
    parallel: Annotated[
        str | None, typer.Option(help="under torchrun: ddp, or fsdp to shard weights and state; default there: ddp")
    ] = None,
    store: Annotated[str | None, typer.Option(help="database URL; default: yours")] = None,
    json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
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
        failed = each(_keep(opened, running, running.recipe, folder, time.monotonic() - begin))
    _show(running, folder, test, json)
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
    from ravine.api import prepare
    from ravine.errors import UserError
    from ravine.files import check_folder, slug
    from ravine.initial import Initialised
    from ravine.linting import lint_recipe
    from ravine.losses.learned import Weighing
    from ravine.models import probe
    from ravine.noise import Noised
    from ravine.recipe import load_recipe
    from ravine.training.meeting import restarts
    from ravine.training.model import model_for
    from ravine.training.train import Training
    from ravine.transfer.spec import Transferred, loaded_by

    read = load_recipe(recipe).model_copy(update={key: value for key, value in reading.items() if value is not None})
    read.reading.check()
    problem = prepare(read.problem, read.target, read.split_seed, read.loss, wanted=read)
    factory = model_for(read, problem)
    probe(factory, problem, read.model)
    if resume and out is None:
        raise UserError("--resume needs --out, the folder that holds the checkpoint")
    if restarts()[1] and out is None:
        raise UserError("torchrun --max-restarts needs --out, the folder from which a restarted run goes on")
    folder = out or Path(f"run-{slug(problem.name)}-{secrets.token_hex(3)}")
    check_folder(folder)
    running = Training(read, problem, folder, log_samples, team)
    notes = [str(finding) for finding in lint_recipe(read, problem) if finding.severity != "note"]
    drawn = factory
    while isinstance(drawn, Noised | Transferred | Weighing):
        drawn = drawn.factory
    if isinstance(drawn, Initialised):
        notes.append(f"init {drawn.initial.name}: {drawn.drawing(read.seed)}")
    loaded = loaded_by(factory)
    if loaded is not None:
        notes.append(f"transfer: {loaded}")
    return running, folder, notes


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


def _keep(
    store: Store, running: Training, recipe: Recipe, folder: Path, seconds: float
) -> Iterator[Callable[[], object]]:
    """The run into the store; the recipe, the curve and the best weights into the folder: one after another."""
    from safetensors.torch import save

    from ravine.files import write_whole
    from ravine.losses import metric_name
    from ravine.made_with import made_with
    from ravine.problems.preprocess import FILE, packed
    from ravine.store import Training as Kept
    from ravine.training.model import weights_of

    kept = Kept(
        id=folder.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["ravine", *sys.argv[1:]]),
        problem=running.problem.name,
        model=recipe.model,
        metric_name=metric_name(running.problem),
        seconds=seconds,
        recipe=recipe.model_dump(exclude_none=True),
        result=running.result,
        made_with=made_with(running),
    )
    yield lambda: store.save_run(kept)
    yield lambda: write_whole(folder / "recipe.toml", recipe.toml().encode())
    yield lambda: write_whole(folder / "result.json", kept.model_dump_json().encode())
    if (inputs := running.problem.inputs) is not None:
        yield lambda: write_whole(folder / FILE, packed(inputs))
    if running.best is not None:
        yield lambda: write_whole(folder / "best.safetensors", save(running.weights()))
        yield lambda: _keep_model(running, folder / "model")
    if (averaged := running.averaged) is not None:
        yield lambda: write_whole(folder / "averaged.safetensors", save(weights_of(averaged)))
    for place, lane in enumerate(running.state.snapshots):
        path = folder / f"snapshot-{place + 1}.safetensors"
        yield lambda path=path, lane=lane: write_whole(path, save(weights_of(running.model.load(lane))))


def _snapshots(running: Training, test: bool) -> dict[str, Any]:
    """The last snapshot and the ensemble of all on the validation part, or on the test part if it was asked for."""
    from ravine.losses import metric_name

    part, of = (running.problem.test, "test") if test else (running.problem.valid, "validation")
    *_, last, together = running.compare_snapshots(part)
    names = {"last snapshot": last, f"ensemble of {len(running.state.snapshots)}": together}
    return {
        f"{name}, {of} {what}": value
        for name, pair in names.items()
        for what, value in zip(("loss", metric_name(running.problem)), pair, strict=True)
    }


def _mistaken(matrix: Sequence[Sequence[int]], classes: Sequence[str], most: int = 3) -> str:
    """The pairs of classes that are taken for each other most often, in words."""
    pairs = [(n, a, b) for a, row in enumerate(matrix) for b, n in enumerate(row) if n and a != b]
    worst = sorted(pairs, key=lambda pair: -pair[0])[:most]
    return ", ".join(f"{classes[a]} for {classes[b]} {n} of {sum(matrix[a])}" for n, a, b in worst)


def _show(running: Training, folder: Path, test: bool, json: bool) -> None:
    from ravine.engines.precision import SKIPPED
    from ravine.losses import metric_name
    from ravine.losses.learned import learned_weights
    from ravine.training.loop import confusion_of, evaluate_model

    result = running.result
    facts: dict[str, Any] = {"folder": str(folder), "status": result.status, "best_epoch": result.best_epoch}
    facts |= {"valid_loss": result.valid_loss, metric_name(running.problem): result.metric}
    facts |= result.metrics
    if (lane := running.state.lane) is not None and SKIPPED in lane.buffers:
        facts["steps left out"] = int(lane.buffers[SKIPPED])  # their gradients overflowed
    if running.best is not None:
        learned = learned_weights(running.module, running.problem)
        facts |= {f"weight of {name}": weight for name, weight in learned.items()}
        facts["fingerprint"] = running.fingerprint()
        if test:
            facts["test_loss"], facts[f"test {metric_name(running.problem)}"] = running.test()
    facts |= {f"rate from epoch {epoch:g}": rate for epoch, rate in running.reductions}
    if (averaged := running.averaged) is not None:
        part, of = (running.problem.test, "test") if test else (running.problem.valid, "validation")
        pair = evaluate_model(averaged, running.loss, running.problem, part)
        facts |= dict(zip((f"average, {of} loss", f"average, {of} {metric_name(running.problem)}"), pair, strict=True))
    if running.state.snapshots:
        facts |= _snapshots(running, test)
    part, of = (running.problem.test, "test") if test else (running.problem.valid, "validation")
    matrix = [] if running.best is None else confusion_of(running.module, running.problem, part)
    if json:
        from json import dumps

        confused = {"part": of, "classes": running.problem.classes, "rows_true_columns_named": matrix}
        print(dumps({**facts, **({"confusion": confused} if matrix else {}), "result": result.model_dump()}))
    else:
        if result.status == "diverged":
            print(f"Diverged: {result.reason}.")
        wide = max(16, *map(len, facts))
        for name, value in facts.items():
            shown = f"{value:.6g}" if isinstance(value, float) else value
            print(f"{name.replace('_', ' '):>{wide}}  {shown}")
        if said := _mistaken(matrix, running.problem.classes):
            print(f"{'most confused':>{wide}}  {said} ({of})")


def _keep_model(running: Training, folder: Path) -> None:
    """The best weights as an estimator to predict with."""
    from ravine.estimators.trained import of_training

    estimator = of_training(running)
    if estimator is not None:
        estimator.save(folder, force=True)
