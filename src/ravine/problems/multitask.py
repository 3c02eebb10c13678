"""Problems with several targets: from arrays by name, and from the columns of a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ravine.errors import UserError, unknown
from ravine.problems import encode
from ravine.problems.build import build
from ravine.problems.groups import Groups
from ravine.problems.heads import Head, JointLoss
from ravine.problems.problem import Part, Problem
from ravine.problems.split import Draw, Split, check_rows, split
from ravine.problems.target import Target, understand

Values = Callable[[str, pl.Series], NDArray[Any]]


def wanted(text: str, columns: Sequence[str]) -> dict[str, float] | None:
    """The columns and weights of "species,price:0.5"; None where it is the name of one column.

    >>> wanted("species,price:0.5", ["species", "price", "age"])
    {'species': 1.0, 'price': 0.5}
    """
    if text in columns or "," not in text:
        return None
    found: dict[str, float] = {}
    for word in text.split(","):
        name, colon, weight = word.strip().rpartition(":")
        name, weight = (name, weight) if colon and word.strip() not in columns else (word.strip(), "1")
        if name not in columns:
            raise unknown("column", name, columns)
        if name in found:
            raise UserError(f"target {text}: {name} stands twice")
        found[name] = _weight(text, weight)
    return found


def _weight(text: str, weight: str) -> float:
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise UserError(f"target {text}: the weight of a target is a positive number, as in price:0.5, got {weight!r}")
    return number


def check_alone(name: str, task: object, loss: object, test: object) -> None:
    """Raise one sentence on what several targets at once do not go with."""
    given = {"task": task is not None, "loss": loss != "auto", "an official test part": test is not None}
    for word, is_given in given.items():
        if is_given:
            raise UserError(f"{name}: several targets have a loss and a split of their own: leave out {word}")


def from_targets(
    name: str,
    parts_of: Callable[[Split], tuple[tuple[Tensor, Tensor, Tensor], tuple[str, ...]]],
    targets: Mapping[str, Target],
    weights: Mapping[str, float],
    samples: int,
    *,
    model: Callable[[], nn.Module] | None = None,
    split_seed: Draw = 0,
    rows: int | None = None,
    groups: Groups | None = None,
) -> Problem:
    """The problem of inputs (raw, once the split is known) and targets that have been understood one by one."""
    check_rows(name, samples, rows)
    first = next((target for target in targets.values() if target.task == "classification"), None)
    strata, classes = (None, ()) if first is None else (first.y, first.classes)
    parts = split(name, samples, strata, seed=split_seed, rows=rows, classes=classes, groups=groups)
    heads: list[Head] = []
    columns: list[Tensor] = []
    for task, target in targets.items():
        at = heads[-1].outputs.stop if heads else 0
        y = target.y.double().reshape(samples, -1)
        if y.shape[1] != 1:
            raise UserError(f"{name}: target {task} has {y.shape[1]} columns: give each a name of its own")
        head = Head(task, len(heads), at, weights.get(task, 1.0), target.classes)
        if not target.classes:
            spread, mean = torch.std_mean(y[parts.train], correction=0)
            if not float(spread) > 0:
                raise UserError(f"{name}: target {task} does not vary in the training part: leave it out")
            head = replace(head, mean=float(mean), scale=float(spread))
            y = (y - mean) / spread
        heads.append(head)
        columns.append(y)
    joined = torch.cat(columns, 1)
    raw, said = parts_of(parts)
    clauses = tuple(f"{head.name}: {targets[head.name].clauses[0]}" for head in heads)
    whole = Target("regression", joined, (), clauses)
    made = build(name, raw, whole, parts, understood=said, model=model)
    each = [Part(part.x, joined[at].float(), part.ids) for part, at in zip(_parts(made), parts.parts(), strict=True)]
    return replace(
        made, train=each[0], valid=each[1], test=each[2], target_mean=0.0, target_scale=1.0, heads=tuple(heads),
        loss=JointLoss(tuple(heads)), metrics=tuple(head.metric() for head in heads),
    )  # fmt: skip


def _parts(problem: Problem) -> tuple[Part, Part, Part]:
    return problem.train, problem.valid, problem.test


def from_frame(
    frame: pl.DataFrame,
    weights: Mapping[str, float],
    values: Values,
    *,
    name: str,
    model: Callable[[], nn.Module] | None = None,
    split_seed: Draw = 0,
    rows: int | None = None,
    said: tuple[str, ...] = (),
    groups: Groups | None = None,
    looks: tuple[str, ...] = (),
) -> Problem:
    """A problem of a table and several of its columns; ``values`` gives a target column as an array."""
    inputs = frame.drop(list(weights))
    if not inputs.width:
        raise UserError(f"{name} has no column beside the targets: add the columns to predict them from")
    targets: dict[str, Target] = {}
    for task in weights:
        column = f"{name}: target '{task}'"
        targets[task] = understand(column, values(column, frame[task]), numbered=False)

    def raw(parts: Split) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[str, ...]]:
        frames = [inputs[index.numpy()] for index in parts.parts()]
        encoder = encode.fit(frames[0])
        if encoder.width == 0:
            raise UserError(f"{name}: no column carries anything to learn from: {'; '.join(encoder.dropped)}")
        shape = f"{len(inputs):,} rows, {inputs.width} {'column' if inputs.width == 1 else 'columns'}"
        made = (encoder.encode(frames[0]), encoder.encode(frames[1]), encoder.encode(frames[2]))
        return made, (shape, *said, *encoder.clauses())

    how: dict[str, Any] = {"model": model, "split_seed": split_seed, "rows": rows, "groups": groups}
    return replace(from_targets(name, raw, targets, weights, len(inputs), **how), looks_grouped=looks)


def from_named(
    inputs: Tensor,
    arrays: Mapping[str, NDArray[Any]],
    clauses: tuple[str, ...],
    *,
    name: str,
    weights: Mapping[str, float] | None = None,
    model: Callable[[], nn.Module] | None = None,
    split_seed: Draw = 0,
    rows: int | None = None,
) -> Problem:
    """A problem of inputs and targets by name, each [n]."""
    if len(arrays) < 2:
        raise UserError(f"{name}: y names {len(arrays)} target: give two or more, or the array itself")
    targets: dict[str, Target] = {}
    for task, values in arrays.items():
        if np.ndim(values) == 0 or len(values) != len(inputs):
            many = np.size(values)
            raise UserError(f"{name}: x has {len(inputs):,} samples and y['{task}'] has {many:,}: give one each")
        targets[str(task)] = understand(f"{name}: y['{task}']", values)

    def raw(parts: Split) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[str, ...]]:
        return (inputs[parts.train], inputs[parts.valid], inputs[parts.test]), clauses

    return from_targets(name, raw, targets, weights or {}, len(inputs), model=model, split_seed=split_seed, rows=rows)
