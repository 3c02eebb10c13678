"""Weights from a file: safetensors, or a torch state_dict opened with weights_only; sizes are checked first."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ravine.errors import UserError
from ravine.files import reason

MOST = 2**33  # bytes of a file; beyond that weights belong to another kind of machine
MOST_HEADER = 2**24  # bytes of a safetensors header: more than 100,000 tensors
NESTED = ("state_dict", "model", "model_state_dict")  # where training loops keep it in what they save
CURE = 'save it with safetensors.torch.save_file(model.state_dict(), "weights.safetensors")'


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU; a `UserError` in one sentence for anything else.

    A file is safetensors, or what ``torch.save(model.state_dict(), path)`` writes: that is read with
    ``torch.load(weights_only=True)`` alone, which makes tensors and runs no code.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            begin = file.read(8)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {reason(error)}") from error
    if size > MOST:
        raise UserError(f"{path}: {size / 2**30:.1f} GiB is more than the {MOST // 2**30} GiB that weights may have")
    if begin[:4] == b"PK\x03\x04":
        found = _from_torch(path)
    elif _is_safetensors(path, begin, size):
        found = _from_safetensors(path)
    else:
        raise UserError(f"{path}: neither safetensors nor a torch state_dict; {CURE}")
    if not found:
        raise UserError(f"{path}: it holds no tensors; {CURE}")
    return found


def _is_safetensors(path: Path, begin: bytes, size: int) -> bool:
    """Whether the file begins with the length of a JSON header that lies within it."""
    if len(begin) < 8:
        return False
    (length,) = struct.unpack("<Q", begin)
    if not 2 <= length <= min(size - 8, MOST_HEADER):
        return False
    with path.open("rb") as file:
        file.seek(8)
        try:
            return isinstance(json.loads(file.read(length)), dict)
        except (ValueError, RecursionError):
            return False


def _from_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:
        raise UserError(f"{path}: damaged safetensors: {_first_line(error)}") from error


def _from_torch(path: Path) -> dict[str, Tensor]:
    _check_archive(path)
    try:
        data: object = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the restricted unpickler raises several kinds
        raise UserError(f"{path}: not a state_dict of tensors alone, which weights_only refuses; {CURE}") from error
    if isinstance(data, Mapping):
        inner = next((data[name] for name in NESTED if isinstance(data.get(name), Mapping)), data)
        named: dict[Any, Any] = dict(inner)
        if all(isinstance(name, str) and isinstance(value, Tensor) for name, value in named.items()):
            return {name: value.detach() for name, value in named.items()}
    raise UserError(f"{path}: it holds more than tensors by name: give a model's state_dict; {CURE}")


def _check_archive(path: Path) -> None:
    """Refuse an archive whose parts are packed, since a small one could become any size."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UserError(f"{path}: a damaged file of torch's: {_first_line(error)}") from error
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts) or sum(p.file_size for p in parts) > MOST:
        raise UserError(f"{path}: an archive that torch.save does not write (packed, or too large); {CURE}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
