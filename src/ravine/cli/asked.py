"""What `ravine race` is asked, as groups of options, and the spec that they make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from ravine.cli import options, read

if TYPE_CHECKING:
    from ravine.racing.spec import RaceSpec


@dataclass(frozen=True)
class Runs:
    """What every run of a race is."""

    PANEL: ClassVar = "What to run"

    target: options.Target = None
    groups: Annotated[str | None, typer.Option(help="column whose groups lie in one part each, as patients")] = None
    model: options.Model = "mlp:128,128"
    activation: Annotated[str, typer.Option(help="of the model: relu, tanh, swish, leaky-relu:0.2, maxout:2 ...")] = (
        "relu"
    )
    norm: Annotated[
        str, typer.Option(help="of the model: none, batch, layer, group:8, instance, rms; auto: the model's usual one")
    ] = "auto"
    norm_place: Annotated[str, typer.Option(help="before or after the nonlinearity")] = "before"
    init: Annotated[
        str | None, typer.Option(help="he, xavier:gain=4, lsuv, auto ...; default: the layers' own draw")
    ] = None
    loss: options.Loss = "auto"
    epochs: Annotated[int | None, typer.Option(min=1, help="of a full run; default: by the size of the data")] = None
    batch: options.Batch = None
    budget: Annotated[str, typer.Option(help="configurations (64) or a time (90s, 20m)")] = "64"
    augment: Annotated[str | None, typer.Option(help="flip,crop:4,... of training images; see ravine data steps")] = (
        None
    )
    sampling: Annotated[str, typer.Option(help="shuffled, cyclic, random (with replacement), balanced")] = "shuffled"
    stream: Annotated[
        bool | None,
        typer.Option(help="read inputs from disk as they are needed; default: where they fill half of the memory"),
    ] = None
    bad_images: Annotated[str, typer.Option(help="stop at a damaged image, or skip: leave them out")] = "stop"
    preprocess: Annotated[str | None, typer.Option(help="centre, scale, standardise, whiten-zca, ...; raw")] = None
    precision: Annotated[str, typer.Option(help="float32, bfloat16, float16 (scaled), float64: of every run")] = (
        "float32"
    )
    class_weights: Annotated[str | None, typer.Option(help="balanced, or a=2,b=0.5: how much classes count")] = None
    task_weights: Annotated[str | None, typer.Option(help="learned: of several targets, with the model")] = None
    metrics: Annotated[str | None, typer.Option(help="f1-macro,auroc,... or module:function, beside the loss")] = None
    transfer: Annotated[
        str | None,
        typer.Option(help="'weights.safetensors head=new freeze=0.* layer-rates=0.5 unfreeze=2' in every run"),
    ] = None
    seed: options.Seed = 0
    seeds: Annotated[int, typer.Option(min=2, max=1000, help="fresh seeds of the finals")] = 5
    finalists: Annotated[int, typer.Option(min=1, help="rules in the finals")] = 3
    defaults: Annotated[bool, typer.Option(help="repeat the finalists' rules at their defaults too")] = True
    lanes: options.Lanes = None
    workers: options.Workers = None
    penalty: Annotated[list[str] | None, typer.Option(help="l2=1e-4, 'max-norm=3 on=4.weight' ... in every run")] = None
    noise: Annotated[
        list[str] | None,
        typer.Option(help="dropout:drop=0.5, dropout:drop=0.2,on=input, gaussian=0.1 ... in every run"),
    ] = None
    baselines: Annotated[bool, typer.Option(help="classical models beside the winner, at the end")] = True


@dataclass(frozen=True)
class Search:
    """What a race searches."""

    PANEL: ClassVar = "What to search"

    rules: Annotated[str | None, typer.Option(help="as adam,sgd,nesterov/look-ahead; see ravine rules")] = None
    over: Annotated[
        list[str] | None,
        typer.Option(help="lr=1e-4..1e-1, dropout=0..0.6, init=he,xavier, schedule=cosine,constant ..."),
    ] = None
    combine: Annotated[
        list[str] | None,
        typer.Option("--with", help="clip-global-norm=1, coupled-decay=1e-4 ... around every rule"),
    ] = None
    widen: Annotated[bool, typer.Option(help="widen a range whose best value lies at its edge")] = True


@dataclass(frozen=True)
class Files:
    """Where a race's results go."""

    PANEL: ClassVar = "Where results go"

    resume: Annotated[bool, typer.Option("--resume", help="go on with an interrupted race")] = False
    log: Annotated[
        list[str] | None, typer.Option(help="of every run: tensorboard[:DIR], mlflow[:URI], csv:FILE or jsonl:FILE")
    ] = None
    keep: Annotated[int, typer.Option(min=1, help="checkpoints to keep, the last so many")] = 2
    out: Annotated[Path, typer.Option(help="folder in which the race's folder is made")] = Path()
    store: options.StoreUrl = None
    json: Annotated[bool, typer.Option("--json", help="print the whole result as JSON")] = False


@dataclass(frozen=True)
class Many:
    """How processes share a race."""

    PANEL: ClassVar = "Many processes"

    shared: Annotated[bool, typer.Option("--shared", help="let other processes join, through the store")] = False
    join: Annotated[str | None, typer.Option(help="the name of a shared race to take part in")] = None
    ray: Annotated[str | None, typer.Option(help="share it over a Ray cluster: local, auto or an address")] = None
    heartbeat: Annotated[
        float, typer.Option(min=0.1, help="seconds; a process silent for 1.5 of them is taken for dead")
    ] = 10.0


def spec_of(source: str, runs: Runs, search: Search) -> RaceSpec:
    """What was asked as one checked value."""
    from ravine.racing.spec import RaceSpec

    configurations, seconds = read.budget(runs.budget)
    searched, schedules = read.ranges(search.over or [])
    return RaceSpec(
        problem=source, target=runs.target, groups=runs.groups, model=runs.model, activation=runs.activation,
        norm=runs.norm, norm_place=runs.norm_place, init=runs.init, loss=runs.loss, epochs=runs.epochs,
        batch=runs.batch, rules=read.names(search.rules, "--rules") if search.rules is not None else None,
        combine=read.combinators(search.combine or []), penalty=read.penalties(runs.penalty or []),
        noise=read.noises(runs.noise or []), transfer=read.transfer(runs.transfer), over=searched,
        schedules=[{"name": name} for name in schedules] or [{"name": "cosine"}],
        budget=configurations, seconds=seconds, seed=runs.seed, seeds=runs.seeds, finalists=runs.finalists,
        defaults=runs.defaults, precision=read.precision(runs.precision),
        class_weights=read.class_weights(runs.class_weights), task_weights=runs.task_weights,
        metrics=read.names(runs.metrics, "--metrics") if runs.metrics else [], augment=read.steps(runs.augment),
        preprocess=read.preprocessing(runs.preprocess), sampling=runs.sampling, stream=runs.stream,
        bad_images=runs.bad_images, baselines=runs.baselines, widen=search.widen, lanes=runs.lanes,
        workers=runs.workers,
    )  # fmt: skip
