"""One run: the same bits each time, through kills and resumptions; early stopping; the best point exactly."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ravine.checkpoints import keep
from ravine.errors import UserError
from ravine.problems import load
from ravine.problems.problem import Problem
from ravine.recipe import Recipe
from ravine.results import Point
from ravine.training import checkpoint
from ravine.training.clock import Batches, Clock
from ravine.training.failing import failures
from ravine.training.loop import evaluate_model
from ravine.training.train import Training

COSINE = {"lr": {"name": "cosine"}}
RECIPE = Recipe(
    problem="wine", model="mlp:16:0.2", epochs=8, batch=16, rule={"name": "nadam", "lr": 0.01}, schedule=COSINE, seed=5
)

EAGER = "from ravine.training import checkpoint; checkpoint.SELDOM = 0.0; from ravine.cli import main; main()"


def trained(recipe: Recipe = RECIPE, folder: Path | None = None, stop_at: int | None = None) -> Training:
    """The run of a recipe, to its end or until a number of points has been measured."""
    running = Training(recipe, load(recipe.problem), folder)
    points = running.run()
    for measured, _ in enumerate(points):
        if measured == stop_at:
            os.kill(os.getpid(), signal.SIGINT)
    return running


def ravine(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_DATA_HOME": str(cwd / "data")}
    return subprocess.Popen(
        [sys.executable, "-c", EAGER, *arguments],
        cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("rule", ["sgd", "nadam", "nesterov/look-ahead"])
def test_the_same_recipe_gives_the_same_bits(rule: str) -> None:
    recipe = RECIPE.model_copy(update={"rule": {"name": rule}, "epochs": 3})
    one, other = trained(recipe), trained(recipe)
    assert one.fingerprint() == other.fingerprint()
    assert one.result.curve == other.result.curve
    elsewhere = trained(recipe.model_copy(update={"seed": 6}))
    assert elsewhere.fingerprint() != one.fingerprint()


def test_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(1)
    want = torch.rand(3)
    torch.manual_seed(1)
    trained(RECIPE.model_copy(update={"epochs": 1}))
    assert torch.equal(torch.rand(3), want)


def test_every_epoch_sees_each_sample_at_most_once_and_in_another_order() -> None:
    clock = Clock(samples=50, batch=8, epochs=3)
    batches = Batches(clock)
    assert clock.steps_per_epoch == 6
    epochs = [torch.cat([batches.at([4], step)[0] for step in range(e * 6, e * 6 + 6)]) for e in range(3)]
    assert all(len(set(seen.tolist())) == 48 for seen in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(batches.at([9, 4], 7)[1], Batches(clock).at([4], 7)[0])  # whoever else is there


def test_the_best_point_is_restored_exactly() -> None:
    running = trained(RECIPE.model_copy(update={"rule": {"name": "adam", "lr": 0.3}}))
    best = running.state.best_point
    assert best is not None
    assert best.epoch < 8  # so that it is not simply the end
    loss, metric = evaluate_model(running.module, running.loss, running.problem, running.problem.valid)
    assert (loss, metric) == (best.valid_loss, best.metric)
    assert running.result.valid_loss == min(point.valid_loss for point in running.result.curve[1:])


def test_patience_stops_so_many_points_after_the_best() -> None:
    running = trained(RECIPE.model_copy(update={"rule": {"name": "adam", "lr": 0.3}, "epochs": 60, "patience": 4}))
    curve = running.result.curve
    losses = [point.valid_loss for point in curve]
    assert running.result.status == "stopped"
    assert len(curve) - 1 - losses.index(min(losses[1:])) == 4
    assert curve[-1].epoch < 60


def test_a_diverged_run_says_when_and_how() -> None:
    running = trained(RECIPE.model_copy(update={"problem": "diabetes", "rule": {"name": "sgd", "lr": 1e6}}))
    assert running.result.status == "diverged"
    assert "by epoch" in running.result.reason
    assert running.finished
    seen = [[0.5, 2.0, math.nan], [math.nan, 1.0, 1.0], [math.inf, 1.0, 1.0]]
    assert failures([torch.tensor(losses) for losses in seen], 40) == {
        0: "loss became NaN in step 42, after 0.5 in the step before",
        2: "loss became NaN in step 41",
    }


@pytest.mark.parametrize("rule", ["nadam", "soap", "prodigy", "l-dog"])
def test_ctrl_c_keeps_the_last_point_and_resuming_gives_the_same_bits(tmp_path: Path, rule: str) -> None:
    recipe = RECIPE.model_copy(update={"rule": {"name": rule}})
    whole = trained(recipe)
    stopped = trained(recipe, folder=tmp_path, stop_at=5)
    assert stopped.interrupted and stopped.result.status == "interrupted"
    assert stopped.result.curve == whole.result.curve[:6]
    resumed = Training(recipe, load("wine"), tmp_path)
    resumed.restore(tmp_path)
    assert resumed.state.tick == 5
    for _ in resumed.run():
        pass
    assert resumed.result.curve == whole.result.curve
    assert resumed.fingerprint() == whole.fingerprint()
    assert resumed.result == whole.result


def test_patience_counts_on_through_an_interruption(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"rule": {"name": "adam", "lr": 0.3}, "epochs": 60, "patience": 4})
    whole = trained(recipe)
    assert trained(recipe, tmp_path, stop_at=len(whole.result.curve) - 3).interrupted
    resumed = Training(recipe, load("wine"), tmp_path)
    resumed.restore(tmp_path)
    for _ in resumed.run():
        pass
    assert resumed.result == whole.result


def test_killed_at_random_times_and_resumed_is_the_uninterrupted_run(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"epochs": 150})
    recipe.save(tmp_path / "recipe.toml")
    draw = random.Random(2)
    killed, out = 0, ""
    for _ in range(3):
        arguments = ["train", "recipe.toml", "--out", "mine", "--json"]
        if list(tmp_path.glob("mine/checkpoints/0*")):
            arguments.append("--resume")
        process = ravine(*arguments, cwd=tmp_path)
        if killed < 2:
            limit = time.monotonic() + 60
            while not list(tmp_path.glob("mine/checkpoints/0*")) and time.monotonic() < limit:
                time.sleep(0.02)
            time.sleep(draw.uniform(0, 0.6))
            process.kill()
            process.communicate()
            killed += 1
            continue
        out, said = process.communicate()
        assert process.returncode == 0, said
        break
    whole = trained(recipe)
    shown = json.loads(out)
    assert shown["fingerprint"] == whole.fingerprint()
    assert [Point.model_validate(point) for point in shown["result"]["curve"]] == whole.result.curve
    kept = load_file(tmp_path / "mine" / "best.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in whole.weights().items())


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("name", ["manifest.json", "state.safetensors"])
@pytest.mark.parametrize("share", [0.2, 0.999])
@pytest.mark.parametrize("how", ["flip", "cut"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_gives_the_same_bits(
    tmp_path: Path, name: str, share: float, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "due", lambda *_: True)
    recipe = RECIPE.model_copy(update={"epochs": 2})
    trained(recipe, tmp_path, stop_at=3)
    file = sorted(tmp_path.glob(f"checkpoints/0*/{name}"))[-1]
    content = file.read_bytes()
    at = int(share * len(content))
    file.write_bytes(flipped(content, at) if how == "flip" else content[:at])
    resumed = Training(recipe, load("wine"), tmp_path)
    resumed.restore(tmp_path)
    [told] = resumed.saving.troubles
    assert told.startswith(str(file.parent)) and "damaged" in told and "is used instead" in told and "\n" not in told
    assert resumed.state.tick == 2
    for _ in resumed.run():
        pass
    assert resumed.result == trained(recipe).result
    assert file.parent not in set(tmp_path.glob("checkpoints/*"))


def test_where_no_checkpoint_is_sound_a_run_is_refused(tmp_path: Path) -> None:
    trained(folder=tmp_path, stop_at=2)
    for file in tmp_path.glob("checkpoints/*/state.safetensors"):
        file.write_bytes(flipped(file.read_bytes(), 99))
    with pytest.raises(UserError, match=r"state\.safetensors differs\).*checkpoint.*: start again") as refused:
        Training(RECIPE, load("wine")).restore(tmp_path)
    assert "\n" not in str(refused.value)


def test_what_belongs_to_another_run_is_refused(tmp_path: Path) -> None:
    trained(folder=tmp_path, stop_at=2)
    other = RECIPE.model_copy(update={"seed": 6})
    with pytest.raises(UserError, match="of another recipe"):
        Training(other, load("wine")).restore(tmp_path)
    with pytest.raises(UserError, match="no checkpoint is there"):
        Training(RECIPE, load("wine")).restore(tmp_path / "nowhere")


def test_a_second_start_in_a_folder_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"epochs": 1})
    first = Training(recipe, load("wine"), tmp_path).run()
    next(first)
    with pytest.raises(UserError, match=rf"process {os.getpid()} on .* has worked there since .*name another folder"):
        next(Training(recipe, load("wine"), tmp_path).run())
    assert list(first)  # it is not harmed
    again = Training(recipe, load("wine"), tmp_path)
    again.restore(tmp_path)
    assert again.finished


def test_a_checkpoint_that_cannot_be_written_is_told_once_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(checkpoint, "due", lambda *_: True)
    monkeypatch.setattr(keep, "flush_folder", full)
    running = trained(RECIPE.model_copy(update={"epochs": 1}), tmp_path)
    assert running.finished and running.result.status == "finished"
    [told] = running.saving.troubles
    assert "no space left on the disk" in told and "the run goes on" in told and "\n" not in told
    assert running.saving.last_failure and not list(tmp_path.glob("checkpoints/*"))


def named(*layers: tuple[str, int, int]) -> Problem:
    """Wine with a model of one's own, whose layers have these names and sizes."""
    made = [(name, torch.nn.Linear(inputs, outputs)) for name, inputs, outputs in layers]
    return replace(load("wine"), model=lambda: torch.nn.Sequential(OrderedDict(made)))


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ((("a", 13, 8), ("b", 8, 8), ("c", 8, 3)), r"of another model \(d.weight is \[8, 8\] there and missing here\)"),
        ((("a", 13, 9), ("d", 9, 8), ("c", 8, 3)), r"of another model \(a.weight is \[8, 13\] there and \[9, 13\]"),
    ],
)
def test_state_goes_to_weights_of_the_same_names_and_shapes(tmp_path: Path, layers: Any, sentence: str) -> None:
    recipe = RECIPE.model_copy(update={"model": "own", "epochs": 1})
    first = Training(recipe, named(("a", 13, 8), ("d", 8, 8), ("c", 8, 3)), tmp_path)
    assert list(first.run())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=sentence):
        Training(recipe, named(*layers), tmp_path).restore(tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_two_layers_of_one_shape_that_changed_places_are_told(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"model": "own", "epochs": 1})
    assert list(Training(recipe, named(("a", 13, 13), ("b", 13, 13), ("c", 13, 3)), tmp_path).run())
    with pytest.raises(UserError, match="its weights have another order"):
        Training(recipe, named(("b", 13, 13), ("a", 13, 13), ("c", 13, 3)), tmp_path).restore(tmp_path)


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(UserError, match=r"batch 1000 is more than the 10[0-9] samples of wine"):
        Training(RECIPE.model_copy(update={"batch": 1000}), load("wine"))
