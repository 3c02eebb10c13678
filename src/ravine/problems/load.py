"""A problem from whatever a user names or gives: a name, a path, their code, arrays, a Dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from torch import nn
from torch.utils.data import Dataset

from ravine.errors import UserError, unknown
from ravine.problems import bundled, folder, large_table, npy, table, vision
from ravine.problems.arrays import from_arrays, from_dataset
from ravine.problems.groups import refuse
from ravine.problems.module import call
from ravine.problems.problem import Problem
from ravine.problems.reading import RESIDENT, Reading
from ravine.problems.split import Draw, Fold, column_of, plain_of
from ravine.types import Loss, Task

DESCRIPTIONS = {
    "digits": "1,797 handwritten digits 8x8, 10 classes (bundled with scikit-learn)",
    "wine": "178 wines by 13 measurements, 3 classes (bundled with scikit-learn)",
    "breast-cancer": "569 tumours by 30 measurements, 2 classes (bundled with scikit-learn)",
    "diabetes": "442 patients by 10 measurements, a number to predict (bundled with scikit-learn)",
    "moons": "1,000 points in the plane on two half circles, 2 classes (drawn)",
    "spirals": "1,200 points in the plane on three arms, 3 classes (drawn)",
    "mnist": "70,000 handwritten digits 28x28, 10 classes (12 MB to download once)",
    "fashion-mnist": "70,000 pictures of clothes 28x28, 10 classes (31 MB to download once)",
    "cifar10": "60,000 colour photographs 32x32, 10 classes (170 MB to download once)",
}
FILES = (".csv", ".parquet", ".npz")
KEYS = ("data", "model", "loss", "task", "classes", "name")  # of the dict that a user's function may return


def names() -> tuple[str, ...]:
    """The known problems."""
    return tuple(DESCRIPTIONS)


def descriptions() -> dict[str, str]:
    """One line for each known problem."""
    return dict(DESCRIPTIONS)


def load(
    source: str,
    *,
    target: str | None = None,
    split_seed: Draw = 0,
    download: bool = True,
    rows: int | None = None,
    reading: Reading = RESIDENT,
) -> Problem:
    """The problem that a name, a path or ``package.module:function`` stands for.

    ``target``: the column of a CSV or Parquet file to predict; ``rows`` keeps at most so many samples; without
    ``download`` nothing is fetched. ``reading`` says what is streamed.

    >>> load("moons").understood[:2]
    ('1,000 rows, 2 columns', '2 classes')
    """
    path = Path(source).expanduser()
    is_table = path.suffix.lower() in FILES[:2]
    if target is not None and (source in DESCRIPTIONS or not is_table):
        raise UserError(f"--target {target} is for CSV and Parquet files, but {source} is neither: leave it out")
    column = column_of(split_seed)
    if column is not None and (source in DESCRIPTIONS or (path.exists() and not is_table)):
        raise refuse(column, source)
    reading.check()
    if not (path.is_dir() and not npy.is_arrays(path)):
        reading.refuse_skip(source)
    if (not path.exists() and ":" not in source) or path.suffix.lower() == ".csv":
        reading.refuse_stream(source)
    if source in bundled.MAKERS:
        return bundled.bundled(source, split_seed=split_seed, rows=rows)
    if source in vision.IDX:
        return vision.mnist_like(source, split_seed=split_seed, download=download, rows=rows)
    if source == "cifar10":
        return vision.cifar10(split_seed=split_seed, download=download, rows=rows)
    if path.exists():
        return _from_path(path, target, split_seed, rows, reading)
    if path.suffix.lower() in FILES or os.sep in source or "/" in source:
        raise UserError(f"{source}: no such file")
    if ":" in source:
        name = source.partition(":")[2]
        return from_anything(call(source), name=name, split_seed=split_seed, rows=rows, reading=reading)
    raise unknown("problem", source, DESCRIPTIONS)


def from_anything(
    data: Any,
    *,
    name: str = "data",
    target: str | None = None,
    task: Task | None = None,
    loss: str | Loss = "auto",
    model: Callable[[], nn.Module] | None = None,
    split_seed: Draw = 0,
    classes: Sequence[str] | None = None,
    download: bool = True,
    rows: int | None = None,
    reading: Reading = RESIDENT,
) -> Problem:
    """The problem of a source (see `load`), a Problem, a Dataset, a frame or arrays.

    Arrays come as (x, y) or (x_train, y_train, x_test, y_test), a pair of Datasets is train and test; a dict holds
    ``data`` and may hold model, loss, task, classes and name.
    """
    options: dict[str, Any] = {"name": name, "task": task, "loss": loss, "model": model, "classes": classes}
    if isinstance(data, Mapping):
        options |= _keys(data)
        data, name, loss, model = options.pop("data"), options["name"], options["loss"], options["model"]
    given_by_name, column = isinstance(data, str | Path), column_of(split_seed)
    if column is not None and not given_by_name and not _has_columns(data):
        raise refuse(column, f"a {type(data).__name__}")
    if isinstance(data, str | Path):
        data = load(str(data), target=target, split_seed=split_seed, download=download, rows=rows, reading=reading)
    if isinstance(data, Problem):
        if isinstance(plain_of(split_seed), Fold) and not given_by_name:
            raise UserError(
                f"{data.name} comes with its parts, and folds are drawn from all samples: give (x, y), or a path"
            )
        if data.heads and loss != "auto":
            raise UserError(f"{data.name} has several targets, whose losses are their own: leave out loss")
        return replace(data, loss=data.loss if loss == "auto" else loss, model=data.model if model is None else model)
    test: Any = None
    if isinstance(data, tuple | list) and len(data) == 4:
        data, test = (data[0], data[1]), (data[2], data[3])
    elif isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, tuple | Dataset) for part in data):
        data, test = data
    options |= {"test": test, "split_seed": split_seed, "rows": rows}
    if isinstance(data, Dataset):
        reading.refuse_stream(name)
        return from_dataset(data, **options)
    x, y = _pair(data, target)
    if isinstance(x, np.memmap) and test is None:
        found = npy.from_memmap(x, y, reading, **{key: value for key, value in options.items() if key != "test"})
        if found is not None:
            return found
    reading.refuse_stream(name)
    return from_arrays(x, y, **options)


def _has_columns(data: Any) -> bool:
    """Whether samples are rows of a frame, alone or beside their target."""
    return isinstance(data, pl.DataFrame) or (
        isinstance(data, tuple | list) and len(data) == 2 and isinstance(data[0], pl.DataFrame)
    )


def _pair(data: Any, target: str | None) -> tuple[Any, Any]:
    if isinstance(data, pl.DataFrame):
        if target is None:
            raise UserError(f"say which column to predict with target, one of {', '.join(data.columns[:30])}")
        return data, target
    if isinstance(data, tuple | list) and len(data) == 2:
        return data[0], data[1]
    given = f"{len(data)} values" if isinstance(data, tuple | list) else f"a {type(data).__name__}"
    raise UserError(
        f"data is {given}: give a name, a path, (x, y), (x_train, y_train, x_test, y_test), a Dataset or a Problem"
    )


def _keys(data: Mapping[Any, Any]) -> dict[str, Any]:
    given = {str(key): value for key, value in data.items()}
    for key in given:
        if key not in KEYS:
            raise unknown("key of the problem's dict", key, KEYS)
    if "data" not in given:
        raise UserError("the problem's dict has no key data: give data and, if you like, model and loss")
    return given


def _from_path(path: Path, target: str | None, split_seed: Draw, rows: int | None, reading: Reading) -> Problem:
    if path.is_dir():
        found = npy if npy.is_arrays(path) else folder
        return found.from_folder(path, split_seed=split_seed, rows=rows, reading=reading)
    suffix = path.suffix.lower()
    if suffix in FILES[:2]:
        return _table(path, target, split_seed, rows, reading)
    if suffix == ".npz":
        return npy.from_npz(path, split_seed=split_seed, rows=rows, reading=reading)
    raise UserError(
        f"{path} has the ending '{suffix}': give .csv, .parquet, .npz or a folder of images by class or of .npy files"
    )


def _table(path: Path, target: str | None, split_seed: Draw, rows: int | None, reading: Reading) -> Problem:
    if target is not None and path.suffix.lower() == ".parquet":
        large, why = reading.streams(large_table.size_of(path))
        if large:
            return large_table.from_large(path, target, reading, why, split_seed=split_seed, rows=rows)
    return table.from_file(path, target, split_seed=split_seed, rows=rows)
