"""How an oracle runs: one coordinate's equation in plain numbers, looped over tensors, entries and steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Number: TypeAlias = Any  # np.longdouble: at least the digits of float64
Vectors: TypeAlias = list[NDArray[np.longdouble]]  # every parameter tensor, flat
Slope: TypeAlias = Callable[[Vectors], Vectors]  # the gradient at given points
Memory: TypeAlias = dict[Any, Any]  # what an equation remembers from step to step
Settings: TypeAlias = Mapping[str, Number]
Coordinate: TypeAlias = Callable[[Number, Number, int, Memory, Settings], Number]
Oracle: TypeAlias = Callable[[Slope, Vectors, int, Memory, Settings], Vectors]  # the weights after one step
Inner: TypeAlias = Callable[[Slope, Vectors], Vectors]  # the step of the rule inside a combinator


def each_entry(equation: Coordinate) -> Oracle:
    """The step of a whole model from the equation of one coordinate: (g, w, t, memory, settings) -> new w."""

    def step(slope: Slope, weights: Vectors, t: int, memory: Memory, h: Settings) -> Vectors:
        gradients = slope(weights)
        new = [w.copy() for w in weights]
        for k, w in enumerate(weights):
            for i in range(len(w)):
                new[k][i] = equation(gradients[k][i], w[i], t, memory.setdefault((k, i), {}), h)
        return new

    return step


def walk(
    oracle: Oracle, slope: Callable[[int, Vectors], Vectors], start: Vectors, steps: int, h: Settings
) -> list[Vectors]:
    """The weights after each step, the start first."""
    exact = {name: np.longdouble(value) for name, value in h.items()}
    path = [[w.astype(np.longdouble) for w in start]]
    memory: Memory = {}
    for t in range(1, steps + 1):

        def here(points: Vectors, t: int = t) -> Vectors:
            return slope(t, points)

        path.append(oracle(here, path[-1], t, memory, exact))
    return path
