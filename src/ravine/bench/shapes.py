"""The parameters that steps are measured on, and optimizers over them with gradients in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import nn

Shape: TypeAlias = tuple[int, ...]
SMALL: list[Shape] = [(100, 784), (100,), (10, 100), (10,)]
ONE: list[Shape] = [(1 << 25,)]


def resnet50() -> list[Shape]:
    """The shapes of ResNet-50's 161 parameters."""
    shapes: list[Shape] = [(64, 3, 7, 7), (64,), (64,)]
    inner = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            shapes += [(width, inner, 1, 1), (width,), (width,), (width, width, 3, 3), (width,), (width,)]
            shapes += [(width * 4, width, 1, 1), (width * 4,), (width * 4,)]
            shapes += [(width * 4, inner, 1, 1), (width * 4,), (width * 4,)] if block == 0 else []
            inner = width * 4
    return [*shapes, (1000, 2048), (1000,)]


def entries(shapes: Sequence[Shape]) -> int:
    """How many numbers there are."""
    return sum(math.prod(shape) for shape in shapes)


def parameters(shapes: Sequence[Shape]) -> list[nn.Parameter]:
    """Random parameters with small random gradients."""
    made = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    for p in made:
        p.grad = torch.randn_like(p) * 1e-2
    return made


def stepping(kind: Callable[..., Any], shapes: Sequence[Shape], **options: Any) -> Callable[[], Any]:
    """The step of a new optimizer of parameters of those shapes."""
    return kind(parameters(shapes), **options).step
