"""F5: a loss of power while a race is kept in an SQLite store: what the kernel had not flushed may be there or not.

A process keeps race after race, stage by stage, and says what was acknowledged. It is stopped at random moments, and
the kernel is asked which pages of the database and of its log are not on the disk. Then the power is lost: each of
those pages is the new one, the one before (zeros where the file was shorter) or some sectors of each, and the end of a
file may be missing. What is left is opened as any store. The flushes are SQLite's own, seen and not assumed: without
them the trials come out wrong.

Two things are taken from SQLite's assumptions: bytes that a write leaves alone are safe although they share a page
(so what was committed keeps its part of the page on which the log goes on), and a page that the kernel calls clean is
on the disk. A store that is being made is left out.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import struct
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ravine.bench.faults.pages import PAGE, can_see, unflushed
from ravine.bench.faults.trial import Part, Told, Trial, each
from ravine.errors import UserError
from ravine.results import Cost, Point, RaceResult, RunResult
from ravine.store import Store

RUNS, STAGES, PER_STAGE = 30, 10, 3  # of a race; points that a stage adds to each curve
REOPENED = 23  # saves after which the writer closes its store, and SQLite removes the log
TURNS, LOSSES = 20, 4  # trials of one writer; ways in which the power is lost at one moment
FILES = {"ravine.db": "the database", "ravine.db-wal": "the log"}
DATABASE, LOG = FILES
LONGEST, PATIENCE = 0.06, 0.5  # seconds between two moments; for which it is watched until it writes a file
HEAD, SECTOR = 32, 512  # bytes of the log before its first frame; bytes that a disk writes as one


def race(number: int, stage: int) -> RaceResult:
    """A race at one of its stages."""
    return RaceResult(
        id=f"race-{number}", created="2026-01-01T00:00:00+00:00", status="interrupted", command="", problem="none",
        understood=[], task="classification", metric_name="accuracy", model="none", parameters=0, epochs=1.0, batch=1,
        seeds=[0], rungs=[], spaces={}, notes=[], runs=[_run(number, run, stage) for run in range(RUNS)], ranking=[],
        verdict=str(stage),
        cost=Cost(seconds=0.0, lane_steps=0, full_runs=0.0, plan="", plan_timings={}),
    )  # fmt: skip


def _run(number: int, run: int, stage: int) -> RunResult:
    curve = [
        Point(epoch=epoch, train_loss=1 / (1 + run), valid_loss=epoch + number / 7, metric=0.5)
        for epoch in range(PER_STAGE * (stage + 1))
    ]
    return RunResult(
        id=f"c{run:03}", config=run, rule="adam", hypers={"lr": 1e-3 * run}, schedule="cosine", seed=number,
        stage="rung", status="stopped", curve=curve, best_epoch=0.0, valid_loss=number / 7, metric=0.5,
    )  # fmt: skip


def write(path: Path, log: Path) -> None:
    """Keep races until somebody ends this process; how many stages were acknowledged is told in the log."""
    handle, done = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 0
    while True:
        with Store(str(path)) as store:
            for _ in range(REOPENED):
                store.save_race(race(*divmod(done, STAGES)))
                done += 1
                os.write(handle, b".")


@dataclass
class Writer:
    """The process that writes, the files that it writes, and what was last seen of them."""

    folder: Path
    process: int = 0
    before: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def begin(self) -> None:
        """Start it on a new store, and wait for its first stage."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.process = os.fork()
        if self.process == 0:
            try:
                write(self.folder / DATABASE, self.folder / "log")
            finally:
                os._exit(3)
        while not self.acknowledged:
            time.sleep(0.002)
            self._is_alive()
        self.stop()
        self.before = {path.name: path.read_bytes() for path in self.files}
        self.go_on()

    @property
    def acknowledged(self) -> int:
        """Stages of which the store said that they are kept."""
        log = self.folder / "log"
        return log.stat().st_size if log.exists() else 0

    def stop(self, caught: str = "") -> None:
        """Let it stand still, as soon as it is caught writing a file if wanted.

        It may be within a flush then, which changes no file.
        """
        until = time.monotonic() + PATIENCE
        while caught and time.monotonic() < until and not unflushed(self.folder / caught):
            pass
        os.kill(self.process, signal.SIGSTOP)
        while self._is_alive() not in "TD":
            time.sleep(0.0002)

    def _is_alive(self) -> str:
        """Its state in the kernel's letters."""
        state = Path(f"/proc/{self.process}/stat").read_text().rpartition(") ")[2][0]
        if state == "Z":
            raise RuntimeError("the writer has ended by itself")
        return state

    @property
    def files(self) -> list[Path]:
        """The database and its log, where they are there."""
        return [path for name in FILES if (path := self.folder / name).exists()]

    def seen(self) -> dict[str, tuple[bytes, set[int], int]]:
        """Of each file that is there: its bytes, the pages that are not on the disk, and how much was safe before."""
        lost = {path: unflushed(path) for path in self.files}  # at once: a flush may be going on
        safe = {DATABASE: 0, LOG: max(HEAD, _committed(self.folder / f"{DATABASE}-shm"))}
        return {path.name: (path.read_bytes(), pages, safe[path.name]) for path, pages in lost.items()}

    def go_on(self) -> None:
        """Let it go on."""
        os.kill(self.process, signal.SIGCONT)

    def end(self) -> None:
        """End it."""
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)


