"""C9: the time of a lane-step, 64 small networks with mixed rules and learning rates, against plain torch.

Peers: one torch run after another with all threads, and two processes of one thread each.
"""

from __future__ import annotations

import multiprocessing as mp
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import common
import peers
import torch
from torch.nn import functional

from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.models import mlp
from ravine.problems.problem import Part
from ravine.rules.rule import catalogue

SIZES, BATCH, SAMPLES = [64, 128, 128, 10], 64, 1024
TIMES = 10  # steps of each run in a round


def part() -> Part:
    draw = torch.Generator().manual_seed(0)
    return Part(torch.randn(SAMPLES, SIZES[0], generator=draw), torch.randint(SIZES[-1], (SAMPLES,), generator=draw))


def configurations(count: int) -> list[tuple[str, float]]:
    """Every contender in turn, its learning rate spread over its own range."""
    contenders = {name: rule for name, rule in catalogue().items() if rule.contender}
    names = [list(contenders)[i % len(contenders)] for i in range(count)]
    return [(name, peers.search_of(name).at(i / count)) for i, name in enumerate(names)]


def lanes_way(count: int) -> Callable[[], float]:
    """Seconds a lane-step of all lanes together."""
    model, data = Model(lambda: mlp(SIZES)), part()
    cosine = peers.cosine(30)
    chosen = [model.lane(peers.rule_of(name, lr), {"lr": cosine}, 0) for name, lr in configurations(count)]
    lanes = Lanes(model, functional.cross_entropy, chosen)
    index = torch.arange(BATCH).unsqueeze(0)

    def steps() -> None:
        for step in range(TIMES):
            lanes.step(data, index, step / 16)

    return lambda: common.seconds(steps, TIMES * count)


def torch_runs(chosen: list[tuple[str, float]]) -> int:
    """Some steps of each run, one run after another; the number of steps done."""
    data, index = part(), torch.arange(BATCH)
    for name, lr in chosen:
        run = peers.Plain(mlp(SIZES), name, lr, steps=480)
        for _ in range(TIMES):
            run.step(data.x[index], data.y[index])
    return TIMES * len(chosen)


def torch_way(count: int) -> Callable[[], float]:
    """Seconds a step of torch, one run after another: one run of each rule stands for all."""
    chosen = configurations(count)[: len(peers.TORCH)]
    nets = [peers.Plain(mlp(SIZES), name, lr, steps=10**6) for name, lr in chosen]
    data, index = part(), torch.arange(BATCH)

    def steps() -> None:
        for run in nets:
            for _ in range(TIMES):
                run.step(data.x[index], data.y[index])

    return lambda: common.seconds(steps, TIMES * len(nets))


def _serve(pipe: Connection, count: int) -> None:
    torch.set_num_threads(1)
    way = torch_way(count)
    way()
    while pipe.recv():
        way()
        pipe.send(True)


class Processes:
    """Workers of one thread each that take their share of the runs at the same time."""

    def __init__(self, workers: int, count: int) -> None:
        context: Any = mp.get_context("spawn")
        self.pipes: list[Connection] = []
        for _ in range(workers):
            own, other = context.Pipe()
            context.Process(target=_serve, args=(other, count), daemon=True).start()
            self.pipes.append(own)

    def __call__(self) -> float:
        """Seconds a step, both workers counted."""
        begin = time.perf_counter()
        for pipe in self.pipes:
            pipe.send(True)
        for pipe in self.pipes:
            pipe.recv()
        return (time.perf_counter() - begin) / (TIMES * len(peers.TORCH) * len(self.pipes))
