"""C19: what it costs a race to be kept in the store while it goes on, and how many rows a second the store takes.

The race is `ravine race digits` as the command line runs it, its state kept at each stage. What keeping costs is
measured inside each race, as its share of the race's time, since two races differ by more than that: all that a race
without a store would leave out, so not the result at its end, which its report is made of. Beside the figures stands
what this disk takes for a flush alone, in the same run, since no store that flushes can be faster.

    python -m ravine.bench.store [--rounds 5] [--epochs 30] [--budget 64] [--json FILE]
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ravine import api
from ravine.bench import common
from ravine.bench.clock import Clock
from ravine.problems import load
from ravine.racing.outcome import result_of
from ravine.racing.spec import RaceSpec
from ravine.results import Point, RaceResult
from ravine.store import Store

SHARE, RATE = 0.01, 20_000  # of a race's time at most; rows a second at least
ROWS = 20_000
FLUSHED = 2**18  # bytes: about what a stage of the race on digits writes


@dataclass
class Kept:
    """A race that was kept at each stage: its result, and the time of all, of keeping, and of the saves alone."""

    whole: Clock = field(default_factory=Clock)
    keeping: Clock = field(default_factory=Clock)
    saving: Clock = field(default_factory=Clock)
    saves: int = 0


def kept_race(spec: RaceSpec, store: Store) -> tuple[Kept, RaceResult]:
    """The race as the command line keeps it."""
    kept, stage = Kept(), ""
    running = api.start(spec, load(spec.problem))

    def save(result: RaceResult) -> RaceResult:
        kept.saves += 1
        with kept.saving.counting():
            store.save_race(result)
        return result

    with kept.whole.counting():
        for moment in running.run():
            if moment.phase != "done" and f"{moment.phase}{moment.rung}" != stage and running.runs:
                stage = f"{moment.phase}{moment.rung}"
                with kept.keeping.counting():
                    save(result_of(running))
        result = result_of(running)
        with kept.keeping.counting():
            save(result)
    return kept, result


def flush(folder: Path) -> float:
    """Seconds of the wall in which this disk takes a stage's bytes, and nothing else."""
    handle = os.open(folder / "flushed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        begin = time.perf_counter()
        os.write(handle, bytes(FLUSHED))
        os.fsync(handle)
        return time.perf_counter() - begin
    finally:
        os.close(handle)


def rows_of(result: RaceResult) -> int:
    """Rows of runs, hyperparameters and points that a race leaves in the store."""
    return sum(1 + len(run.hypers) + len(run.curve) for run in result.runs)


def rate(work: Callable[[], object], rows: int) -> tuple[float, float]:
    """Rows a second of the wall's time, and of this process's."""
    clock = Clock()
    with clock.counting():
        work()
    return rows / clock.wall, rows / clock.own


def points(round: int) -> list[tuple[str, Point]]:
    """Points of 100 runs, none of which was there before."""
    each = ROWS // 100
    epochs = range(round * each, (round + 1) * each)
    return [
        (f"c{run}", Point(epoch=epoch, train_loss=0.1, valid_loss=0.2, metric=0.3))
        for run in range(100)
        for epoch in epochs
    ]


def main() -> None:
    """Measure and print."""
    given = common.arguments(__doc__ or "", rounds=5, epochs=30, budget=64)
    torch.set_num_threads(1)
    spec = RaceSpec(problem="digits", epochs=given.epochs, budget=given.budget)
    shares: list[tuple[float, float, float]] = []
    rates: dict[str, list[tuple[float, float]]] = {"a race at its stages": [], "a race anew": [], "points added": []}
    flushes: list[float] = []
    with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/ravine.db") as store:
        for round in range(given.rounds):
            kept, result = kept_race(spec, store)
            flushes += (alone := [flush(Path(folder)) for _ in range(kept.saves)])
            whole = kept.whole.wall
            shares.append((kept.keeping.wall / whole, kept.keeping.own / kept.whole.own, sum(alone) / whole))
            rows, other = rows_of(result), result.model_copy(update={"id": f"race-{round}"})
            rates["a race at its stages"].append((rows / kept.saving.wall, rows / kept.saving.own))
            rates["a race anew"].append(rate(lambda other=other: store.save_race(other), rows))
            made = points(round)
            rates["points added"].append(rate(lambda made=made, id=result.id: store.add_points(id, made), len(made)))
    wall, own, least = (statistics.median(each) for each in zip(*shares, strict=True))
    print(f"share of a race's time: {wall:.2%} of the wall's, {own:.2%} of the process's; aim {SHARE:.0%}")
    print(
        f"a flush alone: {1e3 * statistics.median(flushes):.1f} ms; as many as a race makes: {least:.2%} of the wall's"
    )
    for name, found in rates.items():
        wall, own = (statistics.median(each) for each in zip(*found, strict=True))
        print(f"rows a second, {name}: {wall:,.0f} by the wall, {own:,.0f} by the process; aim {RATE:,}")
    common.finish({"shares": shares, "rates": rates, "flushes": flushes}, given.json)


if __name__ == "__main__":
    main()
