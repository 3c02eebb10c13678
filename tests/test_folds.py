"""Folds as lanes: what each fold alone gives, nothing of another fold, and the same bits after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from torch import Tensor, nn

from ravine.api import prepare
from ravine.evaluation import FILE, Evaluating, Nested, Outside, evaluate
from ravine.evaluation.side import Side, Way
from ravine.problems.split import Fold
from ravine.racing.plan import Plan
from ravine.recipe import Recipe
from ravine.training.train import Training

DRAW = np.random.default_rng(0)
X = DRAW.normal(3, [1, 5, 0.1], (97, 3))  # of three folds one has a sample more than the others
Y = (X[:, 0] + 10 * X[:, 2] > 33.5).astype(np.int64)
IMAGES = DRAW.normal(size=(97, 1, 6, 6)).astype(np.float32)
START: dict[str, Any] = {"problem": "made", "model": "mlp:8", "epochs": 4, "batch": 16, "rule": {"name": "adam"}}


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate({**START, **changes})


def alone(made: Recipe, data: Any, fold: Fold) -> tuple[float, float]:
    """Loss and metric of one fold trained by itself, as `ravine train` would."""
    problem = prepare(data, made.target, fold, made.loss, None, made)
    running = Training(made, problem)
    for _ in running.run():
        pass
    last = running.state.curve[-1]
    return running.test() if fold.inner else (last.valid_loss, last.metric)


def told(folds: tuple[Outside, ...]) -> list[tuple[float, float]]:
    return [(fold.loss, fold.metric) for fold in folds]


WAYS: dict[str, tuple[Recipe, Any, int]] = {
    "dropout": (recipe(noise=[{"name": "dropout", "drop": 0.3}]), (X, Y), 3),
    "batch normalisation": (recipe(model="cnn:4", norm="batch", epochs=2), (IMAGES, Y), 3),
    "steps that differ": (recipe(batch=13), (X, Y), 3),  # 64 // 13 and 65 // 13 steps an epoch: two programs
    "augmented": (recipe(model="cnn:4", augment=[{"name": "flip"}], epochs=2), (IMAGES, Y), 3),
    "patience and a plateau": (
        recipe(patience=2, epochs=8, plateau={"patience": 1}, rule={"name": "adam", "lr": 0.1}), (X, Y), 3
    ),
    "balanced classes": (recipe(class_weights="balanced"), (X, Y), 3),
    "numbers": (recipe(metrics=["mae"]), (X, X[:, 0] * 2 + X[:, 1]), 3),
    "an initialiser that looks at the data": (recipe(init="lsuv"), (X, Y), 3),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_folds_as_lanes_give_what_each_fold_alone_gives(way: str) -> None:
    made, data, many = WAYS[way]
    inner = made.patience > 0
    want = [alone(made, data, Fold(made.split_seed, place, many, inner)) for place in range(many)]
    # Products of stacked matrices add up in another order than single ones, so the last digits may differ.
    together = told(evaluate(made, many, data=data, lanes=many).folds)
    assert np.allclose(together, want, rtol=2e-5), (together, want)
    after = told(evaluate(made, many, data=data, lanes=1, workers=1).folds)
    assert after == want  # one after another: to the bit


def test_a_fold_learns_nothing_of_its_own_samples() -> None:
    """Where its samples lie far off, what is learnt of the others must not show it: scale, gaps, words."""
    draw = np.random.default_rng(1)
    plain = pl.DataFrame({"a": draw.normal(size=60), "w": draw.choice(["u", "v"], 60), "y": draw.normal(size=60)})
    held = prepare((plain, "y"), split_seed=Fold(0, 1, 3)).test.ids
    assert held is not None
    at = pl.Series(np.isin(np.arange(60), held.numpy()))
    odd = plain.with_columns(
        a=pl.when(at).then(1e6).otherwise(pl.col("a")), w=pl.when(at).then(pl.lit("x")).otherwise(pl.col("w")),
        y=pl.when(at).then(pl.col("y") * 1e5).otherwise(pl.col("y")),
    )  # fmt: skip
    made, seen = recipe(batch=8, epochs=2), []
    for frame in (plain, odd):
        problems = [prepare((frame, "y"), None, Fold(0, place, 3), "auto", None, made) for place in range(3)]
        side = Side(made, problems, [0, 0, 0], Way(Plan(3, 1, {}), 3), keep_best=False)
        seen.append(side.problems)
    one, other = seen
    assert other[1].train.x.equal(one[1].train.x) and other[1].train.y.equal(one[1].train.y)
    assert not other[0].train.x.equal(one[0].train.x)  # where those samples train, they do show
    assert float(other[1].test.x[:, 0].min()) > 1e5


def test_repeats_are_folds_and_a_seed_of_their_own() -> None:
    made = recipe(epochs=2)
    result = evaluate(made, 3, data=(X, Y), repeats=2, lanes=6)
    assert [(fold.repeat, fold.fold) for fold in result.folds] == [(r, f) for r in (0, 1) for f in range(3)]
    assert np.allclose(told(result.folds[:3]), told(evaluate(made, 3, data=(X, Y), lanes=3).folds), rtol=1e-5)
    assert sorted(f.loss for f in result.folds[:3]) != pytest.approx(sorted(f.loss for f in result.folds[3:]), rel=1e-3)
    assert sum(fold.test for fold in result.folds) == 2 * len(X)
    half = result.loss.high - result.loss.mean
    share = np.mean([fold.test / fold.train for fold in result.folds])
    spread = np.std([fold.loss for fold in result.folds], ddof=1)
    assert half == pytest.approx(2.5706 * spread * np.sqrt(1 / 6 + share), rel=1e-4)


def test_further_metrics_are_those_of_the_fold() -> None:
    result = evaluate(recipe(metrics=["mae"]), 3, data=(X, X[:, 0] * 2 + X[:, 1]), lanes=3)
    assert set(result.metrics) == {"mae"} and result.metrics["mae"].mean > 0
    late = evaluate(recipe(metrics=["mae"], patience=3), 3, data=(X, X[:, 0] * 2 + X[:, 1]), lanes=3)
    assert late.metrics["mae"].mean != result.metrics["mae"].mean


def test_a_fold_that_diverges_is_named() -> None:
    wild = recipe(rule={"name": "sgd", "lr": 1e6}, model="mlp:8", loss="mse", epochs=2)
    with pytest.raises(ValueError, match="fold 1 of 3 diverged"):
        evaluate(wild, 3, data=(X, X[:, 0]), lanes=3)


# The evaluation saves at every point of measurement and is killed by itself at one of them.
KILLED = """
import os, signal
from ravine.training import checkpoint
checkpoint.due = lambda saved, saving: True
from ravine.evaluation import side
plain, count = side.Side._save, 0
def save(self, *given, **named):
    global count
    plain(self, *given, **named)
    count += 1
    if count == 5:
        os.kill(os.getpid(), signal.SIGKILL)
