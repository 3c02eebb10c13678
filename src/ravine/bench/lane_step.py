"""C9: the time of a lane-step, 64 small networks with mixed rules and learning rates, against plain torch.

Peers: one torch run after another with all threads, and processes of one thread each.
"""

from __future__ import annotations

import multiprocessing as mp
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch.nn import functional

from ravine.bench import peers
from ravine.bench.common import interleaved, ratio, seconds
from ravine.bench.figure import Figure, absent
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.models import mlp
from ravine.problems.problem import Part
from ravine.rules.rule import hypers, make
from ravine.schedules import Cosine

SIZES, BATCH, SAMPLES, EPOCHS = [64, 128, 128, 10], 64, 1024, 30
STEPS = 10  # of each run in a round
FORWARD = 2 * BATCH * sum(a * b for a, b in pairwise(SIZES))
OPERATIONS = 3 * FORWARD - 2 * BATCH * SIZES[0] * SIZES[1]  # no gradient flows to the inputs

Configuration = tuple[str, float]  # a rule and its learning rate


def configurations(count: int) -> list[Configuration]:
    """The contenders in turn, their learning rates spread over the lower half of each one's range."""
    names = [list(peers.TORCH)[i % len(peers.TORCH)] for i in range(count)]
    found: list[Configuration] = []
    for i, name in enumerate(names):
        search = hypers(make(name, {}))["lr"].search
        assert search is not None
        found.append((name, search.at(i / count / 2)))
    return found


def minibatches() -> tuple[Part, torch.Tensor]:
    """Random inputs with labels, and the samples of each minibatch."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, SIZES[0], generator=draw)
    y = torch.randint(SIZES[-1], (SAMPLES,), generator=draw)
    return Part(x, y), torch.randperm(SAMPLES, generator=draw).view(-1, BATCH)


def lanes_way(count: int) -> Callable[[], float]:
    """Seconds a lane-step of all lanes together."""
    model, cosine = Model(lambda: mlp(SIZES)), Cosine().over(EPOCHS)
    begun = [model.lane(make(name, {"lr": lr}), {"lr": cosine}, 0) for name, lr in configurations(count)]
    lanes = Lanes(model, functional.cross_entropy, begun)
    part, index = minibatches()

    def steps() -> None:
        for step in range(STEPS):
            lanes.step(part, index[step : step + 1], step / len(index))

    return lambda: seconds(steps, STEPS * count)


def torch_way(count: int) -> Callable[[], float]:
    """Seconds a step of torch, one run after another; one run of each rule stands for all of that rule."""
    chosen = configurations(count)[: len(peers.TORCH)]
    runs = [peers.Plain(mlp(SIZES), name, lr, EPOCHS * SAMPLES // BATCH) for name, lr in chosen]
    part, index = minibatches()

    def steps() -> None:
        for run in runs:
            run.done = 0
            for step in range(STEPS):
                run.step(part.x[index[step]], part.y[index[step]])

    return lambda: seconds(steps, STEPS * len(runs))


def _serve(pipe: Connection, count: int) -> None:
    torch.set_num_threads(1)
    way = torch_way(count)
    while pipe.recv():
        way()
        pipe.send(True)


class Processes:
    """Workers of one thread each, which do their share of the runs at the same time."""

    def __init__(self, workers: int, count: int) -> None:
        context = mp.get_context("spawn")
        self.pipes: list[Any] = []
        for _ in range(workers):
            here, there = context.Pipe()
            context.Process(target=_serve, args=(there, count), daemon=True).start()
            self.pipes.append(here)

    def __call__(self) -> float:
        """Seconds a step, the steps of all workers counted."""
        begin = time.perf_counter()
        for pipe in self.pipes:
            pipe.send(True)
        for pipe in self.pipes:
            pipe.recv()
        return (time.perf_counter() - begin) / (STEPS * len(peers.TORCH) * len(self.pipes))

    def close(self) -> None:
        """Let the workers end."""
        for pipe in self.pipes:
            pipe.send(False)


def figures(rounds: int, peak: float, lanes: int = 64) -> Iterator[Figure]:
    """C9, with torch's number of threads and as many processes; ``peak`` is the product speed in GFLOP/s."""
    threads = torch.get_num_threads()
    workers = Processes(threads, lanes)
    own, alone, apart = f"{lanes} lanes together", "torch, one after another", f"torch, {threads} processes"
    seen = interleaved({own: lanes_way(lanes), alone: torch_way(lanes), apart: workers}, rounds)
    workers.close()
    what = f"lane-step, {lanes} small networks"
    yield Figure("C9", what, alone, ratio(seen[alone], seen[own]), 6.0)
    yield Figure("C9", what, apart, ratio(seen[apart], seen[own]), 3.0)
    share = ratio([OPERATIONS / peak * 1e-9] * rounds, seen[own])
    yield Figure("C9", what, "sgemm peak", share, 0.35, unit="of it")
    yield absent("C9", what, "JAX with optax", 2.0, "not run: JAX is no dependency of the suite")
