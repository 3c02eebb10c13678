"""Data frames of pandas and Polars as Polars frames, without asking for pandas to be there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from ravine.errors import UserError

COLUMNS_SHOWN = 5


def as_frame(x: Any) -> pl.DataFrame | None:
    """A pandas or Polars frame as a Polars frame; None for anything else."""
    if isinstance(x, pl.DataFrame):
        return x
    if not (hasattr(x, "iloc") and hasattr(x, "columns") and hasattr(x, "dtypes")):
        return None
    names = [str(name) for name in x.columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"the frame has two columns named '{twice}': give each a name of its own")
    return pl.DataFrame([_series(name, x.iloc[:, place]) for place, name in enumerate(names)])


def _series(name: str, column: Any) -> pl.Series:
    """A column of pandas: numbers and dates as they are, anything else as words, gaps as nulls."""
    array = column.to_numpy()
    if array.dtype.kind in "biufM":
        array = array.astype("datetime64[us]") if array.dtype.kind == "M" else np.ascontiguousarray(array)
        return pl.Series(name, array).fill_nan(None) if array.dtype.kind == "f" else pl.Series(name, array)
    values = [None if _is_gap(value) else value for value in array.tolist()]
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return pl.Series(name, values, dtype=pl.Boolean)
    if all(isinstance(value, int | float) for value in known):
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)
    return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)


def _is_gap(value: Any) -> bool:
    """None, NaN, pandas' NA and NaT."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def completed(frame: pl.DataFrame, names: Sequence[str], used: Sequence[str]) -> pl.DataFrame:
    """The columns of a model in its order; one that it left out in training, such as a running number, may be missing.

    Raises:
        UserError: one sentence where a column is missing that the model has use for.
    """
    lacks = missing(frame, list(used))
    if lacks is not None:
        raise lacks
    return frame.select(name if name in frame.columns else pl.lit(None).alias(name) for name in names)


def missing(frame: pl.DataFrame, names: list[str]) -> UserError | None:
    """The error for columns that the model was trained on and the frame lacks."""
    lacking = [name for name in names if name not in frame.columns]
    if not lacking:
        return None
    more = f" and {len(lacking) - COLUMNS_SHOWN} more" if len(lacking) > COLUMNS_SHOWN else ""
    listed = ", ".join(f"'{name}'" for name in lacking[:COLUMNS_SHOWN])
    return UserError(f"the data lack {listed}{more}, which the model was trained on: give the same columns")
