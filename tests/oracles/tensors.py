"""How the oracle of a rule that sees whole tensors runs: in float64, one tensor at a time, in its own shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tests.oracles.loop import Memory, Settings, Slope, Vectors

Shapes: TypeAlias = Sequence[tuple[int, ...]]
Tensor: TypeAlias = NDArray[np.float64]
Whole: TypeAlias = Callable[[Tensor, Tensor, int, Memory, Settings], Tensor]
ShapedOracle: TypeAlias = Callable[..., Vectors]


def each_tensor(equation: Whole) -> ShapedOracle:
    """The step of a whole model from the equation of one tensor: (g, w, t, memory, settings) -> new w."""

    def step(slope: Slope, weights: Vectors, t: int, memory: Memory, h: Settings, shapes: Shapes) -> Vectors:
        settings = {name: float(value) for name, value in h.items()}
        new: Vectors = []
        for k, (g, w) in enumerate(zip(slope(weights), weights, strict=True)):
            own = [np.asarray(x, dtype=np.float64).reshape(shapes[k]) for x in (g, w)]
            moved = equation(own[0], own[1], t, memory.setdefault(k, {}), settings)
            new.append(np.asarray(moved, dtype=np.longdouble).reshape(-1))
        return new

    return step


def length(x: Any) -> float:
    """The Euclidean norm, entry by entry."""
    total = 0.0
    for entry in np.asarray(x).reshape(-1):
        total += float(entry) ** 2
    return float(np.sqrt(total))
