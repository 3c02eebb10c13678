"""Named tensors as a safetensors file, part by part, so that writing them takes no second copy of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def in_parts(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """The parts of the file, one after another: the header, then each tensor, the widest numbers first.

    The format: eight bytes with the header's length, little-endian; the header in JSON, filled up with spaces; the
    data without gaps.   Source: the format's description at huggingface/safetensors.
    """
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
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().data if len(flat) else b""
