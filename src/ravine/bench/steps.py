"""C1, C2, C5: a step of each optimizer against torch's own, by the classes that users call."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

import ravine.optim
from ravine.bench.common import Stream, interleaved, ratio, seconds
from ravine.bench.figure import Figure, absent
from ravine.bench.rivals import Rival, rivals
from ravine.bench.shapes import ONE, SMALL, Shape, entries, resnet50, stepping

# class, options, bytes of memory traffic a parameter: each array read once and written once
LOOPED: list[tuple[str, dict[str, Any], int]] = [
    ("RMSprop", {}, 20),
    ("Adadelta", {}, 28),
    ("NAdam", {}, 28),
    ("Adamax", {}, 28),
    ("RAdam", {}, 28),
]
FUSED: list[tuple[str, dict[str, Any], int]] = [
    ("SGD", {}, 12),
    ("SGD", {"momentum": 0.9}, 20),
    ("Adagrad", {}, 20),
    ("Adam", {}, 28),
    ("AdamW", {}, 28),
]
BIG: dict[str, Callable[[], list[Shape]]] = {"ResNet-50": resnet50, "one of 32M": lambda: ONE}
SHARE = 0.85  # of the streaming bandwidth
REPEATS = 20  # of a small step in a round


def looped(rounds: int) -> Iterator[Figure]:
    """C1: the rules that torch has no fused kernel for."""
    for shape, shapes in BIG.items():
        for name, options, traffic in LOOPED:
            what = f"{name}, {shape}"
            ways: dict[str, dict[str, Any]] = {"for-loop": {"foreach": False}, "foreach": {"foreach": True}}
            others = rivals(name, shapes())
            seen = _seen(name, options, ways, shapes(), rounds, others=others)
            better = min(ways, key=lambda way: sorted(seen[way])[rounds // 2])
            yield Figure("C1", what, f"torch {better}", ratio(seen[better], seen[""]), 3.0)
            yield _share("C1", what, seen, traffic * entries(shapes()))
            yield from _beside("C1", what, seen, others)


def fused(rounds: int) -> Iterator[Figure]:
    """C2: the rules that torch has a fused kernel for."""
    for shape, shapes in BIG.items():
        for name, options, traffic in FUSED:
            what = f"{_named(name, options)}, {shape}"
            others = rivals(name, shapes(), options.get("momentum", 0.0))
            seen = _seen(name, options, {"fused": {"fused": True}}, shapes(), rounds, others=others)
            yield Figure("C2", what, "torch fused", ratio(seen["fused"], seen[""]), 1.0, note="floor 0.97")
            yield _share("C2", what, seen, traffic * entries(shapes()))
            yield from _beside("C2", what, seen, others)


def small(rounds: int) -> Iterator[Figure]:
    """C5: a network of 784-100-10, share of torch's time."""
    ways: dict[str, tuple[dict[str, Any], float]] = {"fused": ({"fused": True}, 0.5), "default": ({}, 0.3)}
    for name, options, _ in FUSED:
        peers = {way: extra for way, (extra, _) in ways.items()}
        others = rivals(name, SMALL, options.get("momentum", 0.0))
        seen = _seen(name, options, peers, SMALL, rounds, REPEATS, others)
        for way, (_, target) in ways.items():
            share = ratio(seen[""], seen[way])
            note = f"{sorted(seen[''])[rounds // 2] * 1e6:.0f} us"
            yield Figure("C5", _named(name, options), f"torch {way}", share, target, at_least=False, note=note)
        yield from _beside("C5", _named(name, options), seen, others)


def _named(name: str, options: Mapping[str, Any]) -> str:
    return "momentum" if options else name


def _seen(
    name: str,
    options: Mapping[str, Any],
    ways: Mapping[str, Mapping[str, Any]],
    shapes: Sequence[Shape],
    rounds: int,
    repeats: int = 1,
    others: Sequence[Rival] = (),
) -> dict[str, list[float]]:
    """Seconds a step, of ours as "" and of torch's class in each way; of large ones also seconds a byte of a stream.

    ``others`` are there by the names of their libraries.
    """
    steps = {"": stepping(getattr(ravine.optim, name), shapes, **options)}
    steps |= {way: stepping(getattr(torch.optim, name), shapes, **options, **extra) for way, extra in ways.items()}
    steps |= {rival.library: rival.step for rival in others if rival.step}
    timed = {way: _timed(step, repeats) for way, step in steps.items()}
    return interleaved({**timed, "stream": Stream()} if repeats == 1 else timed, rounds)


def _beside(case: str, what: str, seen: Mapping[str, Sequence[float]], others: Sequence[Rival]) -> Iterator[Figure]:
    """How many times faster than other libraries; there is a target only where C1 has one."""
    for rival in others:
        target = 1.2 if case == "C1" and rival.library == "HeavyBall" else math.inf
        if rival.step:
            yield Figure(case, what, rival.library, ratio(seen[rival.library], seen[""]), target, note=rival.note)
        else:
            yield absent(case, what, rival.library, target, rival.note)


def _timed(step: Callable[[], Any], repeats: int) -> Callable[[], float]:
    def work() -> None:
        for _ in range(repeats):
            step()

    return lambda: seconds(work, repeats)


def _share(case: str, what: str, seen: Mapping[str, Sequence[float]], traffic: int) -> Figure:
    """The bytes that the rule must move, at the stream's speed, over the time of the step."""
    found = ratio([traffic * spent for spent in seen["stream"]], seen[""])
    return Figure(case, what, "streaming bandwidth", found, SHARE, unit="of it")