side.Side._save = save
from ravine.cli import main
main()
"""


LONG = recipe(
    problem="wine", noise=[{"name": "dropout", "drop": 0.2}], patience=14, epochs=16, plateau={"patience": 3}
)  # fmt: skip


def gone_on(folder: Path) -> Evaluating:
    """The evaluation that a folder holds, to its end."""
    running = Evaluating(LONG, 3, folder=folder)
    running.restore()
    for _ in running.run():
        pass
    return running


def test_a_killed_evaluation_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    LONG.save(tmp_path / "r.toml")
    words = "evaluate r.toml --folds 3 --json --lanes 3 --out killed"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_DATA_HOME": str(tmp_path / "data")}
    code = [sys.executable, "-c", KILLED, *words.split()]
    done = subprocess.run(code, cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert json.loads((tmp_path / "killed" / FILE).read_text())["folds"] == []
    running = gone_on(tmp_path / "killed")
    assert running.result == evaluate(LONG, 3, lanes=3)
    assert len(gone_on(tmp_path / "killed").done) == 3  # and once more: nothing is left to do


def test_ctrl_c_ends_an_evaluation_that_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    first = Evaluating(LONG, 3, folder=tmp_path, lanes=1, workers=1)
    for share in first.run():
        if share > 0.45:  # in the second fold
            os.kill(os.getpid(), signal.SIGINT)
    assert first.interrupted and len(first.done) == 1
    assert gone_on(tmp_path).result == evaluate(LONG, 3, lanes=1, workers=1)


def test_nested_races_may_choose_a_schedule() -> None:
    nested = Nested(budget=4, over={"lr": (1e-3, 1.0)}, schedules=("cosine", "constant"))
    result = evaluate(recipe(rule={"name": "sgd", "lr": 0.1}, epochs=2), 2, nested=nested, data=(X, Y), lanes=4)
    assert all("schedule=c" in fold.chosen for fold in result.folds)


class Branching(nn.Module):
    """Its path depends on the data, so that nothing can map it over lanes."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x) if float(x.sum()) < 1e9 else self.line(-x)


def test_what_cannot_share_a_program_says_so() -> None:
    running = Evaluating(recipe(model="own"), 3, data=(X, Y), model=Branching)
    for _ in running.run():
        pass
    assert "its path depends on the values of the data" in running.note and len(running.done) == 3
