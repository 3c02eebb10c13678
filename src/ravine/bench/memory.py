"""The peak memory of a race, in units of lanes x (parameters + gradients + state + activations); the limit is 1.2.

Each scene runs in a process of its own: the peak of its resident memory while it runs, minus what was resident before
its lanes were made. Activations are what autograd keeps of one run for its backward pass, counted by torch's hooks.
The finals also need each run's best weights.

    python -m ravine.bench.memory [--lanes 64] [--width 512] [--batch 128] [--json FILE]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from torch.nn import functional

from ravine.bench import common, peers
from ravine.engines.lane import Lane, Model
from ravine.engines.lanes import Lanes
from ravine.models import mlp
from ravine.problems.problem import Part, Problem
from ravine.rules.rule import make, slots_of
from ravine.training import checkpoint
from ravine.training.clock import Clock
from ravine.training.run import Candidate, Run
from ravine.training.track import Track

LIMIT = 1.2
INPUTS, OUTPUTS = 784, 10
Shape = tuple[int, int, int]  # lanes, width, batch


class Scene:
    """A race's parts at one size: the model, the data, and a rule for each lane."""

    def __init__(self, shape: Shape) -> None:
        self.count, self.width, self.batch = shape
        self.model = Model(lambda: mlp([INPUTS, self.width, self.width, OUTPUTS]))
        self.rules = [make(list(peers.TORCH)[i % len(peers.TORCH)], {}) for i in range(self.count)]
        self.part = Part(torch.randn(4 * self.batch, INPUTS), torch.randint(OUTPUTS, (4 * self.batch,)))
        self.problem = Problem("random", "classification", self.part, self.part, self.part, tuple("0123456789"))
        self.clock = Clock(len(self.part), self.batch, epochs=3)

    def lanes(self) -> Iterator[Lane]:
        """New lanes, one at a time."""
        return (self.model.lane(rule, {}, 0) for rule in self.rules)

    def runs(self) -> list[Run]:
        """New runs."""
        return [Run(f"r{i}", Candidate(i, rule, {}), 0, "rung") for i, rule in enumerate(self.rules)]

    def track(self) -> Track:
        """What a race would run them with, all lanes at once."""
        workers = torch.get_num_threads()
        models = [self.model, *(Model(self.model.factory) for _ in range(workers - 1))]
        size = -(-self.count // workers)
        return Track(models, functional.cross_entropy, self.problem, self.clock, size, draws=False)

    def needed(self) -> dict[str, float]:
        """Bytes of all lanes, by what they are for."""
        parameters = 4 * self.model.size * self.count
        slots = 4 * self.model.size * sum(len(slots_of(rule)) for rule in self.rules)
        kept = {"parameters": parameters, "gradients": parameters, "state": slots}
        return {**kept, "activations": self.count * self._activations()}

    def _activations(self) -> int:
        own = {p.untyped_storage().data_ptr() for p in self.model.module.parameters()}
        seen = {self.part.x.untyped_storage().data_ptr(): 0, self.part.y.untyped_storage().data_ptr(): 0}

        def note(x: torch.Tensor) -> torch.Tensor:
            storage = x.untyped_storage()
            if storage.data_ptr() not in own:
                seen.setdefault(storage.data_ptr(), storage.nbytes())
            return x

        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            x, y = self.part.x[: self.batch], self.part.y[: self.batch]
            functional.cross_entropy(self.model.module(x), y).backward()
        self.model.module.zero_grad(set_to_none=True)
        return sum(seen.values())


def steps(scene: Scene) -> None:
    """Steps of lanes that exist already."""
    lanes = Lanes(scene.model, functional.cross_entropy, list(scene.lanes()))
    index = torch.arange(scene.batch).unsqueeze(0)
    begin_anew()
    for step in range(4):
        lanes.step(scene.part, index, float(step))


def rungs(scene: Scene, save: bool = False) -> None:
    """Two rungs of a race: all lanes, then a third of them, promoted."""
    track = scene.track()
    runs = scene.runs()
    with tempfile.TemporaryDirectory() as folder:
        for keep, to_tick in ((scene.count, 1), (-(-scene.count // 3), 2)):
            for _ in track.go(runs[:keep], to_tick):
                if save:
                    with track.lent():
                        checkpoint.save(Path(folder), {}, runs)
            for run in runs[-(-keep // 3) :]:
                run.lane = None


def rungs_with_checkpoints(scene: Scene) -> None:
    """The same with a checkpoint at every tick."""
    rungs(scene, save=True)


def finals(scene: Scene) -> None:
    """The finals: every run to its end, each keeping its best weights."""
    track = scene.track()
    for _ in track.go(scene.runs(), 2, keep_best=True):
        pass


SCENES: tuple[Callable[[Scene], None], ...] = (steps, rungs, rungs_with_checkpoints, finals)


def measured(name: str, shape: Shape) -> int:
    """Bytes that the scene's peak lies above what was resident before it."""
    work = next(scene for scene in SCENES if scene.__name__ == name)
    work(Scene((2, 16, shape[2])))  # thread pools, caches and code are no part of it
    scene = Scene(shape)
    before = resident("VmRSS")
    begin_anew()
    work(scene)
    return resident("VmHWM") - before


def resident(field: str) -> int:
    """A field of this process's status on Linux, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


def begin_anew() -> None:
    """Let the peak of resident memory start again from here."""
    Path("/proc/self/clear_refs").write_text("5")  # the kernel's peak starts again from here


def main() -> None:
    """Measure and print."""
    given = common.arguments(__doc__ or "", lanes=64, width=512, batch=128)
    if sys.platform != "linux":
        sys.exit("ravine.bench.memory reads Linux's /proc")
    shape = (given.lanes, given.width, given.batch)
    needed = Scene(shape).needed()
    total = sum(needed.values())
    parts = "  ".join(f"{name} {size / 1e6:.0f} MB" for name, size in needed.items())
    print(f"needed {parts}  = {total / 1e6:.0f} MB")
    figures: dict[str, float] = {}
    for work in SCENES:
        wanted = total + needed["parameters"] * (work is finals)  # of each run's best weights
        with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
            peak = fresh.submit(measured, work.__name__, shape).result()
        figures[work.__name__] = peak / wanted
        verdict = "" if peak <= LIMIT * wanted else f"  over {LIMIT}"
        name = work.__name__.replace("_", " ")
        print(f"{name:24} {peak / 1e6:6.0f} MB  {peak / wanted:.2f} of what is needed{verdict}")
    common.finish({"shape": shape, "needed": needed, "ratio": figures}, given.json)


if __name__ == "__main__":
    main()
