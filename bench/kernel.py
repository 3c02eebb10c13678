"""C1, C2, C5, C6 of the performance targets: a step of ravine's kernel against torch's, interleaved in one process.

python bench/kernel.py [--threads 2] [--rounds 15] [--cpu-time]     --cpu-time compares work, where a machine is shared
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch

from ravine.engines.kernel import KernelStep
from ravine.rules.rule import resolve, scalars_of, slots_of, values

SMALL = [(100, 784), (100,), (10, 100), (10,)]
HAND_WRITTEN: dict[str, Any] = {
    "sgd": lambda p, **path: torch.optim.SGD(p, 1e-2, **path),
    "momentum": lambda p, **path: torch.optim.SGD(p, 1e-2, momentum=0.9, **path),
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adadelta": torch.optim.Adadelta,
    "nadam": torch.optim.NAdam,
    "adamax": torch.optim.Adamax,
}
FIRST_STEP = """
import torch, time
start = time.perf_counter()
from ravine.engines.kernel import KernelStep
from ravine.rules.rule import resolve, values
rule = resolve("adam")()
w = [torch.zeros(64) for _ in range(1000)]
g, s = [torch.ones(64) for _ in w], {k: [torch.zeros(64) for _ in w] for k in rule.slots}
KernelStep(rule).step(w, g, s, {**values(rule), "t": 1})
print(time.perf_counter() - start)
"""


def resnet50() -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = [(64, 3, 7, 7), (64,), (64,)]
    inner = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            shapes += [(width, inner, 1, 1), (width,), (width,), (width, width, 3, 3), (width,), (width,)]
            shapes += [(width * 4, width, 1, 1), (width * 4,), (width * 4,)]
            shapes += [(width * 4, inner, 1, 1), (width * 4,), (width * 4,)] if block == 0 else []
            inner = width * 4
    return [*shapes, (1000, 2048), (1000,)]


def ours(name: str, shapes: list[tuple[int, ...]]) -> Callable[[], None]:
    rule = resolve(name)()
    weights = [torch.randn(shape) for shape in shapes]
    gradients = [torch.randn(shape) * 1e-2 for shape in shapes]
    starts = [rule.init(w) for w in weights]
    slots = {k: [s[k].clone() for s in starts] for k in slots_of(rule)}
    step, given = KernelStep(rule), {**values(rule), **scalars_of(rule), "t": 0}

    def call() -> None:
        given["t"] += 1
        given.update(step.step(weights, gradients, slots, given) or {})

    return call


def theirs(name: str, shapes: list[tuple[int, ...]], path: dict[str, bool]) -> Callable[[], None]:
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    for p in parameters:
        p.grad = torch.randn_like(p) * 1e-2
    return HAND_WRITTEN[name](parameters, **path).step


def compare(label: str, a: Callable[[], None], b: Callable[[], None], rounds: int, inner: int, clock: Any) -> None:
    times: list[list[float]] = []
    for _ in range(rounds + 3):
        times.append([])
        for call in (a, b):
            start = clock()
            for _ in range(inner):
                call()
            times[-1].append((clock() - start) / inner * 1e3)
    kept = times[3:]
    ratios = sorted(x / y for x, y in kept)
    low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
    mine, other = (statistics.median(column) for column in zip(*kept, strict=True))
    middle = statistics.median(ratios)
    print(f"{label:32} {mine:9.3f} ms {other:9.3f} ms   ratio {middle:.2f}  (half within {low:.2f} to {high:.2f})")


def first_steps() -> None:
    with tempfile.TemporaryDirectory() as cache:
        for label in ("cold", "from the cache"):
            environment = {**os.environ, "XDG_CACHE_HOME": cache}
            command = [sys.executable, "-c", FIRST_STEP]
            seconds = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
            print(f"C6 first step, 1,000 tensors, {label:16} {float(seconds):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--only", default="", help="C1, C2, C5 or C6")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.cpu_time else time.perf_counter
    print(f"torch {torch.__version__}, {options.threads} threads, median of {options.rounds} rounds: ravine, torch")
    big = resnet50()
    cases = [("C5", name, SMALL, path) for name in ("adam", "sgd") for path in ({"fused": True}, {})]
    cases += [("C2", name, big, {"fused": True}) for name in ("sgd", "momentum", "adagrad", "adam", "adamw")]
    slow = ("rmsprop", "adadelta", "nadam", "adamax")
    cases += [("C1", name, big, {"foreach": on}) for name in slow for on in (False, True)]
    for case, name, shapes, path in cases:
        if options.only in case:
            label = f"{case} {name} {' '.join(f'{k}={v}' for k, v in path.items()) or 'default'}"
            repeats = 20 if shapes is SMALL else 1
            compare(label, ours(name, shapes), theirs(name, shapes, path), options.rounds, repeats, clock)
    if options.only in "C6":
        first_steps()


if __name__ == "__main__":
    main()