def _committed(index: Path) -> int:
    """Where the committed part of the log ends, as SQLite tells other processes in the memory that they share."""
    try:
        size, frames = struct.unpack_from("=HI", index.read_bytes(), 14)
    except (FileNotFoundError, struct.error):
        return 0
    return HEAD + frames * (24 + size)


def trials(indices: Sequence[int], place: Path) -> Iterator[Trial]:
    """Each a moment at which the power is lost, in several ways."""
    place.mkdir(parents=True, exist_ok=True)
    if not can_see(place):
        yield from (Trial(index, "", {"not seen": 1}) for index in indices)
        return
    for begin in range(0, len(indices), TURNS):
        writer = Writer(place / "store")
        try:
            writer.begin()
            yield from each(indices[begin : begin + TURNS], place, partial(_tried, writer))
        finally:
            writer.end()


def _tried(writer: Writer, index: int, found: Path) -> Told:
    draw = random.Random(f"outage {index}")
    time.sleep(draw.uniform(0, LONGEST))
    writer.stop(draw.choice(("", LOG, DATABASE)))
    done, seen = writer.acknowledged, writer.seen()
    wrong, further = "", 0
    for _ in range(LOSSES):
        shutil.rmtree(found, ignore_errors=True)
        found.mkdir()
        for name, (now, lost, safe) in seen.items():
            left = after_loss(now, writer.before.get(name, b""), lost, safe, draw)
            (found / name).write_bytes(left)
        told, stages = judged(found / DATABASE, done)
        wrong, further = wrong or told, further + (stages > done)
    writer.before = {name: now for name, (now, _, _) in seen.items()}
    writer.go_on()
    counts = {f"pages of {of} not flushed": len(seen[name][1]) for name, of in FILES.items() if name in seen}
    return wrong, {"losses": LOSSES, **counts, "stages kept that were not told": further}


def after_loss(now: bytes, before: bytes, lost: Set[int], safe: int, draw: random.Random) -> bytes:
    """What a machine might find of a file; ``safe`` bytes of its begin were flushed by an earlier write."""
    left, likely = bytearray(now), draw.random()
    for page in lost:
        begin, end = page * PAGE, min((page + 1) * PAGE, len(now))
        begin = safe if begin < safe < end else begin
        old = before[begin:end].ljust(end - begin, b"\0")
        new = draw.choice((0, draw.randrange(0, PAGE, SECTOR)))  # bytes of it that came to the disk
        if draw.random() >= likely:
            left[begin:end] = now[begin:end][:new] + old[new:]
    kept = len(now)
    while kept and (kept - 1) // PAGE in lost:
        kept = (kept - 1) // PAGE * PAGE
    kept = min(max(kept, safe, len(before)), len(now))  # a file that was as long once stays so
    if draw.random() < 0.5:
        del left[draw.randint(kept, len(now)) :]
    return bytes(left)


def judged(path: Path, done: int) -> tuple[str, int]:
    """What is wrong with a store of which so many stages were acknowledged, and how many are in it."""
    try:
        with Store(str(path)) as store:
            stages = {line.id: int(line.verdict) for line in store.races(limit=None)}
            there = sum(stage + 1 for stage in stages.values())
            want = {f"race-{number}": min(STAGES, there - number * STAGES) - 1 for number in range(-(-there // STAGES))}
            if there not in (done, done + 1) or stages != want:
                return f"{done} stages were acknowledged, {stages} are there", there
            newest = len(stages) - 1
            if store.race(f"race-{newest}") != race(newest, stages[f"race-{newest}"]):
                return f"race-{newest} is not what was kept", there
    except UserError as error:
        return f"{done} stages were acknowledged: {error}", 0
    with closing(sqlite3.connect(path)) as connection:
        for query in ("PRAGMA integrity_check", "PRAGMA foreign_key_check"):
            if (found := connection.execute(query).fetchall()) not in ([("ok",)], []):
                return f"{query}: {found}", there
        query = "SELECT record, count(*), count(DISTINCT run) FROM points GROUP BY record"
        for record, points, runs in connection.execute(query):
            if (points, runs) != (RUNS * PER_STAGE * (stages[record] + 1), RUNS):
                return f"{record} has {points} points of {runs} runs at stage {stages[record]}", there
    return "", there


PART = Part(
    "outage",
    "F5",
    f"loss of power while a race is kept in the store, {LOSSES} ways at each moment (what the kernel had not flushed)",
    "every stage that was acknowledged is there whole, at most one more, and the database is sound",
    200,
    trials,
)
