"""`ravine race`: the main job."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ravine.cli import read
from ravine.cli.app import app
from ravine.errors import UserError
from ravine.types import SEED_MOST

if TYPE_CHECKING:
    from ravine.racing.race import Race
    from ravine.racing.spec import RaceSpec
    from ravine.recipe import Recipe
    from ravine.store import Store
    from ravine.store.store import Guard
    from ravine.tracking import Log

PLAN, SPACE, FILES, MANY = "What to run", "What to search", "Where results go", "Many processes"


@app.command()
def race(
    source: Annotated[
        str | None,
        typer.Argument(
            help="a name (digits, mnist ...), a path (CSV, Parquet, NPZ, a folder of images), or module:function; "
            "with --resume, the folder of a race",
            show_default=False,
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="column to predict, for a table", rich_help_panel=PLAN)] = None,
    groups: Annotated[
        str | None, typer.Option(help="column whose groups lie in one part each, as patients", rich_help_panel=PLAN)
    ] = None,
    model: Annotated[
        str, typer.Option(help="mlp:128,128, cnn:16,32, resnet:16,32, lstm:64 ... or own", rich_help_panel=PLAN)
    ] = "mlp:128,128",
    activation: Annotated[
        str, typer.Option(help="of the model: relu, tanh, swish, leaky-relu:0.2, maxout:2 ...", rich_help_panel=PLAN)
    ] = "relu",
    norm: Annotated[
        str,
        typer.Option(
            help="of the model: none, batch, layer, group:8, instance, rms; auto: the model's usual one",
            rich_help_panel=PLAN,
        ),
    ] = "auto",
    norm_place: Annotated[str, typer.Option(help="before or after the nonlinearity", rich_help_panel=PLAN)] = "before",
    init: Annotated[
        str | None,
        typer.Option(help="he, xavier:gain=4, lsuv, auto ...; default: the layers' own draw", rich_help_panel=PLAN),
    ] = None,
    loss: Annotated[
        str, typer.Option(help="cross_entropy, hinge, mse, huber:delta=0.5 ...", rich_help_panel=PLAN)
    ] = "auto",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="of a full run; default: by the size of the data", rich_help_panel=PLAN)
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="samples a step; default: by the size of the data", rich_help_panel=PLAN)
    ] = None,
    budget: Annotated[str, typer.Option(help="configurations (64) or a time (90s, 20m)", rich_help_panel=PLAN)] = "64",
    augment: Annotated[
        str | None, typer.Option(help="flip,crop:4,... of training images; see ravine data steps", rich_help_panel=PLAN)
    ] = None,
    sampling: Annotated[
        str, typer.Option(help="shuffled, cyclic, random (with replacement), balanced", rich_help_panel=PLAN)
    ] = "shuffled",
    stream: Annotated[
        bool | None,
        typer.Option(
            help="read inputs from disk as they are needed; default: where they fill half of the memory",
            rich_help_panel=PLAN,
        ),
    ] = None,
    bad_images: Annotated[
        str, typer.Option(help="stop at a damaged image, or skip: leave them out", rich_help_panel=PLAN)
    ] = "stop",
    preprocess: Annotated[
        str | None, typer.Option(help="centre, scale, standardise, whiten-zca, ...; raw", rich_help_panel=PLAN)
    ] = None,
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16, float16 (scaled), float64: of every run", rich_help_panel=PLAN)
    ] = "float32",
    class_weights: Annotated[
        str | None, typer.Option(help="balanced, or a=2,b=0.5: how much classes count", rich_help_panel=PLAN)
    ] = None,
    task_weights: Annotated[
        str | None, typer.Option(help="learned: of several targets, with the model", rich_help_panel=PLAN)
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help="f1-macro,auroc,... or module:function, beside the loss", rich_help_panel=PLAN)
    ] = None,
    transfer: Annotated[
        str | None,
        typer.Option(
            help="'weights.safetensors head=new freeze=0.* layer-rates=0.5 unfreeze=2' in every run",
            rich_help_panel=PLAN,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=SEED_MOST, help="of everything drawn", rich_help_panel=PLAN)] = 0,
    seeds: Annotated[int, typer.Option(min=2, max=1000, help="fresh seeds of the finals", rich_help_panel=PLAN)] = 5,
    finalists: Annotated[int, typer.Option(min=1, help="rules in the finals", rich_help_panel=PLAN)] = 3,
    defaults: Annotated[
        bool, typer.Option(help="repeat the finalists' rules at their defaults too", rich_help_panel=PLAN)
    ] = True,
    lanes: Annotated[
        int | None, typer.Option(min=1, help="runs in one program; default: measured", rich_help_panel=PLAN)
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="programs at once, a thread each; default: measured", rich_help_panel=PLAN),
    ] = None,
    rules: Annotated[
        str | None, typer.Option(help="as adam,sgd,nesterov/look-ahead; see ravine rules", rich_help_panel=SPACE)
    ] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            help="lr=1e-4..1e-1, dropout=0..0.6, init=he,xavier, schedule=cosine,constant ...", rich_help_panel=SPACE
        ),
    ] = None,
    combine: Annotated[
        list[str] | None,
        typer.Option(
            "--with", help="clip-global-norm=1, coupled-decay=1e-4 ... around every rule", rich_help_panel=SPACE
        ),
    ] = None,
    penalty: Annotated[
        list[str] | None,
        typer.Option(help="l2=1e-4, 'max-norm=3 on=4.weight' ... in every run", rich_help_panel=PLAN),
    ] = None,
    noise: Annotated[
        list[str] | None,
        typer.Option(
            help="dropout:drop=0.5, dropout:drop=0.2,on=input, gaussian=0.1 ... in every run", rich_help_panel=PLAN
        ),
    ] = None,
    widen: Annotated[
        bool, typer.Option(help="widen a range whose best value lies at its edge", rich_help_panel=SPACE)
    ] = True,
    baselines: Annotated[
        bool, typer.Option(help="classical models beside the winner, at the end", rich_help_panel=PLAN)
    ] = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with an interrupted race", rich_help_panel=FILES)
    ] = False,
    log: Annotated[
        list[str] | None,
        typer.Option(
            help="of every run: tensorboard[:DIR], mlflow[:URI], csv:FILE or jsonl:FILE", rich_help_panel=FILES
        ),
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="checkpoints to keep, the last so many", rich_help_panel=FILES)] = 2,
    shared: Annotated[
        bool, typer.Option("--shared", help="let other processes join, through the store", rich_help_panel=MANY)
    ] = False,
    join: Annotated[
        str | None, typer.Option(help="the name of a shared race to take part in", rich_help_panel=MANY)
    ] = None,
    ray: Annotated[
        str | None, typer.Option(help="share it over a Ray cluster: local, auto or an address", rich_help_panel=MANY)
    ] = None,
    heartbeat: Annotated[
        float,
        typer.Option(min=0.1, help="seconds; a process silent for 1.5 of them is taken for dead", rich_help_panel=MANY),
    ] = 10.0,
    out: Annotated[
        Path, typer.Option(help="folder in which the race's folder is made", rich_help_panel=FILES)
    ] = Path(),
    store: Annotated[str | None, typer.Option(help="database URL; default: yours", rich_help_panel=FILES)] = None,
    json: Annotated[bool, typer.Option("--json", help="print the whole result as JSON", rich_help_panel=FILES)] = False,
) -> None:
    """Race many configurations on a problem: a ranking with intervals, a report, a recipe.

    [bold]Examples[/bold]

      ravine race digits
      ravine race my.csv --target price --budget 10m
      ravine race mnist --model cnn:16,32 --rules adam,nadam,momentum --epochs 3
      ravine race digits --over lr=1e-4..1e-1 --over schedule=cosine,constant
      ravine race digits --over init=he,xavier --over dropout=0..0.6
      ravine race --resume                   the last one in this folder
    """
    from ravine.cli import shared as sharing
    from ravine.racing.spec import RaceSpec
    from ravine.store import Store

    def each_run(race: Race, store: Store, json: bool, guard: Guard) -> None:
        _run(race, store, json, _logs(log, race), guard)

    sharing.check(shared, join, ray, source, resume, store)
    if join is not None:
        with Store.open(store) as opened:
            sharing.join(join, opened, out, json, heartbeat, each_run)
        return
    if resume:
        running = _resumed(source, out)
        running.saving.keep = keep
        logs = _logs(log, running)  # what is wrong with them is found before anything is written
        with Store.open(store) as opened:
            _run(running, opened, json, logs)
        return
    if source is None:
        raise UserError("what should race? Give a name (ravine race digits), a path, or module:function")
    configurations, seconds = read.budget(budget)
    searched, schedules = read.ranges(over or [])
    spec = RaceSpec(
        problem=source, target=target, groups=groups, model=model, activation=activation, norm=norm,
        norm_place=norm_place, init=init, loss=loss, epochs=epochs, batch=batch,
        rules=read.names(rules, "--rules") if rules is not None else None, combine=read.combinators(combine or []),
        penalty=read.penalties(penalty or []), noise=read.noises(noise or []), transfer=read.transfer(transfer),
        over=searched, schedules=[{"name": name} for name in schedules] or [{"name": "cosine"}],
        budget=configurations, seconds=seconds, seed=seed, seeds=seeds, finalists=finalists, defaults=defaults,
        precision=read.precision(precision), class_weights=read.class_weights(class_weights),
        task_weights=task_weights,
        metrics=read.names(metrics, "--metrics") if metrics else [],
        augment=read.steps(augment), preprocess=read.preprocessing(preprocess), sampling=sampling,
        stream=stream, bad_images=bad_images,
        baselines=baselines, widen=widen, lanes=lanes, workers=workers,
    )  # fmt: skip
    running = _started(spec, out)
    running.saving.keep = keep
    if workers is not None and workers > (cores := os.cpu_count() or 1):
        print(f"Note: {workers} workers share {cores} cores; left out, --workers is measured", file=sys.stderr)
    logs = _logs(log, running)  # what is wrong with them is found before anything is written
    with Store.open(store) as opened:
        if shared or ray is not None:
            sharing.begin(running, opened, json, heartbeat, ray, each_run)
        else:
            _run(running, opened, json, logs)


def _started(spec: RaceSpec, out: Path) -> Race:
    """The race of that spec, in a folder of its own that is made with the first checkpoint."""
    from ravine import api
    from ravine.files import check_folder

    check_folder(out)
    spec.check_asked()
    problem = api.prepare(spec.problem, spec.target, spec.split_seed, spec.loss, wanted=spec)
    running = api.start(spec, problem)
    running.saving.folder = out / running.about["id"]
    running.about["command"] = shlex.join(["ravine", *sys.argv[1:]])
    return running


def _resumed(source: str | None, out: Path) -> Race:
    """The race in the folder that is named, or the newest unfinished one of ``out``."""
    from ravine import api
    from ravine.checkpoints import newest

    if source is not None:
        return api.resume(Path(source))
    folders = sorted(out.glob("race-*/checkpoints"), key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in (path.parent for path in folders):
        if newest(folder, tensors=False).facts.get("phase") not in (None, "done"):
            return api.resume(folder)
    raise UserError(f"{out}: no interrupted race is there to resume")


def _logs(texts: list[str] | None, running: Race) -> Log | None:
    from ravine.tracking import open_log

    names = [metric.name for metric in running.problem.metrics]
    return open_log(texts, running.folder or Path(), names) if texts else None


def _run(running: Race, store: Store, json: bool, logs: Log | None, guard: Guard | None = None) -> None:
    """Show the race while it runs, keep it as it goes, and leave the report and the recipe."""
    from ravine import report
    from ravine.cli.kept import each, fail, told
    from ravine.cli.watch import watch
    from ravine.racing.outcome import result_of, winner_recipe
    from ravine.tracking import logged_race

    stage = ""
    with running.saving.claimed():
        try:
            shown = watch(running, quiet=json)
            for moment in told(logged_race(running, shown, logs) if logs else shown, running.saving):
                if moment.phase != "done" and f"{moment.phase}{moment.rung}" != stage and running.runs:
                    stage = f"{moment.phase}{moment.rung}"
                    for trouble in each([lambda: store.save_race(result_of(running), guard)]):
                        print(f"Note: {trouble}; the race goes on", file=sys.stderr)
        except KeyboardInterrupt:  # pressed twice, while a picture was drawn
            running.interrupted = True
        result, recipe, folder = result_of(running), winner_recipe(running), running.folder
        kept: list[Callable[[], object]] = [lambda: store.save_race(result, guard)]
        if recipe is not None and folder is not None:
            kept.append(lambda: report.write(result, folder / "report.html"))
            kept.append(lambda: recipe.save(folder / "winner.toml"))
            kept.append(lambda: _keep_model(running, recipe, folder / "model"))
        failed = each(kept)
    if json:
        print(result.model_dump_json())
    else:
        from rich.console import Console

        Console().print(report.table(result))
    if running.interrupted:
        why = "Out of time" if running.out_of_time else "Interrupted"
        print(f"{why}: this is what is known. Go on with: ravine race --resume {running.folder}", file=sys.stderr)
    fail([*failed, *running.saving.last_failure])
    if running.interrupted and not running.out_of_time:
        raise typer.Exit(130)


def _keep_model(running: Race, recipe: Recipe, folder: Path) -> None:
    """The winner as an estimator to predict with, where the race got as far as its finals."""
    from ravine.estimators.trained import of_race

    estimator = of_race(running, recipe)
    if estimator is not None:
        estimator.save(folder, force=True)
