"""`ravine race`: the main job."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ravine.cli.app import app
from ravine.cli.asked import Files, Many, Runs, Search, spec_of
from ravine.cli.options import flat
from ravine.errors import UserError

if TYPE_CHECKING:
    from ravine.racing.race import Race
    from ravine.racing.spec import RaceSpec
    from ravine.recipe import Recipe
    from ravine.store import Store
    from ravine.store.store import Guard
    from ravine.tracking import Log

WHAT = (
    "a name (digits, mnist ...), a path (CSV, Parquet, NPZ, a folder of images), or module:function; "
    "with --resume, the folder of a race"
)


@app.command()
@flat
def race(
    runs: Runs,
    search: Search,
    files: Files,
    many: Many,
    source: Annotated[str | None, typer.Argument(help=WHAT, show_default=False)] = None,
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
    from ravine.store import Store

    def each_run(race: Race, store: Store, json: bool, guard: Guard) -> None:
        _run(race, store, json, _logs(files.log, race), guard)

    sharing.check(many.shared, many.join, many.ray, source, files.resume, files.store)
    if many.join is not None:
        with Store.open(files.store) as opened:
            sharing.join(many.join, opened, files.out, files.json, many.heartbeat, each_run)
        return
    if source is None and not files.resume:
        raise UserError("what should race? Give a name (ravine race digits), a path, or module:function")
    if files.resume:
        running = _resumed(source, files.out)
    else:
        running = _started(spec_of(str(source), runs, search), files.out)
        _note_crowd(runs.workers)
    running.saving.keep = files.keep
    logs = _logs(files.log, running)  # what is wrong with them is found before anything is written
    with Store.open(files.store) as opened:
        if not files.resume and (many.shared or many.ray is not None):
            sharing.begin(running, opened, files.json, many.heartbeat, many.ray, each_run)
        else:
            _run(running, opened, files.json, logs)


def _note_crowd(workers: int | None) -> None:
    """Say that more programs than cores wait for each other."""
    if workers is not None and workers > (cores := os.cpu_count() or 1):
        print(f"Note: {workers} workers share {cores} cores; left out, --workers is measured", file=sys.stderr)


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
