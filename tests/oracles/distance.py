"""What the oracles of rules with a distance share: sums over all entries of all tensors."""

from __future__ import annotations

from typing import Any

from tests.oracles.loop import Number, Vectors


def total(*vectors: Vectors) -> Number:
    """The sum of the entries' products: of one list of tensors, or of two, entry by entry."""
    found: Any = 0
    for tensors in zip(*vectors, strict=True):
        for entries in zip(*tensors, strict=True):
            product: Any = 1
            for entry in entries:
                product = product * entry
            found = found + product
    return found


def apart(xs: Vectors, ys: Vectors) -> Vectors:
    """The differences."""
    return [x - y for x, y in zip(xs, ys, strict=True)]
