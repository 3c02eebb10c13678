"""What each layer costs, measured one by one on the inputs that it really gets."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ravine.linting.look import look


@dataclass(frozen=True)
class Layer:
    """One call of a layer in a step; seconds are medians, ``operations`` those of both passes."""

    name: str
    kind: str
    forward: float  # seconds
    backward: float
    operations: float  # floating-point, forward and backward
    moved: float  # bytes of input, output and parameters, once
    parameters: int

    @property
    def seconds(self) -> float:
        """Of both passes."""
        return self.forward + self.backward


def layers_of(model: nn.Module, x: Tensor, cast: Callable[[], AbstractContextManager[Any]], tries: int) -> list[Layer]:
    """Each call of a layer without layers inside, in the order of a step; a layer of several inputs is left out."""
    seen = look(model, None, x, None)
    made: list[Layer] = []
    for call in seen.calls:
        if isinstance(call.given, Tensor) and isinstance(call.out, Tensor):
            own = copy.deepcopy(call.module)
            own._forward_hooks.clear()  # pyright: ignore[reportPrivateUsage]
            try:
                made.append(_layer(call.name, own, call.given, cast, tries))
            except (RuntimeError, TypeError, ValueError):  # it wants more than its first input
                continue
    return made


def _layer(
    name: str, module: nn.Module, given: Tensor, cast: Callable[[], AbstractContextManager[Any]], tries: int
) -> Layer:
    x = given.detach().clone()
    x.requires_grad_(given.requires_grad)
    times: tuple[list[float], list[float]] = ([], [])
    operations, out = 0, x
    for turn in range(tries + 2):
        begin = time.perf_counter()
        with cast():
            out = module(x)
        middle = time.perf_counter()
        if out.requires_grad:
            out.backward(torch.ones_like(out))
        end = time.perf_counter()
        if turn >= 2:  # the first ones warm caches
            times[0].append(middle - begin)
            times[1].append(end - middle)
    with FlopCounterMode(display=False) as counter:
        with cast():
            again = module(x)
        if again.requires_grad:
            again.backward(torch.ones_like(again))
        operations = counter.get_total_flops()
    moved = x.nbytes + out.nbytes + sum(p.nbytes for p in module.parameters())
    count = sum(p.numel() for p in module.parameters())
    return Layer(
        name, type(module).__name__, median(times[0]), median(times[1]), float(operations), float(moved), count
    )
