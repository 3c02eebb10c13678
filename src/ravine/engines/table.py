"""Where the tensors of a step lie in memory, as a table of chunks that one kernel call runs over."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ravine.emit.numba import COLUMNS, Storage
from ravine.errors import UserError

CHUNK = 1 << 17  # entries: long enough that starting one costs nothing, short enough to share among threads
Integers: TypeAlias = NDArray[np.int64]

_STORED: dict[torch.dtype, Storage] = {
    torch.float64: "float64",
    torch.float32: "float32",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}


class Table:
    """Chunks of a list of tensors that lie alike: weights, gradients and slots of equal types.

    ``arrays`` has one list of tensors for each role. With lanes, each tensor is [K, ...] and each of its K parts is
    contiguous by itself; segment s * K + k is lane k of tensor s. Without, a tensor is one segment. ``numbers`` are
    the segments' own: they key the random rounding of their entries, whatever else is in the table.
    """

    def __init__(
        self,
        arrays: Sequence[Sequence[Tensor]],
        rows: Integers,
        lanes: int = 0,
        chunk: int = CHUNK,
        numbers: Integers | None = None,
    ) -> None:
        self.stored: tuple[Storage, ...] = tuple(_STORED[column[0].dtype] for column in arrays)
        sizes = np.array([x.numel() for x in arrays[0]], dtype=np.int64)
        parts = lanes or 1
        self.lengths = np.repeat(sizes // parts, parts)
        counts = -(-self.lengths // chunk)
        self.segment = np.repeat(np.arange(len(self.lengths)), counts)
        self._first = (np.arange(len(self.segment)) - np.repeat(np.cumsum(counts) - counts, counts)) * chunk
        self._parts = parts
        self.chunks = np.empty((len(self.segment), len(arrays) + COLUMNS), dtype=np.int64)
        self.chunks[:, len(arrays)] = np.minimum(self.lengths[self.segment] - self._first, chunk)
        self.chunks[:, len(arrays) + 1] = rows[self.segment]
        numbers = np.arange(len(self.lengths)) if numbers is None else numbers
        self.chunks[:, len(arrays) + 2] = first_entry(numbers)[self.segment] + self._first
        self.address = self.chunks.ctypes.data  # of the table itself, for a kernel
        self.count = len(self.chunks)
        self.upto = np.cumsum(self.chunks[:, len(arrays)])  # entries up to the end of each chunk
        self.entries = int(self.lengths.sum())
        numbers_back = (ctypes.c_double * self.count)()
        self.scratch = numbers_back, ctypes.addressof(numbers_back)  # one number a chunk, for a kernel to write
        for role, column in enumerate(arrays):
            self.move(role, column)

    def move(self, role: int, tensors: Sequence[Tensor]) -> None:
        """Note where the tensors of one role lie now."""
        starts = np.array([x.data_ptr() for x in tensors], dtype=np.int64)
        if len(starts) == len(self.segment):  # a chunk a tensor
            self.chunks[:, role] = starts
            return
        size = tensors[0].element_size()
        if self._parts > 1:
            strides = np.array([x.stride(0) for x in tensors], dtype=np.int64) * size
            starts = (starts[:, None] + strides[:, None] * np.arange(self._parts)).ravel()
        self.chunks[:, role] = starts[self.segment] + self._first * size


def first_entry(number: Any) -> Any:
    """The number of a segment's first entry: far from every other segment's."""
    return number * 0x9E3779B1 % (1 << 32)


def stored(tensor: Tensor, devices: Sequence[str] = ("cpu",)) -> Storage:
    """The kernel's name for how a tensor is kept; an error for what a kernel cannot read."""
    if tensor.layout != torch.strided or tensor.device.type not in devices or tensor.dtype not in _STORED:
        given = f"{str(tensor.dtype).removeprefix('torch.')}, {tensor.layout}, {tensor.device}"
        allowed = ", ".join(_STORED.values())
        raise UserError(
            f"engine='kernel' serves dense {devices[0].upper()} tensors of {allowed}, not {given}: use engine='eager'"
        )
    return _STORED[tensor.dtype]


def in_order(weights: Tensor, other: Tensor, lanes: int = 0) -> Tensor:
    """``other`` in the weights' order of memory: itself where it already is, else a copy."""
    if lanes:
        return other if other.is_contiguous() or other[0].is_contiguous() else other.contiguous()
    if other.is_contiguous() and weights.is_contiguous():
        return other
    if other.stride() == weights.stride():
        return other
    return torch.empty_like(weights, dtype=other.dtype).copy_(other)


def is_dense(weights: Tensor, lanes: int = 0) -> bool:
    """Whether the entries fill their memory without gaps or overlaps, in whatever order of dimensions."""
    part = weights[0] if lanes else weights
    if part.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted((s, n) for s, n in zip(part.stride(), part.shape, strict=True) if n > 1):
        if stride != expected:
            return False
        expected *= size
    return not lanes
