"""G1 to G3: a step on a GPU against torch's own paths there, and against what the memory can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

import ravine.optim
from ravine.bench.common import Ratio, interleaved, ratio, seconds
from ravine.bench.figure import Figure, absent
from ravine.bench.shapes import Shape, stepping

HUGE: list[Shape] = [(10**9,)]
MANY: list[Shape] = [(1024,)] * 1000
SHARE = 0.85  # of the device's streaming bandwidth, as measured here
LATENCY = 50.0  # microseconds of a step of many small tensors
NONE = "needs a CUDA device, and there is none here"
# class, torch's way to beat, how many times, bytes of memory traffic a parameter: each array read and written once
LOOPED: list[tuple[str, float, int]] = [
    ("RMSprop", 2.0, 20),
    ("Adagrad", 2.0, 20),
    ("Adadelta", 2.0, 28),
    ("NAdam", 2.0, 28),
]


def foreach(rounds: int, device: str | None = None, shapes: Sequence[Shape] = HUGE) -> Iterator[Figure]:
    """G1: rules that torch steps by foreach, on 1e9 parameters."""
    for name, target, traffic in LOOPED:
        yield from _large("G1", name, "foreach", target, traffic, rounds, device or _gpu(), shapes)


def fused(rounds: int, device: str | None = None, shapes: Sequence[Shape] = HUGE) -> Iterator[Figure]:
    """G2: AdamW against torch's fused kernel, on 1e9 parameters."""
    yield from _large("G2", "AdamW", "fused", 1.0, 28, rounds, device or _gpu(), shapes)


def small(rounds: int, device: str | None = None, shapes: Sequence[Shape] = MANY) -> Iterator[Figure]:
    """G3: 1,000 tensors of 1,024 numbers, where a launch costs more than its work."""
    device = device or _gpu()
    if device is None:
        yield absent("G3", "Adam", "torch foreach", 10.0, NONE)
        return
    seen = _seen("Adam", ("foreach", "fused"), shapes, rounds, device)
    yield Figure("G3", "Adam", "torch foreach", ratio(seen["foreach"], seen[""]), 10.0)
    yield Figure("G3", "Adam", "torch fused", ratio(seen["fused"], seen[""]), 1.0)
    spent = ratio([1e6 * each for each in seen[""]], [1.0] * rounds)
    yield Figure("G3", "Adam", "a step", spent, LATENCY, at_least=False, unit="us")


def _gpu() -> str | None:
    return "cuda" if torch.cuda.is_available() else None


def _large(
    case: str,
    name: str,
    way: str,
    target: float,
    traffic: int,
    rounds: int,
    device: str | None,
    shapes: Sequence[Shape],
) -> Iterator[Figure]:
    if device is None:
        yield absent(case, name, f"torch {way}", target, NONE)
        return
    seen = _seen(name, (way,), shapes, rounds, device, stream=True)
    yield Figure(case, name, f"torch {way}", ratio(seen[way], seen[""]), target)
    count = sum(torch.Size(shape).numel() for shape in shapes)
    share: Ratio = ratio([traffic * count * each for each in seen["stream"]], seen[""])
    yield Figure(case, name, "streaming bandwidth", share, SHARE, unit="of it")


def _seen(
    name: str, ways: Sequence[str], shapes: Sequence[Shape], rounds: int, device: str, stream: bool = False
) -> Mapping[str, list[float]]:
    """Seconds a step, of ours as "" and of torch's class in each way; with ``stream`` also seconds a byte of a copy."""
    with torch.device(device):
        steps = {"": stepping(getattr(ravine.optim, name), shapes)}
        steps |= {way: stepping(getattr(torch.optim, name), shapes, **{way: True}) for way in ways}
    timed: dict[str, Callable[[], float]] = {way: _timed(step, device) for way, step in steps.items()}
    return interleaved(timed | ({"stream": _copy(device)} if stream else {}), rounds, warm_up=3)


def _timed(step: Callable[[], Any], device: str) -> Callable[[], float]:
    def work() -> None:
        step()
        _wait(device)

    def measured() -> float:
        _wait(device)
        return seconds(work)

    return measured


def _copy(device: str, entries: int = 1 << 26) -> Callable[[], float]:
    """Seconds a byte of a copy, which reads one array and writes one: the simplest stream there is."""
    source, target = (torch.zeros(entries, device=device) for _ in range(2))
    timed = _timed(lambda: target.copy_(source), device)
    return lambda: timed() / (2 * 4 * entries)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
