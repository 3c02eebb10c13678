"""F7: a PostgreSQL server that restarts, loses connections in the middle, or whose answers do not arrive."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ravine.bench.faults.postgres import BINARIES, Relay, Server, asked, kill_others, serving
from ravine.bench.faults.store import a_race
from ravine.bench.faults.trial import Part, Trial
from ravine.errors import UserError
from ravine.results import Point
from ravine.store import Store
from ravine.store.connect import RECONNECT
from ravine.store.leases import Leases

ROUNDS, RUNS = 12, 5  # of writing in a trial; points that are written at once
WAYS = ("backends", "requests", "commits", "answers", "restarts")
LOSES = {"requests": (b"", "request"), "commits": (b"COMMIT", "request"), "answers": (b"COMMIT", "answer")}
COUNTED = ("count(*)", "count(DISTINCT run || ':' || epoch)")
SHARE = {"requests": 0.03, "commits": 0.15, "answers": 0.2}  # of the requests that hold such bytes


def trials(indices: Sequence[int], place: Path) -> Iterator[Trial]:
    """Each so many rounds of writing, through a server that fails in one way."""
    if not BINARIES:
        yield Trial(0, "", {"without PostgreSQL": 1})
        return
    with serving() as server:
        Store(server.url).close()  # its tables
        for index in indices:
            yield _tried(index, server, random.Random(f"server {index}"))


def _tried(index: int, server: Server, draw: random.Random) -> Trial:
    way, race, slowest = WAYS[index % len(WAYS)], f"race-{index}", 0.0
    counts: dict[str, float] = {}
    with _failing(way, server, draw, counts) as (url, begin):
        try:
            with Store(url) as store:
                leases = Leases(store, 0.1)
                store.save_race(a_race(race))
                begin.set()
                for round in range(ROUNDS):
                    slowest = max(slowest, _written(store, leases, race, round))
        except UserError as error:
            return Trial(index, f"{way}: {error}", counts)
    counts["s for a write"] = slowest
    return Trial(index, _looked_at(server.url, race, way, slowest), counts)


def _written(store: Store, leases: Leases, race: str, round: int) -> float:
    """One round of every kind of write, and the seconds of the slowest."""
    piece = f"{round:02}"
    points = [(f"c{run}", Point(epoch=round, train_loss=1.0, valid_loss=0.5, metric=0.25)) for run in range(RUNS)]

    def worked() -> None:
        until = time.monotonic() + RECONNECT
        while (taken := leases.take(race, "one", [piece])) is None:  # it is ours, and the answer was lost
            if time.monotonic() > until:
                raise UserError(f"{piece} cannot be taken")
            time.sleep(0.05)
        leases.finish(taken[0], piece.encode())

    calls: list[Callable[[], object]] = [
        lambda: store.add_points(race, points),
        lambda: store.save_race(a_race(race, str(round))),
        lambda: leases.publish(race, {piece: b""}),
        worked,
    ]
    took: list[float] = []
    for call in calls:
        began = time.monotonic()
        call()
        took.append(time.monotonic() - began)
    return max(took)


def _looked_at(url: str, race: str, way: str, slowest: float) -> str:
    """What is wrong with what the server holds in the end."""
    wrong: list[str] = []
    with Store(url) as store:
        if (verdict := store.race(race).verdict) != str(ROUNDS - 1):
            wrong.append(f"the last of {ROUNDS} results is that of round {verdict}")
        left = {piece: Leases(store).content(race, piece) for piece in Leases(store).states(race)}
        if left != {f"{round:02}": f"{round:02}".encode() for round in range(ROUNDS)}:
            wrong.append(f"pieces: {left}")
    rows = [int(asked(url, f"SELECT {what} FROM points WHERE record = '{race}'")) for what in COUNTED]
    if rows != [ROUNDS * RUNS, ROUNDS * RUNS]:
        wrong.append(f"{rows[0]} rows and {rows[1]} different ones, not {ROUNDS * RUNS}")
    if slowest > RECONNECT:
        wrong.append(f"a write took {slowest:.0f} s")
    return f"{way}: {'; '.join(wrong)}" if wrong else ""


@contextmanager
def _failing(
    way: str, server: Server, draw: random.Random, counts: dict[str, float]
) -> Generator[tuple[str, threading.Event]]:
    """The URL of a server that fails so while this lasts, and what lets it begin to."""
    begin, done = threading.Event(), threading.Event()
    if way in LOSES:
        word, what = LOSES[way]
        folder = server.folder / "relay"
        shutil.rmtree(folder, ignore_errors=True)
        with Relay(folder, server, partial(_breaks, begin, word, what, SHARE[way], draw)) as relay:
            yield relay.url, begin
        counts[f"{way} lost"] = relay.broken
        return
    thread = threading.Thread(target=_strike, args=(way, server, draw, counts, begin, done))
    thread.start()
    try:
        yield server.url, begin
    finally:
        done.set()
        begin.set()
        thread.join()


def _breaks(begin: threading.Event, word: bytes, what: str, share: float, draw: random.Random, request: bytes) -> str:
    return what if begin.is_set() and word in request and draw.random() < share else ""


def _strike(
    way: str,
    server: Server,
    draw: random.Random,
    counts: dict[str, float],
    begin: threading.Event,
    done: threading.Event,
) -> None:
    """Until the writing is done: end its connections, or the server for a while."""
    begin.wait()
    if way == "restarts":
        time.sleep(draw.uniform(0.0, 0.1))
        server.stop()
        time.sleep(draw.uniform(0.0, 1.5))
        server.start()
        counts["restarts"] = 1
        return
    counts["connections ended"] = 0
    while not done.wait(draw.uniform(0.01, 0.06)):
        counts["connections ended"] += kill_others(server.url)


PART = Part(
    "server",
    "F7",
    "PostgreSQL: connections ended, requests and answers lost (commits too), the server restarted, while one writes",
    f"every row is there once, every piece done, no sentence, no write takes more than {RECONNECT:.0f} s",
    200,
    trials,
    frozenset({"s for a write"}),
)
