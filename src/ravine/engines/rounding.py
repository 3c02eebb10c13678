"""Slots kept in bfloat16: which of a rule's may be, and how a number becomes one of its two neighbours by chance.

The chances are those of the kernels, bit by bit, so that every engine rounds alike what it computes alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ravine.emit.numba import word_key
from ravine.engines.table import first_entry
from ravine.randomness import key
from ravine.rules.rule import Combinator, Rule, chain

LOW32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Rounding:
    """What the chances of a tensor's step are keyed by: its number among all parameters, and the step."""

    number: int
    moment: int


def shrinkable(rule: Rule) -> frozenset[str]:
    """The slots that may be kept in bfloat16: all but those that watch the weights or are declared exact."""
    parts = [p for p in chain(rule) if not (isinstance(p, Combinator) and p.changes == "nothing")]
    return frozenset(slot for part in parts for slot in part.slots if slot not in part.exact)


def words(count: int, seed: int, number: int, word: int, device: torch.device) -> Tensor:
    """32 random bits for each entry of the tensor of that number, as int64 [count]; ``seed`` has 63 bits."""
    own = seed ^ word_key(word)
    first, second = (own + first_entry(number)) & LOW32, own >> 32
    x = ((torch.arange(count, device=device) + first & LOW32) * 0x9E3779B1) & LOW32
    x = ((x ^ (x >> 15) ^ second) * 0x85EBCA6B) & LOW32
    return x ^ (x >> 16)


class Writer:
    """Writes a step's new slots over the old ones; those in bfloat16 by chance, in the order in which they come."""

    def __init__(self, rounding: Rounding | None) -> None:
        self._rounding = rounding or Rounding(0, 0)
        self._drawn = 0
        self._word: Tensor | None = None

    def write(self, slot: Tensor, value: Tensor) -> None:
        """Shapes: both are the slot's."""
        if slot.dtype != torch.bfloat16:
            slot.copy_(value)
            return
        home, new = _local(slot), _local(value).to(torch.float32)
        chance = self._chances(home).as_strided(home.size(), home.stride())  # in the order of memory, as in a kernel
        moved = ((new.contiguous().view(torch.int32).to(torch.int64) & LOW32) + chance) & 0xFFFF0000
        signed = torch.where(moved > 0x7FFFFFFF, moved - (1 << 32), moved).to(torch.int32)
        home.copy_(torch.where(new.isnan(), new, signed.view(torch.float32)))

    def _chances(self, home: Tensor) -> Tensor:
        """16 random bits an entry: the lower, then the upper half of a word."""
        word, half = divmod(self._drawn, 2)
        self._drawn += 1
        if self._word is None or not half or self._word.numel() != home.numel():
            seed = key("rounding", self._rounding.moment)
            self._word = words(home.numel(), seed, self._rounding.number, word, home.device)
        return self._word >> 16 if half else self._word & 0xFFFF


def _local(x: Tensor) -> Tensor:
    """The part of a sharded tensor that lies here."""
    whole: Any = getattr(x, "to_local", None)
    return whole() if whole else x
