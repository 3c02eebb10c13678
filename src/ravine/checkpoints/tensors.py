"""Named tensors as a safetensors file, part by part, so that neither writing nor reading takes a second copy of them.

The format: eight bytes with the header's length, little-endian; the header in JSON, filled up with spaces; the data
without gaps.   Source: the format's description at huggingface/safetensors.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch
from torch import Tensor

NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
TYPES = {name: dtype for dtype, name in NAMES.items()}
LONGEST = 100_000_000  # bytes of a header, as the format's own library allows
LARGEST = 1 << 40  # entries along one axis


class Hash(Protocol):
    """What is told of every byte that is read."""

    def update(self, data: Any, /) -> object: ...  # noqa: D102


def in_parts(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """The parts of the file, one after another: the header, then each tensor, the widest numbers first."""
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))  # so each lies aligned
    header: dict[str, object] = {}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + math.prod(tensor.shape) * tensor.element_size()
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for _, tensor in ordered:
        yield _bytes_of(tensor.detach().cpu().contiguous())


def read_tensors(path: Path, hashed: Hash) -> dict[str, Tensor]:
    """The tensors of a file that `in_parts` made, in memory of their own; every byte is told to ``hashed``.

    Memory is taken only for what the file is long enough to hold. Whoever calls must compare the hash before using
    anything of it.

    Raises:
        ValueError: where it is no such file.
        OSError: where it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(_exactly(file, 8, size, hashed), "little")
        if length > LONGEST:
            raise ValueError(f"a header of {length} bytes")
        header = _header(_exactly(file, length, size, hashed), size - 8 - length)
        tensors: dict[str, Tensor] = {}
        for name, dtype, shape in header:
            tensors[name] = torch.empty(shape, dtype=dtype)
            into = _bytes_of(tensors[name])
            if file.readinto(into) != len(into):
                raise ValueError("it ends too early")
            hashed.update(into)
        return tensors


def _header(text: bytes, data: int) -> list[tuple[str, torch.dtype, list[int]]]:
    """Name, type and shape of each tensor in the order of their data, which must fill ``data`` bytes without gaps."""
    try:
        facts: dict[str, Any] = json.loads(text)
        facts.pop("__metadata__", None)
        places = [
            (*map(int, each["data_offsets"]), name, TYPES[each["dtype"]], [int(n) for n in each["shape"]])
            for name, each in facts.items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("its header is not one of tensors") from None
    end = 0
    ordered = sorted(places, key=lambda place: place[:2])
    for begin, after, name, dtype, shape in ordered:
        sound = begin == end and all(0 <= n < LARGEST for n in shape)
        if not sound or after - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"the place of {name[:80]!r} is not that of its shape")
        end = after
    if end != data:
        raise ValueError(f"its data have {data} bytes, not {end}")
    return [(name, dtype, shape) for _, _, name, dtype, shape in ordered]


def _exactly(file: BinaryIO, count: int, size: int, hashed: Hash) -> bytes:
    if count > size:
        raise ValueError("it ends too early")
    read = file.read(count)
    if len(read) != count:
        raise ValueError("it ends too early")
    hashed.update(read)
    return read


def _bytes_of(tensor: Tensor) -> memoryview:
    flat = tensor.reshape(-1)
    return flat.view(torch.uint8).numpy().data if len(flat) else memoryview(bytearray())
