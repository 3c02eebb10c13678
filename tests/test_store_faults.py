"""The store under stress: files that are not ours, locks, full disks, kills, and four writers at once."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from ravine.errors import UserError
from ravine.results import Cost, Point, RaceResult, RunResult
from ravine.store import Store


def a_race(id: str = "race-digits-7f3a", points: int = 2, verdict: str = "Adam.") -> RaceResult:
    """A race of one run with a curve of so many points."""
    run = RunResult(
        id="c000-s0", config=0, rule="adam", hypers={"lr": 1e-3}, schedule="cosine", seed=0, stage="rung",
        status="finished", best_epoch=1, valid_loss=0.5, metric=0.9,
        curve=[Point(epoch=epoch, train_loss=0.4, valid_loss=0.5, metric=0.9) for epoch in range(points)],
    )  # fmt: skip
    return RaceResult(
        id=id, created="2026-11-21T03:00:00+00:00", status="finished", command="ravine race digits", problem="digits",
        understood=[], task="classification", metric_name="accuracy", model="mlp:128,128", parameters=26000,
        epochs=30.0, batch=64, seeds=[0], rungs=[(64, 1.0)], spaces={}, notes=[], runs=[run], ranking=[],
        verdict=verdict, cost=Cost(seconds=4.0, lane_steps=10, full_runs=2.5, plan="lanes together", plan_timings={}),
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "ravine.db"


def rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


# --- What cannot be opened or written --------------------------------------------------------------------------------


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")


def of_version(version: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        Store(str(path)).close()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version = {version}")

    return make


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path.write_text("epoch,loss\n1,2\n"), "it is not a database; give --store another file"),
        (lambda path: path.write_bytes(b"SQLite format 3\x00" + b"\x07" * 5000), "it is not a database"),
        (lambda path: path.mkdir(), "is a directory; give --store another file"),
        (foreign, "a database of another program; give --store another file"),
        (of_version(2), "made by a newer ravine (version 2 of the tables, this one reads 1); use --store for another"),
        (of_version(0), "made by an older ravine (version 0"),
    ],
)
def test_a_file_that_is_not_our_store_is_told_and_not_touched(
    tmp_path: Path, make: Callable[[Path], object], sentence: str
) -> None:
    path = tmp_path / "some.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(UserError) as told:
        Store(str(path))
    assert str(told.value).startswith(f"store {path}: ") and sentence in str(told.value)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://me:secret@host/db", "store mysql://me:***@host/db: mysql is not supported; use SQLite"),
        ("://", "not a database URL"),
        ("postgresql://me:secret@host:port/db", "store 'me:***@host:port/db': not a database URL"),
        ("postgresql+pg8000://me:secret@host/db", "store postgresql+pg8000://me:***@host/db: the driver"),
        ("postgresql+nodriver://host/db", "nodriver"),
        ("/proc/nowhere/ravine.db", "give --store another file"),
    ],
)
def test_a_url_that_leads_nowhere(url: str, sentence: str) -> None:
    with pytest.raises(UserError) as told:
        Store(url)
    assert sentence in str(told.value) and "\n" not in str(told.value) and "secret" not in str(told.value)


@pytest.mark.parametrize("hold", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_store_that_another_program_holds(path: Path, hold: str) -> None:
    with Store(str(path), timeout=0.05) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        store.save_race(a_race())
        other.execute(hold)
        with pytest.raises(UserError, match=r"another program has held it locked for over 0\.05 s; close that program"):
            store.save_race(a_race("race-2"))
        assert store.race("race").id == "race-digits-7f3a"  # readers do not wait
        other.execute("ROLLBACK")
        store.save_race(a_race("race-2"))


def test_a_store_that_is_held_for_itself_alone_cannot_even_be_opened(path: Path) -> None:
    Store(str(path)).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match="locked"):
            Store(str(path), timeout=0.05)


def test_a_new_store_that_another_program_holds(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match="locked"):
            Store(str(path), timeout=0.05)


def test_a_store_that_may_only_be_read_is_read(path: Path) -> None:
    with Store(str(path)) as store:
        store.save_race(a_race())
    with Store(f"sqlite:///file:{path}?mode=ro&uri=true") as store:
        assert store.race("race") == a_race()
        with pytest.raises(UserError, match="it cannot be written; change its permissions"):
            store.save_race(a_race())


@contextmanager
def pages(limit: int) -> Generator[None]:
    """Every new connection finds a disk with room for so many pages."""

    def full(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {limit}")

    event.listen(Engine, "connect", full)
    try:
        yield
    finally:
        event.remove(Engine, "connect", full)


def test_a_full_disk_loses_nothing_that_was_kept(path: Path) -> None:
    with Store(str(path)) as store:
        store.save_race(a_race())
    big = a_race(verdict="new", points=5000)
    with pages(30), Store(str(path)) as store, pytest.raises(UserError, match="the disk is full; free some space"):
        store.save_race(big)
    with Store(str(path)) as store:
        assert store.race("race") == a_race()
        store.save_race(big)
        assert store.race("race") == big
    with pages(2), pytest.raises(UserError, match="the disk is full"):
        Store(str(path.parent / "second.db"))
    with Store(str(path.parent / "second.db")) as store:  # what was half made is no obstacle
        assert store.races() == []


def test_what_is_acknowledged_is_on_the_disk(path: Path) -> None:
    seen: list[Any] = []

    def watch(connection: Any, _record: Any) -> None:
        seen.append(connection)

    event.listen(Engine, "connect", watch)
    with Store(str(path)):
        facts = [seen[-1].execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    event.remove(Engine, "connect", watch)
    assert facts == ["wal", 2]  # 2 is FULL


# --- Many at once ----------------------------------------------------------------------------------------------------

WRITER = """
import sys
from ravine.results import Point, RaceResult
from ravine.store import Store
path, me, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
race = RaceResult.model_validate_json(sys.stdin.read()).model_copy(update={"id": f"race-{me}"})
with Store(path) as store:
    store.save_race(race)
    for i in range(rounds):
        made = [(f"c{k}", Point(epoch=i, train_loss=1.0, valid_loss=2.0, metric=0.5)) for k in range(8)]
        store.add_points(race.id, made)
        store.save_race(race.model_copy(update={"verdict": str(i)}))
        store.races()
        print(i, flush=True)
