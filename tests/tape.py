"""Backpropagation by the lectures' rules alone, in NumPy: one rule an operation, sums where paths meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rule = Callable[[Floats], Floats]  # the gradient of what comes out to that of one thing that went in


class Node:
    """A value that remembers what it was made of, and the rule for each part."""

    def __init__(self, value: Any, made_of: Sequence[tuple[Node, Rule]] = ()) -> None:
        self.value: Floats = np.asarray(value, dtype=np.float64)
        self.made_of = made_of
        self.grad = np.zeros_like(self.value)

    def __add__(self, other: Node) -> Node:
        return Node(self.value + other.value, [(self, lambda g: fit(g, self)), (other, lambda g: fit(g, other))])

    def __mul__(self, other: Node) -> Node:
        mine: Rule = lambda g: fit(g * other.value, self)  # noqa: E731
        return Node(self.value * other.value, [(self, mine), (other, lambda g: fit(g * self.value, other))])

    def __matmul__(self, other: Node) -> Node:
        """dL/dW = delta x' for y = W x: the outer product, summed over columns."""
        mine: Rule = lambda g: g @ other.value.T  # noqa: E731
        return Node(self.value @ other.value, [(self, mine), (other, lambda g: self.value.T @ g)])

    @property
    def T(self) -> Node:
        return Node(self.value.T, [(self, lambda g: g.T)])

    def inv(self) -> Node:
        return Node(1 / self.value, [(self, lambda g: -g / self.value**2)])

    def exp(self) -> Node:
        return Node(np.exp(self.value), [(self, lambda g: g * np.exp(self.value))])

    def log(self) -> Node:
        return Node(np.log(self.value), [(self, lambda g: g / self.value)])

    def max0(self) -> Node:
        """The larger of it and 0: a switch."""
        return Node(np.maximum(self.value, 0), [(self, lambda g: g * (self.value > 0))])

    def sum(self, axis: int | None = None) -> Node:
        return Node(self.value.sum(axis, keepdims=True), [(self, lambda g: np.broadcast_to(g, self.value.shape))])

    def backward(self) -> None:
        """The gradient of this to everything it was made of: the total derivative over all paths."""
        order: list[Node] = []
        _visit(self, order, set())
        self.grad = np.ones_like(self.value)
        for node in reversed(order):
            for part, rule in node.made_of:
                part.grad = part.grad + rule(node.grad)


def _visit(node: Node, order: list[Node], seen: set[int]) -> None:
    if id(node) not in seen:
        seen.add(id(node))
        for part, _ in node.made_of:
            _visit(part, order, seen)
        order.append(node)


def fit(g: Floats, like: Node) -> Floats:
    """Summed over the axes along which a part was repeated."""
    for axis, size in enumerate(like.value.shape):
        if size == 1 and g.shape[axis] > 1:
            g = g.sum(axis, keepdims=True)
    return g
