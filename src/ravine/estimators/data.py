"""What `fit` is given as a problem: rows encoded, classes numbered, targets scaled, a part held out if asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from ravine.errors import UserError
from ravine.problems import encode
from ravine.problems.arrays import as_inputs
from ravine.problems.balance import ClassWeights
from ravine.problems.inputs import Inputs
from ravine.problems.problem import Part, Problem
from ravine.problems.scale import statistics
from ravine.randomness import generator


@dataclass(frozen=True)
class Given:
    """Checked data of one fit: ``y`` is int64 [n] and ``classes`` their names, or float64 [n, outputs]."""

    x: Any  # a Polars frame or an array
    y: NDArray[Any]
    classes: tuple[str, ...] = ()
    class_weights: ClassWeights | None = None


@dataclass(frozen=True)
class Made:
    """The problem, and what takes predictions back."""

    problem: Problem
    columns: encode.Encoder | None
    names: tuple[str, ...]  # of the frame's columns
    centre: tuple[float, ...]
    scale: tuple[float, ...]


def make(given: Given, held: float, seed: int, raw: bool = False) -> Made:
    """The problem of these data, standardised by its training part, or ``raw``; ``held`` is the share that validates.

    Raw inputs of float32 share the memory of those given.
    """
    y = torch.tensor(given.y)
    train, valid = parts_of(y if given.classes else None, len(y), held, seed)
    numbers, columns = _numbers(given.x, train)
    inputs = _fitted(numbers if not len(valid) else numbers[train], raw)
    centre, scale = (), ()
    if not given.classes:
        own = y[train]
        mean, spread = own.mean(0), own.std(0, correction=0)
        spread = torch.where(spread > 0, spread, torch.ones_like(spread))
        if not bool(torch.isfinite(spread).all()):
            raise UserError("y is beyond what can be scaled: give targets below 1e150")
        y, centre, scale = ((y - mean) / spread).float(), tuple(mean.tolist()), tuple(spread.tolist())
    x = numbers if inputs is None else inputs(numbers)
    nothing = Part(x[:0], y[:0])
    problem = Problem(
        name="data",
        task="classification" if given.classes else "regression",
        train=Part(x, y) if not len(valid) else Part(x[train], y[train]),
        valid=Part(x[valid], y[valid]),
        test=nothing,
        classes=given.classes,
        class_weights=given.class_weights,
        inputs=inputs,
    )
    names = tuple(given.x.columns) if isinstance(given.x, pl.DataFrame) else ()
    return Made(problem, columns, names, centre, scale)


def parts_of(labels: Tensor | None, samples: int, held: float, seed: int) -> tuple[Tensor, Tensor]:
    """Places to train on and to validate on, each class in its proportion; the latter empty where nothing is held."""
    everything = torch.arange(samples)
    if not held:
        return everything, everything[:0]
    count = min(max(1, round(held * samples)), samples - 1)
    if samples < 2:
        raise UserError("one sample is too few to hold a part of it out: leave early_stopping out")
    order = torch.randperm(samples, generator=generator(seed, "held out"))
    if labels is not None:
        order = order[labels[order].argsort(stable=True)]
    taken = torch.zeros(samples, dtype=torch.bool)
    taken[order[torch.arange(count) * samples // count]] = True
    return everything[~taken], everything[taken]


def _numbers(x: Any, train: Tensor) -> tuple[Tensor, encode.Encoder | None]:
    if not isinstance(x, pl.DataFrame):
        return as_inputs(x, "X")[0], None
    for series in x.iter_columns():
        if series.dtype.is_float() and (count := int(series.is_infinite().sum())):
            raise UserError(f"column '{series.name}' is infinite in {count:,} rows: fill or remove them")
    columns = encode.fit(x[train.numpy()])
    if columns.width == 0:
        raise UserError(f"no column carries anything to learn from: {'; '.join(columns.dropped) or 'X is empty'}")
    return columns.encode(x), columns


def _fitted(train: Tensor, raw: bool) -> Inputs | None:
    """Standardisation, in which a column that is constant becomes 0; or what leaves the inputs as they are."""
    if not train.is_floating_point() and train.dtype != torch.uint8:
        return None
    low, high = (0.0, 255.0) if train.dtype == torch.uint8 else map(float, train.aminmax())
    if raw:
        shift = torch.zeros((1, train.shape[1], *[1] * (train.dim() - 2)), dtype=torch.float64)
        return Inputs((), shift, torch.ones_like(shift), low, high)
    mean, factor = statistics(train)
    return Inputs(("standardise",), mean.double(), factor.double(), low, high)
