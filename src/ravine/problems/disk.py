"""NumPy arrays on disk as raw inputs: only the rows that are asked for are read."""

from __future__ import annotations

import os
import weakref
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ravine.errors import UserError
from ravine.files import reason
from ravine.problems.arrays import as_inputs, describe
from ravine.problems.stream import Raw, placeholder

LOCAL = 30  # bytes of a ZIP member's own header before its name


@dataclass(frozen=True)
class ArrayFile:
    """Where an array lies in a file: in C order, without gaps."""

    path: Path
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """What it would take in memory as float32."""
        return 4 * int(np.prod(self.shape))

    def whole(self) -> NDArray[Any]:
        """The array in memory."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            found = np.fromfile(file, self.dtype, int(np.prod(self.shape)))
        if found.size != int(np.prod(self.shape)):
            raise _short(self.path)
        return found.reshape(self.shape)


class Rows:
    """An array file as raw inputs: floats or bytes [n, d] or [n, c, h, w], converted as arrays in memory are.

    It reads with a position of its own rather than mapping the file: what is read counts once, however large it is.
    """

    def __init__(self, file: ArrayFile, name: str) -> None:
        self.file, self.name = file, name
        try:
            self._handle = os.open(file.path, os.O_RDONLY)
        except OSError as error:
            raise UserError(f"{file.path}: cannot be read: {reason(error)}") from error
        weakref.finalize(self, os.close, self._handle)
        self._bytes = file.dtype.itemsize * int(np.prod(file.shape[1:]))
        first, self.said = as_inputs(self._rows(np.arange(min(1, file.shape[0]))), name)
        self.shape = (file.shape[0], *first.shape[1:])

    def read(self, ids: Tensor) -> Tensor:
        """These rows, as `as_inputs` gives them."""
        return as_inputs(self._rows(ids.numpy()), self.name)[0]

    def _rows(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        out = np.empty((len(ids), *self.file.shape[1:]), self.file.dtype)
        memory = out.reshape(-1).view(np.uint8).data
        for begin, end in _runs(ids):
            self._fill(memory[begin * self._bytes : end * self._bytes], int(ids[begin]) * self._bytes)
        return out

    def _fill(self, memory: memoryview, place: int) -> None:
        while len(memory):
            try:
                count = os.preadv(self._handle, [memory], self.file.offset + place)
            except OSError as error:
                raise UserError(f"{self.file.path}: cannot be read: {reason(error)}") from error
            if count == 0:
                raise _short(self.file.path)
            memory, place = memory[count:], place + count


class Joined:
    """Several raw inputs of one shape, one behind the other: training rows, then those of an official test part."""

    def __init__(self, name: str, parts: Sequence[Raw]) -> None:
        for part in parts[1:]:
            if part.shape[1:] != parts[0].shape[1:]:
                shapes = f"{list(parts[0].shape[1:])} to train on and {list(part.shape[1:])} to test"
                raise UserError(f"{name}: samples have shape {shapes}: give the same shape")
        self.parts = parts
        self.starts = np.cumsum([0, *(part.shape[0] for part in parts)])
        self.shape = (int(self.starts[-1]), *parts[0].shape[1:])

    def read(self, ids: Tensor) -> Tensor:
        """These rows, each from where it lies."""
        found: list[tuple[Tensor, Tensor]] = []
        for part, (begin, end) in zip(self.parts, pairwise(self.starts), strict=True):
            own = ((ids >= int(begin)) & (ids < int(end))).nonzero().squeeze(1)
            if len(own):
                found.append((own, part.read(ids[own] - int(begin))))
        places = torch.cat([own for own, _ in found])
        return torch.cat([x for _, x in found])[places.argsort()]


@dataclass(frozen=True)
class Mapped:
    """A ``numpy.memmap`` of the user's own as raw inputs."""

    array: NDArray[Any]
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all, as a model takes them."""
        return (len(self.array), *as_inputs(self.array[:1], self.name)[0].shape[1:])

    def read(self, ids: Tensor) -> Tensor:
        """These rows, as `as_inputs` gives them."""
        return as_inputs(np.asarray(self.array[ids.numpy()]), self.name)[0]


def array_file(path: Path, offset: int = 0) -> ArrayFile:
    """What the header of a .npy file says, which may lie within another file."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            shape, fortran, dtype = _header(file)
            begin = file.tell()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {reason(error)}") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged or no array of NumPy's: {error}") from error
    if dtype.hasobject:
        raise UserError(f"{path} holds pickled objects, which could run code: save plain arrays of numbers or strings")
    if fortran and len(shape) > 1:
        raise UserError(f"{path} lies column by column: save it with np.save(path, np.ascontiguousarray(x))")
    return ArrayFile(path, begin, dtype, shape)


def stored(path: Path) -> dict[str, ArrayFile | None]:
    """The arrays of a .npz file by name; None where one is compressed and can only be read whole."""
    found: dict[str, ArrayFile | None] = {}
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    with path.open("rb") as file:
        for info in members:
            name = info.filename.removesuffix(".npy")
            if info.compress_type != zipfile.ZIP_STORED:
                found[name] = None
                continue
            file.seek(info.header_offset + LOCAL - 4)
            lengths = file.read(4)
            names = int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
            found[name] = array_file(path, info.header_offset + LOCAL + names)
    return found


def words(raw: Raw, said: tuple[str, ...]) -> tuple[str, ...]:
    """What they are, in clauses."""
    return (describe(placeholder(raw.shape)), *said)


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _runs(ids: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """The pieces of ids that follow each other, as places in ``ids``."""
    ends = [0, *(np.flatnonzero(np.diff(ids) != 1) + 1).tolist(), len(ids)]
    return ((begin, end) for begin, end in pairwise(ends) if end > begin)


def _short(path: Path) -> UserError:
    return UserError(f"{path} is shorter than its header says: it was cut off, save it again")
