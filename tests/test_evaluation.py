"""k-fold and nested evaluation: each sample held out once, nothing of it learnt before, and what choosing hides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ravine.cli import app
from ravine.errors import UserError
from ravine.evaluation import FILE, Evaluating, Nested, evaluate, over_folds
from ravine.problems import from_anything, load
from ravine.problems.split import Fold, folds
from ravine.racing.statistics import interval
from ravine.recipe import Recipe

RECIPE = Recipe(problem="made", model="softmax", epochs=3, batch=16, rule={"name": "sgd", "lr": 0.1})
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(3, [1, 5, 0.1], (96, 3))
Y = (X[:, 0] > 3.5).astype(np.int64)


def test_r20_each_of_800_examples_lies_in_exactly_one_of_four_folds_of_200() -> None:
    x, y = RANDOM.normal(size=(800, 2)), np.repeat([0, 1, 1, 2], 200)
    problems = [from_anything((x, y), split_seed=Fold(7, place, 4)) for place in range(4)]
    held = [problem.test.ids for problem in problems]
    assert all(ids is not None and len(ids) == 200 for ids in held)
    assert sorted(int(i) for ids in held if ids is not None for i in ids) == list(range(800))
    for problem in problems:
        assert len(problem.train) == 600 and torch.bincount(problem.test.y).tolist() == [50, 100, 50]
        assert problem.train.ids is not None and problem.test.ids is not None
        assert not set(problem.train.ids.tolist()) & set(problem.test.ids.tolist())
    numbers = folds(800, None, 4, 7)
    assert torch.bincount(numbers).tolist() == [200] * 4 and not torch.equal(numbers, folds(800, None, 4, 8))


def test_nothing_of_a_fold_is_learnt_before_it_tests() -> None:
    for place in range(3):
        problem = from_anything((X, Y), split_seed=Fold(0, place, 3))
        assert problem.train.ids is not None and problem.inputs is not None
        assert problem.inputs.shift.numpy()[0] == pytest.approx(X[problem.train.ids.numpy()].mean(0), rel=1e-12)
        inner = from_anything((X, Y), split_seed=Fold(0, place, 3, inner=True))
        parts = [set(part.ids.tolist()) for part in (inner.train, inner.valid, inner.test) if part.ids is not None]
        assert [len(part) for part in parts] == [51, 13, 32] and len(set.union(*parts)) == 96
        assert inner.test.ids is not None and problem.test.ids is not None
        assert inner.test.ids.equal(problem.test.ids)


def test_the_estimate_is_what_each_fold_measures_by_hand() -> None:
    result = evaluate(RECIPE, 3, data=(X, Y), lanes=3)
    assert [fold.test for fold in result.folds] == [32, 32, 32] and {fold.train for fold in result.folds} == {64}
    assert result.gap is None and result.metric_name == "accuracy"
    assert result.metric.mean == pytest.approx(np.mean([fold.metric for fold in result.folds]))
    assert 0.6 < result.metric.mean <= 1
    again = evaluate(RECIPE, 3, data=(X, Y), lanes=3)
    assert again == result
    patient = evaluate(RECIPE.model_copy(update={"patience": 2}), 3, data=(X, Y))
    assert {fold.train for fold in patient.folds} == {51}  # what stops a run must not be what it is measured by


def test_the_interval_over_folds_is_wider_than_that_of_independent_numbers() -> None:
    numbers = [0.5, 0.7, 0.6, 0.9]
    plain, wide = interval(numbers), over_folds(numbers, 0.25)
    assert over_folds(numbers, 0.0).low == pytest.approx(plain.low)
    assert (wide.high - wide.mean) / (plain.high - plain.mean) == pytest.approx(np.sqrt(1 + 4 * 0.25))


def test_r20_choosing_makes_an_estimate_look_better_than_it_is() -> None:
    noise = np.random.default_rng(3)
    x, y = noise.normal(size=(72, 6)), noise.integers(0, 2, 72)  # nothing to learn: whatever is better is chance
    result = evaluate(RECIPE, 3, nested=Nested(budget=8, over={"lr": (1e-3, 3.0)}), data=(x, y))
    assert result.gap is not None and result.gap.mean > 0.02
    assert all(fold.inner is not None and fold.inner < fold.loss for fold in result.folds)
    assert all(fold.chosen.startswith("sgd lr=") for fold in result.folds)


def test_what_is_done_is_kept_and_goes_on(tmp_path: Path) -> None:
    whole = evaluate(RECIPE, 3, data=(X, Y), lanes=1, workers=1)
    first = Evaluating(RECIPE, 3, data=(X, Y), folder=tmp_path, lanes=1, workers=1)
    going = first.run()
    while not first.done:
        next(going)
    going.close()
    second = Evaluating(RECIPE, 3, data=(X, Y), folder=tmp_path)
    second.restore()
    assert len(second.done) == 1
    for _ in second.run():
        pass
    assert len(second.done) == 3 and second.result == whole
    other = Evaluating(RECIPE, 4, data=(X, Y), folder=tmp_path)
    with pytest.raises(UserError, match="is of another recipe or other folds"):
        other.restore()
    (tmp_path / FILE).write_text("{")
    with pytest.raises(UserError, match="holds no evaluation"):
        other.restore()


def test_a_race_within_a_fold_goes_on_where_it_was(tmp_path: Path) -> None:
    how: dict[str, Any] = {"nested": Nested(budget=4, over={"lr": (1e-3, 3.0)}), "data": (X, Y), "lanes": 4}
    whole = evaluate(RECIPE, 2, **how)
    first = Evaluating(RECIPE, 2, folder=tmp_path, **how)
    going = first.run()
    while not (tmp_path / "race-1-2" / "checkpoints").exists():
        next(going)
    going.close()
    second = Evaluating(RECIPE, 2, folder=tmp_path, **how)
    second.restore()
    assert len(second.done) == 1
    for _ in second.run():
        pass
    assert second.result == whole and not list(tmp_path.glob("race-*"))


def test_small_classes_and_official_test_parts_are_said() -> None:
    y = np.array([0] * 60 + [1] * 34 + [2] * 2)
    problem = from_anything((X, y, X[:9], np.zeros(9, int)), split_seed=Fold(0, 0, 4))
    assert any("'2' has only 2 samples" in words for words in problem.understood)
    assert any("its own test part left out" in words for words in problem.understood)
    assert len(problem.train) + len(problem.test) == 96


def test_mistakes_are_one_sentence() -> None:
    for count, sentence in ((1, "folds must be 2 or more"), (97, "97 folds of 96 samples would leave some empty")):
        with pytest.raises(UserError, match=sentence):
            evaluate(RECIPE, count, data=(X, Y))
    with pytest.raises(UserError, match="wine comes with its parts"):
        evaluate(RECIPE, 3, data=load("wine"))
    with pytest.raises(UserError, match="patience has no place in the races"):
        evaluate(RECIPE.model_copy(update={"patience": 2}), 3, nested=Nested(), data=(X, Y))
    with pytest.raises(UserError, match="lbfgs has nothing to choose"):
        evaluate(RECIPE.model_copy(update={"rule": {"name": "lbfgs"}}), 3, nested=Nested(), data=(X, Y))
    with pytest.raises(UserError, match="repeats must be 1 or more"):
        evaluate(RECIPE, 3, data=(X, Y), repeats=0)
    with pytest.raises(UserError, match="batch 70 is more than the 64 samples"):
        evaluate(RECIPE.model_copy(update={"batch": 70}), 3, data=(X, Y))


def test_the_command_prints_the_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    RECIPE.model_copy(update={"problem": "wine"}).save("r.toml")
    run = CliRunner().invoke(app, ["evaluate", "r.toml", "--folds", "2", "--json", "--out", "folds"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout)
    assert len(found["folds"]) == 2 and 0 < found["accuracy"]["mean"] <= 1 and found["gap"] is None
    assert (tmp_path / "folds" / FILE).exists()
