"""What data cost a step: in memory, streamed from images, and from an array far larger than the memory it may take.

- **memory**: the feed's share of a step, of the order of an epoch, the places and the gathering of the samples.
- **streamed**: steps on images that are read from a folder, against the same steps with all of them in memory, in
  turns: by the clock, which needs a core for the readers that is free, and by what the thread that steps spends of its
  own. Beside them how long one reader takes for a minibatch: while that is less than a step, it never waits.
- **large**: a run in a process of its own on an array on disk; what it held at most, over what it held before.

    python -m ravine.bench.feed [--rounds 9] [--steps 60] [--size 2000] [--json FILE]
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ravine.bench import common
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.losses import loss_of
from ravine.problems import load
from ravine.problems.decode import answer
from ravine.problems.pictures import Pictures
from ravine.problems.problem import Problem
from ravine.problems.reading import Reading
from ravine.problems.stream import Stream
from ravine.rules.rule import make
from ravine.training.clock import Clock
from ravine.training.feed import Feed
from ravine.training.model import model_of

BATCH, IMAGES, CLASSES = 64, 6400, 10


class Stepping:
    """One run of Adam that goes on and on."""

    def __init__(self, problem: Problem, word: str) -> None:
        self.clock = Clock(len(problem.train), BATCH, epochs=1000)
        self.feed = Feed(problem, self.clock)
        model = Model(model_of(word, "relu", problem))
        self.lanes = Lanes(model, loss_of(problem), [model.lane(make("adam", {}), {}, 0)])

    def go(self, steps: int) -> None:
        """So many steps."""
        for step in range(self.lanes.step_count, self.lanes.step_count + steps):
            self.lanes.step(*self.feed.at(self.lanes.seeds, step), 0.0)


def images(folder: Path, ending: str) -> Path:
    """Pictures 32 x 32 in colour with something to see: smooth colours under a little noise."""
    random = np.random.default_rng(0)
    for number in range(IMAGES):
        coarse = random.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((32, 32), Image.Resampling.BICUBIC), dtype=np.float64)
        pixels = np.clip(smooth + random.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)
        place = folder / f"class{number % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number:05}{ending}")
    return folder


def in_memory(problem: Problem, word: str, rounds: int, steps: int) -> common.Ratio:
    """What the feed takes over what a step takes, in the thread's own time."""
    run = Stepping(problem, word)
    with closing(Feed(problem, run.clock)) as feed:
        part, index = feed.at([0], 0)

        def fed() -> None:
            for step in range(steps):
                of, places = feed.at([0], step)
                _ = of.x.index_select(0, places[0]), of.y.index_select(0, places[0])

        def worked() -> None:
            for _ in range(steps):
                run.lanes.step(part, index, 0.0)

        ways: dict[str, Callable[[], float]] = {
            "feed": lambda: _own(fed, steps),
            "step": lambda: _own(worked, steps),
        }
        seen = common.interleaved(ways, rounds)
    return common.ratio(seen["feed"], seen["step"])


def _own(work: Callable[[], None], units: int) -> float:
    """Seconds of this thread's own that a unit takes, whatever else the machine does."""
    begin = time.thread_time()
    work()
    return (time.thread_time() - begin) / units


def streamed(folder: Path, word: str, rounds: int, steps: int) -> dict[str, common.Ratio]:
    """Steps on streamed images over steps on images in memory: by the clock, by the stepping thread's own time."""
    problems = {name: load(str(folder), reading=Reading(stream=name == "disk")) for name in ("disk", "memory")}
    runs = {name: Stepping(problem, word) for name, problem in problems.items()}
    own: dict[str, list[float]] = {"disk": [], "memory": []}

    def go(name: str) -> float:
        begin, wall = time.thread_time(), common.seconds(lambda: runs[name].go(steps), steps)
        own[name].append((time.thread_time() - begin) / steps)
        return wall

    with closing(runs["disk"].feed):
        seen = common.interleaved({name: partial(go, name) for name in runs}, rounds, warm_up=1)
    ids = torch.arange(BATCH) * (IMAGES // BATCH // 2)
    reader = [decoding(problems["disk"], ids) for _ in range(rounds)]
    return {
        "clock": common.ratio(seen["disk"], seen["memory"]),
        "own": common.ratio(own["disk"][1:], own["memory"][1:]),
        "reader": common.ratio(reader, own["memory"][1:]),
    }


def decoding(problem: Problem, ids: Tensor) -> float:
    """Seconds of a processor that decoding these samples takes."""
    source = problem.train.source
    assert isinstance(source, Stream) and isinstance(source.raw, Pictures)
    files, mode, size = [source.raw.files[i] for i in ids.tolist()], source.raw.mode, source.raw.size
    begin = time.thread_time()
    answer({"files": files, "mode": mode, "size": size})
    return time.thread_time() - begin


def large(folder: Path, megabytes: int) -> tuple[float, float, float]:
    """A run on an array of that size: megabytes on disk, megabytes held at most, seconds a step."""
    rows = megabytes * 10**6 // 3072
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.uint8, (rows, 3, 32, 32))
    random = np.random.default_rng(0)
    for begin in range(0, rows, 4096):
        x[begin : begin + 4096] = random.integers(0, 255, x[begin : begin + 4096].shape, dtype=np.uint8)
    x.flush()
    del x
    np.save(folder / "y.npy", np.arange(rows) % CLASSES)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        held, took = pool.submit(_measured, str(folder)).result()
    return megabytes, held, took


def _measured(folder: str) -> tuple[float, float]:
    torch.set_num_threads(1)
    small = Stepping(load("digits"), "softmax")
    small.go(20)  # what a run takes at any size
    before = _memory("VmRSS")
    problem = load(folder, reading=Reading(stream=True))
    run = Stepping(problem, "cnn:16,32")
    with closing(run.feed):
        took = common.seconds(lambda: run.go(300), 300)
    return (_memory("VmHWM") - before) / 1e6, took


def _memory(name: str) -> int:
    """Bytes that this process holds (VmRSS) or held at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def main() -> None:
    """Measure all three and print them."""
    given = common.arguments(__doc__ or "", rounds=9, steps=60, size=2000)
    torch.set_num_threads(1)
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as place:
        for ending in (".png", ".jpg"):
            folder = images(Path(place) / ending[1:], ending)
            if ending == ".png":
                memory = load(str(folder), reading=Reading(stream=False))
                for word in ("mlp:128,128", "cnn:16,32"):
                    share = in_memory(memory, word, given.rounds, given.steps)
                    print(f"in memory, {word:12}  the feed is {share} of a step  (at most 0.05)")
                    found[f"memory {word}"] = share
            share = streamed(folder, "cnn:16,32", given.rounds, given.steps)
            print(f"streamed {ending}, cnn:16,32, of the steps in memory (at most 1.15):")
            for name, value in share.items():
                print(f"    {name:7} {value}")
            found[f"streamed {ending}"] = share
        size, held, took = large(Path(place), given.size)
        print(f"large: {size:,.0f} MB on disk, {held:,.0f} MB held at most, {1000 * took:.1f} ms a step of cnn:16,32")
        found["large"] = {"megabytes": size, "held": held, "seconds": took}
    common.finish(found, given.json)


if __name__ == "__main__":
    main()
