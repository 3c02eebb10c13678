"""Evaluation in pieces by the activations' size against pieces by the outputs' alone: both in turns, on MNIST.

Run it with ``python -m ravine.bench.pieces [--rounds 7] [--samples 3000]``; OMP_NUM_THREADS says how many threads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from ravine.bench import common
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.losses import loss_of
from ravine.problems import load
from ravine.problems.problem import Problem
from ravine.rules.rule import make
from ravine.training.loop import evaluate
from ravine.training.model import model_of
from ravine.training.piece import rows_of, width_in_lanes

CASES = (("mlp:128,128", 1), ("mlp:128,128", 8), ("cnn:16,32", 1), ("cnn:16,32", 8), ("resnet:16,32", 1))


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the process, and by the clock."""
    begin = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - begin[0], time.perf_counter() - begin[1]


def measure(problem: Problem, word: str, lanes: int, samples: int, rounds: int) -> str:
    """A line: pieces before and now, and how many times less time they take."""
    model = Model(model_of(word, "relu", problem))
    runs = Lanes(model, loss_of(problem), [model.lane(make("adam", {}), {}, seed) for seed in range(lanes)])
    part = problem.valid.take(torch.arange(min(len(problem.valid), samples)))
    width = width_in_lanes(model, part)
    seen: dict[int, list[tuple[float, float]]] = {0: [], width: []}
    for turn in range(rounds + 1):
        for wide, times in seen.items():
            now = spent(lambda wide=wide: evaluate(runs.predict, lanes, runs.loss, problem, part, None, wide))
            times += [now] if turn else []
    ratios = [common.ratio([a[i] for a in seen[0]], [b[i] for b in seen[width]]) for i in (0, 1)]
    sizes = [min(len(part), rows_of(lanes, problem.outputs, wide)) for wide in seen]
    return f"{word}, {lanes} lanes: {sizes[0]} -> {sizes[1]} rows, process {ratios[0]}, wall {ratios[1]}"


def main() -> None:
    """Measure every case and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--samples", type=int, default=3000)
    given = parser.parse_args()
    problem = load("mnist", rows=20_000)
    print({"threads": torch.get_num_threads(), **common.machine()})
    for word, lanes in CASES:
        print(measure(problem, word, lanes, given.samples if lanes == 1 else given.samples // 2, given.rounds))


if __name__ == "__main__":
    main()
