"""The max-norm constraint in place: rows of weights shortened where they are longer than a limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.graph import increment_version

from ravine.emit.numba import Storage
from ravine.engines.native import kernel
from ravine.engines.table import Integers, is_dense, stored
from ravine.engines.threads import share
from ravine.errors import UserError
from ravine.rules.maxnorm import MaxNorm
from ravine.rules.rule import Combinator, Rule

SERIAL = 1 << 17  # entries; below, waking a second thread costs more than it saves
SOURCE = """\
def kernel(table, limits, first, last, seed):
    for k in range(first, last):
        at, n = load_int64(table, k * 3), load_int64(table, k * 3 + 1)
        limit = load_float64(limits, load_int64(table, k * 3 + 2))
        total = 0.0
        for i in range(n):
            x = float64(load_{stored}(at, i))
            total += x * x
        if not total <= limit * limit:
            factor = limit / root(total)
            for i in range(n):
                store_{stored}(at, i, {exact}(load_{stored}(at, i) * factor))
"""


def source(stored: Storage) -> str:
    """The kernel's text for weights kept so: a row is read again, if it is too long, while the cache holds it."""
    return SOURCE.format(stored=stored, exact="float64" if stored == "float64" else "float32")


def unlimited(rule: Rule) -> Rule:
    """The rule without a max-norm that can as well be a pass of its own after the step: the same weights come of it."""
    if isinstance(rule, MaxNorm):
        return rule.rule
    if isinstance(rule, Combinator) and rule.changes == "gradient":
        return replace(rule, rule=unlimited(rule.rule))
    return rule


class RowLimit:
    """Limits the rows of every weight that has rows; it remembers where they lie.

    ``places[i]`` is the limit of tensor i; with ``lanes`` = K every tensor is [K, ...] and lane k has limit k.
    """

    def __init__(self, weights: Sequence[Tensor], places: Sequence[int], lanes: int = 0) -> None:
        parts = ((w[k], k) for w in weights for k in range(lanes)) if lanes else zip(weights, places, strict=True)
        both = [(part, place) for part, place in parts if part.dim() >= 2 and part.numel()]
        self._rest = [(part, place) for part, place in both if not _suits(part)]
        kinds: dict[Storage, list[tuple[Tensor, int]]] = {}
        for part, place in both:
            if _suits(part):
                kinds.setdefault(stored(part), []).append((part, place))
        self._batches = [(kernel(source(kind), reassociate=True), *_table(found)) for kind, found in kinds.items()]
        self._count = 1 + max((place for _, place in both), default=0)

    def __call__(self, limits: float | NDArray[np.float64]) -> None:
        """Shorten each row that is longer than its limit to it; the others keep their bits."""
        given = np.ravel(np.asarray(limits, dtype=np.float64))
        one_each = np.repeat(given, self._count) if given.size == 1 else np.ascontiguousarray(given)
        place = one_each.ctypes.data
        for function, table, upto in self._batches:
            address = table.ctypes.data
            threads = 1 if upto[-1] < SERIAL else None
            share(lambda a, b, f=function, at=address: f(at, place, a, b, 0), len(table), threads, upto)
        for part, index in self._rest:
            _shorten(part, float(one_each[index]))


def limit_rows(weights: Tensor, limits: float | Sequence[float] | NDArray[np.float64]) -> None:
    """Shorten in place each row weights[i] of norm above its limit to that norm; the others keep their bits.

    A row is a unit's incoming weights, of any shape. Reference: Srivastava et al. 2014, JMLR 15:1929, section 5.1.
    """
    if weights.dim() < 2:
        raise UserError(f"max-norm limits the rows of a matrix, not a {tuple(weights.shape)}")
    each = np.broadcast_to(np.asarray(limits, dtype=np.float64), (len(weights),))
    RowLimit([weights[i : i + 1] for i in range(len(weights))], range(len(weights)))(each)
    increment_version(weights)


def _suits(part: Tensor) -> bool:
    return part.device.type == "cpu" and is_dense(part[0])


def _table(parts: list[tuple[Tensor, int]]) -> tuple[Integers, Integers]:
    """A row of (address, length, limit) for each row of weights, and the entries up to the end of each."""
    found: list[Any] = []
    for part, place in parts:
        rows = np.arange(len(part), dtype=np.int64)
        at = part.data_ptr() + rows * (part.stride(0) * part.element_size())
        found.append(np.stack([at, np.full_like(rows, part[0].numel()), np.full_like(rows, place)], axis=1))
    table = np.concatenate(found)
    return table, np.cumsum(table[:, 1])


def _shorten(part: Tensor, limit: float) -> None:
    """The same where no kernel can: rows with gaps, another device."""
    with torch.no_grad():
        part.copy_(shortened(part, limit))


def shortened(part: Tensor, limit: float | Tensor) -> Tensor:
    """The same out of place."""
    exact = torch.float64 if part.dtype == torch.float64 else torch.float32
    norms = torch.linalg.vector_norm(part, dim=tuple(range(1, part.dim())), keepdim=True, dtype=exact)
    return torch.where(norms <= limit, part, part * (limit / norms))
