"""Random numbers of one sample: a function of (key, sample, place), computed for a whole batch where the batch is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # the constants of SplitMix64 as signed numbers
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64
_BITS = 24  # that a float32 in [0, 1) holds


def uniform(key: int, ids: Tensor, count: int) -> Tensor:
    """Numbers in [0, 1) for the samples ``ids`` [n]: float32 [n, count], each row a function of (key, id) alone.

    Reference: SplitMix64, Steele, Lea & Flood 2014, doi:10.1145/2714064.2660195, read as a hash of a counter.
    """
    return _top(_words(key, ids, count), 0)


def normal(key: int, ids: Tensor, count: int) -> Tensor:
    """Standard normal numbers, float32 [n, count], by the transform of Box & Muller 1958, doi:10.1214/aoms/1177706645.

    >>> normal(1, torch.tensor([5, 9]), 4).equal(normal(1, torch.tensor([9, 5]), 4).flip(0))
    True
    """
    half = -(-count // 2)
    words = _words(key, ids, half)
    radius = _top(words, 0).neg_().add_(1).log_().mul_(-2).sqrt_()
    angle = _top(words, _BITS).mul_(2 * math.pi)
    found = angle.new_empty(len(ids), 2 * half)
    torch.mul(radius, angle.cos(), out=found[:, :half])
    torch.mul(radius, angle.sin_(), out=found[:, half:])
    return found[:, :count] if count < 2 * half else found


def _words(key: int, ids: Tensor, count: int) -> Tensor:
    """64 bits for each sample and place: int64 [n, count]."""
    own = _mixed(_mixed(ids.long() * _GOLDEN) ^ key)
    places = torch.arange(1, count + 1, device=ids.device) * _GOLDEN
    return _mixed(own.unsqueeze(1) + places)


def _mixed(z: Tensor) -> Tensor:
    """The last two rounds of SplitMix64, in the memory of ``z``: fresh memory costs more than the arithmetic."""
    z.bitwise_xor_(_right(z, 30)).mul_(_FIRST)
    z.bitwise_xor_(_right(z, 27)).mul_(_SECOND)
    return z.bitwise_xor_(_right(z, 31))


def _right(z: Tensor, by: int) -> Tensor:
    """A shift to the right that brings in zeros, as of an unsigned number."""
    return (z >> by).bitwise_and_(2 ** (64 - by) - 1)


def _top(words: Tensor, skip: int) -> Tensor:
    """The number in [0, 1) that 24 of the bits make, after those skipped from the top."""
    return _right(words, 64 - _BITS - skip).bitwise_and_(2**_BITS - 1).float().mul_(2.0**-_BITS)
