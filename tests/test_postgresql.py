"""The store on a real PostgreSQL server: contention, connections that are killed, a server that restarts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import nan
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, select, text

from ravine.bench.faults import server as campaign
from ravine.bench.faults.postgres import BINARIES, Server, asked, kill_others, serving
from ravine.errors import UserError
from ravine.results import Point
from ravine.store import Store, rows, tables
from ravine.store.leases import Leases, Stale
from ravine.store.put import put
from tests.test_store_faults import a_race

pytest.importorskip("psycopg", reason="the extra postgres is not installed")
pytestmark = pytest.mark.skipif(not BINARIES, reason="no PostgreSQL server is installed (Debian: postgresql)")


@pytest.fixture(scope="module")
def server() -> Generator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def url(server: Server) -> str:
    name = f"d{time.monotonic_ns()}"
    engine = create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.url.replace("/postgres?", f"/{name}?")


def points(count: int, runs: int = 4) -> list[tuple[str, Point]]:
    return [(f"c{i % runs}", Point(epoch=i, train_loss=1.0, valid_loss=2.0, metric=0.5)) for i in range(count)]


def stored(url: str, table: str = "points") -> int:
    return int(asked(url, f"SELECT count(*) FROM {table}"))


def test_every_operation_gives_back_what_was_kept(url: str, tmp_path: Path) -> None:
    with Store(url) as store:
        store.save_race(a_race())
        store.save_race(a_race(verdict="new"))
        store.add_points("race-digits-7f3a", points(5))
        assert [line.verdict for line in store.races()] == ["new"] and store.runs() == []
        assert store.race("race-d") == a_race(verdict="new") and store.find("race").kind == "race"
        assert len(store.export("race", tmp_path / "c.csv").read_text().splitlines()) == 1 + 2 + 5
        with pytest.raises(UserError, match="no race 'none' to add points to"):
            store.add_points("none", points(1))
        with pytest.raises(UserError, match="unknown race 'rase'"):
            store.race("rase")
    with Store(url) as again:
        assert again.race("race") == a_race(verdict="new")


def test_four_that_make_the_store_at_once_and_write_lose_nothing(url: str) -> None:
    def writer(me: int) -> None:
        with Store(url) as store:
            store.save_race(a_race(f"race-{me}"))
            for i in range(10):
                store.add_points(f"race-{me}", points(4 * i))
                store.save_race(a_race(f"race-{me}", verdict=str(i)))
                store.save_race(a_race("race-common", verdict=str(me)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(writer, range(4)))
    with Store(url) as store:
        assert {line.verdict for line in store.races() if line.id != "race-common"} == {"9"}
    assert stored(url) == 4 * (36 + 2) + 2


def test_a_connection_killed_in_a_transaction_keeps_each_row_once(url: str) -> None:
    with Store(url) as store:
        store.save_race(a_race())
        attempts: list[int] = []

        def change(connection: Connection) -> None:
            attempts.append(1)
            put(connection, tables.points, list(rows.point_rows("race-digits-7f3a", points(50))))
            if len(attempts) == 1:
                assert kill_others(url) == 1  # this one, its rows written and not yet kept

        store.write(change)
        assert len(attempts) == 2 and stored(url) == 50 + 2


def test_kills_while_it_writes_lose_and_double_nothing(url: str) -> None:
    done = threading.Event()
    killed: list[int] = []

    def killer() -> None:
        while not done.wait(0.03):
            killed.append(kill_others(url))

    with Store(url) as store:
        store.save_race(a_race())
        leases = Leases(store)
        thread = threading.Thread(target=killer)
        thread.start()
        try:
            for i in range(60):
                store.add_points("race-digits-7f3a", [(f"c{i}", Point(epoch=1, train_loss=1, valid_loss=1, metric=1))])
                leases.publish("race", {f"{i:02}": b""})
        finally:
            done.set()
            thread.join()
        assert sum(killed) > 0
        assert stored(url) == 60 + 2 and stored(url, "work") == 60


def test_a_server_that_restarts_is_found_again(server: Server, url: str) -> None:
    with Store(url) as store:
        leases = Leases(store, 600.0)
        store.save_race(a_race())
        leases.publish("race", {"a": b"0"})
        taken = leases.take("race", "one")
        assert taken is not None
        server.stop()
        with pytest.raises(UserError, match=r"store postgresql://ravine.*: the server cannot be reached"):
            Store(url)
        back = threading.Timer(1.0, server.start)
        back.start()
        store.save_race(a_race(verdict="after"))  # or a sentence, after 30 s
        back.join()
        leases.finish(taken[0], b"done")
        assert store.race("race").verdict == "after" and stored(url) == 2 and leases.states("race") == {"a": "done"}


def test_leases_are_fenced_there_too(url: str) -> None:
    with Store(url) as store, Store(url) as other:
        leases, others = Leases(store, 0.2), Leases(other, 0.2)
        leases.publish("race", {"a": b"0"})
        first = leases.take("race", "one")
        assert first is not None and others.take("race", "two") is None
        while (second := others.take("race", "two")) is None:
            time.sleep(0.05)
        refused: list[Callable[[], None]] = [
            lambda: leases.finish(first[0], b"x"),
            lambda: store.save_race(a_race(), leases.guard(first[0])),
        ]
        for write in refused:
            with pytest.raises(Stale):
                write()
        others.finish(second[0], b"1")
        assert store.races() == [] and leases.content("race", "a") == b"1"


def test_a_point_that_is_given_twice_is_the_last_one(url: str) -> None:
    with Store(url) as store:
        store.save_race(a_race())
        twice = [("c9", Point(epoch=1, train_loss=None, valid_loss=loss, metric=0.5)) for loss in (1.0, 2.0)]
        store.add_points("race-digits-7f3a", [*twice, ("c8", twice[0][1])])
        assert stored(url, "points WHERE run = 'c9' AND valid_loss = 2") == stored(url, "points WHERE run = 'c9'") == 1
        names = ["x'; --", '{a,"b"}', "NULL", "\\", "é ✓", ""]  # what an array of text could mistake
        store.add_points("race-digits-7f3a", [(name, twice[0][1]) for name in names])
        known = [tuple(row) for row in store.read(lambda c: c.execute(select(tables.points.c.run)).all())]
        assert {(name,) for name in names} <= set(known)


def test_a_stage_adds_to_what_is_there_and_what_another_wrote_does_not_stay(url: str) -> None:
    short, long = a_race(points=3), a_race(points=6)
    diverged = short.runs[0].model_copy(update={"curve": [Point(epoch=0, train_loss=nan, valid_loss=nan, metric=0)]})
    with Store(url) as store, Store(url) as other:
        for race, count in ((short, 3), (long, 6), (short, 3)):
            store.save_race(race)
            assert stored(url) == count
            other.add_points(race.id, [("c000-s0", Point(epoch=1, train_loss=9, valid_loss=9, metric=9))])
        store.save_race(short)
        assert stored(url, "points WHERE valid_loss = 9") == 0
        store.save_race(short.model_copy(update={"runs": [diverged]}))
        assert stored(url) == stored(url, "points WHERE valid_loss IS NULL AND train_loss IS NULL") == 1


def test_a_connection_that_is_lost_prints_no_traceback(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[logging.LogRecord] = []

    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record)

    monkeypatch.setattr(logging, "lastResort", Keeps())
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a program that has not asked for logs
    with Store(url) as store:
        store.save_race(a_race())
        kill_others(url)
        store.add_points("race-digits-7f3a", points(5))
        for name in ("psycopg", "sqlalchemy.pool.impl.QueuePool"):
            logging.getLogger(name).error("connection lost")
    assert told == []


def test_f7_a_server_that_fails_in_every_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "ROUNDS", 4)
    found = list(campaign.PART.trials(range(5), tmp_path))
    assert [trial.wrong for trial in found] == [""] * 5
    struck = [sum(value for name, value in trial.counts.items() if not name.startswith("s ")) for trial in found]
    assert struck[-1] == 1 and sum(struck) > 5


def gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ravine.store.store.repeated", lambda attempt: attempt())


def pretends(monkeypatch: pytest.MonkeyPatch) -> None:
    def add_points(self: Store, record: str, points: list[tuple[str, Point]]) -> None:
        with monkeypatch.context() as own, suppress(UserError):
            gives_up(own)
            honest(self, record, points)

    honest = Store.add_points
    monkeypatch.setattr(Store, "add_points", add_points)


@pytest.mark.parametrize(("break_it", "told"), [(gives_up, "the server cannot be reached"), (pretends, "rows and")])
def test_a_store_that_does_not_repeat_is_found_out(
    break_it: Callable[[pytest.MonkeyPatch], None], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch)
    monkeypatch.setattr(campaign, "WAYS", ("requests",))
    monkeypatch.setitem(campaign.SHARE, "requests", 0.06)
    assert told in next(iter(campaign.PART.trials([3], tmp_path))).wrong
