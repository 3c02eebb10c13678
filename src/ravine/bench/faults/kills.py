"""F1: runs and races that are killed at random times, in training and in saving, and go on to the same bits."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from ravine.bench.faults.scenes import END, SCENES, session
from ravine.bench.faults.trial import Part, Trial

MOST_KILLS, LONGEST = 3, 600.0  # kills of one run; seconds that a session may take


def server() -> ForkServerContext:
    """A process that has imported what sessions need and nothing else: each session is a fork of it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ravine.bench.faults.warm"])
    return context


def begun(context: ForkServerContext, scene: str, folder: Path) -> ForkServerProcess:
    """A session that runs."""
    process = context.Process(target=session, args=(scene, str(folder)))
    process.start()
    return process


def trials(indices: Sequence[int], place: Path) -> Iterator[Trial]:
    """Each a scene, one to three kills, and a comparison with the scene that nobody killed."""
    context = server()
    whole: dict[str, tuple[float, dict[str, Any]]] = {}
    for index in indices:
        scene = list(SCENES)[index % len(SCENES)]
        if scene not in whole:
            whole[scene] = _uninterrupted(context, scene, place / "whole")
        yield _killed(context, index, scene, place / f"killed-{index}", *whole[scene])


def _uninterrupted(context: ForkServerContext, scene: str, folder: Path) -> tuple[float, dict[str, Any]]:
    """Seconds and digest of the scene's run; the first warms the caches and is compared with the second."""
    found: list[dict[str, Any]] = []
    seconds = 0.0
    for _ in range(2):
        shutil.rmtree(folder, ignore_errors=True)
        began = time.monotonic()
        process = begun(context, scene, folder)
        process.join(LONGEST)
        seconds = time.monotonic() - began
        found.append(json.loads((folder / END).read_text()))
    assert found[0] == found[1], f"{scene}: two runs that nobody killed differ, so nothing can be compared with them"
    return seconds, found[0]


def _killed(
    context: ForkServerContext, index: int, scene: str, folder: Path, seconds: float, want: dict[str, Any]
) -> Trial:
    draw = random.Random(f"kills {index}")
    wanted, landed, sessions, longest = 1 + index % MOST_KILLS, 0, 0, seconds
    while True:
        process = begun(context, scene, folder)
        sessions += 1
        if landed < wanted:
            process.join(draw.uniform(0, longest))
            if process.exitcode is None:
                process.kill()
                process.join()
                landed += 1
                continue
        process.join(LONGEST)
        if process.exitcode != 0:
            return Trial(index, f"{scene}: session {sessions} ended with code {process.exitcode}", {"kills": landed})
        if landed or sessions > 20:
            break
        shutil.rmtree(folder)  # it was done before its first kill: once more, with an earlier one
        longest /= 2
    found = json.loads((folder / END).read_text())
    others = [path.name for path in folder.iterdir() if path.name.endswith(".part")]
    shutil.rmtree(folder)
    wrong = [name for name, value in want.items() if found.get(name) != value]
    told = f"{scene}, {landed} kills: {', '.join(wrong)} differ" if wrong else ""
    return Trial(index, told or (f"{scene}: {others} left" if others else ""), {"kills": landed})


PART = Part(
    "kills",
    "F1",
    "SIGKILL at random times in training and saving, 1 to 3 a run, seven recipes and races",
    "the run that went on has the bits of the uninterrupted one: weights, state, curve, samples, ranking",
    200,
    trials,
)
