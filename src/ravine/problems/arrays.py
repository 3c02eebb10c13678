"""Problems from arrays, tensors and torch Datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from ravine.errors import UserError
from ravine.problems import multitask, table
from ravine.problems.build import build
from ravine.problems.dataset import materialise
from ravine.problems.problem import Problem
from ravine.problems.split import EVERY, Draw, check_rows, split
from ravine.problems.target import understand
from ravine.types import Loss, Task

CHANNELS = (1, 3, 4)  # grey, colour, colour with transparency


def from_arrays(
    x: Any,
    y: Any,
    *,
    name: str = "data",
    task: Task | None = None,
    loss: str | Loss = "auto",
    model: Callable[[], nn.Module] | None = None,
    split_seed: Draw = 0,
    classes: Sequence[str] | None = None,
    test: tuple[Any, Any] | None = None,
    rows: int | None = None,
    every: int = EVERY,
    understood: tuple[str, ...] = (),
) -> Problem:
    """A problem from inputs and targets: NumPy arrays, tensors, lists or Polars frames.

    ``x``: [n, features], or images [n, h, w], [n, c, h, w] or [n, h, w, c]; ``y``: [n] or [n, outputs]; ``y`` may name
    the target column of a frame, or be a dict of several targets by name, each [n]. ``test``: an official test part
    (x, y); one sample of ``every`` others validates.
    ``rows`` keeps at most so many samples.

    >>> problem = from_arrays([[0.0, 1.0], [1.0, 0.0]] * 10, ["off", "on"] * 10)
    >>> problem.task, problem.classes, problem.shape, len(problem.train)
    ('classification', ('off', 'on'), (2,), 12)
    """
    if isinstance(x, pl.DataFrame):
        return table.from_frame(
            x, y, name=name, task=task, loss=loss, model=model, split_seed=split_seed, test=test, rows=rows
        )
    inputs, said = as_inputs(x, f"{name}: x")
    if isinstance(y, Mapping):
        multitask.check_alone(name, task, loss, test)
        named = {str(task): as_array(values, f"{name}: y['{task}']") for task, values in y.items()}
        clauses = (describe(inputs), *said, *understood)
        return multitask.from_named(inputs, named, clauses, name=name, model=model, split_seed=split_seed, rows=rows)
    labels = as_array(y, f"{name}: y")
    _check_lengths(name, inputs, labels)
    own = len(inputs)
    if test is not None:
        inputs, labels = _with_test(name, inputs, labels, test)
    check_rows(name, own, rows)
    target = understand(f"{name}: y", labels, task=task, loss=loss, classes=None if classes is None else tuple(classes))
    strata = target.y if target.task == "classification" else None
    parts = split(
        name,
        len(inputs),
        strata,
        seed=split_seed,
        held=len(inputs) - own,
        every=every,
        rows=rows,
        classes=target.classes,
    )
    raw = (inputs[parts.train], inputs[parts.valid], inputs[parts.test])
    return build(name, raw, target, parts, understood=(describe(inputs), *said, *understood), loss=loss, model=model)


def _with_test(name: str, inputs: Tensor, labels: NDArray[Any], test: tuple[Any, Any]) -> tuple[Tensor, NDArray[Any]]:
    """Inputs and labels with those of the official test part behind them."""
    held_x, _ = as_inputs(test[0], f"{name}: x of the test part")
    held_y = as_array(test[1], f"{name}: y of the test part")
    _check_lengths(f"{name}: the test part", held_x, held_y)
    if inputs.shape[1:] != held_x.shape[1:]:
        raise UserError(
            f"{name}: samples have shape {list(inputs.shape[1:])} to train on and {list(held_x.shape[1:])} to test: "
            "give the same shape"
        )
    return torch.cat([inputs, held_x.to(inputs.dtype)]), np.concatenate([labels, held_y])


def from_dataset(
    dataset: Dataset[Any],
    *,
    name: str = "data",
    task: Task | None = None,
    loss: str | Loss = "auto",
    model: Callable[[], nn.Module] | None = None,
    split_seed: Draw = 0,
    classes: Sequence[str] | None = None,
    test: Dataset[Any] | None = None,
    rows: int | None = None,
) -> Problem:
    """A problem from a torch Dataset of (x, y) pairs, each read once into memory.

    Floats and bytes are standardised like arrays; other integers (codes of words) are left as they are.
    """
    x, y = materialise(dataset, name, split_seed)
    held = None if test is None else materialise(test, f"{name}: the test part", split_seed)
    return from_arrays(
        _Codes(x) if _coded(x) else x,
        y,
        name=name,
        task=task,
        loss=loss,
        model=model,
        split_seed=split_seed,
        classes=classes,
        test=None if held is None else (_Codes(held[0]) if _coded(held[0]) else held[0], held[1]),
        rows=rows,
        understood=("every sample of the Dataset read once into memory",),
    )


class _Codes:
    """Integers that number things (words of a text), so that no mean may be taken of them."""

    def __init__(self, x: Tensor) -> None:
        self.x = x.long()


def _coded(x: Tensor) -> bool:
    return not x.is_floating_point() and x.dtype not in (torch.uint8, torch.bool)


def as_inputs(x: Any, name: str) -> tuple[Tensor, tuple[str, ...]]:
    """Inputs as float64 [n, d] (float32 stays), or as bytes or float32 [n, c, h, w], and what was made of the shape."""
    if isinstance(x, _Codes):
        return x.x, ("whole numbers left as they are",)
    array = as_array(x, name)
    if array.dtype.kind not in "biuf":
        raise UserError(f"{name} holds {_kind(array)}: give numbers, or a Polars frame, which may hold words too")
    if array.ndim == 0 or array.size == 0:
        raise UserError(f"{name} has shape {list(array.shape)}: give at least one number a sample")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise UserError(f"{name} holds {bad:,} values that are NaN or infinite: fill or remove them")
    if array.ndim <= 2:
        return _tensor(array.reshape(len(array), -1), np.float32 if array.dtype == np.float32 else np.float64), ()
    said: tuple[str, ...] = ()
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[-1] in CHANNELS and array.shape[1] not in CHANNELS:
        array, said = np.moveaxis(array, -1, 1), ("channels moved from last to first",)
    return _tensor(array, np.uint8 if array.dtype == np.uint8 else np.float32), said


def as_array(values: Any, name: str) -> NDArray[Any]:
    """A NumPy array of a tensor, a Polars series or frame, a list or an array."""
    if isinstance(values, Tensor):
        tensor = values.detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    if isinstance(values, pl.DataFrame | pl.Series):
        return values.to_numpy()
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise UserError(f"{name} is no array: {error}") from error


def describe(x: Tensor) -> str:
    """How many samples of what.

    >>> describe(torch.zeros(3, 1, 8, 8)), describe(torch.zeros(1200, 5))
    ('3 images 8x8', '1,200 rows, 5 columns')
    """
    if x.ndim == 2:
        return f"{len(x):,} rows, {x.shape[1]:,} {'column' if x.shape[1] == 1 else 'columns'}"
    sizes = "x".join(map(str, x.shape[2:]))
    if x.ndim == 4 and x.shape[1] in CHANNELS:
        return f"{len(x):,} {'images' if x.shape[1] == 1 else 'colour images'} {sizes}"
    return f"{len(x):,} samples of shape {'x'.join(map(str, x.shape[1:]))}"


def _tensor(array: NDArray[Any], dtype: Any) -> Tensor:
    """A tensor of its own memory, since a user's array may be read-only or change later."""
    return torch.from_numpy(np.array(array, dtype=dtype, order="C"))


def _kind(array: NDArray[Any]) -> str:
    return "words or mixed types" if array.dtype.kind in "OUS" else f"type {array.dtype}"


def _check_lengths(name: str, x: Tensor, y: NDArray[Any]) -> None:
    if y.ndim == 0 or len(x) != len(y):
        given = 1 if y.ndim == 0 else len(y)
        raise UserError(f"{name}: x has {len(x):,} samples and y has {given:,}: give one target a sample")
