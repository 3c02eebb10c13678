"""Small runs and races with much state, each in a session of its own that may be killed, and a digest of their end."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from ravine import api
from ravine.checkpoints import holds
from ravine.engines.lane import Lane
from ravine.files import digest, digest_of, write_whole
from ravine.problems import load
from ravine.racing.outcome import result_of
from ravine.racing.race import Race
from ravine.racing.spec import RaceSpec
from ravine.recipe import Recipe
from ravine.training import checkpoint, samples
from ravine.training.train import Training

END = "end.json"  # what a session that came to its end says of it

SCENES: dict[str, Recipe | RaceSpec] = {
    "schedule, plateau, early stopping": Recipe(
        problem="wine", model="mlp:16", epochs=10, batch=16, rule={"name": "adam", "lr": 0.05}, seed=3, patience=18,
        schedule={"lr": {"name": "cosine"}}, plateau={"patience": 3, "factor": 0.5},
    ),
    "dropout, batch norm, augmentation": Recipe(
        problem="digits", model="mlp:24:0.3", norm="batch", epochs=1, batch=64, rule={"name": "nadam"}, seed=4,
        augment=[{"name": "crop", "pad": 1}],
    ),
    "averages, snapshots, growing batches": Recipe(
        problem="wine", model="mlp:8", epochs=9, batch=16, snapshots=3, seed=5, accumulate=2,
        rule={"name": "sgd", "lr": 0.1, "with": [{"name": "averaged"}]},
        schedule={"batch": {"name": "step", "every": 4, "factor": 2}},
    ),
    "a rule of matrices, drawn samples": Recipe(
        problem="wine", model="mlp:8:0.1", epochs=6, batch=16, rule={"name": "soap"}, sampling="random", seed=6
    ),
    "a method on the whole data": Recipe(
        problem="diabetes", model="mlp:4", epochs=30, batch=64, rule={"name": "lbfgs"}, seed=7
    ),
    "a race with halving": RaceSpec(
        problem="wine", model="mlp:8", rules=["adam", "momentum", "rmsprop"], budget=9, epochs=4, batch=32, seeds=2,
        finalists=2, lanes=4, workers=1, seed=8,
    ),
    "a race of single runs, dropout": RaceSpec(
        problem="wine", model="mlp:8:0.2", rules=["adam", "sgd"], budget=4, epochs=3, batch=32, seeds=2,
        finalists=1, lanes=1, workers=1, widen=False, seed=9,
    ),
}  # fmt: skip


def session(scene: str, folder: str, always: bool = True) -> None:
    """Begin the scene in a folder, or go on with it, and leave its digest at its end; ``always`` saves at each tick."""
    torch.set_num_threads(1)
    if always:
        checkpoint.due = _always
    wanted, place = SCENES[scene], Path(folder)
    running = _training(wanted, place) if isinstance(wanted, Recipe) else _race(wanted, place)
    for _ in running.run():
        pass
    facts = {**digest_of_run(running), "troubles": running.saving.troubles}
    write_whole(place / END, json.dumps(facts).encode())


def digest_of_run(running: Training | Race) -> dict[str, Any]:
    """What a resumed run must have in common with the uninterrupted one: every bit of it."""
    if isinstance(running, Race):
        result = result_of(running).model_dump(exclude={"id", "created", "command", "cost", "versions"})
        return {"result": digest(json.dumps(result).encode()), "state": _state(running.runs)}
    waiting = repr(running.following.waiting)
    facts = {"reductions": running.reductions, "waiting": waiting, "early": running.stopped_early}
    ids = running.folder / samples.FILE if running.folder else None
    return {
        "result": digest(json.dumps([running.result.model_dump(), facts]).encode()),
        "state": _state([running.state]),
        "samples": digest_of(ids) if ids is not None and ids.exists() else "",
    }


def _training(recipe: Recipe, folder: Path) -> Training:
    logged = recipe.rule["name"] != "lbfgs"
    running = Training(recipe, load(recipe.problem), folder, log_samples=logged)
    if holds(folder):
        running.restore(folder)
    return running


def _race(spec: RaceSpec, folder: Path) -> Race:
    return api.resume(folder) if holds(folder) else api.start(spec, load(spec.problem), folder)


def _state(runs: Any) -> str:
    hashed = hashlib.sha256()
    for run in runs:
        for lane in (run.lane, run.best, *run.snapshots):
            _add(hashed, lane)
    return hashed.hexdigest()


def _add(hashed: Any, lane: Lane | None) -> None:
    if lane is None:
        hashed.update(b"none")
        return
    named = {"weights": lane.weights, **lane.buffers, **{f"slot {name}": slot for name, slot in lane.slots.items()}}
    for name, tensor in sorted(named.items()):
        hashed.update(name.encode())
        hashed.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
    hashed.update(repr((lane.step, sorted(lane.scalars.items()), lane.seed)).encode())


def _always(saved: float, saving: float) -> bool:
    return True
