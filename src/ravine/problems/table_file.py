"""CSV and Parquet files as frames: read whole, tidied, refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from polars.exceptions import ColumnNotFoundError, NoDataError, PolarsError

from ravine.errors import UserError

MISSING = ("", "?", "na", "n/a", "nan", "null", "none")  # words that stand for a gap, in any case
SEPARATORS = (",", ";", "\t")


def read(path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The table in a .csv or .parquet file, and what was understood of its form."""
    separator = ","
    try:
        if path.suffix.lower() == ".parquet":
            frame = pl.read_parquet(path, glob=False)
        else:
            separator = _separator(path)
            frame = pl.read_csv(path, separator=separator, infer_schema_length=None, try_parse_dates=True, glob=False)
            frame = _tidy(frame)
    except NoDataError as error:
        raise UserError(f"{path} is empty: give a table with a header and rows") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except (PolarsError, ColumnNotFoundError) as error:
        raise unreadable(path, error) from error
    if frame.width == 0 or frame.height == 0:
        raise UserError(f"{path} has {frame.width} columns and no rows: give a table with a header and rows")
    return frame, () if separator == "," else (f"columns separated by {'tabs' if separator == chr(9) else separator}",)


def unreadable(path: Path, error: Exception) -> UserError:
    """What Polars said of a file, as one sentence."""
    reason = str(error).strip().split("\n", 1)[0][:160]
    if path.suffix.lower() == ".parquet":
        return UserError(f"{path} is damaged or no Parquet file: {reason}")
    if "utf-8" in reason.lower() or "utf8" in reason.lower():
        return UserError(f"{path} is not UTF-8 text: save it as UTF-8")
    return UserError(f"{path} cannot be understood as CSV: {reason}")


def _separator(path: Path) -> str:
    """The separator that the header uses most; spreadsheets of many countries write semicolons."""
    with path.open("rb") as file:
        header = file.readline(1 << 20)
    text = header.decode("utf-8-sig")
    if "\0" in text:
        raise UserError(f"{path} is not UTF-8 text: save it as UTF-8")
    return max(SEPARATORS, key=text.count)


def _tidy(frame: pl.DataFrame) -> pl.DataFrame:
    """Blanks around names and words removed, words for gaps made gaps, and what then is all numbers made numbers."""
    names = [name.strip() for name in frame.columns]
    if len(set(names)) == len(names):
        frame.columns = names
    return frame.with_columns([_tidy_words(series) for series in frame.iter_columns() if series.dtype == pl.String])


def _tidy_words(series: pl.Series) -> pl.Series:
    words = series.str.strip_chars()
    gap = words.str.to_lowercase().is_in(MISSING)
    words = words.set(gap.fill_null(False), None)
    known = words.null_count()
    if known == len(words):
        return words
    for dtype in (pl.Int64, pl.Float64):
        cast = words.cast(dtype, strict=False)
        if cast.null_count() == known:
            return cast
    dates = words.str.to_date("%Y-%m-%d", strict=False)
    return dates if dates.null_count() == known else words
