"""The few functions that a rule's equation uses, for floats, tensors, columns and symbols alike."""

from __future__ import annotations

import math

import torch

from ravine.types import Array, Scalar


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
    return condition.where(x, y) if hasattr(condition, "host") else x.where(condition, y)


def mix(old: Array, new: Array, beta: Scalar) -> Array:
    """A running mean: beta parts of the old, 1 - beta of the new."""
    return beta * old + (1 - beta) * new


def debias(mean: Array, beta: Scalar, t: Scalar) -> Array:
    """A running mean that started at zero, freed of its bias towards zero."""
    return mean / (1 - beta**t)


def row_norm(x: Array, like: Scalar) -> Array:
    """The Euclidean norm of each row x[i], which broadcasts against x; 0 where x has no rows.

    ``like`` is any hyperparameter: where it is a column of K lanes, x is [K, ...] and the rows are x[k, i].
    """
    if isinstance(x, int | float):
        return 0.0
    if hasattr(x, "host"):
        return x.row_norm()
    first = 2 if hasattr(like, "numbers") else 1
    if x.dim() <= first:
        return x.new_zeros([1] * x.dim())
    return torch.linalg.vector_norm(x, dim=tuple(range(first, x.dim())), keepdim=True)


def row_mean(x: Array, like: Scalar) -> Array:
    """The mean of each row x[i], as `row_norm`; 0 where x has no rows."""
    if isinstance(x, int | float):
        return 0.0
    if hasattr(x, "host"):
        return x.row_mean()
    first = 2 if hasattr(like, "numbers") else 1
    if x.dim() <= first or not x.numel():
        return x.new_zeros([1] * x.dim())
    return x.mean(dim=tuple(range(first, x.dim())), keepdim=True)


def entries(x: Array, like: Scalar) -> int:
    """How many entries a whole tensor has; of one lane where ``like`` is a column of lanes."""
    if isinstance(x, int | float):
        return 1
    return x.numel() // (len(x) if hasattr(like, "numbers") else 1)


def count(condition: Array, x: Array, like: Scalar) -> Array:
    """How many entries of a whole tensor x meet a condition, in x's type; lane by lane where ``like`` is a column."""
    if isinstance(condition, bool):
        return float(condition)
    if hasattr(like, "numbers"):
        return condition.reshape(len(x), -1).sum(1, dtype=x.dtype).view(-1, *[1] * (x.dim() - 1))
    return condition.sum(dtype=x.dtype)
