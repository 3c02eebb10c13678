"""What rules of matrices share: which tensors are matrices, their companion for the others, products and roots."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ravine.rules.math import axes, maximum, opaque, tensor_norm, where
from ravine.rules.rule import Rule
from ravine.types import Array, Scalar, State

Step: TypeAlias = Callable[[], tuple[Array, State]]


@dataclass(frozen=True)
class MatrixRule(Rule, ABC):
    """A rule for matrices; every tensor with fewer than two axes takes the step of its companion.

    A convolution's weights [out, in, ...] are the matrix [out, in * ...]. Slots that a tensor has no use for are empty.
    """

    scope = "tensor"
    lr: Scalar

    @abstractmethod
    def beside(self) -> Rule:
        """The companion, with this rule's numbers; its slots are among this rule's, and no matrix uses them."""

    @abstractmethod
    def matrix(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        """The update of a matrix and the slots that it changes."""

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        """The step of a matrix, or of the companion."""
        kept = {slot: s[slot] for slot in self.slots}
        beside = self.beside()
        u, new = either(w, self.lr, lambda: self.matrix(g, s, w, t), lambda: beside.update(g, s, w, t))
        return u, {**kept, **new}


def either(w: Array, like: Scalar, matrix: Step, other: Step) -> tuple[Array, State]:
    """The result of one function for a matrix and of another for a vector; a trace shows both."""
    if not hasattr(w, "opaque"):
        return matrix() if is_matrix(w, like) else other()
    (x, new), (y, others) = matrix(), other()
    return where(is_matrix(w, like), x, y), {**others, **new}


@opaque(r"#1 \text{ is a matrix}")
def is_matrix(w: Array, like: Scalar) -> bool:
    """Whether a parameter has at least two axes, not counting that of the lanes, which ``like`` tells of."""
    return w.dim() - axes(like) >= 2


def flat(x: Tensor, like: Scalar) -> Tensor:
    """A parameter [*lanes, out, in, ...] as a matrix [*lanes, out, in * ...]."""
    return x.flatten(axes(like) + 1)


def begun(w: Array, matrix: Sequence[str], beside: Sequence[str]) -> State:
    """Slots like w that are zero at first, for matrices or for the companion; those without use are empty."""
    if hasattr(w, "opaque"):
        return {slot: w.new_zeros(w.shape) for slot in (*matrix, *beside)}
    used = matrix if is_matrix(w, 0.0) else beside
    return {slot: w.new_zeros(w.shape if slot in used else (0,)) for slot in (*matrix, *beside)}


@opaque(r"\sqrt{\max\left(1, \frac{\text{rows}}{\text{columns}}\right)}")
def tallness(w: Array, like: Scalar) -> float:
    """The root of how many more outputs than inputs a matrix [n, m] has; 1 for a wide one."""
    n, m = flat(w, like).shape[-2:]
    return max(1.0, n / max(1, m)) ** 0.5


@opaque(r"\sqrt{\max(\text{rows}, \text{columns})}")
def longest(w: Array, like: Scalar) -> float:
    """The root of the longer side of a matrix [n, m]."""
    return max(flat(w, like).shape[-2:]) ** 0.5


A, B, C = 3.4445, -4.7750, 2.0315  # of the polynomial whose slope at zero is steep: few iterations lift small values
ITERATIONS = 5


@opaque(r"\operatorname{NS}_5\left(\frac{#1}{\max(\lVert #1 \rVert, #3)}\right)")
def orthogonal(x: Array, like: Scalar, eps: Scalar, is_half: bool) -> Array:
    """The matrix with its singular values brought near 1, by five Newton-Schulz iterations on the shorter side.

    X <- a X + (b X X' + c (X X')^2) X, from X = x / max(|x|, eps); singular values end between 0.7 and 1.2. With
    ``is_half`` the products of anything shorter than float64 are taken in bfloat16.
    Reference: Jordan et al. 2024, kellerjordan.github.io/posts/muon.
    """
    size = maximum(tensor_norm(x, like), eps)
    short = is_half and x.dtype != torch.float64
    m = flat(x.bfloat16() / size.bfloat16() if short else x / size, like)
    tall = m.shape[-2] > m.shape[-1]
    m = m.mT if tall else m
    plus = torch.addmm if m.dim() == 2 else torch.baddbmm
    for _ in range(ITERATIONS):
        square = m @ m.mT
        m = plus(m, plus(square, square, square, beta=B, alpha=C), m, beta=A)
    return (m.mT if tall else m).reshape(x.shape).to(x.dtype)
