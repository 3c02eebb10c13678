"""What a float32 or float64 step should have given, in NumPy's longest float, and how far off it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from ravine.emit.trace import Program

Wide = Any  # an array of NumPy's longest float


def exactly(program: Program, inputs: dict[str, Any]) -> list[tuple[Wide, Wide]]:
    """Each operation's result, and its size if no sum had cancelled: what a last place is measured by."""
    results: list[tuple[Wide, Wide]] = []
    for index, op in enumerate(program.ops):
        if op.host:
            (value,) = program.evaluate(inputs, (index,))
            results.append((np.longdouble(value), abs(np.longdouble(value))))
        elif not op.args:
            value = inputs[op.name or op.kind].numpy().astype(np.longdouble)
            results.append((value, abs(value)))
        elif op.kind == "where":
            results.append(_chosen(*(results[arg] for arg in op.args)))
        else:
            results.append(_apply(op.kind, [results[arg] for arg in op.args]))
    return results


def _apply(kind: str, args: list[tuple[Wide, Wide]]) -> tuple[Wide, Wide]:
    (x, size), (y, other) = args[0], args[-1]
    if kind in ("add", "sub"):
        return (x + y if kind == "add" else x - y), size + other
    if kind == "mul":
        return x * y, size * other
    if kind == "div":
        return x / y, size / abs(y) * (other / abs(y))
    if kind == "pow":
        return x**y, size**y
    if kind == "sqrt":
        return np.sqrt(x), np.sqrt(x) * np.where(x > 0, size / np.where(x > 0, x, 1), 1)
    if kind == "max":
        return np.maximum(x, y), np.maximum(size, other)
    if kind in ("gt", "ge", "lt", "le"):
        holds = {"gt": x > y, "ge": x >= y, "lt": x < y, "le": x <= y}[kind]
        return holds, holds
    if kind == "sign":
        return np.sign(x), abs(np.sign(x))
    if kind == "row_norm":
        return _row_norm(x), _row_norm(size)
    if kind == "row_mean":
        return _row_mean(x), _row_mean(size)
    return {"neg": -x, "abs": abs(x)}[kind], size


def _row_mean(x: Wide) -> Wide:
    return x.mean(axis=tuple(range(1, x.ndim)), keepdims=True) if x.ndim > 1 and x.size else np.longdouble(0)


def _chosen(condition: tuple[Wide, Wide], *pair: tuple[Wide, Wide]) -> tuple[Wide, Wide]:
    (x, size), (y, other) = pair
    return np.where(condition[0] != 0, x, y), np.where(condition[0] != 0, size, other)


def _row_norm(x: Wide) -> Wide:
    return np.sqrt((x * x).sum(axis=tuple(range(1, x.ndim)), keepdims=True)) if x.ndim > 1 else np.longdouble(0)


def ulps(found: Tensor, right: tuple[Wide, Wide]) -> float:
    """The largest error in units of the last place."""
    value, size = right
    unit = np.spacing(np.broadcast_to(size, tuple(found.shape)).astype(found.numpy().dtype))
    error = abs(found.numpy().astype(np.longdouble) - value) / unit
    return float(np.max(error, initial=0.0))
