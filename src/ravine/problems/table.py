"""Problems from tables: what each column is, what is to be predicted, and nothing learnt from test rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from ravine.errors import UserError, unknown
from ravine.problems import encode, multitask
from ravine.problems.build import build
from ravine.problems.groups import Groups, candidates, groups_of
from ravine.problems.problem import Problem
from ravine.problems.split import Draw, check_rows, column_of, split
from ravine.problems.table_file import read
from ravine.problems.target import understand
from ravine.types import Loss, Task


def from_file(path: Path, target: str | None, *, split_seed: Draw = 0, rows: int | None = None) -> Problem:
    """A problem from a CSV or Parquet file and the name of the column to predict."""
    frame, said = read(path)
    if target is None:
        raise UserError(f"{path}: say which column to predict with --target, one of {_listed(frame.columns)}")
    return from_frame(frame, target, name=path.stem, split_seed=split_seed, rows=rows, said=said)


def from_frame(
    frame: pl.DataFrame,
    target: Any,
    *,
    name: str,
    task: Task | None = None,
    loss: str | Loss = "auto",
    model: Callable[[], nn.Module] | None = None,
    split_seed: Draw = 0,
    test: tuple[Any, Any] | None = None,
    rows: int | None = None,
    said: tuple[str, ...] = (),
) -> Problem:
    """A problem from a frame and its target: the name of a column, or a series or array of its own.

    "species,price:0.5" are two targets at once, with their weights in the loss.
    """
    groups: Groups | None = None
    looks: tuple[str, ...] = ()
    if isinstance(target, str):
        several = multitask.wanted(target, frame.columns)
        frame, groups, looks = _groups(name, frame, [target] if several is None else list(several), split_seed)
        if several is not None:
            multitask.check_alone(name, task, loss, test)
            check_finite(name, frame.drop(list(several)))
            return multitask.from_frame(
                frame, several, target_values, name=name, model=model, split_seed=split_seed, rows=rows, said=said,
                groups=groups, looks=looks,
            )  # fmt: skip
    else:
        frame, groups, looks = _groups(name, frame, [], split_seed)
    if groups is not None and test is not None:
        raise UserError(f"{name}: groups are what a test part is drawn of, and here is one: leave out one of the two")
    inputs, goal = _apart(name, frame, target)
    held = 0
    if test is not None:
        held_inputs, held_goal = _apart(f"{name}: the test part", test[0], test[1])
        inputs, goal = _stack(name, inputs, held_inputs), pl.concat([goal, held_goal])
        held = len(held_inputs)
    check_rows(name, len(inputs) - held, rows)
    check_finite(name, inputs)
    column = f"{name}: target '{goal.name}'" if goal.name else f"{name}: the target"
    understood = understand(column, target_values(column, goal), task=task, loss=loss, numbered=False)
    strata = understood.y if understood.task == "classification" else None
    how: dict[str, Any] = {"seed": split_seed, "held": held, "rows": rows, "classes": understood.classes}
    parts = split(name, len(inputs), strata, groups=groups, **how)
    frames = [inputs[index.numpy()] for index in parts.parts()]
    encoder = encode.fit(frames[0])
    if encoder.width == 0:
        raise UserError(f"{name}: no column carries anything to learn from: {'; '.join(encoder.dropped)}")
    raw = (encoder.encode(frames[0]), encoder.encode(frames[1]), encoder.encode(frames[2]))
    clauses = (_describe(inputs), *said, *encoder.clauses())
    made = build(name, raw, understood, parts, understood=clauses, loss=loss, model=model)
    return replace(made, columns=encoder, names=tuple(inputs.columns), looks_grouped=looks)


def _groups(
    name: str, frame: pl.DataFrame, targets: list[str], draw: Draw
) -> tuple[pl.DataFrame, Groups | None, tuple[str, ...]]:
    """The frame without the column of groups, these, and the columns that look as if they named some."""
    column = column_of(draw)
    if column is None:
        return frame, None, candidates(frame, targets)
    return frame.drop(column, strict=False), groups_of(name, frame, column, targets), ()


def _apart(name: str, frame: Any, target: Any) -> tuple[pl.DataFrame, pl.Series]:
    """Inputs and target of a frame."""
    if not isinstance(frame, pl.DataFrame):
        raise UserError(f"{name} is a {type(frame).__name__}, but the training part is a Polars frame: give one too")
    if isinstance(target, str):
        if target not in frame.columns:
            raise UserError(f"{name}: {unknown('column', target, frame.columns)}")
        inputs, goal = frame.drop(target), frame[target]
    else:
        inputs, goal = frame, pl.Series("", np.asarray(target) if not isinstance(target, pl.Series) else target)
    if len(inputs) != len(goal) and inputs.width:
        raise UserError(f"{name}: x has {len(inputs):,} rows and y has {len(goal):,}: give one target a row")
    if not inputs.width:
        raise UserError(f"{name} has no column beside the target: add the columns to predict it from")
    return inputs, goal


def _stack(name: str, inputs: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    if inputs.columns != held.columns:
        raise UserError(f"{name}: the test part has other columns than the training part: give the same, in order")
    return pl.concat([inputs, held], how="vertical_relaxed")


def target_values(column: str, goal: pl.Series) -> NDArray[Any]:
    """The target as an array, none of it missing."""
    missing = goal.null_count() + (int(goal.is_nan().sum()) if goal.dtype.is_float() else 0)
    if missing:
        raise UserError(f"{column} is missing in {missing:,} of {len(goal):,} rows: fill or remove them")
    if encode.is_words(goal):
        words = goal.cast(pl.String)
        distinct = words.n_unique()
        if distinct > 2 and 2 * distinct > len(words):
            raise UserError(f"{column} holds {distinct:,} different words in {len(words):,} rows: name another column")
        return np.asarray(words.to_list(), dtype=str)
    if goal.dtype.is_decimal():
        goal = goal.cast(pl.Float64)
    if not goal.dtype.is_numeric() and goal.dtype != pl.Boolean:
        raise UserError(f"{column} is a column of type {goal.dtype}: name one of words or numbers")
    return goal.to_numpy()


def check_finite(name: str, inputs: pl.DataFrame) -> None:
    """Raise one sentence on a column with infinite numbers."""
    for series in inputs.iter_columns():
        if series.dtype.is_float() and (count := int(series.is_infinite().sum())):
            raise UserError(f"{name}: column '{series.name}' is infinite in {count:,} rows: fill or remove them")


def _describe(inputs: pl.DataFrame) -> str:
    words = sum(encode.is_words(series) for series in inputs.iter_columns())
    return describe_columns(len(inputs), inputs.width, words)


def describe_columns(rows: int, columns: int, words: int) -> str:
    """How many rows and columns, and how many of these hold words."""
    kinds = "" if words == 0 else f", {words} of them words" if words < columns else ", all words"
    return f"{rows:,} rows, {columns} {'column' if columns == 1 else 'columns'}{kinds}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")
