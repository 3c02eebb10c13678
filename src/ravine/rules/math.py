"""The few functions that a rule's equation uses, for floats, tensors, columns and symbols alike."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

from ravine.types import Array, Scalar

F = TypeVar("F", bound=Callable[..., Any])


def opaque(tex: str) -> Callable[[F], F]:
    """Mark a function that a trace does not look into; ``tex`` is how it is typeset, with #1 for its first argument."""

    def mark(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any) -> Any:
            symbol = next((x for x in args if hasattr(x, "opaque")), None)
            return function(*args) if symbol is None else symbol.opaque(tex, function, *args)

        return cast(F, call)

    return mark


def sqrt(x: Array) -> Array:
    """Square root."""
    return math.sqrt(x) if isinstance(x, int | float) else x.sqrt()


def absolute(x: Array) -> Array:
    """Absolute value."""
    return abs(x)


def sign(x: Array) -> Array:
    """-1, 0 or 1; NaN stays NaN."""
    if isinstance(x, int | float):
        return x if math.isnan(x) else (x > 0) - (x < 0)
    return x.sign().where(x == x, x) if isinstance(x, torch.Tensor) else x.sign()  # torch's of NaN is 0


def log(x: Scalar) -> Scalar:
    """Natural logarithm of a hyperparameter above 0."""
    return math.log(x) if isinstance(x, int | float) else x.log()


def maximum(x: Array, y: Array) -> Array:
    """The larger of two, entry by entry; NaN stays NaN."""
    if isinstance(x, int | float):
        if isinstance(y, int | float):
            return x if x > y or math.isnan(x) else y
        x, y = y, x
    if isinstance(y, int | float):
        return x.clamp_min(y)
    return y.maximum(x) if hasattr(y, "host") else x.maximum(y)


def minimum(x: Array, y: Array) -> Array:
    """The smaller of two, entry by entry; NaN stays NaN."""
    return -maximum(-x, -y)


def where(condition: Array, x: Array, y: Array) -> Array:
    """Give x where the condition holds, else y; the condition is of host numbers, or made by comparing arrays."""
    if isinstance(condition, bool):
        return x if condition else y
    if isinstance(condition, torch.Tensor) and not isinstance(x, torch.Tensor):
        kind = torch.float64 if not isinstance(y, torch.Tensor) else y.dtype
        return torch.full_like(condition, x, dtype=kind).where(condition, y)
    return condition.where(x, y) if hasattr(condition, "host") else x.where(condition, y)


def mix(old: Array, new: Array, beta: Scalar) -> Array:
    """A running mean: beta parts of the old, 1 - beta of the new."""
    return beta * old + (1 - beta) * new


def debias(mean: Array, beta: Scalar, t: Scalar) -> Array:
    """A running mean that started at zero, freed of its bias towards zero."""
    return mean / (1 - beta**t)


def pulled(u: Array, rate: Scalar, w: Array) -> Array:
    """An update with a pull of the weights towards zero; where the rate is the number 0, w is not even read."""
    return u if isinstance(rate, int | float) and rate == 0 else u - rate * w


def row_norm(x: Array, like: Scalar) -> Array:
    """The Euclidean norm of each row x[i], which broadcasts against x; 0 where x has no rows.

    ``like`` is any hyperparameter: where it is a column of K lanes, x is [K, ...] and the rows are x[k, i].
    """
    if isinstance(x, int | float):
        return 0.0
    if hasattr(x, "host"):
        return x.row_norm()
    first = 1 + axes(like)
    if x.dim() <= first:
        return x.new_zeros([1] * x.dim())
    return torch.linalg.vector_norm(x, dim=tuple(range(first, x.dim())), keepdim=True)


def row_mean(x: Array, like: Scalar) -> Array:
    """The mean of each row x[i], as `row_norm`; 0 where x has no rows."""
    if isinstance(x, int | float):
        return 0.0
    if hasattr(x, "host"):
        return x.row_mean()
    first = 1 + axes(like)
    if x.dim() <= first or not x.numel():
        return x.new_zeros([1] * x.dim())
    return x.mean(dim=tuple(range(first, x.dim())), keepdim=True)


@opaque(r"\operatorname{entries}(#1)")
def entries(x: Array, like: Scalar) -> int:
    """How many entries a whole tensor has; of one lane where ``like`` is a column of lanes."""
    if isinstance(x, int | float):
        return 1
    return x.numel() // (len(x) if hasattr(like, "numbers") else 1)


@opaque(r"\operatorname{count}(#1)")
def count(condition: Array, x: Array, like: Scalar) -> Array:
    """How many entries of a whole tensor x meet a condition, in x's type; lane by lane where ``like`` is a column."""
    if isinstance(condition, bool):
        return float(condition)
    if hasattr(like, "numbers"):
        return condition.reshape(len(x), -1).sum(1, dtype=x.dtype).view(-1, *[1] * (x.dim() - 1))
    return condition.sum(dtype=x.dtype)


def axes(like: Scalar) -> int:
    """How many axes stand before the parameter's own: 1 where ``like`` is a column of K lanes, else 0."""
    return 1 if hasattr(like, "numbers") else 0


@opaque(r"\lVert #1 \rVert")
def tensor_norm(x: Array, like: Scalar) -> Array:
    """The Euclidean norm of a whole tensor, which broadcasts against x; of each lane's where ``like`` is a column.

    ``like`` is any hyperparameter: where it is a column of K lanes, x is [K, ...] and the norms are [K, 1, ...].
    """
    if isinstance(x, int | float):
        return abs(x)
    first = axes(like)
    if x.dim() == first:
        return abs(x)
    return torch.linalg.vector_norm(x, dim=tuple(range(first, x.dim())), keepdim=True)
