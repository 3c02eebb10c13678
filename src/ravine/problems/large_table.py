"""Parquet files larger than memory: turned once into a file of numbers, from which any row can be read alone.

A Parquet file is compressed in groups of rows, so one row costs the whole group, and a shuffled minibatch as many
groups as it has rows. So the columns are encoded as those of a table in memory are, and written row by row into
the cache; the order of samples stays exact, and a step reads what it needs and no more.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import polars as pl
from polars.exceptions import PolarsError

from ravine.errors import UserError, unknown
from ravine.files import slug, write_whole
from ravine.problems import encode
from ravine.problems.disk import Rows, array_file
from ravine.problems.groups import groups_of
from ravine.problems.problem import Problem
from ravine.problems.reading import Reading, gigabytes
from ravine.problems.split import Draw, Split, check_rows, column_of, split
from ravine.problems.stream import streamed
from ravine.problems.table import check_finite, describe_columns, target_values
from ravine.problems.table_file import unreadable
from ravine.problems.target import understand

FORMAT = 1
PIECE = 64 * 2**20  # bytes of encoded rows that are held at a time
LEAST = 2**14  # rows of a piece at least, so that a group of rows is not decoded again and again


def size_of(path: Path) -> int:
    """The bytes that the columns would take in memory as float64, each as one number."""
    try:
        scan = pl.scan_parquet(path, glob=False)
        return 8 * int(scan.select(pl.len()).collect().item()) * len(scan.collect_schema())
    except (PolarsError, OSError):
        return 0  # whoever reads it says what is wrong


def from_large(
    path: Path, target: str, reading: Reading, why: tuple[str, ...], *, split_seed: Draw = 0, rows: int | None = None
) -> Problem:
    """A problem of a Parquet file that is read in pieces; all that is held of it is the target and one column."""
    name = path.stem
    scan = pl.scan_parquet(path, glob=False)
    try:
        columns = scan.collect_schema()
        if target not in columns:
            raise UserError(f"{name}: {unknown('column', target, list(columns))}")
        column = f"{name}: target '{target}'"
        values = target_values(column, _column(scan, target))
        check_rows(name, len(values), rows)
        understood = understand(column, values, numbered=False)
        strata = understood.y if understood.task == "classification" else None
        grouped = column_of(split_seed)
        groups = None if grouped is None else groups_of(name, _some(scan, [grouped, target]), grouped, [target])
        how: dict[str, Any] = {"rows": rows, "classes": understood.classes, "groups": groups}
        parts = split(name, len(values), strata, seed=split_seed, **how)
        inputs = [other for other in columns if other not in (target, grouped)]
        encoder = _encoder(name, scan, inputs, parts)
        file = _encoded(path, scan.select(inputs), encoder, len(values), [str(split_seed), target, str(rows)])
    except PolarsError as error:
        raise unreadable(path, error) from error
    raw = Rows(array_file(file), name)
    words = sum(encode.is_words(pl.Series(other, [], dtype=columns[other])) for other in inputs)
    clauses = (describe_columns(len(values), len(inputs), words), *why, f"as numbers in {file}", *encoder.clauses())
    return streamed(name, raw, understood, parts, understood=clauses, everything=bool(reading.stream))


def _some(scan: pl.LazyFrame, names: list[str]) -> pl.DataFrame:
    """Those of the columns that are there, of which others say what is missing."""
    return scan.select([name for name in dict.fromkeys(names) if name in scan.collect_schema()]).collect()


def _column(scan: pl.LazyFrame, name: str) -> pl.Series:
    return scan.select(name).collect().to_series()


def _encoder(name: str, scan: pl.LazyFrame, columns: list[str], parts: Split) -> encode.Encoder:
    """What the training rows taught, column by column: the same as of all columns at once."""
    if not columns:
        raise UserError(f"{name} has no column beside the target: add the columns to predict it from")
    found = encode.Encoder()
    train = parts.train.numpy()
    for column in columns:
        series = _column(scan, column)
        check_finite(name, series.to_frame())
        encode.learn(found, series[train])
    if found.width == 0:
        raise UserError(f"{name}: no column carries anything to learn from: {'; '.join(found.dropped)}")
    return found


def _encoded(path: Path, scan: pl.LazyFrame, encoder: encode.Encoder, rows: int, made_of: list[str]) -> Path:
    """The file of numbers, float64 [rows, width]: the one that is there already, where it was made of the same."""
    facts = path.stat()
    about = [FORMAT, str(path.resolve()), facts.st_size, facts.st_mtime_ns, *made_of]
    key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
    file = Path(platformdirs.user_cache_dir("ravine")) / "tables" / f"{slug(path.name)}-{key}.npy"
    if file.is_file():
        return file
    _check_room(file, 8 * rows * encoder.width)
    write_whole(file, _pieces(scan, encoder, rows))
    return file


def _pieces(scan: pl.LazyFrame, encoder: encode.Encoder, rows: int) -> Iterator[bytes]:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (rows, encoder.width)})
    yield head.getvalue()
    piece = max(LEAST, PIECE // (8 * encoder.width))
    for begin in range(0, rows, piece):
        yield encoder.encode(scan.slice(begin, piece).collect()).numpy().astype("<f8").tobytes()


def _check_room(file: Path, size: int) -> None:
    place = next(folder for folder in file.parents if folder.exists())
    free = shutil.disk_usage(place).free
    if size > free:
        raise UserError(
            f"{file.parent}: {gigabytes(size)} are needed there for the table as numbers, and {gigabytes(free)} are "
            "free: free some, or name another place in XDG_CACHE_HOME"
        )
