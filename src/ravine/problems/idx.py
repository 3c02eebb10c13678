"""IDX files of MNIST and the binary batches of CIFAR-10."""

from __future__ import annotations

import gzip
import math
import tarfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ravine.errors import UserError

UNSIGNED_BYTES = 8  # the code of the only type that these files use
CIFAR_RECORD = 1 + 3 * 32 * 32  # label, then red, green and blue planes
CIFAR_RECORDS = 10_000  # in each batch
CURE = "delete it to download it again, or replace it"


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The bytes of a gzipped IDX file of so many dimensions."""
    try:
        with gzip.open(path, "rb") as file:
            header = file.read(4 + 4 * dimensions)
            if len(header) < 4 + 4 * dimensions or header[:4] != bytes((0, 0, UNSIGNED_BYTES, dimensions)):
                raise UserError(f"{path} is no IDX file of bytes in {dimensions} dimensions: {CURE}")
            shape = tuple(int.from_bytes(header[i : i + 4], "big") for i in range(4, len(header), 4))
            content = file.read(math.prod(shape) + 1)
    except (OSError, EOFError, zlib.error, MemoryError, OverflowError) as error:
        raise UserError(f"{path} is damaged or truncated: {CURE}") from error
    if len(content) != math.prod(shape):
        raise UserError(f"{path} is damaged, its content does not fit its header: {CURE}")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def read_cifar(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """x_train, y_train, x_test and y_test of cifar-10-binary.tar.gz; x is uint8 [n, 3, 32, 32]."""
    batches: dict[str, NDArray[np.uint8]] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                file = (
                    archive.extractfile(member) if member.name.endswith("_batch.bin") or _train(member.name) else None
                )
                if file is not None:
                    content = file.read(CIFAR_RECORD * CIFAR_RECORDS + 1)
                    batches[Path(member.name).stem] = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD)
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError) as error:
        raise UserError(f"{path} is damaged or truncated: {CURE}") from error
    names = [f"data_batch_{i}" for i in range(1, 6)]
    missing = [name for name in (*names, "test_batch") if name not in batches]
    if missing:
        raise UserError(f"{path} lacks {missing[0]}.bin: {CURE}")
    train, test = np.concatenate([batches[name] for name in names]), batches["test_batch"]
    return _images(train), train[:, 0], _images(test), test[:, 0]


def _train(name: str) -> bool:
    return Path(name).name.startswith("data_batch_")


def _images(records: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return records[:, 1:].reshape(-1, 3, 32, 32)
