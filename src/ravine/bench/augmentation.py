"""What augmentation adds to a training step: ``python -m ravine.bench.augmentation``; needs CIFAR-10.

One lane on one thread; the ways take turns, step by step, in one process; a figure is the median ratio of CPU times.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from itertools import count

import torch

from ravine.augment import words
from ravine.bench.common import interleaved, ratio
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.losses import loss_of
from ravine.models import model_factory
from ravine.problems import load
from ravine.problems.prepare import prepared
from ravine.problems.problem import Problem
from ravine.solvers.spec import contender_from_spec
from ravine.training.clock import Clock
from ravine.training.feed import Feed

MODELS = ("cnn:16,32", "cnn:32,64")
WAYS = (
    "", "flip,crop:4", "rotate,shear,zoom,translate,lens", "flip,crop:4,mixup", "flip,crop:4,noise", "rand-augment",
    "flip,crop:4,jitter",
)  # fmt: skip
BATCH, ROUNDS = 64, 120
AIM = 1.3


class Stepper:
    """One run that steps when it is asked."""

    def __init__(self, problem: Problem, model: str, steps: str) -> None:
        ready = prepared(problem, None, words(steps) if steps else [])
        made = Model(model_factory(model, ready.shape, ready.outputs))
        self.lanes = Lanes(made, loss_of(ready), [made.lane(contender_from_spec({"name": "adam"}), {}, 0)])
        self.feed = Feed(ready, Clock(len(ready.train), BATCH, 1000))
        self.steps = count()

    def step(self) -> float:
        """CPU seconds of one step."""
        step = next(self.steps)
        begin = time.process_time()
        part, index = self.feed.at(self.lanes.seeds, step)
        self.lanes.step(part, index, 0.0)
        return time.process_time() - begin


def main(models: Sequence[str]) -> None:
    """Print a row a way for each model."""
    torch.set_num_threads(1)
    problem = load("cifar10", rows=3000)
    for model in models:
        seen = interleaved({way: Stepper(problem, model, way).step for way in WAYS}, ROUNDS, warm_up=10)
        print(f"{model}: {1e3 * statistics.median(seen['']):.1f} ms a step without augmentation")
        for way in WAYS[1:]:
            found = ratio(seen[way], seen[""])
            print(f"  {way:36} {found}{'' if found.median <= AIM else '  above the aim'}")


if __name__ == "__main__":
    main(sys.argv[1:] or MODELS)
