"""What a run leaves: its row in the store, the files in its folder, and what is said of it at its end."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ravine.recipe import Recipe
    from ravine.store import Store
    from ravine.training.train import Training


def kept_of(
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


def _keep_model(running: Training, folder: Path) -> None:
    """The best weights as an estimator to predict with."""
    from ravine.estimators.trained import of_training

    estimator = of_training(running)
    if estimator is not None:
        estimator.save(folder, force=True)


def show(running: Training, folder: Path, test: bool, json: bool) -> None:
    """Say what came of a run; of the test part only where it was asked for."""
    from ravine.training.loop import confusion_of

    part, of = (running.problem.test, "test") if test else (running.problem.valid, "validation")
    facts = {"folder": str(folder), **_facts(running, test)}
    matrix = [] if running.best is None else confusion_of(running.module, running.problem, part)
    if json:
        from json import dumps

        confused = {"part": of, "classes": running.problem.classes, "rows_true_columns_named": matrix}
        more = {"confusion": confused} if matrix else {}
        print(dumps({**facts, **more, "result": running.result.model_dump()}))
        return
    if running.result.status == "diverged":
        print(f"Diverged: {running.result.reason}.")
    wide = max(16, *map(len, facts))
    for name, value in facts.items():
        shown = f"{value:.6g}" if isinstance(value, float) else value
        print(f"{name.replace('_', ' '):>{wide}}  {shown}")
    if said := _mistaken(matrix, running.problem.classes):
        print(f"{'most confused':>{wide}}  {said} ({of})")


def _facts(running: Training, test: bool) -> dict[str, Any]:
    """The numbers at the best point, then what was measured of other weights."""
    from ravine.engines.precision import SKIPPED
    from ravine.losses import metric_name
    from ravine.losses.learned import learned_weights

    result, metric = running.result, metric_name(running.problem)
    facts: dict[str, Any] = {"status": result.status, "best_epoch": result.best_epoch}
    facts |= {"valid_loss": result.valid_loss, metric: result.metric, **result.metrics}
    if (lane := running.state.lane) is not None and SKIPPED in lane.buffers:
        facts["steps left out"] = int(lane.buffers[SKIPPED])  # their gradients overflowed
    if running.best is not None:
        weights = learned_weights(running.module, running.problem)
        facts |= {f"weight of {name}": weight for name, weight in weights.items()}
        facts["fingerprint"] = running.fingerprint()
        if test:
            facts["test_loss"], facts[f"test {metric}"] = running.test()
    facts |= {f"rate from epoch {epoch:g}": rate for epoch, rate in running.reductions}
    if running.averaged is not None:
        facts |= _average(running, test)
    if running.state.snapshots:
        facts |= _snapshots(running, test)
    return facts


def _average(running: Training, test: bool) -> dict[str, Any]:
    """The averaged weights on the validation part, or on the test part if it was asked for."""
    from ravine.losses import metric_name
    from ravine.training.loop import evaluate_model

    part, of = (running.problem.test, "test") if test else (running.problem.valid, "validation")
    assert running.averaged is not None
    pair = evaluate_model(running.averaged, running.loss, running.problem, part)
    return dict(zip((f"average, {of} loss", f"average, {of} {metric_name(running.problem)}"), pair, strict=True))


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
