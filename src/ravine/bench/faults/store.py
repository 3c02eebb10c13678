"""F6: many writers and readers on one SQLite store while writers are killed: no row lost, doubled or locked out."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from ravine.bench.faults.kills import server
from ravine.bench.faults.trial import Part, Told, Trial, each
from ravine.results import Cost, Point, RaceResult
from ravine.store import Store

WRITERS, READERS, KILLS, RUNS = 8, 2, 20, 20  # runs: points that are added at once, one of each
SHARED = 2  # the last so many writers write the same rows of the same race


def a_race(id: str, verdict: str = "") -> RaceResult:
    """A race without runs: its curves are added point by point."""
    return RaceResult(
        id=id, created="2026-01-01T00:00:00+00:00", status="interrupted", command="", problem="none", understood=[],
        task="classification", metric_name="accuracy", model="none", parameters=0, epochs=1.0, batch=1, seeds=[0],
        rungs=[], spaces={}, notes=[], runs=[], ranking=[], verdict=verdict,
        cost=Cost(seconds=0.0, lane_steps=0, full_runs=0.0, plan="", plan_timings={}),
    )  # fmt: skip


def name_of(writer: int) -> str:
    """The race that a writer writes."""
    return f"race-{min(writer, WRITERS - SHARED)}"


def write(path: str, writer: int, log: str, seconds: float) -> None:
    """Add points for so long; what was acknowledged is told in the log, with the time that it took."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    batch = 1 + max((row["batch"] for row in noted(Path(log)) if "batch" in row), default=-1)
    until = time.monotonic() + seconds
    try:
        with Store(path) as store:
            while time.monotonic() < until:
                began = time.monotonic()
                if batch % 10 == 0:
                    store.save_race(a_race(name_of(writer), str(batch)))
                points = [(f"c{run}", _point(batch)) for run in range(RUNS)]
                store.add_points(name_of(writer), points)
                took = time.monotonic() - began
                os.write(handle, json.dumps({"batch": batch, "took": took}).encode() + b"\n")
                batch += 1
    except Exception as error:  # whatever it is, the campaign has to tell it
        os.write(handle, json.dumps({"error": repr(error)}).encode() + b"\n")


def read(path: str, log: str, seconds: float) -> None:
    """Read for so long: a batch is there whole or not at all, and what was there once stays."""
    until, reads = time.monotonic() + seconds, 0
    last: dict[str, int] = {}
    try:
        with Store(path) as store:
            while time.monotonic() < until:
                known = {line.id for line in store.races(limit=None)}
                for race, count in _counts(path).items():
                    assert race in known and count % RUNS == 0, f"{race} has {count} points"
                    assert count >= last.get(race, 0), f"{race} had {last[race]} points, now {count}"
                    last[race] = count
                reads += 1
    except Exception as error:
        Path(log).write_text(json.dumps({"error": repr(error)}) + "\n")
        return
    Path(log).write_text(json.dumps({"reads": reads}) + "\n")


def trials(minutes: float, indices: Sequence[int], place: Path) -> Iterator[Trial]:
    """Each a store of its own."""

    def tried(index: int, folder: Path) -> Told:
        folder.mkdir(parents=True)
        return _tried(folder, 60 * minutes, random.Random(f"store {index}"), minutes)

    return each(indices, place, tried)


def _tried(folder: Path, seconds: float, draw: random.Random, minutes: float) -> Told:
    context, path = server(), str(folder / "ravine.db")
    with Store(path) as store:
        for writer in range(WRITERS):
            store.save_race(a_race(name_of(writer)))
    logs = [folder / f"writer-{n}" for n in range(WRITERS)]
    first = context.Process(target=noted, args=(folder / "none",))  # the server of processes may take long to begin
    first.start()
    first.join()
    end = time.monotonic() + seconds

    def started(writer: int) -> Any:
        left = max(0.0, end - time.monotonic())
        process = context.Process(target=write, args=(path, writer, str(logs[writer]), left))
        process.start()
        return process

    readers = [context.Process(target=read, args=(path, str(folder / f"reader-{n}"), seconds)) for n in range(READERS)]
    for process in readers:
        process.start()
    writers = [started(writer) for writer in range(WRITERS)]
    kills = max(1, round(KILLS * min(1.0, minutes / 2)))
    for at in sorted(end - draw.uniform(0.05, 0.95) * seconds for _ in range(kills)):
        time.sleep(max(0.0, at - time.monotonic()))
        writer = draw.randrange(WRITERS)
        writers[writer].kill()
        writers[writer].join()
        writers[writer] = started(writer)
    for process in (*writers, *readers):
        process.join()
    return _judged(folder, path, logs, kills)


def _judged(folder: Path, path: str, logs: Sequence[Path], kills: int) -> Told:
    told = [row for log in (*logs, *folder.glob("reader-*")) for row in noted(log)]
    wrong = [row["error"] for row in told if "error" in row]
    with closing(sqlite3.connect(path)) as connection:
        for query in ("PRAGMA integrity_check", "PRAGMA foreign_key_check"):
            if (found := connection.execute(query).fetchall()) not in ([("ok",)], []):
                wrong.append(f"{query}: {found}")
        query = "SELECT epoch, count(*), count(DISTINCT run) FROM points WHERE record = ? GROUP BY epoch"
        for race in dict.fromkeys(map(name_of, range(WRITERS))):
            batches = {int(epoch): (rows, runs) for epoch, rows, runs in connection.execute(query, (race,))}
            acknowledged = [
                row["batch"] for n, log in enumerate(logs) if name_of(n) == race for row in noted(log) if "batch" in row
            ]
            if lost := set(acknowledged) - batches.keys():
                wrong.append(f"{race} lost {len(lost)} of {len(acknowledged)} acknowledged batches")
            if set(batches) != set(range(len(batches))) or len(batches) > max(acknowledged, default=-1) + 2:
                wrong.append(f"{race} holds {len(batches)} batches, not those up to {max(acknowledged, default=-1)}")
            if any(found != (RUNS, RUNS) for found in batches.values()):
                wrong.append(f"{race} has a batch that is not whole, or twice")
        rows = connection.execute("SELECT count(*) FROM points").fetchone()[0]
    waits = [row["took"] for row in told if "took" in row]
    reads = sum(row.get("reads", 0) for row in told)
    if not waits or not reads:
        wrong.append(f"nothing was tried: {len(waits)} writes, {reads} reads")
    counts: dict[str, float] = {
        "kills": kills,
        "rows": rows,
        "writes": len(waits),
        "reads": reads,
        "s for a write": max(waits, default=0),
    }
    return "; ".join(wrong), counts


def _counts(path: str) -> dict[str, int]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        return dict(connection.execute("SELECT record, count(*) FROM points GROUP BY record").fetchall())


def _point(batch: int) -> Point:
    return Point(epoch=batch, train_loss=1.0, valid_loss=0.5, metric=0.25)


def noted(log: Path) -> list[dict[str, Any]]:
    """The lines of a log; a killed writer may have left the last one short."""
    found: list[dict[str, Any]] = []
    for line in log.read_text().splitlines() if log.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def part(minutes: float = 2.0) -> Part:
    """The part, with trials of so many minutes."""
    return Part(
        "store",
        "F6",
        f"{WRITERS} writers and {READERS} readers on one SQLite store for {minutes:g} min, writers killed",
        "every acknowledged row is there once, batches are whole, nobody is told of a lock",
        1,
        partial(trials, minutes),
        frozenset({"s for a write"}),
    )
