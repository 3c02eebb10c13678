"""The store: what goes in comes out, exactly once, with many writers; what cannot be kept is said in one sentence."""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ravine.errors import UserError
from ravine.results import Cost, Interval, Point, RaceResult, RunResult, Standing
from ravine.store import Store, Training, default_path

CURVE = [
    Point(epoch=0, train_loss=None, valid_loss=2.3, metric=0.1),
    Point(epoch=1, train_loss=1 / 3, valid_loss=0.5, metric=0.9),
]
DIVERGED = [*CURVE[:1], Point(epoch=1, train_loss=math.inf, valid_loss=math.nan, metric=0.1)]


def a_run(id: str = "c000-s0", curve: list[Point] = CURVE, **hypers: float) -> RunResult:
    return RunResult(
        id=id, config=0, rule="adam", hypers=hypers or {"lr": 1e-3}, schedule="cosine", seed=0, stage="rung",
        status="finished", curve=curve, best_epoch=1, valid_loss=0.5, metric=0.9,
    )  # fmt: skip


def a_race(id: str = "race-digits-7f3a", runs: list[RunResult] | None = None, **changes: Any) -> RaceResult:
    mean = Interval(mean=0.5, low=0.5, high=0.5, values=[0.5])
    best = Standing(
        rank=1, tie=False, rule="adam", config=0, hypers={"lr": 1e-3}, schedule="cosine", finalist=False,
        valid_loss=mean, metric=mean, difference=None, default_loss=None, tuning=None, tuning_paid=None,
    )  # fmt: skip
    fields: dict[str, Any] = {
        "id": id, "created": "2026-11-21T03:00:00+00:00", "status": "finished", "command": "ravine race digits",
        "problem": "digits", "understood": ["1,797 images 8x8"], "task": "classification", "metric_name": "accuracy",
        "model": "mlp:128,128", "parameters": 26000, "epochs": 30.0, "batch": 64, "seeds": [0, 1],
        "rungs": [(64, 1.0), (21, 3.0)], "spaces": {"adam": {"lr": (1e-5, 0.1)}}, "notes": [],
        "runs": runs if runs is not None else [a_run()], "ranking": [best], "verdict": "Adam.",
        "winner": {"rule": "adam", "hypers": {"lr": 1e-3}},
        "cost": Cost(seconds=4.0, lane_steps=10, full_runs=2.5, plan="lanes together", plan_timings={"lanes": 1e-3}),
    }  # fmt: skip
    return RaceResult(**fields | changes)


