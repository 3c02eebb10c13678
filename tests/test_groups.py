"""Grouped splits: no group in two parts, classes spread, folds and streams too, and a warning where they are missed."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from ravine.api import prepare
from ravine.cli import app
from ravine.errors import UserError
from ravine.evaluation import evaluate
from ravine.linting import lint_recipe
from ravine.problems import large_table
from ravine.problems.groups import Groups, grouped_folds
from ravine.problems.problem import Problem
from ravine.problems.split import Fold
from ravine.recipe import Recipe

DRAW = np.random.default_rng(4)
PATIENTS = np.repeat([f"p{i:02}" for i in range(30)], DRAW.integers(4, 16, 30))
ROWS = len(PATIENTS)
# What is to be told is a matter of the patient: whoever has seen a patient knows the answer.
SICK = {name: int(DRAW.random() < 0.4) for name in dict.fromkeys(PATIENTS.tolist())}
MARK = {name: DRAW.normal() for name in SICK}
FRAME = pl.DataFrame(
    {
        "patient": PATIENTS,
        "mark": [MARK[name] + DRAW.normal(0, 0.01) for name in PATIENTS.tolist()],
        "age": DRAW.normal(50, 9, ROWS),
        "sick": [SICK[name] for name in PATIENTS.tolist()],
    }
)


@pytest.fixture
def csv(tmp_path: Path) -> str:
    FRAME.write_csv(tmp_path / "ward.csv")
    return str(tmp_path / "ward.csv")


def recipe(problem: str, **changes: Any) -> Recipe:
    base: dict[str, Any] = {"problem": problem, "target": "sick", "groups": "patient", "model": "mlp:32", "epochs": 30}
    return Recipe.model_validate({**base, "batch": 16, "rule": {"name": "adam", "lr": 0.01}, **changes})


def groups_in(problem: Problem) -> list[set[str]]:
    """The patients of each part, by the places of its rows in the file."""
    parts = (problem.train, problem.valid, problem.test)
    return [set(PATIENTS[part.ids.numpy()]) for part in parts if part.ids is not None]


def made(made_of: Recipe, draw: int | Fold = 0) -> Problem:
    return prepare(made_of.problem, made_of.target, draw, made_of.loss, None, made_of)


@pytest.mark.parametrize("target", ["sick", "age", "sick,age"])
def test_no_group_lies_in_two_parts(csv: str, target: str) -> None:
    seen: set[frozenset[str]] = set()
    for seed in range(6):
        problem = made(recipe(csv, target=target), seed)
        parts = groups_in(problem)
        assert not any(one & other for one, other in combinations(parts, 2))
        assert sorted(set.union(*parts)) == sorted(SICK)
        assert problem.shape == (3 - len(target.split(",")),)  # neither the targets nor the groups are inputs
        sizes = [len(part) / ROWS for part in (problem.train, problem.valid, problem.test)]
        assert sizes == pytest.approx([0.6, 0.2, 0.2], abs=0.06)
        seen.add(frozenset(parts[2]))
    assert len(seen) == 6  # the seed draws


def test_classes_are_spread_over_the_parts(csv: str) -> None:
    for seed in range(5):
        problem = made(recipe(csv), seed)
        shares = [float(part.y.double().mean()) for part in (problem.train, problem.valid, problem.test)]
        assert shares == pytest.approx([float(np.mean(FRAME["sick"].to_numpy()))] * 3, abs=0.12)


@pytest.mark.parametrize("inner", [False, True])
def test_each_group_is_held_out_in_exactly_one_fold(csv: str, inner: bool) -> None:
    held: list[str] = []
    for place in range(5):
        train, valid, test = groups_in(made(recipe(csv), Fold(3, place, 5, inner)))
        assert not train & test and not train & valid and (valid == test) != inner
        held += sorted(test)
    assert sorted(held) == sorted(SICK)


def test_folds_of_groups_are_near_to_equal_in_samples_and_classes() -> None:
    draw = torch.Generator().manual_seed(0)
    of = torch.randint(0, 60, (900,), generator=draw)
    labels = torch.randint(0, 3, (900,), generator=draw)
    groups = Groups("g", of, tuple(map(str, range(60))))
    fold = grouped_folds(groups, torch.arange(900), labels, 5, 0, "test")
    counts = torch.stack([torch.bincount(labels[fold == place], minlength=3) for place in range(5)])
    assert int(counts.sum()) == 900 and float((counts - counts.double().mean(0)).abs().max()) < 15
    assert all(len(torch.unique(fold[of == group])) == 1 for group in range(60))


def test_dividing_groups_looks_far_better_than_it_is(csv: str) -> None:
    blind = evaluate(recipe(csv, groups=None), 3, lanes=3).metric.mean  # rows of a patient in both parts
    honest = evaluate(recipe(csv), 3, lanes=3).metric.mean
    assert blind > 0.85 and honest < blind - 0.15


def test_a_streamed_table_has_the_same_parts(tmp_path: Path, csv: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_table.platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache"))
    FRAME.write_parquet(tmp_path / "ward.parquet")
    streamed = made(recipe(str(tmp_path / "ward.parquet"), stream=True))
    plain = made(recipe(csv))
    assert streamed.train.streamed and groups_in(streamed) == groups_in(plain)
    assert streamed.shape == plain.shape


def test_a_frame_is_split_by_groups_too() -> None:
    wanted = recipe("ward")
    problem = prepare((FRAME, "sick"), None, 0, "auto", None, wanted)
    assert not groups_in(problem)[0] & groups_in(problem)[2]
    with pytest.raises(UserError, match="groups patient is a column of a CSV or Parquet file, but a tuple is neither"):
        prepare((np.zeros((30, 2)), np.arange(30) % 2), None, 0, "auto", None, wanted)


def test_the_linter_sees_a_column_that_looks_like_groups(csv: str) -> None:
    def kinds(wanted: Recipe) -> list[str]:
        return [finding.kind for finding in lint_recipe(wanted, made(wanted))]

    assert "groups-divided" in kinds(recipe(csv, groups=None))
    assert "groups-divided" not in kinds(recipe(csv))


@pytest.mark.parametrize(
    ("column", "values", "warned"),
    [
        ("user_id", [i % 20 for i in range(100)], True),
        ("userId", [f"u{i % 20}" for i in range(100)], True),
        ("id", list(range(100)), False),  # numbers the rows
        ("group", [i % 3 for i in range(100)], False),  # three are a category
        ("width", [i % 20 for i in range(100)], False),
        ("subject", [i % 20 + 0.5 for i in range(100)], False),
    ],
)
def test_what_looks_like_groups(column: str, values: list[Any], warned: bool) -> None:
    frame = pl.DataFrame({column: values, "a": np.arange(100.0), "y": [i % 2 for i in range(100)]})
    assert prepare((frame, "y")).looks_grouped == ((column,) if warned else ())


def test_the_commands_take_groups(csv: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = f"sqlite:///{tmp_path / 's.db'}"
    small = "--rules adam,sgd --budget 4 --epochs 2 --seeds 2 --no-baselines"
    words = f"race {csv} --target sick --groups patient {small} --store {store}"
    run = CliRunner().invoke(app, words.split())
    assert run.exit_code == 0, run.output
    (winner,) = tmp_path.glob("race-*/winner.toml")
    assert 'groups = "patient"' in winner.read_text()
    recipe(csv, groups=None, epochs=2).save("r.toml")
    run = CliRunner().invoke(app, ["train", "r.toml", "--groups", "patient", "--out", "mine", "--store", store])
    assert run.exit_code == 0, run.output
    assert 'groups = "patient"' in (tmp_path / "mine" / "recipe.toml").read_text()
    run = CliRunner().invoke(app, ["evaluate", "r.toml", "--groups", "patient", "--folds", "3"])
    assert run.exit_code == 0, run.output
    run = CliRunner().invoke(app, ["recipe", "explain", "mine/recipe.toml"])
    assert "groups of one patient never divided" in " ".join(run.output.split())
