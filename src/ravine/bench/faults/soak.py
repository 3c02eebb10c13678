"""F18: races one after another, killed every minute: memory, open files and files on the disk stay as they were.

The first half is killed every minute and goes on; the second is one process. A process's memory is compared between its
first races, which fill caches, and its last; every race must end with the bits of the first.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ravine import api
from ravine.bench.faults.kills import server
from ravine.bench.faults.scenes import SCENES, digest_of_run
from ravine.bench.faults.store import noted
from ravine.bench.faults.trial import Part, Trial
from ravine.bench.memory import resident
from ravine.checkpoints import holds
from ravine.problems import load
from ravine.racing.outcome import result_of
from ravine.racing.spec import RaceSpec
from ravine.store import Store
from ravine.training import checkpoint

SCENE, EVERY, LIMIT = "a race with halving", 60.0, 0.02  # seconds between kills; growth of memory that is a leak
FILLED = 4  # races of a process after which its caches are full


def race_on(folder: str, log: str, seconds: float) -> None:
    """Race after race for so long, all in one store; a race's folder goes when the next one is done."""
    torch.set_num_threads(1)
    checkpoint.SELDOM = 0.5
    spec, place, until = SCENES[SCENE], Path(folder), time.monotonic() + seconds
    assert isinstance(spec, RaceSpec)
    number = max((int(path.name) for path in place.iterdir()), default=1)
    with Store(str(place.parent / "ravine.db")) as store:
        while time.monotonic() < until:
            own = place / str(number)
            running = api.resume(own) if holds(own) else api.start(spec, load(spec.problem), own)
            for _ in running.run():
                pass
            store.save_race(result_of(running).model_copy(update={"id": f"race-{number % 3}"}))
            _note(log, number, digest_of_run(running), place)
            shutil.rmtree(place / str(number - 1), ignore_errors=True)
            number += 1


def _note(log: str, number: int, end: dict[str, Any], place: Path) -> None:
    gc.collect()
    files = sum(len(names) for _, _, names in os.walk(place / str(number)))
    facts = {"pid": os.getpid(), "race": number, "bits": end, "files": files, "memory": resident("VmRSS")}
    facts["open"] = len(os.listdir("/proc/self/fd"))
    with open(log, "a") as file:
        file.write(json.dumps(facts) + "\n")


def trials(minutes: float, indices: Sequence[int], place: Path) -> Iterator[Trial]:
    """Each so many minutes."""
    for index in indices:
        folder = place / f"soak-{index}" / "races"
        shutil.rmtree(folder.parent, ignore_errors=True)
        folder.mkdir(parents=True)
        kills = _soaked(folder, 60 * minutes)
        wrong, counts = judged(noted(folder.parent / "log"))
        yield Trial(index, wrong, {"kills": kills, **counts})
        shutil.rmtree(folder.parent)


def _soaked(folder: Path, seconds: float) -> int:
    context, log, kills = server(), str(folder.parent / "log"), 0
    half = time.monotonic() + seconds / 2
    while time.monotonic() < half:
        process = context.Process(target=race_on, args=(str(folder), log, seconds))
        process.start()
        process.join(min(EVERY, max(1.0, half - time.monotonic())))
        process.kill()
        process.join()
        kills += 1
    process = context.Process(target=race_on, args=(str(folder), log, seconds / 2))
    process.start()
    process.join()
    return kills


def judged(rows: Sequence[dict[str, Any]]) -> tuple[str, dict[str, float]]:
    """What is wrong with the log, and its figures."""
    wrong: list[str] = []
    if {json.dumps(row["bits"]) for row in rows} != {json.dumps(rows[0]["bits"])}:
        wrong.append("races of one seed differ")
    last = [row for row in rows if row["pid"] == rows[-1]["pid"]][FILLED:]
    if len(last) < 2 * FILLED:
        return "; ".join([*wrong, f"only {len(last)} races in the last process: give more minutes"]), {}
    third = len(last) // 3
    memory = [statistics.median(row["memory"] for row in part) for part in (last[:third], last[-third:])]
    growth = memory[1] / memory[0] - 1
    if growth > LIMIT:
        wrong.append(f"memory grew by {growth:.1%} in {len(last)} races")
    for what in ("open", "files"):
        if len({row[what] for row in last}) > 1:
            wrong.append(f"{what} files: {sorted({row[what] for row in last})}")
    if len({row["files"] for row in rows}) > 1:
        wrong.append(f"files in a race's folder: {sorted({row['files'] for row in rows})}")
    return "; ".join(wrong), {"races": len(rows), "% growth of memory": round(100 * growth, 2)}


def part(minutes: float = 30.0) -> Part:
    """The part, with one trial of so many minutes."""
    return Part(
        "soak",
        "F18",
        f"races one after another for {minutes:g} min, killed every minute in the first half",
        f"the same bits each time, memory grows by less than {LIMIT:.0%}, open files and files on disk stay as many",
        1,
        partial(trials, minutes),
        frozenset({"% growth of memory"}),
    )
