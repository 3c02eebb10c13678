"""What a race writes at its stages: what is new and nothing else, whoever else has written in between."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from ravine.results import Point
from ravine.store import Store
from tests.test_store import a_race, a_run, rows


def points(count: int, loss: float = 0.5) -> list[Point]:
    return [Point(epoch=epoch, train_loss=None, valid_loss=loss, metric=0.9) for epoch in range(count)]


@contextmanager
def written() -> Generator[Counter[tuple[str, str]]]:
    """How many rows were put into each table, and taken out of it."""
    seen: Counter[tuple[str, str]] = Counter()

    def watch(_c: Any, _k: Any, statement: str, given: Any, _x: Any, many: bool) -> None:
        verb, _, table, *_ = [*statement.split(), "", "", ""]
        if verb in ("INSERT", "DELETE"):
            seen[verb.lower(), table] += len(given) if many else 1

    event.listen(Engine, "before_cursor_execute", watch)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", watch)


def test_a_stage_writes_what_is_new_and_nothing_else(tmp_path: Path) -> None:
    stages = [[a_run(curve=points(3)), a_run("c001-s0", curve=points(2))], [a_run(curve=points(5))]]
    stages[1].append(stages[0][1])
    with Store(str(tmp_path / "s.db")) as store:
        told: list[Counter[tuple[str, str]]] = []
        for runs in (*stages, stages[1]):
            with written() as seen:
                store.save_race(a_race(runs=runs))
            told.append(seen)
        assert store.race("race") == a_race(runs=stages[1])
    record = {("insert", "records"): 1}
    assert told == [
        record | {("insert", "runs"): 2, ("insert", "hypers"): 2, ("insert", "points"): 5},
        record | {("insert", "points"): 2},
        record,
    ]


MEANWHILE: dict[str, Callable[[Store], None]] = {
    "other values": lambda other: other.save_race(a_race(runs=[a_run(curve=points(4, 9.0), lr=3.0)])),
    "fewer points": lambda other: other.save_race(a_race(runs=[a_run(curve=points(1), lr=0.1)])),
    "more of all": lambda other: other.save_race(a_race(runs=[a_run(curve=points(9), lr=0.1, eps=1.0)])),
    "a point added": lambda other: other.add_points("race-digits-7f3a", [("c000-s0", points(1, 9.0)[0])]),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE.values(), ids=MEANWHILE)
def test_what_another_wrote_meanwhile_does_not_stay(tmp_path: Path, meanwhile: Callable[[Store], None]) -> None:
    path = tmp_path / "s.db"
    race = a_race(runs=[a_run(curve=points(4), lr=0.1)])
    with Store(str(path)) as store, Store(str(path)) as other:
        store.save_race(race)
        meanwhile(other)
        store.save_race(race)
    assert rows(path, "SELECT epoch, valid_loss FROM points ORDER BY 1") == [(float(e), 0.5) for e in range(4)]
    assert rows(path, "SELECT name, value FROM hypers") == [("lr", 0.1)]


def test_a_run_that_is_done_is_put_over_the_one_that_went_on(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    going = a_run().model_copy(update={"status": "stopped", "metric": None, "valid_loss": math.nan})
    with Store(str(path)) as store:
        store.save_race(a_race(runs=[going]))
        assert rows(path, "SELECT status, metric, valid_loss FROM runs") == [("stopped", None, None)]
        store.save_race(a_race())
    assert rows(path, "SELECT status, metric, valid_loss FROM runs") == [("finished", 0.9, 0.5)]