"""


def writer(path: Path, me: int, rounds: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(me), str(rounds)]
    started = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert started.stdin
    started.stdin.write(a_race().model_dump_json())
    started.stdin.close()
    started.stdin = None
    return started


def test_four_races_at_once_lose_nothing_and_never_see_a_lock(path: Path) -> None:
    writers = [writer(path, me, 40) for me in range(4)]  # none finds the file there: they make it together
    for each in writers:
        _, told = each.communicate()
        assert (each.returncode, told) == (0, "")
    found = rows(path, "SELECT record, count(*), count(DISTINCT run || ':' || epoch) FROM points GROUP BY record")
    assert found == [(f"race-{me}", 8 * 40 + 2, 8 * 40 + 2) for me in range(4)]
    with Store(str(path)) as store:
        assert {line.verdict for line in store.races()} == {"39"} and len(store.races()) == 4
    assert rows(path, "PRAGMA integrity_check") == [("ok",)] and rows(path, "PRAGMA foreign_key_check") == []


def test_a_killed_race_keeps_all_that_was_acknowledged(path: Path) -> None:
    doomed = writer(path, 0, 10**6)
    assert doomed.stdout
    seen = [int(doomed.stdout.readline()) for _ in range(20)]
    doomed.send_signal(signal.SIGKILL)
    rest, _ = doomed.communicate()
    last = int(rest.split("\n")[-2]) if "\n" in rest else seen[-1]
    with Store(str(path)) as store:
        assert int(store.race("race-0").verdict) >= last
    assert rows(path, f"SELECT count(*) FROM points WHERE run <> 'c000-s0' AND epoch <= {last}") == [(8 * (last + 1),)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
