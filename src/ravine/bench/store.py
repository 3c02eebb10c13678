"""C19: what it costs a race to be kept in the store while it goes on, and how many rows a second the store takes.

The race is `ravine race digits` as the command line runs it, its state kept at each stage. What keeping costs is
measured inside each race, as its share of the race's time, since two races differ by more than that.

    python -m ravine.bench.store [--rounds 5] [--epochs 30] [--budget 64] [--json FILE]
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch

from ravine import api
from ravine.bench import common
from ravine.problems import load
from ravine.racing.outcome import result_of
from ravine.racing.spec import RaceSpec
from ravine.results import Point, RaceResult
from ravine.store import Store

SHARE, RATE = 0.01, 20_000  # of a race's time at most; rows a second at least
ROWS = 20_000


class Clock:
    """Seconds, of the wall and of this process, spent within its blocks."""

    def __init__(self) -> None:
        self.wall = self.own = 0.0

    @contextmanager
    def counting(self) -> Generator[None]:
        """Count what is spent within."""
        wall, own = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall += time.perf_counter() - wall
            self.own += time.process_time() - own


def kept_race(spec: RaceSpec, store: Store) -> tuple[Clock, Clock, RaceResult]:
    """A race that is kept at each stage: the time of keeping, the time of all, and its result."""
    keeping, whole, stage = Clock(), Clock(), ""
    running = api.start(spec, load(spec.problem))
    with whole.counting():
        for moment in running.run():
            if moment.phase != "done" and f"{moment.phase}{moment.rung}" != stage and running.runs:
                stage = f"{moment.phase}{moment.rung}"
                with keeping.counting():
                    store.save_race(result_of(running))
        with keeping.counting():
            result = result_of(running)
            store.save_race(result)
    return keeping, whole, result


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
    shares: list[tuple[float, float]] = []
    rates: dict[str, list[tuple[float, float]]] = {"a race anew": [], "points added": []}
    with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/ravine.db") as store:
        for round in range(given.rounds):
            keeping, whole, result = kept_race(spec, store)
            shares.append((keeping.wall / whole.wall, keeping.own / whole.own))
            rows = sum(len(run.curve) for run in result.runs)
            rates["a race anew"].append(rate(lambda result=result: store.save_race(result), rows))
            made = points(round)
            rates["points added"].append(rate(lambda made=made, id=result.id: store.add_points(id, made), len(made)))
    wall, own = (statistics.median(each) for each in zip(*shares, strict=True))
    print(f"share of a race's time: {wall:.2%} of the wall's, {own:.2%} of the process's; aim {SHARE:.0%}")
    for name, found in rates.items():
        wall, own = (statistics.median(each) for each in zip(*found, strict=True))
        print(f"rows a second, {name}: {wall:,.0f} by the wall, {own:,.0f} by the process; aim {RATE:,}")
    common.finish({"shares": shares, "rates": rates}, given.json)


if __name__ == "__main__":
    main()