def a_training(id: str = "run-digits-01") -> Training:
    return Training(
        id=id, created="2026-11-21T03:00:00+00:00", command="ravine train winner.toml", problem="digits",
        model="mlp:128,128", metric_name="accuracy", seconds=1.5, recipe={"rule": "adam", "epochs": 3}, result=a_run(),
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "ravine.db"


def rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


# --- What goes in comes out ------------------------------------------------------------------------------------------


def test_a_race_comes_back_as_it_was(path: Path) -> None:
    race = a_race(runs=[a_run(), a_run("c001-s0", lr=0.1 + 0.2, beta1=0.9)])
    with Store(f"sqlite:///{path}") as store:
        store.save_race(race)
    with Store(str(path)) as store:
        assert store.race(race.id) == race
        assert store.race("race-d") == race
        line = store.find("race-d")
    assert (line.kind, line.rule, line.runs, line.configurations, line.valid_loss) == ("race", "adam", 2, 1, 0.5)


def test_numbers_that_are_none_come_back_too(path: Path) -> None:
    with Store(str(path)) as store:
        store.save_race(a_race(runs=[a_run(curve=DIVERGED, lr=math.inf)]))
        run = store.race("race").runs[0]
    assert math.isnan(run.curve[1].valid_loss)
    assert run.curve[1].train_loss == math.inf == run.hypers["lr"]
    assert rows(path, "SELECT valid_loss, train_loss FROM points WHERE epoch = 1") == [(None, math.inf)]


def test_a_training_comes_back_with_its_recipe(path: Path) -> None:
    with Store(str(path)) as store:
        store.save_run(a_training())
        store.save_race(a_race())
        assert store.run("run-") == a_training()
        assert [line.id for line in store.runs()] == ["run-digits-01"]
        assert [line.id for line in store.races()] == ["race-digits-7f3a"]
        assert store.find("run").kind == "run"


def test_saving_again_replaces_and_doubles_nothing(path: Path) -> None:
    going = a_race(status="interrupted", runs=[a_run(curve=CURVE[:1], lr=0.1, beta1=0.9)])
    done = a_race(runs=[a_run(lr=0.1), a_run("c001-s0")])
    with Store(str(path)) as store:
        for race in (going, done, done):
            store.save_race(race)
        assert (store.race(done.id), [line.status for line in store.races()]) == (done, ["finished"])
    assert rows(path, "SELECT run, epoch FROM points ORDER BY 1, 2") == [
        (run, epoch) for run in ("c000-s0", "c001-s0") for epoch in (0, 1)
    ]
    assert rows(path, "SELECT run, name, value FROM hypers ORDER BY 1") == [
        ("c000-s0", "lr", 0.1),
        ("c001-s0", "lr", 1e-3),
    ]


def test_races_come_newest_first_and_as_many_as_asked(path: Path) -> None:
    with Store(str(path)) as store:
        for day in (2, 9, 5):
            store.save_race(a_race(f"race-{day}", created=f"2026-11-{day:02}T00:00:00+00:00"))
        assert [line.id for line in store.races()] == ["race-9", "race-5", "race-2"]
        assert [line.id for line in store.races(limit=1)] == ["race-9"]


def test_points_stream_in_while_racing_and_stay_when_the_race_is_saved_without_them(path: Path) -> None:
    many = [
        (f"c{run:03}-s0", Point(epoch=e, train_loss=1.0, valid_loss=2.0, metric=0.5))
        for run in range(64)
        for e in range(30)
    ]
    with Store(str(path)) as store:
        store.save_race(a_race(runs=[]))
        store.add_points("race-digits-7f3a", many)
        store.add_points("race-digits-7f3a", many[-40:])  # repeated after an interruption
        store.save_race(a_race(runs=[a_run()]))
    assert rows(path, "SELECT count(*) FROM points WHERE run <> 'c000-s0'") == [(63 * 30,)]
    assert rows(path, "SELECT count(*) FROM points WHERE run = 'c000-s0'") == [(2,)]


def test_numbers_are_columns_for_those_who_ask_in_sql(path: Path) -> None:
    with Store(str(path)) as store:
        store.save_race(a_race(runs=[a_run(lr=0.1), a_run("c001-s0", lr=0.2)]))
    query = """SELECT run, value FROM runs JOIN hypers USING (record, run)
               WHERE name = 'lr' AND valid_loss < 1 AND value > 0.15"""
    assert rows(path, query) == [("c001-s0", 0.2)]


HOSTILE = ["x'; DROP TABLE runs; --", 'a"b', "100%", "a_c", "é ✓ 数", "\\"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_a_name_whatever_it_holds(path: Path, name: str) -> None:
    with Store(str(path)) as store:
        store.save_race(a_race("race-other"))
        store.save_race(a_race(name, problem=name, runs=[a_run(name, CURVE, **{name: 1.0})]))
        assert store.race(name).problem == name
        frame = pl.read_parquet(store.export(name, path.parent / "x.parquet"))
        assert frame[name].to_list() == [1.0, 1.0] and frame["run"].to_list() == [name] * 2
        with pytest.raises(UserError):
            store.race("%")
        assert len(store.races()) == 2


# --- Export ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "read"), [(".csv", pl.read_csv), (".parquet", pl.read_parquet), (".CSV", pl.read_csv)]
)
def test_export_has_a_row_a_point_with_rule_and_hyperparameters(
    path: Path, ending: str, read: Callable[[Path], pl.DataFrame]
) -> None:
    runs = [a_run("c000-s0", lr=0.1), a_run("c001-s0", curve=DIVERGED, lr=0.2, beta1=0.9, epoch=7.0)]
    target = path.parent / "not yet" / f"curves{ending}"
    with Store(str(path)) as store:
        store.save_race(a_race(runs=runs))
        store.export("race-d", target)
        assert store.export("race-d", target) == target  # over the file of before
    table = read(target)
    assert table.columns == [
        "record", "run", "rule", "schedule", "stage", "status", "reason", "config", "seed", "rung",
        "beta1", "hyper_epoch", "lr", "epoch", "train_loss", "valid_loss", "metric",
    ]  # fmt: skip
    assert table["lr"].to_list() == [0.1, 0.1, 0.2, 0.2]
    assert table["beta1"].to_list() == [None, None, 0.9, 0.9]
    assert table["train_loss"].to_list() == [None, 1 / 3, None, math.inf]
    assert table["valid_loss"].to_list() == [2.3, 0.5, 2.3, None]
    assert sorted(file.name for file in target.parent.iterdir()) == [target.name]  # no temporary file stays


def test_a_race_that_was_cut_off_still_exports_its_points(path: Path) -> None:
    with Store(str(path)) as store:
        store.save_race(a_race(runs=[]))
        store.add_points("race-digits-7f3a", [("c000-s0", CURVE[1])])
        table = pl.read_csv(store.export("race", path.parent / "x.csv"))
    assert table["valid_loss"].to_list() == [0.5]


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("curves.xlsx", "the file must end in .csv or .parquet"),
        ("folder.csv", "this is a folder; give the name of a file"),
        ("/proc/curves.csv", "choose another file"),
    ],
)
def test_export_says_why_it_cannot(tmp_path: Path, target: str, sentence: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with Store(str(tmp_path / "ravine.db")) as store:
        store.save_race(a_race())
        with pytest.raises(UserError, match=r"^export to ") as told:
            store.export("race", tmp_path / target)
    assert sentence in str(told.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder.csv", "ravine.db"]


# --- What is not there -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda s: s.race("race-digits-7f3b"), "unknown race 'race-digits-7f3b': did you mean 'race-digits-7f3a'?"),
        (lambda s: s.race("zzz"), "unknown race 'zzz': choose one of race-digits-7f3a, race-digits-8888"),
        (lambda s: s.race(""), "unknown race ''"),
        (lambda s: s.race("race-d"), "race 'race-d' may be race-digits-7f3a, race-digits-8888: give more of its id"),
        (lambda s: s.run("race-digits-7f3a"), "unknown run 'race-digits-7f3a': the store"),
        (lambda s: s.find("nothing"), "unknown race, run or ensemble 'nothing'"),
        (lambda s: s.export("nothing", "x.csv"), "unknown race, run or ensemble 'nothing'"),
        (lambda s: s.add_points("nothing", [("c0", CURVE[0])]), "no race 'nothing' to add points to"),
    ],
)
def test_an_id_that_is_not_there(path: Path, ask: Callable[[Store], object], sentence: str) -> None:
    with Store(str(path)) as store:
        store.save_race(a_race())
        store.save_race(a_race("race-digits-8888"))
        with pytest.raises(UserError) as told:
            ask(store)
    assert sentence in str(told.value) and "\n" not in str(told.value)


def test_the_users_own_store_lies_where_xdg_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    Store.open().close()
    assert default_path() == tmp_path / "ravine" / "ravine.db" and default_path().is_file()


def test_importing_the_store_brings_neither_torch_nor_polars() -> None:
    code = "import json, sys, ravine.store; print(json.dumps([m for m in ('torch', 'polars') if m in sys.modules]))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == []
