"""C6, C7, C8: what a user pays beside the steps: the first one, new kernels, and memory."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import torch

import ravine.optim
from ravine.bench.common import Ratio
from ravine.bench.figure import Figure, absent
from ravine.bench.memory import begin_anew, resident
from ravine.bench.shapes import entries, parameters, resnet50

FIRST_STEP = """
import sys, time, torch
params = [torch.nn.Parameter(torch.zeros(64)) for _ in range(int(sys.argv[1]))]
for p in params:
    p.grad = torch.ones(64)
start = time.perf_counter()
import ravine.optim
ravine.optim.Adam(params).step()
print(time.perf_counter() - start)
"""
SCHEDULED = """
import sys, torch, ravine.optim
from ravine.engines import native
from ravine.rules.rule import values
from ravine.schedules import Exponential
def added(size):
    p = torch.nn.Parameter(torch.zeros(size))
    p.grad = torch.ones(size)
    return p
def programs():
    if sys.argv[1] == "kernel":
        return len(list(native.folder().glob("*.o")))
    return sys.modules["torch._dynamo.utils"].counters["stats"]["unique_graphs"]
optimizer = ravine.optim.AdamW([added(8)], nonfinite="ignore", engine=sys.argv[1])
optimizer.param_groups[0]["schedules"] = dict.fromkeys(values(optimizer.rules()[0]), Exponential(0.99999))
optimizer.step()
before = programs()
for step in range(10_000):
    if step in (3_000, 6_000):
        optimizer.add_param_group({"params": [added(step)], "lr": 1e-4})
    optimizer.step()
assert before == 1
print(programs() - before)
"""
EXTRA = """
import sys
from ravine.bench.first import extra
print(extra(sys.argv[1]))
"""
REPEATS = 3


def _alone(code: str, cache: str, *arguments: str) -> float:
    """The number that the program prints, in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    # with a fixed threshold the C library gives freed memory back, so that each step's own shows
    environment = {**os.environ, "XDG_CACHE_HOME": cache, "MALLOC_MMAP_THRESHOLD_": "65536"}
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def _of(times: list[float]) -> Ratio:
    return Ratio(sorted(times)[len(times) // 2], min(times), max(times))


def first_steps() -> Iterator[Figure]:
    """C6: the first step of a rule with an empty cache, then in new processes with the kernel on disk."""
    cold: list[float] = []
    cached: dict[str, list[float]] = {"1000": [], "4": []}
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(_alone(FIRST_STEP, cache, "1000"))
            for count, times in cached.items():
                times.append(_alone(FIRST_STEP, cache, count))
    yield Figure("C6", "first step, 1,000 tensors, cold", "-", _of(cold), 3.0, at_least=False, unit="s")
    for count, times in cached.items():
        what = f"first step, {int(count):,} tensors, cached"
        yield Figure("C6", what, "-", _of(times), 0.7, at_least=False, unit="s")


def recompilations() -> Iterator[Figure]:
    """C7: programs compiled in 10,000 steps with every hyperparameter scheduled and groups of other sizes added."""
    for engine in ("kernel", "compile"):
        what = f"programs made in 10,000 scheduled steps, engine='{engine}'"
        if engine == "compile" and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
            yield absent("C7", what, "-", 0.0, "needs a C++ compiler", at_least=False)
            continue
        with tempfile.TemporaryDirectory() as cache:
            count = _alone(SCHEDULED, cache, engine)
        yield Figure("C7", what, "-", Ratio(count, count, count), 0.0, at_least=False, unit="programs")


def memory() -> Iterator[Figure]:
    """C8: the peak of resident memory in a step, above what lay there before, as a share of the parameters."""
    if sys.platform != "linux":
        yield absent("C8", "extra peak memory of a step", "-", 0.01, "reads Linux's /proc", at_least=False)
        return
    for side, target in (("ravine", 0.01), ("torch", math.inf)):
        with tempfile.TemporaryDirectory() as cache:
            shares = [_alone(EXTRA, cache, side) for _ in range(REPEATS)]
        what = f"extra peak memory of an AdamW step, {side}"
        note = "" if target == 0.01 else "foreach; the peer, not a target"
        yield Figure("C8", what, "-", _of(shares), target, False, "of parameters", note)


def extra(side: str) -> float:
    """The share in a step after two that make the state and the code."""
    params = parameters(resnet50())
    optimizer = ravine.optim.AdamW(params) if side == "ravine" else torch.optim.AdamW(params, foreach=True)
    optimizer.step()
    optimizer.step()
    before = resident("VmRSS")
    begin_anew()
    optimizer.step()
    return max(resident("VmHWM") - before, 0) / (4 * entries(resnet50()))
