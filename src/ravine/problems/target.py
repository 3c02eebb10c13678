"""What is to be predicted: classes or numbers told apart, labels numbered, bad values refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ravine.errors import UserError
from ravine.types import Loss, Task

MANY_CLASSES = 20  # more different whole numbers than this are a number to predict
CLASS_SHARE = 0.1  # and so are more than this share of the rows
NUMBER_LOSSES = ("mse", "l1", "huber")  # the names that say of whole numbers what they are
CLASS_LOSSES = (
    "cross_entropy", "binary_cross_entropy", "hinge", "logistic", "exponential", "squared_softmax", "squared_sigmoid",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """What is to be predicted, unscaled: y is int64 [n] for classes, float64 [n, outputs] for numbers."""

    task: Task
    y: Tensor
    classes: tuple[str, ...] = ()
    clauses: tuple[str, ...] = ()


def understand(
    name: str,
    values: NDArray[Any],
    *,
    task: Task | None = None,
    loss: str | Loss = "auto",
    classes: tuple[str, ...] | None = None,
    numbered: bool = True,
) -> Target:
    """The target that ``values`` (shape [n] or [n, outputs]) are, under the name that errors give them.

    ``numbered``: labels 0 to k - 1 without a gap are classes however many they are, as torch users give them.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim not in (1, 2) or values.size == 0:
        raise UserError(f"{name} has shape {list(values.shape)}: give one label or one row of numbers a sample")
    _check_kind(name, values)
    if classes is not None or _are_classes(values, task, loss, numbered):
        return _classes(name, values, classes)
    return _numbers(name, values)


def _check_kind(name: str, values: NDArray[Any]) -> None:
    """Words, booleans and finite numbers pass."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).reshape(len(values), -1).any(axis=1).sum())
        raise UserError(f"{name} is NaN or infinite in {bad:,} of {len(values):,} rows: fill or remove them")
    if values.dtype.kind == "O" and not all(isinstance(value, str) for value in values.ravel()):
        odd = next(type(value).__name__ for value in values.ravel() if not isinstance(value, str))
        raise UserError(f"{name} holds a value of type {odd}: give words, whole numbers or real numbers")
    if values.dtype.kind not in "biufUO":
        raise UserError(f"{name} has type {values.dtype}: give words, whole numbers or real numbers")


def _are_classes(values: NDArray[Any], task: Task | None, loss: str | Loss, numbered: bool) -> bool:
    word = loss.partition(":")[0] if isinstance(loss, str) else "auto"
    if task is not None or word in CLASS_LOSSES:
        return task != "regression"
    if values.dtype.kind in "UOb":
        return True
    if values.ndim == 2 or values.dtype.kind == "f" or word in NUMBER_LOSSES:
        return False
    return few_values(values) or (numbered and _without_gap(values))


def few_values(values: NDArray[Any]) -> bool:
    """Whole numbers that repeat as classes do: two values, or at most 20 and at most a tenth of the rows."""
    distinct = len(np.unique(values))
    return distinct <= 2 or distinct <= min(MANY_CLASSES, CLASS_SHARE * len(values))


def _without_gap(values: NDArray[Any]) -> bool:
    distinct = np.unique(values)
    return distinct[0] == 0 and distinct[-1] == len(distinct) - 1 and 2 * len(distinct) <= len(values)


def _classes(name: str, values: NDArray[Any], names: tuple[str, ...] | None) -> Target:
    """Labels numbered from 0; the ones that are not already so are named in a clause."""
    values, said = _one_label(name, values)
    if names is not None and values.dtype.kind in "iu":
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= len(names):
            raise UserError(
                f"{name} runs from {low} to {high}, but {len(names)} class names number 0 to {len(names) - 1}"
            )
        y, labels = values, names
    else:
        distinct, y = np.unique(values.astype(str) if values.dtype.kind == "O" else values, return_inverse=True)
        labels = tuple(str(label) for label in distinct)
        if names is not None and set(labels) - set(names):
            raise UserError(f"{name} holds '{min(set(labels) - set(names))}', which is none of the class names given")
        if values.dtype.kind in "iu" and (distinct[0] != 0 or distinct[-1] != len(distinct) - 1):
            said += (f"labels {_listed(labels)} numbered 0 to {len(labels) - 1}",)
    counts = np.bincount(y.astype(np.int64), minlength=len(labels))
    if (counts > 0).sum() < 2:
        only = labels[int(counts.argmax())]
        raise UserError(f"{name} is always {only}: there is nothing to tell apart, give at least two classes")
    clauses = (f"{len(labels)} classes", *said)
    present = counts[counts > 0]
    if present.max() >= 3 * present.min():
        clauses += (f"classes of unequal size, {present.min():,} to {present.max():,} samples",)
    return Target("classification", torch.tensor(y, dtype=torch.int64), labels, clauses)


def _one_label(name: str, values: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """One label a sample as words, booleans or integers."""
    if values.ndim == 2:
        if values.dtype.kind in "UO" or not (np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()):
            raise UserError(f"{name} has shape {list(values.shape)}: classes need one label a sample, or one-hot rows")
        return values.argmax(axis=1), ("one-hot rows read as classes",)
    if values.dtype.kind == "f":
        whole = values.astype(np.int64)
        if (whole != values).any():
            odd = values[whole != values][0]
            raise UserError(f"{name} holds {odd:g}, which is no class: classes are whole numbers or words")
        return whole, ()
    return values, ()


def _numbers(name: str, values: NDArray[Any]) -> Target:
    if values.dtype.kind in "UOb":
        raise UserError(f"{name} holds words or booleans, which are classes: a regression needs numbers")
    y = torch.tensor(values.astype(np.float64)).reshape(len(values), -1)
    if bool((y == y[0]).all()):
        raise UserError(f"{name} is always {float(y[0, 0]):g}: there is nothing to predict, give a target that varies")
    outputs = y.shape[1]
    return Target("regression", y, (), ("a number to predict" if outputs == 1 else f"{outputs} numbers to predict",))


def _listed(labels: tuple[str, ...]) -> str:
    shown = labels if len(labels) <= 6 else (*labels[:3], "...", labels[-1])
    return ", ".join(shown)
