"""Problems from NumPy arrays on disk: a folder of .npy files, a .npz file, a memory-mapped array."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ravine.errors import UserError
from ravine.problems import npz
from ravine.problems.arrays import as_array, from_arrays
from ravine.problems.disk import ArrayFile, Joined, Mapped, Rows, array_file, stored, words
from ravine.problems.problem import Problem
from ravine.problems.reading import RESIDENT, Reading
from ravine.problems.split import Draw, check_rows, split
from ravine.problems.stream import Raw, streamed
from ravine.problems.target import understand


def is_arrays(folder: Path) -> bool:
    """Whether a folder holds .npy files and so is no folder of images."""
    return any(folder.glob("*.npy"))


def from_folder(path: Path, *, split_seed: Draw = 0, rows: int | None = None, reading: Reading = RESIDENT) -> Problem:
    """A problem of the files x.npy and y.npy, or x_train.npy, y_train.npy, x_test.npy and y_test.npy."""
    files = {file.stem: array_file(file) for file in sorted(path.glob("*.npy"))}
    return _from_files(path, path.resolve().name, files, split_seed, rows, reading)


def from_npz(path: Path, *, split_seed: Draw = 0, rows: int | None = None, reading: Reading = RESIDENT) -> Problem:
    """A problem of a .npz file, read whole where it fits into memory."""
    if not reading.stream and (reading.stream is False or not reading.streams(_size(path))[0]):
        return npz.from_npz(path, split_seed=split_seed, rows=rows)
    try:
        files = stored(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged or no NPZ file: {type(error).__name__}") from error
    return _from_files(path, path.stem, files, split_seed, rows, reading)


def from_memmap(
    x: NDArray[Any], y: Any, reading: Reading, *, name: str, split_seed: Draw, rows: int | None, **others: Any
) -> Problem | None:
    """A streamed problem of a memory-mapped array; None where it fits into memory."""
    large, why = reading.streams(4 * x.size)
    if not large:
        return None
    raw = Mapped(x, f"{name}: x")
    labels = as_array(y, f"{name}: y")
    return _streamed(name, [raw], [labels], split_seed, rows, reading, words(raw, why), **others)


def _size(path: Path) -> int:
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(info.file_size for info in archive.infolist())
    except (OSError, zipfile.BadZipFile):
        return 0  # whoever reads it says what is wrong


def _from_files(
    path: Path,
    name: str,
    files: Mapping[str, ArrayFile | None],
    split_seed: Draw,
    rows: int | None,
    reading: Reading,
) -> Problem:
    x, y = _file(path, files, npz.INPUTS, "train"), _file(path, files, npz.TARGETS, "train")
    held = [npz.pick(files, names, "test", bare=False) for names in (npz.INPUTS, npz.TARGETS)]
    test = [file for file in held if file is not None]
    if len(test) == 1:
        alone = "y" if held[0] is None else "x"
        raise UserError(f"{path} holds {alone}_test alone: give x_test and y_test, or neither")
    named = files.get("classes")
    classes = None if named is None else [str(label) for label in named.whole().ravel()]
    large, why = reading.streams(x.nbytes + (test[0].nbytes if test else 0))
    if not large:
        whole = (test[0].whole(), test[1].whole()) if test else None
        return from_arrays(
            x.whole(), y.whole(), name=name, classes=classes, test=whole, split_seed=split_seed, rows=rows
        )
    first = Rows(x, f"{name}: x")
    raws = [first, *(Rows(file, f"{name}: x of the test part") for file in test[:1])]
    labels = [y.whole(), *(file.whole() for file in test[1:])]
    said = words(first, (*first.said, *why, *(("with its own test part",) if test else ())))
    return _streamed(name, raws, labels, split_seed, rows, reading, said, classes=classes)


def _streamed(
    name: str,
    raws: Sequence[Raw],
    labels: Sequence[NDArray[Any]],
    split_seed: Draw,
    rows: int | None,
    reading: Reading,
    said: tuple[str, ...],
    **others: Any,
) -> Problem:
    """The problem of training inputs, and those of an official test part where there are two."""
    for raw, own in zip(raws, labels, strict=True):
        if own.ndim == 0 or raw.shape[0] != len(own):
            given = 1 if own.ndim == 0 else len(own)
            raise UserError(f"{name}: x has {raw.shape[0]:,} samples and y has {given:,}: give one target a sample")
    classes, task, loss = (others.get(key) for key in ("classes", "task", "loss"))
    y = np.concatenate(labels)
    check_rows(name, len(labels[0]), rows)
    target = understand(
        f"{name}: y", y, task=task, loss=loss or "auto", classes=None if classes is None else tuple(classes)
    )
    strata = target.y if target.task == "classification" else None
    held = len(y) - len(labels[0])
    parts = split(name, len(y), strata, seed=split_seed, held=held, rows=rows, classes=target.classes)
    raw = raws[0] if len(raws) == 1 else Joined(name, raws)
    return streamed(
        name, raw, target, parts, understood=said, everything=bool(reading.stream), loss=loss or "auto",
        model=others.get("model"),
    )  # fmt: skip


def _file(path: Path, files: Mapping[str, ArrayFile | None], names: tuple[str, ...], part: str) -> ArrayFile:
    found = npz.pick(files, names, part)
    if found is not None:
        return found
    if any(name in files for name in (*names, *(f"{name}_{part}" for name in names))):
        raise UserError(
            f"{path} is compressed, so nothing but the whole can be read: save it with np.savez, or as .npy files"
        )
    held = ", ".join(files) or "nothing"
    raise UserError(f"{path} holds {held}: name the arrays x and y, or x_train, y_train, x_test and y_test")
