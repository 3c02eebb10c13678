"""What a log costs beside a run and beside a race: the seconds within its calls over those of the whole.

A run and a race on digits with each kind of log, in turns; MLflow writes to a database in a file, made before. What a
log costs is measured inside each, since two runs differ by more than that.

    python -m ravine.bench.logs [--rounds 5] [--epochs 60] [--budget 64] [--json FILE]
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch

from ravine import api
from ravine.bench import common
from ravine.bench.clock import Clock
from ravine.problems import load
from ravine.racing.spec import RaceSpec
from ravine.recipe import Recipe
from ravine.tracking import About, Log, logged_race, logged_training, open_log
from ravine.tracking.log import Logger
from ravine.training.train import Training

SHARE = 0.01
KINDS = {"csv": "csv:{}/a.csv", "jsonl": "jsonl:{}/a.jsonl", "tensorboard": "tensorboard:{}/tb"}
MLFLOW = {"mlflow": "mlflow:sqlite:///{}/mlflow.db"}


class Timed:
    """A logger whose calls are counted."""

    def __init__(self, inner: Logger, clock: Clock) -> None:
        self.name, self.inner, self.clock = inner.name, inner, clock

    def begin(self, about: About) -> None:
        """As the inner one."""
        with self.clock.counting():
            self.inner.begin(about)

    def points(self, run: str, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """As the inner one."""
        with self.clock.counting():
            self.inner.points(run, points)

    def end(self, run: str, status: str) -> None:
        """As the inner one."""
        with self.clock.counting():
            self.inner.end(run, status)

    def close(self) -> None:
        """As the inner one."""
        with self.clock.counting():
            self.inner.close()


def run(epochs: int, log: Log, name: str) -> Iterator[object]:
    """One run."""
    rule = {"name": "adam", "lr": 1e-3}
    recipe = Recipe(problem="digits", model="mlp:128,128", epochs=epochs, batch=64, rule=rule)
    return logged_training(Training(recipe, load("digits")), log, name)


def race(spec: RaceSpec, log: Log, name: str) -> Iterator[object]:
    """One race, every run of it logged."""
    running = api.start(spec, load(spec.problem))
    running.about["id"] = name
    return logged_race(running, running.run(), log)


def spent(work: Callable[[Log, str], Iterator[object]], text: str, folder: Path, name: str) -> tuple[float, ...]:
    """Seconds within the log and of the whole, of the wall and of the process."""
    clock, whole = Clock(), Clock()
    logger = open_log([text], folder, [])._loggers[0]  # pyright: ignore[reportPrivateUsage]
    log = Log([Timed(logger, clock)])
    with whole.counting():
        for _ in work(log, name):
            pass
    return clock.wall, clock.own, whole.wall, whole.own


def main() -> None:
    """Measure and print."""
    given = common.arguments(__doc__ or "", rounds=5, epochs=60, budget=64)
    torch.set_num_threads(1)
    kinds = KINDS | (MLFLOW if find_spec("mlflow") is not None else {})
    spec = RaceSpec(problem="digits", epochs=30, budget=given.budget)
    works: dict[str, Callable[[Log, str], Iterator[object]]] = {
        f"a run of {given.epochs} epochs": partial(run, given.epochs),
        f"a race of {given.budget}": partial(race, spec),
    }
    found: dict[str, list[tuple[float, ...]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, text in kinds.items():  # a first run makes files and tables, and imports
            spent(partial(run, 1), text.format(folder), Path(folder), f"first-{kind}")
        for round in range(given.rounds):
            for what, work in works.items():
                for kind, text in kinds.items():
                    seen = spent(work, text.format(folder), Path(folder), f"{kind}-{what.split()[1]}-{round}")
                    found.setdefault(f"{kind}, {what}", []).append(seen)
    for name, rows in found.items():
        wall, own = (statistics.median(row[at] / row[at + 2] for row in rows) for at in (0, 1))
        took, of = (statistics.median(row[at] for row in rows) for at in (0, 2))
        print(f"{name}: {1e3 * took:,.1f} ms of {of:.2f} s, {wall:.2%} of the wall's time, {own:.2%} of the process's")
    print(f"aim: at most {SHARE:.0%}" + ("" if "mlflow" in kinds else "; mlflow is not installed"))
    common.finish({"seconds": found}, given.json)


if __name__ == "__main__":
    main()
