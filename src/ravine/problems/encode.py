"""Columns of a table as numbers: what is learnt from the training rows is applied to all rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_WORDS = 50  # more different words than this are left out
NUMBERED = ("", "id", "index", "row", "unnamed: 0")  # names under which running numbers are no feature


@dataclass
class Encoder:
    """What the training rows taught of each column: a median to fill gaps, or the list of its words."""

    medians: dict[str, float] = field(default_factory=dict[str, float])
    marked: list[str] = field(default_factory=list[str])  # number columns with gaps: a marker column each
    words: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    gaps: set[str] = field(default_factory=set[str])  # word columns with gaps: a word of their own
    dropped: list[str] = field(default_factory=list[str])  # one clause each

    def encode(self, frame: pl.DataFrame) -> Tensor:
        """The rows as float64 [n, width]; a word that the training rows lack is all zeros."""
        columns: list[NDArray[np.float64]] = []
        for name, median in self.medians.items():
            values = numbers(frame[name])
            columns.append(values.fill_null(median).to_numpy())
            if name in self.marked:
                columns.append(values.is_null().cast(pl.Float64).to_numpy())
        for name, words in self.words.items():
            values = frame[name].cast(pl.String)
            columns += [(values == word).fill_null(False).cast(pl.Float64).to_numpy() for word in words]
            if name in self.gaps:
                columns.append(values.is_null().cast(pl.Float64).to_numpy())
        return torch.from_numpy(np.stack(columns, axis=1).astype(np.float64))

    @property
    def width(self) -> int:
        """How many numbers a row becomes."""
        words = sum(len(words) for words in self.words.values())
        return len(self.medians) + len(self.marked) + words + len(self.gaps)

    def clauses(self) -> tuple[str, ...]:
        """What was done to the columns, in words."""
        said: tuple[str, ...] = ()
        if self.marked:
            said += (f"gaps in {_names(self.marked)} filled with the training median and marked",)
        if self.gaps:
            said += (f"gaps in {_names(sorted(self.gaps))} a word of their own",)
        return (*said, *self.dropped)


def fit(train: pl.DataFrame) -> Encoder:
    """Learn from the training rows how to turn each column into numbers."""
    encoder = Encoder()
    for series in train.iter_columns():
        learn(encoder, series)
    return encoder


def learn(encoder: Encoder, series: pl.Series) -> None:
    """Add what the training rows of one column teach."""
    name = series.name
    if series.null_count() == len(series):
        encoder.dropped.append(f"{_quoted(name)} left out, empty in the training part")
    elif is_words(series):
        _fit_words(encoder, series)
    elif is_number(series) and _running(series):
        encoder.dropped.append(f"{_quoted(name)} left out, it only numbers the rows")
    elif is_number(series):
        median: Any = numbers(series).median()
        encoder.medians[name] = float(median)
        if series.null_count():
            encoder.marked.append(name)
    else:
        encoder.dropped.append(f"{_quoted(name)} left out, a column of type {series.dtype}")


def _fit_words(encoder: Encoder, series: pl.Series) -> None:
    known = series.cast(pl.String).drop_nulls()
    words = known.unique().sort().to_list()
    if len(words) == len(series) and len(words) > 2:
        encoder.dropped.append(f"{_quoted(series.name)} left out, another word in every row")
    elif len(words) > MAX_WORDS:
        encoder.dropped.append(f"{_quoted(series.name)} left out, {len(words):,} different words")
    else:
        encoder.words[series.name] = words
        if series.null_count():
            encoder.gaps.add(series.name)


def is_words(series: pl.Series) -> bool:
    """Whether a column holds words."""
    return isinstance(series.dtype, pl.String | pl.Categorical | pl.Enum)


def is_number(series: pl.Series) -> bool:
    """Whether a column becomes one number: numbers, yes and no, dates and times."""
    return series.dtype.is_numeric() or series.dtype == pl.Boolean or series.dtype.is_temporal()


def numbers(series: pl.Series) -> pl.Series:
    """A column as float64, gaps as nulls: dates as days since 1970, times and durations as days."""
    if series.dtype == pl.Date:
        return series.to_physical().cast(pl.Float64)
    if series.dtype == pl.Datetime:
        return series.dt.cast_time_unit("us").to_physical().cast(pl.Float64) / 86_400e6
    if series.dtype == pl.Duration:
        return series.dt.total_microseconds().cast(pl.Float64) / 86_400e6
    if series.dtype == pl.Time:
        return series.to_physical().cast(pl.Float64) / 86_400e9
    return series.cast(pl.Float64).fill_nan(None)


def _running(series: pl.Series) -> bool:
    named = series.name.strip().lower() in NUMBERED
    return named and series.dtype.is_integer() and series.n_unique() == len(series)


def _names(names: list[str]) -> str:
    return _quoted(*names) if len(names) <= 3 else f"{len(names)} columns"


def _quoted(*names: str) -> str:
    return ", ".join(f"'{name}'" if name else "the nameless column" for name in names)
