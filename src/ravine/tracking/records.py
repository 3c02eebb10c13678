"""Records as TensorBoard's files hold them: a length and some bytes, each with its checksum.

TensorBoard sums byte by byte in Python. The checksum is linear, so that of all bytes of many records can be looked up
at once: what a byte adds depends on its value and on how many come after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = 0x82F63B78  # of Castagnoli's CRC, its bits reversed
LONGEST = 1024  # bytes of a record that is looked up; a longer one is summed byte by byte
MASK = np.uint32(0xA282EAD8)


def packed(records: Sequence[bytes]) -> bytes:
    """The records one after another, ready to be appended to a file.

    Reference: TensorFlow, core/lib/io/record_writer.h: uint64 length, uint32 its masked checksum, the data, theirs.
    """
    rows = zip(records, masked(records), strict=True)
    return b"".join(part for data, crc in rows for part in (_head(len(data)), data, crc.to_bytes(4, "little")))


@cache
def _head(length: int) -> bytes:
    said = length.to_bytes(8, "little")
    return said + masked([said])[0].to_bytes(4, "little")


def masked(parts: Sequence[bytes]) -> list[int]:
    """The checksum of each part, turned and shifted as these files want it."""
    small = [part for part in parts if 4 <= len(part) <= LONGEST]
    found = iter(_looked_up(small) if small else ())
    crc = np.array([next(found) if 4 <= len(part) <= LONGEST else _walked(part) for part in parts], dtype=np.uint32)
    return (((crc >> 15) | (crc << 17)) + MASK).tolist()


def _looked_up(parts: Sequence[bytes]) -> NDArray[np.uint32]:
    lengths = np.array([len(part) for part in parts])
    ends = np.cumsum(lengths)
    starts = ends - lengths
    content = np.frombuffer(b"".join(parts), dtype=np.uint8).copy()
    for place in range(4):  # a sum begins with ones: as if the first four bytes were turned over
        content[starts + place] ^= 0xFF
    after = np.repeat(ends, lengths) - 1 - np.arange(len(content))
    return ~np.bitwise_xor.reduceat(_table()[after, content], starts)


def _walked(part: bytes) -> int:
    row, crc = _table()[0].tolist(), 0xFFFFFFFF
    for byte in part:
        crc = row[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@cache
def _table() -> NDArray[np.uint32]:
    """What a byte adds to the sum, by how many bytes come after it and by its value."""
    row = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        row = np.where(row & 1, (row >> 1) ^ np.uint32(POLYNOMIAL), row >> 1)
    table = np.empty((LONGEST, 256), dtype=np.uint32)
    table[0] = row
    for after in range(1, LONGEST):
        table[after] = table[0][table[after - 1] & 0xFF] ^ (table[after - 1] >> 8)
    return table
