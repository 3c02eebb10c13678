"""Problems from NumPy's .npz files."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ravine.errors import UserError
from ravine.problems.arrays import from_arrays
from ravine.problems.problem import Problem
from ravine.problems.split import Draw

T = TypeVar("T")
INPUTS = ("x", "X", "data", "images", "inputs", "features")
TARGETS = ("y", "Y", "labels", "label", "target", "targets")
DAMAGE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, MemoryError, NotImplementedError)


def from_npz(path: Path, *, split_seed: Draw = 0, rows: int | None = None) -> Problem:
    """A problem from the arrays x and y of a .npz file, or x_train, y_train, x_test and y_test."""
    arrays = read(path)
    x, y = _find(path, arrays, "train")
    held = _test(path, arrays)
    named = arrays.get("classes")
    classes = None if named is None else [str(label) for label in named.ravel()]
    return from_arrays(x, y, name=path.stem, classes=classes, test=held, split_seed=split_seed, rows=rows)


def read(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a .npz file; pickled objects are refused."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except DAMAGE as error:
        if "allow_pickle" in str(error) and zipfile.is_zipfile(path):
            raise UserError(
                f"{path} holds pickled objects, which could run code: save plain arrays of numbers or strings"
            ) from error
        raise UserError(f"{path} is damaged or no NPZ file: {type(error).__name__}") from error
    except (AttributeError, TypeError) as error:  # np.load gives the bare array of a .npy file
        raise UserError(f"{path} is a single array, not an NPZ file: save it with np.savez(path, x=x, y=y)") from error


def _find(path: Path, arrays: dict[str, NDArray[Any]], part: str) -> tuple[NDArray[Any], NDArray[Any]]:
    x, y = pick(arrays, INPUTS, part), pick(arrays, TARGETS, part)
    if x is None or y is None:
        held = ", ".join(arrays) or "nothing"
        raise UserError(f"{path} holds {held}: name the arrays x and y, or x_train, y_train, x_test and y_test")
    return x, y


def _test(path: Path, arrays: dict[str, NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]] | None:
    x, y = pick(arrays, INPUTS, "test", bare=False), pick(arrays, TARGETS, "test", bare=False)
    if (x is None) != (y is None):
        raise UserError(f"{path} holds {'y' if x is None else 'x'}_test alone: give x_test and y_test, or neither")
    return None if x is None or y is None else (x, y)


def pick(arrays: Mapping[str, T | None], names: tuple[str, ...], part: str, *, bare: bool = True) -> T | None:
    """The first array whose name is one of these, alone or with the part's name before or after it."""
    forms = ("{0}_{1}", "{1}_{0}", "{0}") if bare else ("{0}_{1}", "{1}_{0}")
    for form in forms:
        for name in names:
            if form.format(name, part) in arrays:
                return arrays[form.format(name, part)]
    return None
